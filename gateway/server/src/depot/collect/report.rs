//! What a collection did, or would do.

use std::fmt;

use hayloft_nixcache::CacheName;
use serde::{Deserialize, Serialize};

/// What a collection did; of one that only looks, what it would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectReport {
    /// It only looked.
    pub dry_run: bool,
    /// It was told to stop before its end; the next one goes on.
    pub interrupted: bool,
    /// Cache by cache.
    pub caches: Vec<CacheReport>,
    /// What became of packs.
    pub packs: PackReport,
}

/// What became of a cache's paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheReport {
    /// The cache.
    pub cache: CacheName,
    /// How long paths are kept that nobody asks for, in seconds; none: for ever.
    pub retention: Option<u32>,
    /// Bytes that it may hold; none: any number.
    pub max_bytes: Option<u64>,
    /// Paths that stay.
    pub kept: Amount,
    /// Paths that go for nobody asked for them in time.
    pub expired: Amount,
    /// Paths that go for the cache is too large, those first that nobody asked for longest.
    pub over_limit: Amount,
    /// So much came meanwhile that not all was done; the next collection goes on.
    pub put_off: bool,
}

/// What a collection is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It finds out what a cache keeps.
    Marking(CacheName),
    /// Paths went.
    Removed {
        /// Of which cache.
        cache: CacheName,
        /// How many.
        paths: u64,
    },
    /// It looks at packs: so many so far.
    Packs(u64),
    /// It copied so many bytes out of packs.
    Copied(u64),
    /// It lists the bucket: so many packs so far.
    Listed(u64),
    /// Objects were deleted from the bucket.
    Deleted(u64),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marking(cache) => write!(f, "finding out what {cache} keeps"),
            Self::Removed { cache, paths } => write!(f, "{paths} paths of {cache} went"),
            Self::Packs(packs) => write!(f, "looked at {packs} packs"),
            Self::Copied(bytes) => write!(f, "copied {} out of packs", Bytes(*bytes)),
            Self::Listed(packs) => write!(f, "{packs} packs are in the bucket so far"),
            Self::Deleted(objects) => write!(f, "{objects} objects were deleted"),
        }
    }
}

/// Things and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds one of so many bytes.
    pub(super) const fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What became of packs. Bytes are those of objects in the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackReport {
    /// Packs that were looked at.
    pub looked_at: u64,
    /// Of these, packs that nothing is needed of: given up.
    pub dead: Amount,
    /// Packs that little is needed of, or that are small: what is needed of them was copied, then they were given up.
    pub compacted: Amount,
    /// Bytes of what was copied.
    pub copied: u64,
    /// Packs that no record names, of uploads that never ended: given up.
    pub abandoned: Amount,
    /// Objects of packs that were given up, deleted from the bucket.
    pub deleted: Amount,
    /// Packs given up whose objects stay until their time has come.
    pub waiting: Amount,
    /// Packs that are too new to be looked at.
    pub too_new: u64,
}

impl fmt::Display for CollectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = |done, would| if self.dry_run { would } else { done };
        for cache in &self.caches {
            write!(f, "{cache}")?;
        }
        let PackReport {
            looked_at,
            dead,
            compacted,
            copied,
            abandoned,
            deleted,
            waiting,
            too_new,
        } = self.packs;
        writeln!(f, "packs looked at: {looked_at}")?;
        writeln!(
            f,
            "  {}: {dead}",
            would("given up whole", "would be given up whole")
        )?;
        if compacted.count > 0 {
            let (verb, kept) = (would("compacted", "would be compacted"), Bytes(copied));
            writeln!(f, "  {verb}: {compacted}, of which {kept} are kept")?;
        }
        if abandoned.count > 0 {
            let verb = would(
                "of uploads that never ended",
                "would be given up, of uploads that never ended",
            );
            writeln!(f, "  {verb}: {}", abandoned.count)?;
        }
        writeln!(
            f,
            "  {}: {deleted}",
            would("deleted from the bucket", "would be deleted from the bucket now")
        )?;
        if waiting.count > 0 {
            writeln!(f, "  given up, to be deleted later: {waiting}")?;
        }
        if too_new > 0 {
            writeln!(f, "  too new to be looked at: {too_new}")?;
        }
        if self.interrupted {
            writeln!(f, "stopped before the end; the next collection goes on from here")?;
        }
        Ok(())
    }
}

impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cache {}: ", self.cache)?;
        match (self.retention, self.max_bytes) {
            (None, None) => writeln!(f, "keeps everything")?,
            (retention, limit) => {
                let mut rules = Vec::new();
                if let Some(seconds) = retention {
                    let span = humantime::format_duration(std::time::Duration::from_secs(u64::from(seconds)));
                    rules.push(format!("keeps what was asked for within {span}"));
                }
                if let Some(limit) = limit {
                    rules.push(format!("holds at most {}", Bytes(limit)));
                }
                writeln!(f, "{}", rules.join(", "))?;
            }
        }
        writeln!(f, "  stay: {}", paths(self.kept))?;
        if self.retention.is_some() {
            writeln!(f, "  go, not asked for in time: {}", paths(self.expired))?;
        }
        if self.max_bytes.is_some() {
            writeln!(f, "  go, the cache is too large: {}", paths(self.over_limit))?;
        }
        if self.put_off {
            writeln!(
                f,
                "  not all was done, so much came meanwhile; the next collection goes on"
            )?;
        }
        Ok(())
    }
}

fn paths(amount: Amount) -> String {
    let noun = if amount.count == 1 { "path" } else { "paths" };
    format!("{} {noun}, {}", amount.count, Bytes(amount.bytes))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.count == 1 { "pack" } else { "packs" };
        write!(f, "{} {noun}, {}", self.count, Bytes(self.bytes))
    }
}

/// Bytes as people read them.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("kB", 1_000),
        ];
        let Some((unit, size)) = UNITS.iter().find(|(_, size)| self.0 >= *size) else {
            return write!(f, "{} B", self.0);
        };
        let tenths = u128::from(self.0) * 10 / u128::from(*size);
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}
