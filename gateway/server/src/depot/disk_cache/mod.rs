//! Frames on this machine's disk: what was read from the bucket is kept, so that it need not be read again, not even
//! after a restart.
//!
//! A frame is known by its digest, and what the disk gives is checked against that before it is used: a file that is
//! torn, stale or damaged is merely one that holds nothing. So nothing here is ever synced or repaired.
//!
//! Files of some MiB are filled one after the other. When there are too many, the oldest goes; what was asked for since
//! it was written is written again at the front (a clock, in effect). In memory: some 30 bytes a frame.

mod segment;
mod table;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hayloft_store::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::segment::{Filling, Segment};
use self::table::{Place, Table};

/// Bytes of frames that wait to be written; more are not kept.
const WAITING: usize = 32 * 1024 * 1024;
/// Frames that wait to be written.
const QUEUE: usize = 4096;
/// Files are of this size, or of a sixteenth of what the cache may take.
const SEGMENT: u64 = 64 * 1024 * 1024;
/// The least that is worth having.
const LEAST: u64 = 1024 * 1024;
/// Frames that lie this near to each other are read together.
const GAP: u64 = 4096;
/// The most that is read at once; a tenth faster than 4 MiB (docs/store.md).
const LONGEST: u64 = 512 * 1024;

/// What is kept, and where.
struct Shared {
    table: Table,
    /// The files by their numbers.
    segments: HashMap<u32, Arc<Segment>>,
}

/// A frame that is to be kept, and its share of what may wait.
struct Job {
    digest: Digest,
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub(super) struct DiskCache {
    shared: Arc<Mutex<Shared>>,
    queue: mpsc::Sender<Job>,
    waiting: Arc<Semaphore>,
}

impl DiskCache {
    /// Opens the cache in a folder, which is made when it is not there. `size`: bytes that its files may take together.
    ///
    /// # Errors
    /// When the folder can be neither made nor read.
    pub(super) async fn open(folder: &Path, size: u64) -> io::Result<Self> {
        let (folder, size) = (folder.to_owned(), size.max(LEAST));
        let opened = tokio::task::spawn_blocking(move || -> io::Result<_> {
            make_private(&folder)?;
            let each = (size / 16).clamp(LEAST / 16, SEGMENT);
            let (writer, shared) = Writer::open(folder, size, each)?;
            Ok((writer, shared))
        });
        let (mut writer, shared) = opened.await.map_err(io::Error::other)??;
        let (queue, mut jobs) = mpsc::channel::<Job>(QUEUE);
        let task = move || {
            while let Some(job) = jobs.blocking_recv() {
                writer.keep(&job.digest, &job.bytes);
            }
            writer.close();
        };
        tokio::task::spawn_blocking(task);
        Ok(Self {
            shared,
            queue,
            waiting: Arc::new(Semaphore::new(WAITING)),
        })
    }

    /// Those of `frames` that are here, by their place in the list. Every one was checked.
    pub(super) async fn get(&self, frames: &[Option<Digest>]) -> HashMap<usize, Bytes> {
        let wanted: Vec<(usize, Digest, Place)> = {
            let mut shared = self.lock();
            let found = frames.iter().enumerate().filter_map(|(index, digest)| {
                let digest = (*digest)?;
                Some((index, digest, shared.table.find(&digest)?))
            });
            found.collect()
        };
        if wanted.is_empty() {
            return HashMap::new();
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || read(&shared, wanted)).await;
        read.unwrap_or_default()
    }

    /// Keeps a frame, unless too much waits already. The caller has checked it.
    pub(super) fn keep(&self, digest: Digest, bytes: &Bytes) {
        let Ok(length) = u32::try_from(bytes.len()) else {
            return;
        };
        if self.lock().table.has(&digest) {
            return;
        }
        let Ok(share) = Arc::clone(&self.waiting).try_acquire_many_owned(length) else {
            return;
        };
        // What does not fit into the queue is read from the bucket again.
        let _ = self.queue.try_send(Job {
            digest,
            bytes: bytes.clone(),
            _share: share,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that waited to be written is.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        let _all = self
            .waiting
            .acquire_many(u32::try_from(WAITING).unwrap())
            .await
            .unwrap();
    }
}

/// Reads frames, neighbours together, and forgets those that are not what they should be.
fn read(shared: &Mutex<Shared>, mut wanted: Vec<(usize, Digest, Place)>) -> HashMap<usize, Bytes> {
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.sort_unstable_by_key(|(_, _, place)| (place.segment, place.offset));
    let mut good = HashMap::with_capacity(wanted.len());
    let mut rest = wanted.as_slice();
    while let Some((_, _, first)) = rest.first() {
        let mut end = first.end();
        let mut count = 1;
        for (_, _, next) in rest.iter().skip(1) {
            let near = next.segment == first.segment && u64::from(next.offset) <= end + GAP;
            if !near || next.end() - u64::from(first.offset) > LONGEST {
                break;
            }
            end = end.max(next.end());
            count += 1;
        }
        let (run, later) = rest.split_at(count);
        rest = later;
        let segment = lock().segments.get(&first.segment).cloned();
        let start = u64::from(first.offset);
        let bytes = segment.and_then(|segment| segment.read(start, end - start).ok());
        for (index, digest, place) in run {
            let from = usize::try_from(u64::from(place.offset) - start).unwrap_or(usize::MAX);
            let frame = bytes
                .as_deref()
                .and_then(|bytes| bytes.get(from..from.saturating_add(place.length as usize)));
            match frame.filter(|frame| Digest::of(frame) == *digest) {
                Some(frame) => {
                    good.insert(*index, Bytes::copy_from_slice(frame));
                }
                None => lock().table.forget(digest, *place),
            }
        }
    }
    good
}

/// The one who writes.
struct Writer {
    folder: PathBuf,
    shared: Arc<Mutex<Shared>>,
    /// Files, the oldest first, with their bytes. The last may be the one that is being filled.
    files: std::collections::VecDeque<(u32, u64)>,
    filling: Option<Filling>,
    next: u32,
    size: u64,
    each: u64,
    /// The disk takes nothing: said once.
    failed: bool,
}

impl Writer {
    fn open(folder: PathBuf, size: u64, each: u64) -> io::Result<(Self, Arc<Mutex<Shared>>)> {
        let mut shared = Shared {
            table: Table::default(),
            segments: HashMap::new(),
        };
        let mut files = std::collections::VecDeque::new();
        for number in segment::list(&folder)? {
            // One that cannot be read holds nothing.
            let Ok((segment, length, frames)) = Segment::open(&folder, number) else {
                segment::remove(&folder, number);
                continue;
            };
            for (digest, offset, length) in frames {
                shared.table.insert(
                    digest,
                    Place {
                        segment: number,
                        offset,
                        length,
                    },
                );
            }
            shared.segments.insert(number, Arc::new(segment));
            files.push_back((number, length));
        }
        let next = files.back().map_or(0, |(number, _)| number + 1);
        let shared = Arc::new(Mutex::new(shared));
        let mut writer = Self {
            folder,
            shared: Arc::clone(&shared),
            files,
            filling: None,
            next,
            size,
            each,
            failed: false,
        };
        writer.shrink();
        Ok((writer, shared))
    }

    fn keep(&mut self, digest: &Digest, bytes: &[u8]) {
        if self.lock().table.has(digest) {
            return;
        }
        match self.write(digest, bytes) {
            Ok(()) => self.failed = false,
            Err(error) => {
                // Whatever became of the file, what is read from it is checked.
                self.filling = None;
                if !self.failed {
                    tracing::warn!(%error, "the disk cache cannot be written; frames are read from the bucket");
                }
                self.failed = true;
            }
        }
    }

    fn write(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        if self
            .filling
            .as_ref()
            .is_some_and(|filling| filling.length() >= self.each)
        {
            self.close();
            self.shrink();
        }
        let filling = match &mut self.filling {
            Some(filling) => filling,
            None => {
                let (filling, segment) = Filling::new(&self.folder, self.next)?;
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.segments.insert(self.next, Arc::new(segment));
                self.files.push_back((self.next, 0));
                self.next = self.next.wrapping_add(1);
                self.filling.insert(filling)
            }
        };
        let offset = filling.append(digest, bytes)?;
        let place = Place {
            segment: filling.number(),
            offset,
            length: u32::try_from(bytes.len()).unwrap_or(0),
        };
        if let Some((_, length)) = self.files.back_mut() {
            *length = filling.length();
        }
        self.lock()
            .table
            .insert(*digest.as_bytes().first_chunk().unwrap_or(&[0; 8]), place);
        Ok(())
    }

    /// Ends the file that is being filled.
    fn close(&mut self) {
        if let Some(filling) = self.filling.take()
            && let Err(error) = filling.finish()
        {
            tracing::debug!(%error, "a file of the disk cache has no table; it is read through at the next start");
        }
    }

    /// Lets the oldest files go until the rest fits, with room for one more.
    fn shrink(&mut self) {
        while self.files.iter().map(|(_, length)| length).sum::<u64>() + self.each > self.size {
            let Some((number, _)) = self.files.pop_front() else {
                return;
            };
            let hot = {
                let mut shared = self.lock();
                let hot = shared.table.drop_segment(number);
                let segment = shared.segments.remove(&number);
                segment.map(|segment| (segment, hot))
            };
            if let Some((segment, mut hot)) = hot {
                hot.sort_unstable_by_key(|place| place.offset);
                // At most half a file, or nothing would ever go.
                let mut room = self.each / 2;
                for place in hot {
                    let Ok(bytes) = segment.read(u64::from(place.offset), u64::from(place.length)) else {
                        continue;
                    };
                    room = room.saturating_sub(bytes.len() as u64);
                    if room == 0 {
                        break;
                    }
                    // Its digest is what it is now: were it damaged, nobody would ask for it.
                    let _ = self.write(&Digest::of(&bytes), &bytes);
                }
            }
            segment::remove(&self.folder, number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests;
