//! What a person sees of a push: bars on a terminal, lines elsewhere, or nothing.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayloft_nixcache::api::UploadResult;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::nix::PathInfo;
use super::summary::deduplicated;
use crate::words;

/// Where lines go.
pub(crate) type Sink = Arc<Mutex<dyn Write + Send>>;

#[derive(Clone)]
enum Look {
    Bars {
        multi: MultiProgress,
        total: ProgressBar,
    },
    Lines,
    Quiet,
}

/// The progress of one push. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    look: Look,
    sink: Sink,
    sum: Arc<Sum>,
}

#[derive(Default)]
struct Sum {
    paths: AtomicU64,
    bytes: AtomicU64,
    paths_done: AtomicU64,
    bytes_moved: AtomicU64,
}

/// Counts the bytes of one path.
#[derive(Clone)]
pub(crate) struct Meter {
    /// Bytes handed to the connection in this try.
    pub(crate) moved: Arc<AtomicU64>,
    sum: Arc<Sum>,
    bar: Option<ProgressBar>,
    total: Option<ProgressBar>,
}

impl Progress {
    /// Bars on the terminal that standard error is.
    pub(crate) fn bars(sink: Sink) -> Progress {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let total = ProgressBar::hidden();
        Progress {
            look: Look::Bars { multi, total },
            sink,
            sum: Arc::default(),
        }
    }

    /// A line for each path.
    pub(crate) fn lines(sink: Sink) -> Progress {
        Progress {
            look: Look::Lines,
            sink,
            sum: Arc::default(),
        }
    }

    /// Only what went wrong.
    pub(crate) fn quiet(sink: Sink) -> Progress {
        Progress {
            look: Look::Quiet,
            sink,
            sum: Arc::default(),
        }
    }

    /// Says something worth knowing.
    pub(crate) fn note(&self, line: &str) {
        if !matches!(self.look, Look::Quiet) {
            self.complain(line);
        }
    }

    /// Says something that went wrong, also when quiet.
    pub(crate) fn complain(&self, line: &str) {
        let write = || {
            let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(sink, "{line}");
        };
        match &self.look {
            Look::Bars { multi, .. } => multi.suspend(write),
            Look::Lines | Look::Quiet => write(),
        }
    }

    /// A spinner for work whose length is not known; gone when it is dropped.
    pub(crate) fn working(&self, what: &'static str) -> Working {
        let Look::Bars { multi, .. } = &self.look else {
            return Working(None);
        };
        let spinner = multi.add(ProgressBar::new_spinner().with_message(what));
        spinner.enable_steady_tick(Duration::from_millis(120));
        Working(Some(spinner))
    }

    /// The uploads begin.
    #[must_use]
    pub(crate) fn begin(&self, infos: &[PathInfo]) -> Progress {
        let mut fresh = self.clone();
        fresh.sum = Arc::default();
        let bytes = infos
            .iter()
            .fold(0, |sum: u64, info| sum.saturating_add(info.nar_size));
        fresh
            .sum
            .paths
            .store(u64::try_from(infos.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        fresh.sum.bytes.store(bytes, Ordering::Relaxed);
        if let Look::Bars { multi, total } = &mut fresh.look {
            let style = "{bar:30} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {msg}";
            *total = multi.add(ProgressBar::new(bytes).with_style(style_of(style)));
            total.set_message(format!("0 of {}", words::count(infos.len(), "path")));
            total.enable_steady_tick(Duration::from_millis(250));
        }
        fresh
    }

    /// One path's upload begins.
    pub(crate) fn path(&self, info: &PathInfo) -> Meter {
        let (bar, total) = match &self.look {
            Look::Bars { multi, total } => {
                let bar = ProgressBar::new(info.nar_size)
                    .with_style(style_of("  {bar:20} {binary_bytes:>10}  {msg}"));
                let bar = multi.insert_before(total, bar);
                bar.set_message(info.path.name().to_owned());
                (Some(bar), Some(total.clone()))
            }
            Look::Lines | Look::Quiet => (None, None),
        };
        Meter {
            moved: Arc::default(),
            sum: Arc::clone(&self.sum),
            bar,
            total,
        }
    }

    /// One path is in the cache.
    pub(crate) fn path_done(&self, info: &PathInfo, meter: &Meter, result: &UploadResult) {
        meter.remove();
        let done = self.sum.paths_done.fetch_add(1, Ordering::Relaxed) + 1;
        let paths = words::count(self.paths(), "path");
        match &self.look {
            Look::Bars { total, .. } => total.set_message(format!("{done} of {paths}")),
            Look::Lines => {
                let share = deduplicated(result);
                let known = if share >= 0.01 {
                    format!(", {:.0} % deduplicated", share * 100.0)
                } else {
                    String::new()
                };
                self.note(&format!(
                    "pushed {}  {}{known}",
                    info.path.base_name(),
                    words::bytes(info.nar_size)
                ));
            }
            Look::Quiet => {}
        }
    }

    /// One path cannot be pushed.
    pub(crate) fn path_failed(&self, info: &PathInfo, meter: &Meter, why: &str) {
        meter.remove();
        self.complain(&format!("failed {}: {why}", info.path.base_name()));
    }

    /// Time passes: where there are no bars, a line says how far it is.
    pub(crate) fn tick(&self) {
        if matches!(self.look, Look::Lines) {
            let sum = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            self.note(&format!(
                "{} of {}, {} of {}",
                sum(&self.sum.paths_done),
                words::count(self.paths(), "path"),
                words::bytes(sum(&self.sum.bytes_moved)),
                words::bytes(sum(&self.sum.bytes))
            ));
        }
    }

    fn paths(&self) -> usize {
        usize::try_from(self.sum.paths.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The uploads have ended.
    pub(crate) fn end(&self) {
        if let Look::Bars { multi, total } = &self.look {
            total.finish_and_clear();
            let _ = multi.clear();
        }
    }
}

impl Meter {
    /// Counts bytes that were handed over.
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.sum.bytes_moved.fetch_add(bytes, Ordering::Relaxed);
        for bar in self.bar.iter().chain(&self.total) {
            bar.inc(bytes);
        }
    }

    /// Takes back what an earlier try counted.
    pub(crate) fn restart(&self) {
        let bytes = self.moved.swap(0, Ordering::Relaxed);
        self.sum.bytes_moved.fetch_sub(bytes, Ordering::Relaxed);
        for bar in self.bar.iter().chain(&self.total) {
            bar.dec(bytes);
        }
    }

    fn remove(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A spinner that ends with its scope.
pub(crate) struct Working(Option<ProgressBar>);

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

fn style_of(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}
