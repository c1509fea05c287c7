//! What each host held, served and moved, month by month, for those who lend the machines.
//!
//! Counters are those of the hosts' Garages, which count from nothing when they start; time is counted between looks, and what
//! nobody watched is not counted at all.

use std::collections::BTreeMap;

use hayloft_api::HostName;
use hayloft_api::report::{HostAccount, Month, MonthReport};
use hayloft_api::status::Status;
use hayloft_engine::share;
use hayloft_garage::admin::Requests;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::store::Kind;
use crate::{Store, StoreError};

/// Time is counted in steps of this.
const STEP: SignedDuration = SignedDuration::from_secs(10);
/// After a longer pause nobody knows what was between.
const WATCHED: SignedDuration = SignedDuration::from_secs(120);
/// So many months are kept, beside the current one.
const MONTHS: u16 = 24;

/// A month as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    from: Timestamp,
    until: Timestamp,
    hosts: BTreeMap<HostName, Tally>,
    /// The counters that were last seen.
    counters: BTreeMap<HostName, Requests>,
}

/// One host's month as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    watched_seconds: u64,
    up_seconds: u64,
    /// KiB times seconds, so that a mean can be taken: a PiB over a month has its place in it.
    held_kib_seconds: u64,
    counted: Requests,
}

impl Tally {
    fn account(&self) -> HostAccount {
        HostAccount {
            watched_seconds: self.watched_seconds,
            up_seconds: self.up_seconds,
            held_bytes: (self.held_kib_seconds / self.watched_seconds.max(1)).saturating_mul(1024),
            requests: self.counted.s3,
            read_bytes: self.counted.block_bytes_read,
            written_bytes: self.counted.block_bytes_written,
            blocks_sent: self.counted.resync_sent,
            blocks_received: self.counted.resync_received,
        }
    }
}

/// The month that goes on.
#[derive(Debug)]
pub(crate) struct Accounts {
    month: Month,
    record: Record,
    /// A month that is over and was not kept to its end yet.
    over: Option<(Month, Record)>,
    looked: Option<Timestamp>,
}

impl Accounts {
    /// As they were kept.
    pub(crate) async fn load(store: &Store, now: Timestamp) -> Result<Self, StoreError> {
        let mut kept: BTreeMap<Month, Record> = store.records(Kind::Month).await?;
        let last = kept.pop_last();
        Ok(Self::resume(last, now))
    }

    fn resume(last: Option<(Month, Record)>, now: Timestamp) -> Self {
        let month = Month::of(now);
        let record = match last {
            Some((kept, record)) if kept == month => record,
            other => Record {
                from: now,
                until: now,
                hosts: BTreeMap::new(),
                counters: other.map(|(_, record)| record.counters).unwrap_or_default(),
            },
        };
        Self {
            month,
            record,
            over: None,
            looked: None,
        }
    }

    /// Takes in the counters of hosts.
    pub(crate) fn count(&mut self, seen: &BTreeMap<HostName, Requests>) {
        for (host, now) in seen {
            let before = self.record.counters.insert(host.clone(), *now);
            let tally = self.record.hosts.entry(host.clone()).or_default();
            tally.counted = tally.counted.plus(now.since(before.as_ref()));
        }
    }

    /// Counts the time since the last look.
    pub(crate) fn look(&mut self, status: &Status, now: Timestamp) {
        let passed = self.looked.map(|looked| now.duration_since(looked));
        if passed.is_some_and(|passed| !passed.is_negative() && passed < STEP) {
            return;
        }
        self.looked = Some(now);
        if Month::of(now) != self.month {
            let counters = self.record.counters.clone();
            let fresh = Record {
                from: now,
                until: now,
                hosts: BTreeMap::new(),
                counters,
            };
            let over = std::mem::replace(&mut self.record, fresh);
            self.over = Some((std::mem::replace(&mut self.month, Month::of(now)), over));
        }
        self.record.until = now;
        let watched = passed.filter(|passed| !passed.is_negative() && *passed <= WATCHED);
        let Some(seconds) = watched.and_then(|passed| u64::try_from(passed.as_secs()).ok()) else {
            return;
        };
        for host in &status.hosts {
            let tally = self.record.hosts.entry(host.name.clone()).or_default();
            tally.watched_seconds += seconds;
            if host.up {
                tally.up_seconds += seconds;
            }
            let used = status.space.used.map_or(0, |used| used.0);
            let held_kib = share(used, host.partitions.unwrap_or(0)) / 1024;
            let held = held_kib.saturating_mul(seconds);
            tally.held_kib_seconds = tally.held_kib_seconds.saturating_add(held);
        }
    }

    /// Writes down what there is, and forgets what is long over.
    pub(crate) async fn keep(&mut self, store: &Store) -> Result<(), StoreError> {
        if let Some((month, record)) = &self.over {
            store.put_record(Kind::Month, month, record).await?;
            let kept: BTreeMap<Month, Record> = store.records(Kind::Month).await?;
            for month in kept.keys().filter(|month| **month < self.month.before(MONTHS)) {
                store.drop_record(Kind::Month, month).await?;
            }
            self.over = None;
        }
        if self.looked.is_some() {
            store.put_record(Kind::Month, &self.month, &self.record).await?;
        }
        Ok(())
    }
}

impl Store {
    /// What hosts held, served and moved, in every month that is kept, as far as it is written down: up to half a minute ago.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reports(&self) -> Result<BTreeMap<Month, MonthReport>, StoreError> {
        let kept: BTreeMap<Month, Record> = self.records(Kind::Month).await?;
        let reports = kept.into_iter().map(|(month, record)| {
            let hosts = record.hosts.iter();
            let report = MonthReport {
                month,
                from: record.from,
                until: record.until,
                hosts: hosts
                    .map(|(host, tally)| (host.clone(), tally.account()))
                    .collect(),
            };
            (month, report)
        });
        Ok(reports.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn status(up: bool, used: u64, partitions: u64) -> Status {
        let mut status: Status = serde_json::from_str(include_str!("accounts/status.json")).unwrap();
        status.space.used = Some(hayloft_api::Bytes(used));
        status.hosts[0].up = up;
        status.hosts[0].partitions = Some(partitions);
        status
    }

    fn counters(s3: u64, read: u64) -> BTreeMap<HostName, Requests> {
        let requests = Requests {
            s3,
            block_bytes_read: read,
            ..Requests::default()
        };
        BTreeMap::from([("paris-1".parse().unwrap(), requests)])
    }

    fn paris(accounts: &Accounts) -> HostAccount {
        accounts.record.hosts[&"paris-1".parse::<HostName>().unwrap()].account()
    }

    #[test]
    fn a_host_is_credited_with_the_time_it_was_there_and_what_it_held_meanwhile() {
        let mut accounts = Accounts::resume(None, at("2026-11-05T00:00:00Z"));
        let mib = 1 << 20;
        accounts.look(&status(true, 512 * mib, 128), at("2026-11-05T00:00:00Z"));
        accounts.look(&status(true, 512 * mib, 128), at("2026-11-05T00:00:04Z"));
        accounts.look(&status(true, 512 * mib, 128), at("2026-11-05T00:00:20Z"));
        accounts.look(&status(false, 1024 * mib, 256), at("2026-11-05T00:00:40Z"));
        let account = paris(&accounts);
        assert_eq!((account.watched_seconds, account.up_seconds), (40, 20));
        assert_eq!(account.held_bytes, (256 + 1024) / 2 * mib);
    }

    #[test]
    fn time_that_nobody_watched_is_not_counted_and_a_clock_that_goes_back_adds_nothing() {
        let mut accounts = Accounts::resume(None, at("2026-11-05T00:00:00Z"));
        accounts.look(&status(true, 0, 0), at("2026-11-05T00:00:00Z"));
        accounts.look(&status(true, 0, 0), at("2026-11-05T08:00:00Z"));
        accounts.look(&status(true, 0, 0), at("2026-11-05T07:00:00Z"));
        accounts.look(&status(true, 0, 0), at("2026-11-05T07:00:15Z"));
        assert_eq!(paris(&accounts).watched_seconds, 15);
    }

    #[test]
    fn counters_add_up_also_over_restarts_of_a_daemon_and_of_the_coordinator() {
        let mut accounts = Accounts::resume(None, at("2026-11-05T00:00:00Z"));
        accounts.count(&counters(100, 1000));
        accounts.count(&counters(150, 3000));
        // Started anew, it counts from nothing.
        accounts.count(&counters(10, 200));
        assert_eq!(
            paris(&accounts).requests,
            60,
            "what was before the first look is not of this month"
        );
        assert_eq!(paris(&accounts).read_bytes, 2200);
        let kept = (accounts.month, accounts.record);
        let mut resumed = Accounts::resume(Some(kept), at("2026-11-05T01:00:00Z"));
        resumed.count(&counters(25, 250));
        assert_eq!(paris(&resumed).requests, 75);
    }

    #[test]
    fn a_month_ends_with_what_it_had_and_the_next_begins_with_nothing() {
        let mut accounts = Accounts::resume(None, at("2026-11-30T23:59:00Z"));
        accounts.count(&counters(100, 0));
        accounts.count(&counters(130, 0));
        accounts.look(&status(true, 0, 0), at("2026-11-30T23:59:45Z"));
        accounts.look(&status(true, 0, 0), at("2026-12-01T00:00:05Z"));
        accounts.count(&counters(131, 0));
        let (month, over) = accounts.over.as_ref().unwrap();
        assert_eq!(month.to_string(), "2026-11");
        assert_eq!(over.hosts.values().next().unwrap().counted.s3, 30);
        assert_eq!(paris(&accounts).requests, 1);
    }
}
