//! Counting all blocks: 27 million names at the design's limit, so it is done a partition at a time, in a thread of low
//! priority that rests as long as it works, and what is known is remembered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hayloft_api::question::{BlockName, Census, Digest, PARTITIONS, PartitionCensus};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::in_folder;
use crate::clock::Clock;
use crate::data;
use crate::launch::Places;

/// Of so many blocks of a partition the length is looked at; of more it is reckoned from every so-manieth.
const MEASURED: usize = 4096;
/// A thread that waits for its disk rests between partitions, so that others get at it; never longer than this.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// Partitions that took less cost nobody anything.
const WORTH_A_REST: Duration = Duration::from_millis(20);
/// The lowest priority that Linux has.
const NICE: i32 = 19;

/// What is known of a count.
#[derive(Debug, Clone)]
pub(crate) enum Counting {
    /// It is done.
    Done(Arc<Census>),
    /// It is being done.
    Under {
        /// Since when.
        began: Timestamp,
        /// Partitions counted.
        done: u16,
    },
    /// It could not be done.
    Failed(String),
}

#[derive(Debug, Default)]
struct Progress {
    /// The last that was finished.
    last: Option<Arc<Census>>,
    /// One under way: since when, and how far.
    under: Option<(Timestamp, u16)>,
    /// Why the last one failed, if nothing succeeded since.
    failed: Option<String>,
}

/// Counts the blocks of a host, one count at a time.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    places: Places,
    clock: Clock,
    progress: Arc<Mutex<Progress>>,
    finished: watch::Sender<Option<Arc<Census>>>,
    stop: Arc<AtomicBool>,
}

impl Counter {
    pub(crate) fn new(places: Places, clock: Clock) -> Self {
        Self {
            places,
            clock,
            progress: Arc::default(),
            finished: watch::Sender::new(None),
            stop: Arc::default(),
        }
    }

    /// The last finished count, as it changes.
    pub(crate) fn finished(&self) -> watch::Receiver<Option<Arc<Census>>> {
        self.finished.subscribe()
    }

    /// Ends a count that is under way, soon.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Nothing that was counted before holds any more.
    pub(crate) fn forget(&self) {
        self.progress().last = None;
        self.finished.send_replace(None);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A count that began after `fresh_after`; one is begun when there is none.
    pub(crate) fn ask(&self, fresh_after: Option<Timestamp>) -> Counting {
        let mut progress = self.progress();
        let fresh = |began: Timestamp| fresh_after.is_none_or(|after| began > after);
        if let Some(last) = &progress.last
            && fresh(last.began)
        {
            return Counting::Done(last.clone());
        }
        if let Some((began, done)) = progress.under {
            // One that began too early ends first; the next is begun when it is asked for again.
            return Counting::Under { began, done };
        }
        if let Some(why) = progress.failed.take() {
            return Counting::Failed(why);
        }
        let began = self.clock.now();
        progress.under = Some((began, 0));
        drop(progress);
        let counter = self.clone();
        let started = std::thread::Builder::new()
            .name("census".to_owned())
            .spawn(move || counter.count(began));
        if let Err(error) = started {
            self.progress().under = None;
            return Counting::Failed(format!("no thread for counting: {error}"));
        }
        Counting::Under { began, done: 0 }
    }

    fn count(&self, began: Timestamp) {
        // Of this thread alone. Without it the count is only less polite.
        let _ = rustix::process::setpriority_process(None, NICE);
        let counted = self.all_partitions();
        let mut progress = self.progress();
        progress.under = None;
        match counted {
            Ok(partitions) => {
                let census = Arc::new(Census {
                    began,
                    ended: self.clock.now(),
                    partitions,
                });
                progress.failed = None;
                progress.last = Some(census.clone());
                drop(progress);
                self.finished.send_replace(Some(census));
            }
            Err(why) => progress.failed = Some(why),
        }
    }

    fn all_partitions(&self) -> Result<Vec<PartitionCensus>, String> {
        let readable = || data::countable(&self.places);
        readable()?;
        let data_dir = self.places.data_dir();
        let mut partitions = Vec::with_capacity(PARTITIONS);
        for partition in 0..=u8::MAX {
            if self.stop.load(Ordering::Relaxed) {
                return Err("the agent ends".to_owned());
            }
            let start = Instant::now();
            let counted = one_partition(&data_dir, partition);
            partitions.push(counted.map_err(|error| format!("cannot list blocks: {error}"))?);
            if let Some((_, done)) = &mut self.progress().under {
                *done += 1;
            }
            let took = start.elapsed();
            if took > WORTH_A_REST {
                std::thread::sleep(took.min(LONGEST_REST));
            }
        }
        // A disk that was taken away meanwhile would count as empty.
        readable()?;
        Ok(partitions)
    }
}

fn one_partition(data_dir: &Path, partition: u8) -> io::Result<PartitionCensus> {
    let mut names: Vec<BlockName> = Vec::new();
    let mut sizes = Sizes::default();
    for second in 0..=u8::MAX {
        let found = in_folder(data_dir, partition, second)?;
        for block in found {
            sizes.look(names.len(), block.path);
            names.push(block.name);
        }
    }
    Ok(PartitionCensus {
        count: u64::try_from(names.len()).unwrap_or(u64::MAX),
        bytes: sizes.total(names.len()),
        digest: digest(&names),
    })
}

/// Of sorted names.
pub(crate) fn digest(names: &[BlockName]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for name in names {
        hasher.update(name.as_bytes());
    }
    Digest::new(*hasher.finalize().as_bytes())
}

/// Lengths of files, of a bounded number of them: every `stride`-th.
#[derive(Debug)]
struct Sizes {
    stride: usize,
    measured: usize,
    bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            stride: 1,
            measured: 0,
            bytes: 0,
        }
    }
}

impl Sizes {
    fn look(&mut self, index: usize, path: PathBuf) {
        if !index.is_multiple_of(self.stride) {
            return;
        }
        // One that was deleted meanwhile has none.
        if let Ok(file) = fs::metadata(path) {
            self.bytes += file.len();
        }
        self.measured += 1;
        if self.measured >= MEASURED {
            // From here on half as many are looked at: those before count for half.
            self.stride *= 2;
            self.measured /= 2;
            self.bytes /= 2;
        }
    }

    fn total(&self, count: usize) -> u64 {
        if self.stride == 1 {
            return self.bytes;
        }
        let (bytes, count, measured) = (
            u128::from(self.bytes),
            count as u128,
            self.measured.max(1) as u128,
        );
        u64::try_from(bytes * count / measured).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lay;
    use super::*;
    use crate::launch::Program;

    fn places(dir: &Path) -> Places {
        Places {
            dir: dir.to_owned(),
            admin_socket: dir.join("admin.sock"),
            garage: "/bin/false".into(),
            gateway: Program {
                path: "/bin/false".into(),
                args: vec![],
            },
            reach: crate::reach::Reach::Loopback,
        }
    }

    fn counted(counter: &Counter, fresh_after: Option<Timestamp>) -> Arc<Census> {
        let start = Instant::now();
        loop {
            match counter.ask(fresh_after) {
                Counting::Done(census) => return census,
                Counting::Failed(why) => panic!("{why}"),
                Counting::Under { .. } => {
                    assert!(start.elapsed() < Duration::from_secs(60), "it never ends");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn a_count_tells_how_many_how_long_and_which() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let data = places.data_dir();
        lay(&data, "0001", "", b"12345");
        lay(&data, "0002", ".zst", b"123");
        lay(&data, "ff01", "", b"1");
        let ticks = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
        let clock = Clock::new(move || {
            let mut now = ticks.lock().unwrap();
            *now += Duration::from_secs(1);
            *now
        });
        let counter = Counter::new(places, clock);
        let census = counted(&counter, None);
        assert_eq!((census.blocks(), census.bytes()), (3, 9));
        assert_eq!(census.partitions.len(), PARTITIONS);
        assert_eq!((census.partitions[0].count, census.partitions[0].bytes), (2, 8));

        // Remembered until a fresher one is asked for.
        lay(&data, "0003", "", b"");
        assert_eq!(counted(&counter, None), census);
        let fresher = counted(&counter, Some(census.began));
        assert!(fresher.began > census.began);
        assert_ne!(fresher.partitions[0].digest, census.partitions[0].digest);
        assert_eq!(fresher.partitions[1..], census.partitions[1..]);
        assert_eq!(*counter.finished().borrow(), Some(fresher));
    }

    #[test]
    fn the_same_names_have_the_same_digest_however_the_blocks_are_stored() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for digits in ["0701", "07ff", "0700"] {
            lay(one.path(), digits, "", b"plain");
            lay(two.path(), digits, ".zst", b"packed");
        }
        let (one, two) = (
            one_partition(one.path(), 7).unwrap(),
            one_partition(two.path(), 7).unwrap(),
        );
        assert_eq!(one.digest, two.digest);
        assert_ne!(one.bytes, two.bytes);
    }

    #[test]
    fn the_length_of_many_is_reckoned_from_some() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [0; 10]).unwrap();
        let mut sizes = Sizes::default();
        for index in 0..50_000 {
            sizes.look(index, path.clone());
        }
        let total = sizes.total(50_000);
        assert!((450_000..=550_000).contains(&total), "{total}");
        assert!(sizes.measured <= MEASURED);
    }

    /// Prints how long it takes: `cargo test -p hayloft-agent --release two_hundred_thousand -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn two_hundred_thousand_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        for n in 0..200_000_u64 {
            lay(
                &places.data_dir(),
                &hex::encode(blake3::hash(&n.to_le_bytes()).as_bytes()),
                "",
                b"",
            );
        }
        let start = Instant::now();
        let census = counted(&Counter::new(places, Clock::new(|| Timestamp::UNIX_EPOCH)), None);
        println!("{} blocks counted in {:?}", census.blocks(), start.elapsed());
        assert_eq!(census.blocks(), 200_000);
    }
}
