//! What a coordinator asks an agent, and what it answers.
//!
//! Every answer is short and comes soon: what takes long (a count of all blocks, a snapshot's bytes) is told in parts, and
//! the asker asks again. Nothing here assumes that both share a disk.

mod assignment;
mod block;
mod layout;
mod snapshot;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use assignment::{Loss, Moves, Quorums, loss_by_zone, loss_without, quorums};
pub use block::{BlockName, BlockNameError, Census, Digest, PartitionCensus};
pub use layout::{LayoutFacts, LayoutMap, LayoutVersion, PARTITIONS};
pub use snapshot::{KeptSnapshot, SnapshotFile, SnapshotId, SnapshotInfo};

use crate::agent::HostDesired;
use crate::join::TrustList;
use crate::{HostName, Secret, exposed};

/// The most names that one answer to [`Question::Names`] holds.
pub const MOST_NAMES: u32 = 16_384;
/// The largest recovery kit, in base64.
pub const LARGEST_KIT: usize = 8 << 20;
/// The most bytes that one part of a snapshot holds.
pub const LARGEST_PART: u32 = 1 << 20;

/// What a coordinator asks an agent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "ask")]
pub enum Question {
    /// Promise to follow only this coordinator. Asked again, it is renewed. Refused while another's promise runs, or when a
    /// higher epoch was promised, or when this epoch was promised to another instance. A higher epoch does not break a running promise.
    /// Answered by [`Answer::Promised`].
    Promise {
        /// The coordinator's term.
        epoch: u64,
        /// The coordinator.
        instance: String,
        /// For how long, from when the agent hears it.
        seconds: u32,
    },
    /// End a promise, so that another coordinator need not wait for its end. The epoch stays promised. Of no effect when the
    /// promise is another's. Answered by [`Answer::Done`].
    Release {
        /// The coordinator's term.
        epoch: u64,
        /// The coordinator.
        instance: String,
    },
    /// The layout versions in the member's own file. Answered by [`Answer::Layout`].
    Layout {
        /// With the nodes of every partition, of every version: some 25 KB each.
        with_map: bool,
    },
    /// How many blocks lie in each partition. Answered by [`Answer::Census`], or by [`Answer::Counting`] while it is counted.
    Census {
        /// Only one that began after this will do; without it, the last one that is known.
        fresh_after: Option<Timestamp>,
    },
    /// The names of the blocks of one partition, sorted. Answered by [`Answer::Names`].
    Names {
        /// The first byte of the names.
        partition: u8,
        /// Only names above this one.
        after: Option<BlockName>,
        /// At most so many, and never more than [`MOST_NAMES`].
        limit: u32,
    },
    /// The newest metadata snapshot that is whole. Answered by [`Answer::Snapshot`].
    Snapshot,
    /// A part of a snapshot of this host. Answered by [`Answer::Part`], or refused as gone when Garage has made newer ones.
    SnapshotPart {
        /// Which snapshot.
        id: SnapshotId,
        /// Which of its files.
        file: String,
        /// Where the part begins.
        offset: u64,
        /// At most so many bytes, and never more than [`LARGEST_PART`].
        limit: u32,
    },
    /// Keep a part of another host's snapshot. Parts come in order, file by file; [`Answer::Kept`] says how far it is, also
    /// when the part was not the next one: the asker goes on from there. Of each host, the two newest whole ones are kept.
    KeepSnapshot {
        /// Whose it is.
        of: HostName,
        /// The whole of it.
        info: SnapshotInfo,
        /// Which of its files.
        file: String,
        /// Where the part begins.
        offset: u64,
        /// The part; empty to ask how far it is.
        data: Vec<u8>,
    },
    /// All snapshots of other hosts that are kept here. Answered by [`Answer::KeptSnapshots`].
    KeptSnapshots,
    /// A part of a snapshot of another host. Answered by [`Answer::Part`].
    KeptPart {
        /// Whose it is.
        of: HostName,
        /// Which snapshot.
        id: SnapshotId,
        /// Which of its files.
        file: String,
        /// Where the part begins.
        offset: u64,
        /// At most so many bytes, and never more than [`LARGEST_PART`].
        limit: u32,
    },
    /// Keep no snapshot of this host any more: it left the cluster. Answered by [`Answer::Done`].
    DropKept {
        /// Whose.
        of: HostName,
    },
    /// A request to the admin API of this host's Garage, which listens on a local socket only. Answered by [`Answer::Admin`].
    Admin {
        /// `GET` or `POST`.
        method: String,
        /// The path, with its query.
        path: String,
        /// The header `Authorization`; empty for none.
        #[serde(with = "exposed")]
        authorization: Secret,
        /// The body; empty for none.
        #[serde(default)]
        body: String,
    },
    /// What the host was told last to run: for a coordinator that comes from a backup. Answered by [`Answer::Ledger`].
    Ledger,
    /// Whom the host trusts, for the same. Answered by [`Answer::Trusted`].
    Trusted,
    /// Keep the newest recovery kit of the cluster, which this host cannot open. Answered by [`Answer::Done`].
    KeepKit {
        /// The file, in base64.
        kit: String,
    },
    /// Try whether an address can be dialled from this host. Answered by [`Answer::Tried`].
    Dial {
        /// `host:port`.
        address: String,
    },
    /// One of a newer coordinator, which this agent does not know. It is refused, and what else was asked is answered.
    #[serde(other)]
    Unknown,
}

impl fmt::Debug for Question {
    /// Without the bytes of a snapshot and the bodies of admin requests, in which secrets are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise {
                epoch,
                instance,
                seconds,
            } => write!(f, "Promise({epoch}.{instance}, {seconds} s)"),
            Self::Release { epoch, instance } => write!(f, "Release({epoch}.{instance})"),
            Self::Layout { with_map } => write!(f, "Layout(with_map: {with_map})"),
            Self::Census { fresh_after } => write!(f, "Census(fresh_after: {fresh_after:?})"),
            Self::Names {
                partition,
                after,
                limit,
            } => write!(f, "Names({partition:02x}, after {after:?}, {limit})"),
            Self::Snapshot => f.write_str("Snapshot"),
            Self::SnapshotPart { id, file, offset, .. } => write!(f, "SnapshotPart({id}/{file}@{offset})"),
            Self::KeepSnapshot {
                of,
                info,
                file,
                offset,
                data,
            } => {
                let (id, length) = (&info.id, data.len());
                write!(f, "KeepSnapshot({of}: {id}/{file}@{offset}+{length})")
            }
            Self::KeptSnapshots => f.write_str("KeptSnapshots"),
            Self::KeptPart {
                of, id, file, offset, ..
            } => write!(f, "KeptPart({of}: {id}/{file}@{offset})"),
            Self::DropKept { of } => write!(f, "DropKept({of})"),
            Self::Admin { method, path, .. } => write!(f, "Admin({method} {path})"),
            Self::Ledger => f.write_str("Ledger"),
            Self::Trusted => f.write_str("Trusted"),
            Self::KeepKit { kit } => write!(f, "KeepKit({} bytes)", kit.len()),
            Self::Dial { address } => write!(f, "Dial({address})"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// What an agent answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum Answer {
    /// The promise is given, for so long from now.
    Promised {
        /// Seconds.
        seconds: u32,
    },
    /// It is done.
    Done,
    /// What the member's own layout file says.
    Layout(LayoutFacts),
    /// A finished count.
    Census(Box<Census>),
    /// A count is under way.
    Counting {
        /// When it began.
        began: Timestamp,
        /// Partitions that are counted, of 256.
        done: u16,
    },
    /// Names of blocks.
    Names {
        /// Sorted, each once.
        names: Vec<BlockName>,
        /// Whether there are more above the last of these.
        more: bool,
    },
    /// The newest snapshot, if there is any.
    Snapshot {
        /// What it is.
        info: Option<SnapshotInfo>,
    },
    /// Bytes of a snapshot; fewer than asked for only at the file's end.
    Part {
        /// The bytes.
        data: Vec<u8>,
        /// Whether the file ends with them.
        last: bool,
    },
    /// How much of another host's snapshot is kept.
    Kept {
        /// The file that the next part is of; `None`: it is whole, checked and on disk.
        file: Option<String>,
        /// Where the next part begins.
        offset: u64,
    },
    /// The snapshots of other hosts that are kept.
    KeptSnapshots {
        /// All of them.
        kept: Vec<KeptSnapshot>,
    },
    /// What the host was told last; `None`: nothing.
    Ledger {
        /// It.
        desired: Option<Box<HostDesired>>,
    },
    /// Whom the host trusts.
    Trusted {
        /// The list.
        list: TrustList,
    },
    /// What Garage's admin API answered.
    Admin {
        /// The status of HTTP.
        status: u16,
        /// The body.
        body: String,
    },
    /// What came of dialling.
    Tried {
        /// Why it was not reached; `None`: it was.
        #[serde(default)]
        failed: Option<String>,
    },
}

impl fmt::Debug for Answer {
    /// Without names in bulk, and without the bytes of a snapshot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promised { seconds } => write!(f, "Promised({seconds} s)"),
            Self::Done => f.write_str("Done"),
            Self::Layout(facts) => write!(f, "Layout({:?})", facts.digest()),
            Self::Census(census) => write!(f, "Census({} blocks)", census.blocks()),
            Self::Counting { began, done } => write!(f, "Counting(since {began}, {done} of 256)"),
            Self::Names { names, more } => write!(f, "Names({} names, more: {more})", names.len()),
            Self::Snapshot { info } => write!(f, "Snapshot({info:?})"),
            Self::Part { data, last } => write!(f, "Part({} bytes, last: {last})", data.len()),
            Self::Kept { file, offset } => write!(f, "Kept({file:?}@{offset})"),
            Self::KeptSnapshots { kept } => write!(f, "KeptSnapshots({kept:?})"),
            Self::Ledger { desired } => {
                let generation = desired.as_ref().map(|desired| &desired.generation);
                write!(f, "Ledger({generation:?})")
            }
            Self::Trusted { list } => write!(f, "Trusted({} members)", list.members.len()),
            Self::Admin { status, body } => write!(f, "Admin({status}, {} bytes)", body.len()),
            Self::Tried { failed } => write!(f, "Tried({failed:?})"),
        }
    }
}

/// Why an agent does not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "refused")]
pub enum Refusal {
    /// A promise to another coordinator runs.
    #[error("the coordinator {instance} of term {epoch} leads, for {seconds_left} more seconds at least")]
    Held {
        /// Its term.
        epoch: u64,
        /// Itself.
        instance: String,
        /// Until its promise ends, if it is not renewed.
        seconds_left: u32,
    },
    /// A later term was promised, or this one to another coordinator.
    #[error("term {asked} is over: {promised} was promised to the coordinator {instance}")]
    OldTerm {
        /// What was asked for.
        asked: u64,
        /// What was promised.
        promised: u64,
        /// To whom.
        instance: String,
    },
    /// There is no such thing here (any more).
    #[error("there is no {what} here")]
    Gone {
        /// What was asked for.
        what: String,
    },
    /// A snapshot would not fit.
    #[error("no room: {needed} bytes are needed, and {available} are free")]
    NoRoom {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// The question makes no sense.
    #[error("this cannot be answered: {why}")]
    Senseless {
        /// Why.
        why: String,
    },
    /// The host failed at it.
    #[error("the host cannot answer: {why}")]
    Failed {
        /// The error with its causes.
        why: String,
    },
}

/// What identifies the layout that a member follows: members that agree have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutDigest {
    /// The newest version.
    pub version: u64,
    /// Of its roles, parameters and assignment.
    pub digest: Digest,
}

/// A promise, as a host's report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromiseReport {
    /// The highest term that was promised.
    pub epoch: u64,
    /// To whom.
    pub instance: String,
    /// Whether the promise still runs.
    pub runs: bool,
}
