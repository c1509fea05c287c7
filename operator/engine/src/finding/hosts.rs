//! Hosts: whether they are there, sound, in time, fit and let in.

use hayloft_api::agent::{DataState, ProgramStanding, RolledBack};
use hayloft_api::status::{ConditionType, Reason};

use super::{Facts, Finding};
use crate::plan::{SCRUB_EVERY, SKEW, SNAPSHOT_EVERY};
use crate::{OlderMetadataFacts, Reason as Because, Step, Unreached, WaitsFor};

pub(super) fn nobody_missed(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::NobodyMissed;
    let waiting = &facts.plan.waiting;
    let by = |reason: fn(&WaitsFor) -> Option<Reason>| {
        let mut found = waiting
            .iter()
            .filter_map(|waiting| Some((reason(&waiting.waits_for)?, waiting.to_string())));
        found.next()
    };
    let several =
        by(|waits_for| matches!(waits_for, WaitsFor::PersonForDead { .. }).then_some(Reason::SeveralDead));
    let copy =
        || by(|waits_for| matches!(waits_for, WaitsFor::NoOtherCopy { .. }).then_some(Reason::HostDown));
    let away = || {
        by(|waits_for| {
            matches!(waits_for, WaitsFor::Absence { .. } | WaitsFor::Away { .. }).then_some(Reason::Away)
        })
    };
    if let Some((reason, text)) = several.or_else(copy).or_else(away) {
        return Finding::bad(kind, reason, text);
    }
    for planned in &facts.plan.steps {
        if let (Step::Evict { host, .. }, Because::DeadTooLong { .. }) = (&planned.step, &planned.reason) {
            let text = format!("{host} is put out: {}", planned.reason);
            return Finding::bad(kind, Reason::InProgress, text);
        }
    }
    let now = facts.snapshot.now;
    let flapping = facts
        .snapshot
        .hosts
        .iter()
        .map(|(name, host)| (name, host.presence.flaps(now)));
    if let Some((name, returns)) = flapping
        .filter(|(_, returns)| *returns >= 4)
        .max_by_key(|(_, returns)| *returns)
    {
        let text = format!(
            "{name} came back {returns} times within a day; each absence keeps the layout from being changed. Look at its \
             power and its link"
        );
        return Finding::bad(kind, Reason::Flapping, text);
    }
    Finding::good(kind, "nobody is away")
}

pub(super) fn disks_sound(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::DisksSound;
    for (name, host) in &facts.snapshot.hosts {
        let Some(report) = &host.report else { continue };
        let what = match &report.data {
            DataState::MarkMissing { holds_blocks: false } => "is empty or not mounted",
            DataState::MarkMissing { holds_blocks: true } => "does not bear Garage's mark",
            DataState::OtherMark { .. } => "bears the mark of another member",
            DataState::Unreadable { .. } => "cannot be read",
            DataState::Fresh | DataState::Present | DataState::MetadataLost => continue,
        };
        let text = format!(
            "the data disk of {name} {what}, so Garage does not start there: mount the right one, or, if it was replaced by \
             an empty one, say so with `hayloft host new-disk {name}`"
        );
        return Finding::bad(kind, Reason::DataLost, text);
    }
    for (name, host) in &facts.snapshot.hosts {
        if let Some(older) = host.rolled_back {
            let repaired = "its tables and blocks are repaired, and nobody gives up a role until it is proven that it holds all that it \
                            should";
            let text = match older {
                OlderMetadataFacts::Restored => {
                    format!("the metadata of {name} was put back from a snapshot: {repaired}")
                }
                OlderMetadataFacts::WentBack(RolledBack { had, found }) => format!(
                    "the metadata of {name} went back from layout version {had} to {found}, as after a backup was put back: \
                     {repaired}. If the backup was older than a day, what was deleted since comes back: then rather let it join as \
                     a new host, with `hayloft host evict {name}` and `hayloft host evict {name} --undo`"
                ),
            };
            return Finding::bad(kind, Reason::OlderMetadata, text);
        }
    }
    for (name, host) in &facts.snapshot.hosts {
        let corrupted = host.upkeep.as_ref().map_or(0, |upkeep| upkeep.corruptions);
        if corrupted > 0 {
            let text = format!(
                "scrubs found {corrupted} damaged blocks on {name}; Garage fetches them from other hosts. Look at the health \
                 of its disk"
            );
            return Finding::bad(kind, Reason::Corruption, text);
        }
    }
    Finding::good(kind, "disks are as they should be")
}

pub(super) fn clocks_agree(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::ClocksAgree;
    let skewed = facts
        .snapshot
        .hosts
        .iter()
        .filter_map(|(name, host)| Some((name, host.skew?)));
    match skewed
        .filter(|(_, skew)| skew.abs() > SKEW)
        .max_by_key(|(_, skew)| skew.abs())
    {
        None => Finding::good(kind, "clocks agree"),
        Some((name, skew)) => {
            let seconds = skew.as_secs();
            let word = if seconds < 0 { "behind" } else { "ahead" };
            let text = format!(
                "the clock of {name} is {} s {word}; Garage orders writes by clocks, so switch time synchronisation on",
                seconds.unsigned_abs()
            );
            Finding::bad(kind, Reason::ClockSkew, text)
        }
    }
}

pub(super) fn reached(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Reached;
    let unreached = &facts.snapshot.unreached;
    let Some(first) = unreached.first() else {
        return Finding::good(kind, "hosts reach each other");
    };
    let others = match unreached.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more such"),
    };
    let Unreached {
        from,
        to,
        address,
        why,
    } = first;
    let text = format!(
        "{from} does not reach {to} at {address}: {why}{others}; open that port in the firewall or router of {to}, or mend the \
         route from {from}"
    );
    Finding::bad(kind, Reason::HostUnreached, text)
}

pub(super) fn garage_fit(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::GarageFit;
    for (name, host) in &facts.snapshot.hosts {
        if let Some(unfit) = host.report.as_ref().and_then(|report| report.unfit.as_ref()) {
            return Finding::bad(kind, Reason::GarageUnfit, format!("on {name}: {unfit}"));
        }
    }
    for (name, host) in &facts.snapshot.hosts {
        let waiting = host
            .report
            .as_ref()
            .and_then(|report| report.garage_waiting.as_ref());
        if let Some(waiting) = waiting.filter(|waiting| waiting.standing == ProgramStanding::Refused) {
            let text = format!(
                "Garage {} did not come up on {name}, so the one before runs again, and nobody else is restarted into it; look at the \
                 journal of {name}, and install another one",
                waiting.version
            );
            return Finding::bad(kind, Reason::GarageUnfit, text);
        }
    }
    if let Some(least) = &facts.document.spec.admission.min_garage {
        for (name, host) in &facts.snapshot.hosts {
            let version = host
                .report
                .as_ref()
                .and_then(|report| report.garage_version.as_deref());
            if version.is_some_and(|version| crate::plan::older(version, least)) {
                let text = format!(
                    "{name} runs Garage {}, and spec.admission.minGarage asks for {least}; update it",
                    version.unwrap_or_default()
                );
                return Finding::bad(kind, Reason::GarageUnfit, text);
            }
        }
    }
    Finding::good(kind, "every Garage may be used")
}

pub(super) fn admitted(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Admitted;
    let keeps_out = |waits_for: &WaitsFor| {
        matches!(
            waits_for,
            WaitsFor::Admission { .. }
                | WaitsFor::NewIdentity { .. }
                | WaitsFor::Barred { .. }
                | WaitsFor::Steady { .. }
                | WaitsFor::Clock { .. }
        )
    };
    match facts
        .plan
        .waiting
        .iter()
        .find(|waiting| keeps_out(&waiting.waits_for))
    {
        Some(waiting) => Finding::bad(kind, Reason::NotAdmitted, waiting.to_string()),
        None => Finding::good(kind, "every declared host that is there is let in"),
    }
}

pub(super) fn upkept(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Upkept;
    let now = facts.snapshot.now;
    for (name, host) in &facts.snapshot.hosts {
        let Some(upkeep) = &host.upkeep else { continue };
        let late = |last: Option<jiff::Timestamp>, every: jiff::SignedDuration| {
            last.or(upkeep.since)
                .is_some_and(|at| now.duration_since(at) > every + every)
        };
        let what = if late(upkeep.scrub, SCRUB_EVERY) {
            "its disk was not scrubbed"
        } else if late(upkeep.snapshot.as_ref().map(|kept| kept.made), SNAPSHOT_EVERY) {
            "no snapshot of its metadata was kept on another host"
        } else {
            continue;
        };
        let text = format!(
            "{name}: {what} for twice the time that it should take; upkeep waits while data moves, hosts are down, and \
             outside of spec.rebalance.windows"
        );
        return Finding::bad(kind, Reason::Due, text);
    }
    Finding::good(kind, "repairs, scrubs and snapshots are done in time")
}
