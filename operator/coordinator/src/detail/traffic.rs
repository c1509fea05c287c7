//! What clients ask and what hosts send, from the counters of their Garages.

use std::collections::BTreeMap;

use futures::future::join_all;
use hayloft_api::{Bytes, HostName, Rate};
use hayloft_garage::admin::{Client, Requests};
use jiff::{SignedDuration, Timestamp};

use super::{Details, bounded, due};

/// Request counters are compared over at least so long.
const COUNTED_OVER: SignedDuration = SignedDuration::from_secs(10);
/// Fewer S3 requests a second, over all hosts, are next to nothing.
const IDLE: f64 = 2.0;

impl Details {
    /// Compares counters of all hosts with the last ones, and gives them, if it is time.
    pub(crate) async fn count_requests(
        &mut self,
        clients: &BTreeMap<HostName, Client>,
        now: Timestamp,
    ) -> Option<BTreeMap<HostName, Requests>> {
        let counted = |(at, _): &(Timestamp, _)| !due(Some(*at), COUNTED_OVER, now);
        if self.requests.as_ref().is_some_and(counted) {
            return None;
        }
        let asked = clients.iter().map(|(host, client)| async move {
            let text = bounded(client.metrics()).await?;
            Some((host.clone(), Requests::of(&text)))
        });
        let seen = join_all(asked).await.into_iter().flatten().collect();
        self.take_requests(&seen, now);
        Some(seen)
    }

    fn take_requests(&mut self, seen: &BTreeMap<HostName, Requests>, now: Timestamp) {
        for (host, requests) in seen {
            self.count_reads(host, requests.block_bytes_read, now);
        }
        let counts: BTreeMap<HostName, u64> =
            seen.iter().map(|(host, seen)| (host.clone(), seen.s3)).collect();
        self.idle = match &self.requests {
            // Of clients of whom nobody tells, nothing is known.
            Some((_, before)) if before.keys().all(|host| !counts.contains_key(host)) => None,
            None => self.idle,
            Some((at, before)) => {
                let passed = now.duration_since(*at).as_secs_f64();
                let more = counts
                    .iter()
                    // A daemon that was started anew counts from nothing.
                    .map(|(host, count)| count.saturating_sub(before.get(host).copied().unwrap_or(*count)));
                #[expect(clippy::cast_precision_loss, reason = "a rate, compared with a small number")]
                let rate = more.sum::<u64>() as f64 / passed.max(1.0);
                Some(rate < IDLE)
            }
        };
        self.requests = Some((now, counts));
    }

    /// What a host reads is what it sends, to members and clients: the limit of its link is for both.
    fn count_reads(&mut self, host: &HostName, bytes: u64, now: Timestamp) {
        if let Some((at, before)) = self.reads.insert(host.clone(), (now, bytes))
            && bytes >= before
        {
            let millis = u128::try_from(now.duration_since(at).as_millis())
                .unwrap_or(0)
                .max(1);
            let rate = u128::from(bytes - before) * 1000 / millis;
            let rate = Rate(Bytes(u64::try_from(rate).unwrap_or(u64::MAX)));
            self.sending.insert(host.clone(), rate);
        }
    }

    /// A host's speed was set: what it did before says nothing of what it does now.
    pub(crate) fn forget_speed(&mut self, host: &HostName) {
        self.sending.remove(host);
        self.reads.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> HostName {
        format!("host-{n}").parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    /// Each host's S3 requests and bytes read.
    fn seen(counters: &[(u8, u64, u64)]) -> BTreeMap<HostName, Requests> {
        let requests = |(n, s3, block_bytes_read): &(u8, u64, u64)| {
            let (s3, block_bytes_read) = (*s3, *block_bytes_read);
            (
                host(*n),
                Requests {
                    s3,
                    block_bytes_read,
                    ..Requests::default()
                },
            )
        };
        counters.iter().map(requests).collect()
    }

    #[test]
    fn clients_are_idle_when_all_hosts_together_are_asked_next_to_nothing() {
        let mut details = Details::default();
        details.take_requests(&seen(&[(1, 100, 0), (2, 50, 0)]), at(0));
        assert_eq!(details.idle, None, "one look tells nothing");
        details.take_requests(&seen(&[(1, 105, 0), (2, 55, 0)]), at(10));
        assert_eq!(details.idle, Some(true));
        // Each is asked little, and both together are not.
        details.take_requests(&seen(&[(1, 117, 0), (2, 67, 0)]), at(20));
        assert_eq!(details.idle, Some(false));
    }

    #[test]
    fn a_host_that_is_new_or_was_started_anew_is_not_taken_for_a_busy_one() {
        let mut details = Details::default();
        details.take_requests(&seen(&[(1, 9000, 0)]), at(0));
        details.take_requests(&seen(&[(1, 3, 0), (2, 9000, 0)]), at(10));
        assert_eq!(details.idle, Some(true));
    }

    #[test]
    fn clients_of_hosts_that_tell_nothing_are_not_taken_for_idle() {
        let mut details = Details::default();
        details.take_requests(&seen(&[(1, 100, 0)]), at(0));
        details.take_requests(&seen(&[(1, 100, 0)]), at(10));
        assert_eq!(details.idle, Some(true));
        details.take_requests(&seen(&[]), at(20));
        assert_eq!(details.idle, None);
    }

    #[test]
    fn what_a_host_sends_is_measured_since_its_speed_was_last_set() {
        let mut details = Details::default();
        let mib = 1 << 20;
        details.take_requests(&seen(&[(1, 0, 0)]), at(0));
        assert!(details.sending.is_empty());
        details.take_requests(&seen(&[(1, 0, 20 * mib)]), at(10));
        assert_eq!(details.sending[&host(1)], Rate(Bytes(2 * mib)));
        details.forget_speed(&host(1));
        details.take_requests(&seen(&[(1, 0, 21 * mib)]), at(20));
        assert!(details.sending.is_empty(), "the first look after it says nothing");
        details.take_requests(&seen(&[(1, 0, 31 * mib)]), at(30));
        assert_eq!(details.sending[&host(1)], Rate(Bytes(mib)));
        // A daemon that was started anew counts from nothing: what was measured stays until there is better.
        details.take_requests(&seen(&[(1, 0, 5)]), at(40));
        assert_eq!(details.sending[&host(1)], Rate(Bytes(mib)));
    }
}
