//! What may happen next.

use std::collections::BTreeSet;

use hayloft_store::key::{EpochId, LogPlace, PackName};

use crate::ask::Ask;

/// One step of one of those who take part. Gateways are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The gateway ends at once, whatever it was doing.
    Crash(usize),
    /// It starts, and follows.
    Start(usize),
    /// It lists the claims, and begins to write its own.
    Claim(usize, BTreeSet<EpochId>),
    /// What it was writing is written.
    Written(usize),
    /// Its second listing of the claims ends.
    ClaimsListed(usize, BTreeSet<EpochId>),
    /// Its listing of the log ends.
    LogListed(usize, BTreeSet<LogPlace>),
    /// Its second look ends; whether it found the mark.
    Looked(usize, bool),
    /// It follows the log as the bucket shows it.
    Follow(usize, BTreeSet<LogPlace>),
    /// The first tells the second what counts.
    Tell(usize, usize),
    /// A client's upload reaches this gateway, which stores what it does not know.
    Upload(u8, usize),
    /// The committer puts requests in flight.
    Propose(usize, Vec<Ask>),
    /// The committer refuses an upload's request; it is stored again, or refused for good.
    Refuse(usize, u8),
    /// The committer stores a copy of what is needed of a pack.
    Copy(usize, PackName),
    /// Somebody who knows it to be condemned deletes a pack's object.
    Delete(usize, PackName),
}
