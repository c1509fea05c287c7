//! Answers to a coordinator's questions, in a task of its own: the loop may be busy with a unit, a promise must not wait.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayloft_api::NodeId;
use hayloft_api::question::{Answer, LARGEST_KIT, LayoutFacts, MOST_NAMES, Question, Refusal};
use hayloft_garage::layout_file;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::agent::one_line;
use crate::blocks::{self, Counter, Counting};
use crate::clock::Clock;
use crate::data;
use crate::files;
use crate::launch::Places;
use crate::ledger;
use crate::membership::Membership;
use crate::promise::KeptPromise;
use crate::snapshots::{Kept, Own};

/// A question, and where its answer goes.
pub type Asked = (Question, oneshot::Sender<Result<Answer, Refusal>>);

/// So many questions that need the disk are answered at a time.
const AT_ONCE: usize = 4;
/// Garage writes its layout in place: a file that cannot be understood is read again so often.
const READS: usize = 5;
const BETWEEN_READS: std::time::Duration = std::time::Duration::from_millis(20);

/// What the loop and the answers both look at.
#[derive(Debug)]
pub(crate) struct Shared {
    promise: Mutex<KeptPromise>,
    node: Mutex<NodeId>,
    places: Places,
    pub(crate) counter: Counter,
    own: Own,
    kept: Kept,
}

impl Shared {
    pub(crate) fn new(places: Places, clock: Clock, node: NodeId, promise: KeptPromise) -> Self {
        Self {
            promise: Mutex::new(promise),
            node: Mutex::new(node),
            counter: Counter::new(places.clone(), clock.clone()),
            kept: Kept::new(&places.dir),
            own: Own::new(places.clone(), clock),
            places,
        }
    }

    pub(crate) fn with_promise<T>(&self, look: impl FnOnce(&mut KeptPromise) -> T) -> T {
        // A panic while it was held left either the old promise or the new one.
        look(&mut self.promise.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host is another node from now on, and what was counted is void.
    pub(crate) fn is_now(&self, node: NodeId) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
        self.counter.forget();
    }

    fn node(&self) -> NodeId {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers until nobody can ask any more, or until its task is ended.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut questions: mpsc::Receiver<Asked>,
    mut paused: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((question, answer)) = questions.recv().await {
        let _ = paused.wait_for(|paused| !paused).await;
        // Who asked may have given up, which `send` shows and nobody minds.
        if let Question::Promise { .. } | Question::Release { .. } = &question {
            let _ = answer.send(reply(&shared, question));
            continue;
        }
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || {
            let _ = answer.send(reply(&shared, question));
            drop(place);
        });
    }
}

fn reply(shared: &Shared, question: Question) -> Result<Answer, Refusal> {
    match question {
        Question::Promise {
            epoch,
            instance,
            seconds,
        } => shared.with_promise(|kept| {
            let now = Instant::now();
            let promise = kept.get().ask(now, epoch, &instance, seconds)?;
            let seconds = promise.seconds_left(now);
            kept.set(promise).map_err(|error| failed(&error))?;
            Ok(Answer::Promised { seconds })
        }),
        Question::Release { epoch, instance } => shared.with_promise(|kept| {
            let promise = kept.get().release(epoch, &instance);
            kept.set(promise).map_err(|error| failed(&error))?;
            Ok(Answer::Done)
        }),
        Question::Layout { with_map } => layout(&shared.places, with_map).map(Answer::Layout),
        Question::Census { fresh_after } => match shared.counter.ask(fresh_after) {
            Counting::Done(census) => Ok(Answer::Census(Box::new(Arc::unwrap_or_clone(census)))),
            Counting::Under { began, done } => Ok(Answer::Counting { began, done }),
            Counting::Failed(why) => Err(Refusal::Failed { why }),
        },
        Question::Names {
            partition,
            after,
            limit,
        } => names(&shared.places, partition, after, limit.min(MOST_NAMES)),
        Question::Snapshot => shared.own.newest(shared.node()),
        Question::SnapshotPart {
            id,
            file,
            offset,
            limit,
        } => shared.own.part(&id, &file, offset, limit),
        Question::KeepSnapshot {
            of,
            info,
            file,
            offset,
            data,
        } => shared.kept.keep(&of, &info, &file, offset, &data),
        Question::KeptSnapshots => shared.kept.all(),
        Question::KeptPart {
            of,
            id,
            file,
            offset,
            limit,
        } => shared.kept.part(&of, &id, &file, offset, limit),
        Question::DropKept { of } => shared.kept.drop_all(&of),
        Question::Ledger => match ledger::peek(&shared.places.ledger()) {
            Ok(desired) => Ok(Answer::Ledger {
                desired: desired.map(Box::new),
            }),
            Err(error) => Err(failed(&error)),
        },
        Question::Trusted => match Membership::at(&shared.places.dir).list() {
            Ok(list) => Ok(Answer::Trusted { list }),
            Err(error) => Err(failed(&error)),
        },
        Question::KeepKit { kit } => keep_kit(&shared.places, &kit),
        Question::Unknown => Err(Refusal::Senseless {
            why: "the coordinator is newer than this agent, which does not know that question; upgrade it"
                .to_owned(),
        }),
        // The link answers these by itself.
        Question::Admin { .. } | Question::Dial { .. } => Err(Refusal::Senseless {
            why: "the coordinator is on this machine".to_owned(),
        }),
    }
}

fn layout(places: &Places, with_map: bool) -> Result<LayoutFacts, Refusal> {
    let mut read = layout_file::read(&places.metadata_dir(), with_map);
    for _ in 1..READS {
        if read.is_ok() {
            break;
        }
        std::thread::sleep(BETWEEN_READS);
        read = layout_file::read(&places.metadata_dir(), with_map);
    }
    let none = LayoutFacts {
        versions: Vec::new(),
        old_versions: Vec::new(),
    };
    read.map(|facts| facts.unwrap_or(none))
        .map_err(|error| failed(&error))
}

fn names(
    places: &Places,
    partition: u8,
    after: Option<hayloft_api::question::BlockName>,
    limit: u32,
) -> Result<Answer, Refusal> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Err(Refusal::Senseless {
            why: "at least one name must be asked for".to_owned(),
        });
    }
    let readable = || data::countable(places).map_err(|why| Refusal::Failed { why });
    readable()?;
    let (names, more) =
        blocks::names(&places.data_dir(), partition, after, limit).map_err(|error| Refusal::Failed {
            why: format!("cannot list blocks: {error}"),
        })?;
    // A disk that was taken away meanwhile would show as empty.
    readable()?;
    Ok(Answer::Names { names, more })
}

fn keep_kit(places: &Places, kit: &str) -> Result<Answer, Refusal> {
    if kit.len() > LARGEST_KIT {
        return Err(Refusal::Senseless {
            why: "a recovery kit is not so large".to_owned(),
        });
    }
    let kit = STANDARD.decode(kit).map_err(|error| Refusal::Senseless {
        why: error.to_string(),
    })?;
    files::replace(&places.kit(), &kit, 0o600).map_err(|error| failed(&error))?;
    Ok(Answer::Done)
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::Failed { why: one_line(error) }
}
