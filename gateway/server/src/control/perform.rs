//! Doing what is asked, with a depot that is open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Line, Outcome, PinLine, Request};
use crate::depot::{ByteCount, Depot, FsckReport, Stage};
use crate::error::chain;

/// Between two lines of progress.
const BETWEEN: Duration = Duration::from_millis(500);

/// Does what is asked until it is done or `stop` is cancelled. Progress goes to `tell`, and is dropped when nobody takes it.
pub(crate) async fn perform(
    depot: &Depot,
    request: Request,
    stop: &CancellationToken,
    tell: mpsc::Sender<Line>,
) -> Line {
    let outcome = match request {
        Request::Collect { dry_run } => {
            let progress = Progress::new(tell);
            let removed = Mutex::new(0);
            let listener = Arc::new(move |stage: Stage| {
                let text = match stage {
                    Stage::Removed { cache, paths } => {
                        let mut removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
                        *removed += paths;
                        format!("{removed} paths went so far, now of {cache}")
                    }
                    other => other.to_string(),
                };
                progress.tell(text);
            });
            let collected = depot.collect(dry_run, stop, &(listener as _)).await;
            collected.map(Outcome::Collected).map_err(|error| chain(&error))
        }
        Request::Check(options) => {
            let progress = Progress::new(tell);
            let listener = Arc::new(move |report: &FsckReport| {
                let FsckReport {
                    packs,
                    verified,
                    verified_bytes,
                    damaged,
                    ..
                } = report;
                let read = ByteCount(*verified_bytes);
                progress.tell(format!(
                    "{verified} of {packs} packs read, {read}; damaged so far: {damaged}"
                ));
            });
            let checked = depot.fsck(options, stop, &(listener as _)).await;
            checked.map(Outcome::Checked).map_err(|error| chain(&error))
        }
        Request::Pin {
            cache,
            name,
            paths,
            until,
        } => {
            let until = until.and_then(|until| jiff::Timestamp::from_millisecond(until).ok());
            let pinned = depot.pin(&cache, &name, &paths, until).await;
            pinned.map(|()| Outcome::Changed).map_err(|error| chain(&error))
        }
        Request::Unpin { cache, name } => match depot.unpin(&cache, &name).await {
            Ok(true) => Ok(Outcome::Changed),
            Ok(false) => Err(format!("there is no pin named {name:?} in cache {cache}")),
            Err(error) => Err(chain(&error)),
        },
        Request::Pins { cache } => {
            let pins = depot.pins(&cache).await;
            let pins = pins.map(|pins| {
                let lines = pins.into_iter().map(|pin| PinLine {
                    name: pin.name,
                    paths: pin.paths,
                    until: pin.until,
                });
                Outcome::Pins(lines.collect())
            });
            pins.map_err(|error| chain(&error))
        }
    };
    match outcome {
        Ok(outcome) => Line::Done(outcome),
        Err(error) => Line::Failed(error),
    }
}

/// Tells how far something is, but not too often.
struct Progress {
    tell: mpsc::Sender<Line>,
    last: Mutex<Option<Instant>>,
}

impl Progress {
    const fn new(tell: mpsc::Sender<Line>) -> Self {
        Self {
            tell,
            last: Mutex::new(None),
        }
    }

    fn tell(&self, text: String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN)
            && self.tell.try_send(Line::Progress(text)).is_ok()
        {
            *last = Some(Instant::now());
        }
    }
}
