//! Secrets, the bucket, and the document.

use hayloft_api::status::{ConditionType, Reason};

use super::{Facts, Finding};
use crate::words::list;
use crate::{Reason as Because, Step};

/// So many keys are named in a sentence.
const NAMED: usize = 5;

pub(super) fn secrets_kept(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::SecretsKept;
    let secrets = &facts.snapshot.secrets;
    if secrets.known_to.is_empty() {
        return Finding::good(kind, "nobody who was put out knows secrets that are in use");
    }
    let known_to: Vec<_> = secrets.known_to.iter().collect();
    let behind: Vec<_> = secrets.behind.iter().collect();
    let mut text = format!(
        "{} knew the secrets of this cluster, which are being renewed; whoever holds them is its administrator until then",
        list(&known_to)
    );
    if !behind.is_empty() {
        text.push_str(&format!(". New ones are not yet in use on {}", list(&behind)));
    }
    Finding::bad(kind, Reason::SecretsKnown, text)
}

pub(super) fn access_sound(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::AccessSound;
    for planned in &facts.plan.steps {
        let reason = match (&planned.step, &planned.reason) {
            (Step::Mend { .. }, Because::Drifted) => Reason::Drift,
            (Step::Mend { .. } | Step::RenewAdminToken { .. }, _) => Reason::InProgress,
            (Step::EnsureKey { .. } | Step::EnsureBucket { .. } | Step::AllowKey { .. }, _) => {
                if facts.snapshot.bucket_made {
                    Reason::Drift
                } else {
                    Reason::InProgress
                }
            }
            _ => continue,
        };
        let text = format!(
            "being done: {} ({})",
            planned.step.named(&facts.plan.names),
            planned.reason
        );
        return Finding::bad(kind, reason, text);
    }
    Finding::good(kind, "bucket, key and tokens are as they should be")
}

/// Keys that somebody else made are named and not touched: a person may need them, and whoever was put out may have made
/// them.
pub(super) fn keys_known(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::KeysKnown;
    let access = facts
        .snapshot
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.access.as_ref());
    let strangers: Vec<&String> = access
        .map(|access| access.strangers.iter().collect())
        .unwrap_or_default();
    let (Some(first), number) = (strangers.first(), strangers.len()) else {
        return Finding::good(kind, "no access key but Hayloft's own may use the bucket");
    };
    let named: Vec<&String> = strangers.iter().take(NAMED).copied().collect();
    let more = if number > NAMED {
        format!(", and {} more,", number - NAMED)
    } else {
        String::new()
    };
    let keys = if number == 1 {
        "the access key"
    } else {
        "the access keys"
    };
    let text = format!(
        "{keys} {}{more} may use the bucket and Hayloft did not make it: look with `garage key info {first}`; if nobody needs it, \
         `garage key delete {first}`. Whoever was put out may have made one, and reads and writes with it still",
        list(&named)
    );
    Finding::bad(kind, Reason::ForeignKeys, text)
}

pub(super) fn document_current(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::DocumentCurrent;
    if let Some(replaced) = facts.snapshot.stale_document {
        let text = format!(
            "a document came back that was replaced at {}; the newer one stays in force. If it is meant: \
             `hayloft apply -f FILE --older`; if not, apply the newer one again, where the older one came from",
            replaced.strftime("%Y-%m-%d %H:%M:%SZ")
        );
        return Finding::bad(kind, Reason::OlderDocument, text);
    }
    Finding::good(kind, "the newest document is in force")
}
