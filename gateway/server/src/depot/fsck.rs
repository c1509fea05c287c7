//! Checking: the index against the bucket, and on request every byte.

use std::fmt;
use std::sync::Arc;

use hayloft_index::KnownPack;
use hayloft_store::key::{ObjectKey, PackName};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::collect::Bytes;
use super::error::sentence;
use super::pace::Pace;
use super::scrub::{Finding, ScrubError, Scrubber};

/// What the position is noted under.
const NOTE: &str = "fsck";
/// Packs of the index that are asked for at a time.
const PAGE: u32 = 1000;

/// What to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FsckOptions {
    /// Read everything and check every byte. Goes on where one that was cut off had come to.
    pub verify: bool,
    /// Note what is damaged, so that the next push heals it, and delete what should be gone.
    pub repair: bool,
    /// Bytes a second that are read; 0: any number.
    pub max_rate: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FsckReport {
    /// Packs that the index knows.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that are not in the bucket.
    pub missing: u64,
    /// Packs whose objects have another length than they had.
    pub other_size: u64,
    /// Objects of packs that no record names: of uploads under way, or that never ended.
    pub strangers: u64,
    /// Objects of packs that were given up and should be gone.
    pub left_over: u64,
    /// Packs of which every byte was read.
    pub verified: u64,
    /// Their bytes.
    pub verified_bytes: u64,
    /// Packs with frames that are not what was stored.
    pub damaged: u64,
    /// These frames.
    pub damaged_frames: u64,
    /// Paths that are reported missing until they are pushed again.
    pub paths_missing: u64,
    /// Of the index: paths that need what no pack holds, without being reported missing.
    pub paths_wrong: u64,
    /// What was damaged was noted, what should be gone was deleted.
    pub repaired: bool,
    /// It was told to stop; the next one with `--verify` goes on.
    pub interrupted: bool,
}

impl FsckReport {
    /// Whether nothing is wrong that is not known already.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.missing == 0 && self.other_size == 0 && self.damaged == 0 && self.paths_wrong == 0
    }
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "packs in the index: {}, {}", self.packs, Bytes(self.bytes))?;
        writeln!(f, "  missing from the bucket: {}", self.missing)?;
        writeln!(f, "  of another length: {}", self.other_size)?;
        if self.verified > 0 || self.damaged > 0 {
            writeln!(
                f,
                "  read to the last byte: {}, {}",
                self.verified,
                Bytes(self.verified_bytes)
            )?;
            writeln!(f, "  damaged: {} ({} frames)", self.damaged, self.damaged_frames)?;
        }
        if self.strangers > 0 {
            writeln!(
                f,
                "packs that no record names: {} (uploads under way, or that never ended)",
                self.strangers
            )?;
        }
        if self.left_over > 0 {
            writeln!(f, "packs that should be gone: {}", self.left_over)?;
        }
        if self.paths_wrong > 0 {
            writeln!(
                f,
                "paths that the index does not know to be damaged: {}; rebuild it",
                self.paths_wrong
            )?;
        }
        writeln!(
            f,
            "paths reported missing until they are pushed again: {}",
            self.paths_missing
        )?;
        if self.interrupted {
            writeln!(
                f,
                "stopped before the end; the next check with --verify goes on from here"
            )?;
        }
        if self.is_clean() {
            writeln!(f, "all is well")
        } else if self.repaired {
            writeln!(
                f,
                "what is damaged was noted: the next push of each such path heals it"
            )
        } else {
            writeln!(
                f,
                "run it again with --repair: what is damaged is then reported missing, and the next push heals it"
            )
        }
    }
}

/// Hears how far a check is.
pub type FsckListener = Arc<dyn Fn(&FsckReport) + Send + Sync>;

impl Scrubber {
    /// Checks the index against the bucket, and what else `options` ask for.
    pub(super) async fn check(
        &self,
        options: FsckOptions,
        stop: &CancellationToken,
        listener: &FsckListener,
    ) -> Result<FsckReport, ScrubError> {
        let mut report = FsckReport {
            repaired: options.repair,
            ..FsckReport::default()
        };
        self.compare(options, stop, &mut report).await?;
        listener(&report);
        if options.verify && !stop.is_cancelled() {
            self.verify(options, stop, listener, &mut report).await?;
        }
        report.paths_wrong = self.index.paths_wrong(stop).await?;
        report.paths_missing = self.index.paths_missing().await?;
        report.interrupted = stop.is_cancelled();
        Ok(report)
    }

    /// Walks through the listing of the bucket and the packs of the index, both in the order of names.
    async fn compare(
        &self,
        options: FsckOptions,
        stop: &CancellationToken,
        report: &mut FsckReport,
    ) -> Result<(), ScrubError> {
        let mut listed: Vec<(PackName, u64)> = Vec::new();
        let mut after: Option<String> = None;
        let mut more = true;
        let mut known_after: Option<PackName> = None;
        // The index first: what is registered then is in the bucket when it is listed.
        let mut known = self.index.packs_behind(None, PAGE).await?;
        while !stop.is_cancelled() {
            if more && listed.is_empty() {
                let page = self
                    .store
                    .list(ObjectKey::PACKS, after.as_deref())
                    .await
                    .map_err(|error| ScrubError::Bucket(sentence(&error)))?;
                more = page.more && !page.keys.is_empty();
                after = page.keys.last().cloned().or(after);
                listed = page
                    .keys
                    .iter()
                    .zip(page.sizes)
                    .filter_map(|(key, size)| match ObjectKey::parse(key) {
                        Some(ObjectKey::Pack(name)) => Some((name, size)),
                        _ => None,
                    })
                    .collect();
            }
            // All known packs up to the last that was listed can be judged now.
            let end = if more {
                listed.last().map(|(name, _)| *name)
            } else {
                None
            };
            loop {
                let here: Vec<KnownPack> = match end {
                    Some(end) => {
                        let split = known.partition_point(|pack| pack.name <= end);
                        known.drain(..split).collect()
                    }
                    None => std::mem::take(&mut known),
                };
                known_after = here.last().map(|pack| pack.name).or(known_after);
                for pack in here {
                    report.packs += 1;
                    report.bytes += pack.size;
                    let found = listed.binary_search_by_key(&pack.name, |(name, _)| *name);
                    let finding = match found.ok().and_then(|at| listed.get(at)) {
                        Some((_, size)) if *size == pack.size => continue,
                        // Looked at closely: the listing may be older than the index, or the other way round.
                        _ => self.look(&pack, &Pace::new(0)).await?,
                    };
                    match &finding {
                        Finding::Gone => report.missing += 1,
                        Finding::Frames(_) | Finding::Between => report.other_size += 1,
                        Finding::Whole | Finding::GivenUp => {}
                    }
                    if options.repair {
                        self.note(pack.name, &finding).await?;
                    }
                }
                if !known.is_empty() {
                    break;
                }
                known = self.index.packs_behind(known_after, PAGE).await?;
                if known.is_empty() {
                    break;
                }
            }
            let names: Vec<PackName> = listed.drain(..).map(|(name, _)| name).collect();
            let (strangers, left_over) = self.index.sort_packs(&names).await?;
            report.strangers += strangers.len() as u64;
            report.left_over += left_over.len() as u64;
            if options.repair {
                for name in left_over {
                    let key = ObjectKey::Pack(name).to_string();
                    let deleted = self.store.delete(&key).await;
                    deleted.map_err(|error| ScrubError::Bucket(sentence(&error)))?;
                }
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Reads every pack, from where the last one was cut off.
    async fn verify(
        &self,
        options: FsckOptions,
        stop: &CancellationToken,
        listener: &FsckListener,
        report: &mut FsckReport,
    ) -> Result<(), ScrubError> {
        let pace = Pace::new(options.max_rate);
        let noted = self.index.note(NOTE).await?;
        let mut after = noted.and_then(|noted| noted.try_into().ok()).map(PackName);
        loop {
            let packs = self.index.packs_behind(after, 50).await?;
            if packs.is_empty() {
                return Ok(self.index.set_note(NOTE, &[]).await?);
            }
            for pack in packs {
                if stop.is_cancelled() {
                    return Ok(());
                }
                let finding = self.look(&pack, &pace).await?;
                match &finding {
                    Finding::Whole => {
                        report.verified += 1;
                        report.verified_bytes += pack.size;
                    }
                    Finding::Frames(frames) => {
                        report.damaged += 1;
                        report.damaged_frames += frames.len() as u64;
                    }
                    // Counted when the index was compared with the bucket.
                    Finding::Gone | Finding::Between | Finding::GivenUp => {}
                }
                if options.repair {
                    self.note(pack.name, &finding).await?;
                }
                after = Some(pack.name);
                self.index.set_note(NOTE, &pack.name.0).await?;
                listener(report);
            }
        }
    }
}
