//! Requests that came by a link, by their id, so that one who asks again does no harm.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::wire::Verdict;

/// Requests that are remembered.
const MOST: usize = 8192;

/// What became of a request; none: it is under way.
pub(super) type Outcome = watch::Receiver<Option<Verdict>>;

/// The memory.
#[derive(Default)]
pub(super) struct Answered {
    state: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    outcomes: HashMap<[u8; 16], Outcome>,
    order: VecDeque<[u8; 16]>,
}

impl Answered {
    /// What became of the request, when it came before; else whoever asks for it now must see to it, and say so.
    pub(super) fn begin(&self, id: [u8; 16]) -> Result<Outcome, (watch::Sender<Option<Verdict>>, Outcome)> {
        let mut memory = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What failed may be tried again; so may what nobody sees to any more.
        let known = memory.outcomes.get(&id).filter(|outcome| {
            let lost = outcome.has_changed().is_err() && outcome.borrow().is_none();
            !lost && *outcome.borrow() != Some(Verdict::Failed)
        });
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let (say, outcome) = watch::channel(None);
        if memory.outcomes.insert(id, outcome.clone()).is_none() {
            memory.order.push_back(id);
        }
        while memory.order.len() > MOST {
            if let Some(oldest) = memory.order.pop_front() {
                memory.outcomes.remove(&oldest);
            }
        }
        Err((say, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_seen_to_once_unless_it_failed_or_was_lost() {
        let answered = Answered::default();
        let Err((say, _)) = answered.begin([1; 16]) else {
            panic!("it is new")
        };
        assert!(answered.begin([1; 16]).is_ok());
        say.send_replace(Some(Verdict::Ordered));
        drop(say);
        let again = answered.begin([1; 16]).unwrap();
        assert_eq!(*again.borrow(), Some(Verdict::Ordered));

        let Err((say, _)) = answered.begin([2; 16]) else {
            panic!("it is new")
        };
        say.send_replace(Some(Verdict::Failed));
        assert!(answered.begin([2; 16]).is_err());

        let Err((say, _)) = answered.begin([3; 16]) else {
            panic!("it is new")
        };
        drop(say);
        assert!(answered.begin([3; 16]).is_err());
    }

    #[test]
    fn the_memory_is_bounded() {
        let answered = Answered::default();
        for n in 0..MOST as u128 + 10 {
            let _ = answered.begin(n.to_le_bytes());
        }
        let memory = answered.state.lock().unwrap();
        assert_eq!((memory.outcomes.len(), memory.order.len()), (MOST, MOST));
    }
}
