//! Packs: those that nothing is needed of are given up; of those that little is needed of, that is copied out first.

use hayloft_index::PackUse;
use hayloft_store::Digest;
use hayloft_store::commit::Refusal;
use hayloft_store::frame::Frame;
use hayloft_store::key::{ObjectKey, PackName};
use hayloft_store::log::record::{DamageRecord, PackRecord, Record};
use hayloft_store::object::ObjectError;
use hayloft_store::pack::{self, PackBuilder, PackedFrame};
use hayloft_store::read::{Fetch, Wanted, plan};

use super::report::{PackReport, Stage};
use super::sweep::Swept;
use super::{CollectError, Run};
use crate::depot::backoff::Backoff;
use crate::depot::committer::CommitError;
use crate::depot::dying::may_die;
use crate::depot::error::sentence;

/// Packs that are given up with one record.
const GROUP: usize = 20;
/// A pack is compacted when no more than this part of it, in hundredths, is needed.
const THRESHOLD: u64 = 50;
/// A pack smaller than this is small: together with others it is made one, when that saves [`FEW`] of them.
const SMALL: u64 = 1024 * 1024;
const FEW: usize = 8;
/// How often a new pack's PUT is tried.
const TRIES: u32 = 5;
/// Packs that are compacted together at the most.
const TOGETHER: usize = 500;

/// Packs to be compacted together.
#[derive(Default)]
struct Lot {
    packs: Vec<PackUse>,
    live: u64,
}

impl Lot {
    fn push(&mut self, pack: PackUse) {
        self.live += pack.live();
        self.packs.push(pack);
    }

    fn is_full(&self) -> bool {
        self.live >= pack::TARGET as u64 || self.packs.len() >= TOGETHER
    }
}

impl Run<'_> {
    /// Looks at all packs of which something may not be needed any more.
    pub(super) async fn packs(
        &self,
        upto: i64,
        swept: &Swept,
        report: &mut PackReport,
    ) -> Result<(), CollectError> {
        let index = &self.collector.index;
        let (mut lot, mut small) = (Lot::default(), Lot::default());
        let mut dead: Vec<PackUse> = Vec::new();
        let mut after = 0;
        let mut touched = swept
            .touched
            .iter()
            .copied()
            .filter(|pack| *pack <= upto)
            .peekable();
        let last = index.last_pack().await?;
        report.too_new = index.suspects_behind(upto).await?;
        loop {
            // Suspects and, of a look, what it would make suspect, in one order.
            let mut page = index.suspects(after, upto, 100).await?;
            let end = page.last().copied().unwrap_or(last);
            while let Some(pack) = touched.next_if(|pack| *pack <= end) {
                page.push(pack);
            }
            page.sort_unstable();
            page.dedup();
            let Some(latest) = page.last() else { break };
            after = *latest;
            for id in page {
                if self.stop.is_cancelled() {
                    return Ok(());
                }
                let Some(pack) = index.pack_use(id, |path| !swept.dead.has(path)).await? else {
                    index.clear_suspect(id).await?;
                    continue;
                };
                report.looked_at += 1;
                if report.looked_at.is_multiple_of(100) {
                    self.tell(Stage::Packs(report.looked_at));
                }
                let live = pack.live();
                if live == 0 {
                    dead.push(pack);
                    if dead.len() == GROUP {
                        self.give_up(std::mem::take(&mut dead), report).await?;
                    }
                } else if pack.damaged || live.saturating_mul(100) <= pack.size.saturating_mul(THRESHOLD) {
                    lot.push(pack);
                    if lot.is_full() {
                        self.compact(std::mem::take(&mut lot), report).await?;
                    }
                } else if pack.size < SMALL {
                    // Stays a suspect until there are enough of its kind.
                    small.push(pack);
                    if small.is_full() {
                        self.compact(std::mem::take(&mut small), report).await?;
                    }
                } else if !self.dry_run {
                    index.clear_suspect(id).await?;
                }
            }
        }
        self.give_up(dead, report).await?;
        if small.packs.len() > FEW || !lot.packs.is_empty() {
            for pack in small.packs {
                lot.push(pack);
            }
        }
        self.compact(lot, report).await
    }

    /// Gives packs up that nothing is needed of.
    async fn give_up(&self, packs: Vec<PackUse>, report: &mut PackReport) -> Result<(), CollectError> {
        for pack in self.condemn(packs).await? {
            report.dead.add(pack.size);
        }
        Ok(())
    }

    /// Copies what is needed, then gives the packs up.
    async fn compact(&self, lot: Lot, report: &mut PackReport) -> Result<(), CollectError> {
        if lot.packs.is_empty() {
            return Ok(());
        }
        if self.dry_run {
            for pack in &lot.packs {
                report.compacted.add(pack.size);
            }
            report.copied += lot.live;
            return Ok(());
        }
        let mut builder = PackBuilder::default();
        let mut whole = Vec::with_capacity(lot.packs.len());
        for pack in lot.packs {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let Some(frames) = self.copy(&pack).await? else {
                continue;
            };
            for frame in frames {
                report.copied += frame.stored.len() as u64;
                builder.append([&frame]);
                if builder.size() >= pack::TARGET {
                    self.store(std::mem::take(&mut builder)).await?;
                    self.tell(Stage::Copied(report.copied));
                }
            }
            whole.push(pack);
        }
        if !builder.is_empty() {
            self.store(builder).await?;
            self.tell(Stage::Copied(report.copied));
        }
        while !whole.is_empty() {
            let some = whole.split_off(whole.len().saturating_sub(GROUP));
            for pack in self.condemn(some).await? {
                report.compacted.add(pack.size);
            }
        }
        Ok(())
    }

    /// Reads what is needed of a pack and checks it. None: something is damaged, which was noted.
    async fn copy(&self, pack: &PackUse) -> Result<Option<Vec<Frame>>, CollectError> {
        let wanted = pack
            .needed
            .iter()
            .enumerate()
            .map(|(index, (offset, frame))| Wanted {
                index,
                pack: pack.name,
                offset: *offset,
                stored: frame.stored,
            });
        let mut frames = Vec::with_capacity(pack.needed.len());
        let mut damage = DamageRecord::default();
        for Fetch {
            range,
            frames: wanted,
            ..
        } in plan(wanted)
        {
            // Read and written.
            self.collector.pace.take(2 * (range.end - range.start)).await;
            let key = ObjectKey::Pack(pack.name).to_string();
            let bytes = match self.collector.store.get_range(&key, range.clone()).await {
                Ok(bytes) => bytes,
                Err(ObjectError::NotFound { .. }) => {
                    damage.packs = vec![pack.name];
                    break;
                }
                Err(error) => return Err(CollectError::Bucket(sentence(&error))),
            };
            let expected: Vec<(usize, PackedFrame)> = wanted
                .iter()
                .filter_map(|wanted| {
                    let from = usize::try_from(wanted.offset.saturating_sub(range.start)).ok()?;
                    Some((from, pack.needed.get(wanted.index)?.1))
                })
                .collect();
            let name = pack.name;
            let checked = tokio::task::spawn_blocking(move || {
                let mut good = Vec::with_capacity(expected.len());
                let mut lost = Vec::new();
                for (from, frame) in expected {
                    let to = from.saturating_add(frame.stored as usize);
                    match bytes.get(from..to) {
                        Some(stored) if Digest::of(stored) == frame.frame => good.push(Frame {
                            piece: frame.piece,
                            frame: frame.frame,
                            raw: frame.raw,
                            stored: stored.to_vec(),
                        }),
                        _ => lost.push((name, frame.frame)),
                    }
                }
                (good, lost)
            })
            .await;
            let Ok((good, lost)) = checked else {
                return Err(CollectError::Stopping);
            };
            frames.extend(good);
            damage.frames.extend(lost);
        }
        if damage == DamageRecord::default() {
            return Ok(Some(frames));
        }
        tracing::error!(pack = %pack.name, "a pack is damaged; its paths are reported missing until they are pushed again");
        self.commit(Record::Damaged(damage)).await?;
        Ok(None)
    }

    /// Stores a new pack and registers it.
    async fn store(&self, builder: PackBuilder) -> Result<PackName, CollectError> {
        let collector = self.collector;
        let (bytes, frames) = builder.finish();
        let name = PackName(collector.random.bytes());
        let hashed =
            tokio::task::spawn_blocking(move || (Digest::of(&bytes), bytes::Bytes::from(bytes))).await;
        let Ok((digest, bytes)) = hashed else {
            return Err(CollectError::Stopping);
        };
        let key = ObjectKey::Pack(name).to_string();
        let size = bytes.len() as u64;
        let mut backoff = Backoff::default();
        let mut tries = 1;
        while let Err(error) = collector.store.put(&key, bytes.clone()).await {
            if tries == TRIES || matches!(error, ObjectError::Refused { .. }) {
                return Err(CollectError::Bucket(sentence(&error)));
            }
            tries += 1;
            backoff.pause(&collector.random).await;
        }
        let record = PackRecord {
            name,
            digest,
            size,
            frames,
        };
        may_die!("collect.moved");
        self.commit(Record::PackAdded(record)).await?;
        may_die!("collect.registered");
        Ok(name)
    }

    /// Gives packs up, as far as nothing is needed of them; gives those that were.
    async fn condemn(&self, packs: Vec<PackUse>) -> Result<Vec<PackUse>, CollectError> {
        if packs.is_empty() || self.dry_run {
            return Ok(packs);
        }
        let names: Vec<PackName> = packs.iter().map(|pack| pack.name).collect();
        if self.condemn_names(names).await? {
            return Ok(packs);
        }
        // One of them is needed after all: an upload found what it needs in it, or two of them hold the same.
        let mut given_up = Vec::with_capacity(packs.len());
        for pack in packs {
            if self.condemn_names(vec![pack.name]).await? {
                given_up.push(pack);
            }
        }
        Ok(given_up)
    }

    /// Whether they were given up: all or none are.
    pub(super) async fn condemn_names(&self, names: Vec<PackName>) -> Result<bool, CollectError> {
        let record = Record::PacksCondemned(names);
        let mut backoff = Backoff::default();
        may_die!("collect.before-condemning");
        loop {
            match self.collector.committer.commit(vec![record.clone()]).await {
                Ok(()) => {
                    may_die!("collect.condemned");
                    return Ok(true);
                }
                Err(CommitError::Refused(Refusal::PackNeeded(_))) => return Ok(false),
                Err(CommitError::Refused(Refusal::Again)) if !self.stop.is_cancelled() => {
                    backoff.pause(&self.collector.random).await;
                }
                Err(error) => return Err(CollectError::Commit(error.to_string())),
            }
        }
    }

    pub(super) async fn commit(&self, record: Record) -> Result<(), CollectError> {
        let committed = self.collector.committer.commit(vec![record]).await;
        committed.map_err(|error| CollectError::Commit(error.to_string()))
    }
}
