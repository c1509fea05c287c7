//! Whether the rules hold: for each a condition, why it is so, and what to do.

mod access;
mod copies;
mod hosts;
mod layout;
mod moves;

use hayloft_api::Document;
use hayloft_api::status::{ConditionType, Reason};

use crate::{Plan, Snapshot};

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The condition.
    pub kind: ConditionType,
    /// Whether it holds.
    pub holds: bool,
    /// Why.
    pub reason: Reason,
    /// The same as a sentence, with what to do.
    pub message: String,
}

impl Finding {
    fn good(kind: ConditionType, message: impl Into<String>) -> Self {
        Self {
            kind,
            holds: true,
            reason: Reason::AsDeclared,
            message: message.into(),
        }
    }

    fn bad(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind,
            holds: false,
            reason,
            message: message.into(),
        }
    }
}

/// All that the facts find their cause from.
#[derive(Clone, Copy)]
struct Facts<'a> {
    document: &'a Document,
    snapshot: &'a Snapshot,
    plan: &'a Plan,
}

/// Looks at every rule that snapshot and plan can tell of, in a fixed order; one finding for each condition.
pub fn findings(document: &Document, snapshot: &Snapshot, plan: &Plan) -> Vec<Finding> {
    let facts = Facts {
        document,
        snapshot,
        plan,
    };
    vec![
        layout::leading(facts),
        layout::agreed(facts),
        moves::placed(facts),
        moves::emptied(facts),
        copies::fits(facts),
        copies::pledges_kept(facts),
        copies::redundant(facts),
        copies::owners_apart(facts),
        hosts::nobody_missed(facts),
        hosts::disks_sound(facts),
        hosts::clocks_agree(facts),
        hosts::garage_fit(facts),
        hosts::admitted(facts),
        access::secrets_kept(facts),
        hosts::upkept(facts),
        access::access_sound(facts),
        access::keys_known(facts),
        access::document_current(facts),
        hosts::reached(facts),
    ]
}
