//! What the committer is asked to order.

use hayloft_nixcache::{CacheName, StoreDir, StorePath};
use hayloft_store::Digest;
use hayloft_store::key::PackName;
use hayloft_store::log::record::{CacheRecord, PackRecord, PathRecord, Record};
use hayloft_store::manifest::Manifest;
use hayloft_store::pack::PackedFrame;

/// A path that a client pushes: one NAR of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Upload {
    /// The path's number.
    pub path: u8,
    /// Stands for the NAR hash.
    pub nar: u8,
    /// The frame it needs.
    pub frame: u8,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    /// Nothing was stored.
    Waiting,
    /// What the gateway did not know is stored: in this pack, or nothing was.
    Stored { pack: Option<PackName>, tries: u8 },
    /// The client has its answer.
    Acknowledged,
    /// It was refused for good.
    Refused,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Create the cache of this number.
    Cache(u8),
    /// The upload of this number: its pack, if it stored one, and its path.
    Upload(u8, Option<PackName>),
    /// Remove the path of this number.
    Remove(u8),
    /// Register a pack into which this frame was copied.
    Copied(PackName, u8),
    /// Condemn a pack.
    Condemn(PackName),
}

/// The digest that stands for a frame.
pub(crate) fn frame(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

/// A pack's name: who stored it, and the how manieth of theirs.
pub(crate) fn pack_name(by: u8, tries: u8) -> PackName {
    let mut name = [0; 16];
    name[0] = by;
    name[1] = tries;
    PackName(name)
}

/// The names and records of the model, made once.
#[derive(Debug)]
pub(crate) struct Words {
    cache: CacheName,
    paths: Vec<StorePath>,
    uploads: Vec<Upload>,
    manifests: Vec<Vec<u8>>,
}

impl Words {
    pub(crate) fn new(uploads: &[Upload]) -> Result<Self, Box<dyn std::error::Error>> {
        let dir = StoreDir::nix_store();
        let paths: Result<Vec<StorePath>, _> = (0..4_u8)
            .map(|n| StorePath::new(&dir, &format!("{}-path", n.to_string().repeat(32))))
            .collect();
        let manifests: Result<Vec<Vec<u8>>, _> = uploads
            .iter()
            .map(|upload| {
                let mut manifest = Manifest::default();
                manifest.push_frame(frame(upload.frame), 1, 1);
                manifest.encode()
            })
            .collect();
        Ok(Self {
            cache: "main".parse()?,
            paths: paths?,
            uploads: uploads.to_vec(),
            manifests: manifests?,
        })
    }

    /// The cache that is there from the start.
    pub(crate) fn first(&self) -> Record {
        cache(&self.cache)
    }

    /// The records of a request.
    pub(crate) fn records(&self, ask: Ask) -> Vec<Record> {
        match ask {
            Ask::Cache(number) => format!("cache{number}").parse().iter().map(cache).collect(),
            Ask::Upload(number, pack) => {
                let at = usize::from(number);
                let upload = self.uploads[at];
                let path = Record::PathAdded(PathRecord {
                    cache: self.cache.clone(),
                    path: self.path(upload.path),
                    nar_hash: [upload.nar; 32],
                    nar_size: 1,
                    references: Vec::new(),
                    deriver: None,
                    ca: None,
                    sigs: Vec::new(),
                    created_by: None,
                    created_at: 0,
                    manifest: self.manifests[at].clone(),
                });
                pack.map(|name| added(name, upload.frame))
                    .into_iter()
                    .chain([path])
                    .collect()
            }
            Ask::Remove(path) => vec![Record::PathRemoved {
                cache: self.cache.clone(),
                path: self.path(path),
            }],
            Ask::Copied(name, frame) => vec![added(name, frame)],
            Ask::Condemn(name) => vec![Record::PacksCondemned(vec![name])],
        }
    }

    pub(crate) fn path(&self, number: u8) -> StorePath {
        self.paths[usize::from(number)].clone()
    }
}

fn cache(name: &CacheName) -> Record {
    Record::CacheCreated(CacheRecord {
        name: name.clone(),
        sealed_key: Vec::new(),
        is_public: true,
        store_dir: "/nix/store".to_owned(),
        priority: 40,
        upstream_keys: Vec::new(),
        retention: None,
        created_at: 0,
    })
}

fn added(name: PackName, number: u8) -> Record {
    Record::PackAdded(PackRecord {
        name,
        digest: Digest::ZERO,
        size: 1,
        frames: vec![PackedFrame {
            piece: frame(number),
            frame: frame(number),
            stored: 1,
            raw: 1,
        }],
    })
}
