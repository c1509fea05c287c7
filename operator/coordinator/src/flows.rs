//! How fast hosts receive.

use std::collections::BTreeMap;

use hayloft_api::{Bytes, HostName, Rate};
use jiff::{SignedDuration, Timestamp};

/// A rate over less is chance.
const LEAST: SignedDuration = SignedDuration::from_secs(1);

/// One host's bytes as they grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    /// The last count before it grew.
    from: (Timestamp, u64),
    /// The last count.
    last: (Timestamp, u64),
}

/// Hosts that receive.
#[derive(Debug, Default)]
pub(crate) struct Flows(BTreeMap<HostName, Flow>);

impl Flows {
    /// Takes in a count. Gives the rate while it grows; the last one, when it has stopped.
    pub(crate) fn seen(&mut self, host: &HostName, at: Timestamp, bytes: u64) -> Option<Rate> {
        let flow = self.0.entry(host.clone()).or_insert(Flow {
            from: (at, bytes),
            last: (at, bytes),
        });
        if at <= flow.last.0 {
            return None;
        }
        if bytes <= flow.last.1 {
            // It rests: what comes later is measured from here.
            flow.from = (at, bytes);
            flow.last = (at, bytes);
            return None;
        }
        flow.last = (at, bytes);
        let passed = at.duration_since(flow.from.0);
        if passed < LEAST {
            return None;
        }
        let millis = u128::try_from(passed.as_millis()).ok()?.max(1);
        let more = u128::from(bytes - flow.from.1) * 1000 / millis;
        u64::try_from(more)
            .ok()
            .filter(|more| *more > 0)
            .map(|more| Rate(Bytes(more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_while_bytes_arrive_and_not_over_the_rest_between() {
        let host: HostName = "a".parse().unwrap();
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let mut flows = Flows::default();
        assert_eq!(flows.seen(&host, at(0), 100), None);
        assert_eq!(flows.seen(&host, at(600), 100), None, "Garage's delay");
        assert_eq!(flows.seen(&host, at(610), 10_100), Some(Rate(Bytes(1000))));
        assert_eq!(flows.seen(&host, at(620), 20_100), Some(Rate(Bytes(1000))));
        assert_eq!(flows.seen(&host, at(700), 20_100), None);
    }
}
