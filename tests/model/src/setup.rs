//! What is searched: sizes, and who does what.

use crate::ask::Upload;
use crate::hole::Hole;

/// The size of a search.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Gateways. The first leads epoch 1 from the start, unless `cold`.
    pub gateways: usize,
    /// The bucket is empty, and nobody leads.
    pub cold: bool,
    /// Claims that may begin.
    pub claims: u8,
    /// Groups that may be proposed, all terms together.
    pub groups: u8,
    /// Crashes, all gateways together.
    pub crashes: u8,
    /// A crash takes the index with it, too.
    pub index_lost: bool,
    /// Caches that clients create: records that need nothing else.
    pub caches: u8,
    /// What clients push.
    pub uploads: Vec<Upload>,
    /// Paths (their numbers) that may be removed, each once.
    pub removals: Vec<u8>,
    /// The committer may copy and condemn packs, and delete objects.
    pub collects: bool,
    /// Two requests may come into one group.
    pub pairs: bool,
    /// The highest log format that each gateway reads; all of them by default.
    pub reads: Vec<u32>,
    /// Gateways follow the bucket.
    pub follows: bool,
    /// The committer tells the others what counts.
    pub tells: bool,
    /// The rule that is left out.
    pub without: Option<Hole>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            gateways: 2,
            cold: false,
            claims: 1,
            groups: 2,
            crashes: 0,
            index_lost: false,
            caches: 0,
            uploads: Vec::new(),
            removals: Vec::new(),
            collects: false,
            pairs: false,
            reads: Vec::new(),
            follows: false,
            tells: false,
            without: None,
        }
    }
}
