//! A bucket in memory that can be told how to fail. For tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use futures::FutureExt as _;

use super::{Answer, ObjectError, ObjectStore, Page};

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and the writer hears an error.
    Lost,
    /// It is done, and the writer hears an error.
    Unheard,
    /// It is done and answered as it should be.
    None,
}

/// Decides the fate of a write by its number (from 0) and key.
pub type FaultPlan = Box<dyn FnMut(usize, &str) -> Fault + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    puts: usize,
    plan: Option<FaultPlan>,
    down: bool,
    unlisted: Vec<String>,
}

/// A bucket in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryStore")
    }
}

impl MemoryStore {
    /// Lets `plan` decide the fate of every write from now on.
    pub fn set_faults(&self, plan: Option<FaultPlan>) {
        let mut state = self.lock();
        state.plan = plan;
        state.puts = 0;
    }

    /// While down, nothing answers.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// The next listing does not show this key, as one that passed its place just before it was written.
    pub fn miss_in_next_listing(&self, key: &str) {
        self.lock().unlisted.push(key.to_owned());
    }

    /// The number of writes since the faults were set.
    #[must_use]
    pub fn puts(&self) -> usize {
        self.lock().puts
    }

    /// Replaces an object's bytes behind everybody's back; `None` removes it.
    pub fn tamper(&self, key: &str, body: Option<Bytes>) {
        let mut state = self.lock();
        match body {
            Some(body) => state.objects.insert(key.to_owned(), body),
            None => state.objects.remove(key),
        };
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Bytes of an object; 0 for one that is not there.
    #[must_use]
    pub fn size(&self, key: &str) -> usize {
        self.lock().objects.get(key).map_or(0, Bytes::len)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ask<T>(
        &self,
        what: &'static str,
        key: &str,
        act: impl FnOnce(&mut State) -> Option<T>,
    ) -> Result<T, ObjectError> {
        let mut state = self.lock();
        if state.down {
            return Err(unavailable(what, key));
        }
        act(&mut state).ok_or_else(|| ObjectError::NotFound { key: key.to_owned() })
    }
}

fn unavailable(what: &'static str, key: &str) -> ObjectError {
    ObjectError::Unavailable {
        what,
        key: key.to_owned(),
        source: "made to fail".into(),
    }
}

impl ObjectStore for MemoryStore {
    fn put<'a>(&'a self, key: &'a str, body: Bytes) -> Answer<'a, ()> {
        async move {
            let fault = self.ask("write", key, |state| {
                let number = state.puts;
                state.puts += 1;
                let fault = state.plan.as_mut().map_or(Fault::None, |plan| plan(number, key));
                if fault != Fault::Lost {
                    state.objects.insert(key.to_owned(), body);
                }
                Some(fault)
            })?;
            if fault == Fault::None {
                Ok(())
            } else {
                Err(unavailable("write", key))
            }
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Bytes> {
        async move { self.ask("read", key, |state| state.objects.get(key).cloned()) }.boxed()
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        async move {
            let body = self.ask("read", key, |state| state.objects.get(key).cloned())?;
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
            Ok(body.slice(at(range.start)..at(range.end)))
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Answer<'a, Page> {
        async move {
            self.ask("list", prefix, |state| {
                let mut keys: Vec<String> = state
                    .objects
                    .keys()
                    .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
                    .take(101)
                    .cloned()
                    .collect();
                let more = keys.len() > 100;
                keys.truncate(100);
                keys.retain(|key| {
                    let missed = state.unlisted.iter().position(|missed| missed == key);
                    missed.map(|at| state.unlisted.remove(at)).is_none()
                });
                let sizes = keys
                    .iter()
                    .map(|key| state.objects.get(key).map_or(0, |body| body.len() as u64))
                    .collect();
                Some(Page { keys, sizes, more })
            })
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        async move {
            self.ask("delete", key, |state| {
                state.objects.remove(key);
                Some(())
            })
        }
        .boxed()
    }
}
