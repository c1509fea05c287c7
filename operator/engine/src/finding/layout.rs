//! Who leads, and whether members agree.

use hayloft_api::status::{ConditionType, Reason};

use super::{Facts, Finding};
use crate::words::list;
use crate::{Leadership, Reason as Because, WaitsFor};

pub(super) fn leading(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Leading;
    match &facts.snapshot.leadership {
        Leadership::Leading => Finding::good(kind, "this coordinator leads"),
        Leadership::Unpromised { promised, need } => Finding::bad(
            kind,
            Reason::Unpromised,
            format!(
                "{promised} agents have promised to follow this coordinator, and {need} must; start the hosts that are \
                 down. Until then nothing is changed, and what hosts run goes on"
            ),
        ),
        Leadership::Other { holder } => Finding::bad(
            kind,
            Reason::OtherCoordinator,
            format!(
                "another coordinator ({holder}) leads this cluster, and this one does nothing; stop one of the two"
            ),
        ),
    }
}

pub(super) fn agreed(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Agreed;
    let split = facts.plan.steps.iter().find_map(|planned| match &planned.reason {
        Because::Split { hosts } => Some(hosts),
        _ => None,
    });
    if let Some(hosts) = split {
        let text = format!(
            "{} and the others have different layouts of one version, as when two coordinators write at once; it is \
             being healed by a version above both",
            list(hosts)
        );
        return Finding::bad(kind, Reason::SplitHistory, text);
    }
    for waiting in &facts.plan.waiting {
        match &waiting.waits_for {
            WaitsFor::Agreement { hosts } => {
                let text = format!(
                    "the layout of {} is not that of the others; it comes within seconds where they are connected, else \
                     restart Garage there",
                    list(hosts)
                );
                return Finding::bad(kind, Reason::Behind, text);
            }
            WaitsFor::Answer { through, version } => {
                let text = format!(
                    "{through} was told to apply layout version {version} and its answer was not heard; it is waited \
                     for, and then that number is skipped"
                );
                return Finding::bad(kind, Reason::Unanswered, text);
            }
            WaitsFor::AllowMissing { .. } => return Finding::bad(kind, Reason::Stuck, waiting.to_string()),
            _ => {}
        }
    }
    Finding::good(kind, "all members have the same layout")
}
