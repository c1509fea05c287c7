//! How long calls take and how they end, by operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::AdminError;

/// Upper bounds of the classes of durations, in milliseconds. Garage's answers take some ten milliseconds, for it checks a
/// token at each; those that a node passes on to others take as long as the slowest of them.
pub const BOUNDS_MS: [u64; 10] = [5, 10, 25, 50, 100, 250, 1_000, 2_500, 10_000, 60_000];

/// What was counted of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// Calls that ended within each of [`BOUNDS_MS`] and no earlier class; what took longer is only in `calls`.
    pub classes: [u64; BOUNDS_MS.len()],
    /// All calls that ended, well or not.
    pub calls: u64,
    /// How long they took together.
    pub total: Duration,
    /// Errors by kind: see [`AdminError::kind`]. A call that its caller gave up is in none.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Counts the calls of all clients that it is given to. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<&'static str, Counted>>>);

impl Calls {
    pub(super) fn ended<T>(&self, call: &'static str, took: Duration, outcome: &Result<T, AdminError>) {
        // What is counted is whole at any moment.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry(call).or_default();
        counted.calls += 1;
        counted.total += took;
        let millis = took.as_millis();
        let class = BOUNDS_MS.iter().position(|bound| millis <= u128::from(*bound));
        if let Some(class) = class.and_then(|class| counted.classes.get_mut(class)) {
            *class += 1;
        }
        if let Err(error) = outcome {
            *counted.errors.entry(error.kind()).or_default() += 1;
        }
    }

    /// What was counted, by operation.
    pub fn counted(&self) -> BTreeMap<&'static str, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_in_one_class_and_an_error_by_its_kind() {
        let calls = Calls::default();
        calls.clone().ended("GetX", Duration::from_millis(10), &Ok(()));
        calls.ended("GetX", Duration::from_secs(100), &Ok(()));
        let forbidden: Result<(), _> = Err(AdminError::Forbidden { call: "GetX" });
        calls.ended("GetX", Duration::from_millis(11), &forbidden);
        let counted = calls.counted().remove("GetX").unwrap();
        assert_eq!(counted.classes, [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counted.calls, 3);
        assert_eq!(counted.total, Duration::from_millis(100_021));
        assert_eq!(counted.errors, BTreeMap::from([("forbidden", 1)]));
    }
}
