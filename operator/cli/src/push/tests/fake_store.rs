//! A store in a temporary folder, with scripts in the place of Nix's commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hayloft_nixcache::{NarHash, StoreDir, StorePath, nar};
use serde_json::{Map, Value, json};

use crate::push::nix::LocalStore;

pub(super) struct FakeStore {
    _dir: tempfile::TempDir,
    at: PathBuf,
    store_dir: StoreDir,
    hashes: BTreeMap<String, NarHash>,
    json: Map<String, Value>,
    dump_db: String,
}

impl FakeStore {
    pub(super) fn new() -> FakeStore {
        let dir = tempfile::tempdir().expect("makes a folder");
        let at = dir.path().canonicalize().expect("is there");
        fs::create_dir(at.join("store")).expect("makes a store");
        let store_dir = at
            .join("store")
            .to_str()
            .expect("is text")
            .parse()
            .expect("is a store directory");
        let store = FakeStore {
            _dir: dir,
            at,
            store_dir,
            hashes: BTreeMap::new(),
            json: Map::new(),
            dump_db: String::new(),
        };
        let folder = store.at.display();
        store.script("nix", &format!("cat {folder}/infos.json"));
        store.script(
            "nix-store",
            &format!("case \"$1\" in --check-validity) ;; --dump-db) cat {folder}/db ;; --query) ls -d {folder}/store/* ;; *) exit 1 ;; esac"),
        );
        store
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.at.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
    }

    /// Adds a path with a file of so many bytes; its references must be there, but for itself.
    pub(super) fn add(&mut self, name: &str, references: &[&str], bytes: usize) {
        let path = self.place(name);
        fs::create_dir(&path).expect("makes a path");
        let noise: Vec<u8> = (0..bytes)
            .map(|n| u8::try_from((n * 7919 + n / 251 + name.len()) % 256).expect("fits"))
            .collect();
        fs::write(path.join("file"), noise).expect("writes");
        let mut nar = Vec::new();
        nar::dump(&path, &mut nar).expect("dumps");
        let hash = NarHash::of(&nar);
        let references: Vec<String> = references
            .iter()
            .map(|name| self.place(name).display().to_string())
            .collect();
        let hex = hash.to_string().replace("sha256:", "");
        writeln!(
            self.dump_db,
            "{}\n{hex}\n{}\n\n{}",
            path.display(),
            nar.len(),
            references.len()
        )
        .expect("writes");
        for reference in &references {
            writeln!(self.dump_db, "{reference}").expect("writes");
        }
        let info = json!({
            "ca": null, "deriver": null, "narHash": hash.to_sri(), "narSize": nar.len(), "references": references,
            "registrationTime": 1, "signatures": [], "ultimate": true,
        });
        self.json.insert(path.display().to_string(), info);
        self.hashes.insert(name.to_owned(), hash);
        self.save();
    }

    pub(super) fn sign(&mut self, name: &str, key: &str) {
        let path = self.place(name).display().to_string();
        self.json[&path]["signatures"] = json!([format!("{key}:AAAA")]);
        self.save();
    }

    fn save(&self) {
        let json = Value::Object(self.json.clone()).to_string();
        fs::write(self.at.join("infos.json"), json).expect("writes");
        fs::write(self.at.join("db"), &self.dump_db).expect("writes");
    }

    /// Changes a byte behind Nix's back.
    pub(super) fn damage(&self, name: &str) {
        let file = self.place(name).join("file");
        let mut bytes = fs::read(&file).expect("reads");
        bytes[0] ^= 1;
        fs::write(&file, bytes).expect("writes");
    }

    fn place(&self, name: &str) -> PathBuf {
        let digits = NarHash::of(name.as_bytes()).to_nix32().replace("sha256:", "");
        self.folder().join(format!("{}-{name}", &digits[..32]))
    }

    pub(super) fn folder(&self) -> &Path {
        Path::new(self.store_dir.as_str())
    }

    pub(super) fn path(&self, name: &str) -> StorePath {
        self.place(name)
            .to_str()
            .expect("is text")
            .parse()
            .expect("is a path")
    }

    pub(super) fn paths(&self, names: &[&str]) -> BTreeSet<StorePath> {
        names.iter().map(|name| self.path(name)).collect()
    }

    pub(super) fn all_hashes(&self) -> BTreeMap<String, NarHash> {
        self.hashes.clone()
    }

    pub(super) fn commands(&self) -> LocalStore {
        LocalStore {
            nix: self.at.join("nix").into(),
            nix_store: self.at.join("nix-store").into(),
            store_dir: self.store_dir.clone(),
        }
    }
}
