//! What agents answered, and what follows from it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hayloft_api::HostName;
use tokio::time::Instant;

use super::Candidacy;

/// So long before its end a promise counts no more: what is begun now must not arrive after it.
const MARGIN: Duration = Duration::from_secs(2);

/// One agent's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It follows this coordinator.
    Promised {
        /// Until then at least.
        until: Instant,
    },
    /// It follows another one.
    Held {
        /// The other's term.
        epoch: u64,
        /// The other.
        instance: String,
    },
    /// It promised a later term to somebody, and follows nobody now.
    OldTerm {
        /// The term.
        promised: u64,
        /// Whom.
        instance: String,
    },
    /// It said nothing of use.
    Silent {
        /// Why.
        why: String,
    },
}

/// All answers of one round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    epoch: u64,
    replies: BTreeMap<HostName, Reply>,
}

impl Standing {
    pub(crate) fn new(epoch: u64, replies: BTreeMap<HostName, Reply>) -> Self {
        Self { epoch, replies }
    }

    fn counts<'a>(&'a self, candidacy: &'a Candidacy) -> impl Iterator<Item = &'a Reply> {
        let all = candidacy.voters.is_empty();
        let replies = self.replies.iter();
        replies
            .filter(move |(host, _)| all || candidacy.voters.contains(*host))
            .map(|(_, reply)| reply)
    }

    /// How many must follow.
    pub(crate) fn need(&self, candidacy: &Candidacy) -> usize {
        let all = match candidacy.voters.len() {
            0 => self.replies.len(),
            voters => voters,
        };
        all / 2 + 1
    }

    /// How many do.
    pub(crate) fn promised(&self, candidacy: &Candidacy, now: Instant) -> usize {
        if self.epoch != candidacy.epoch {
            return 0;
        }
        self.counts(candidacy)
            .filter(|reply| matches!(reply, Reply::Promised { until } if now + MARGIN < *until))
            .count()
    }

    /// Whether a majority follows.
    pub(crate) fn leads(&self, candidacy: &Candidacy, now: Instant) -> bool {
        self.promised(candidacy, now) >= self.need(candidacy)
    }

    /// How many follow somebody else.
    pub(crate) fn others(&self, candidacy: &Candidacy) -> usize {
        self.counts(candidacy)
            .filter(|reply| matches!(reply, Reply::Held { .. }))
            .count()
    }

    /// Whom most of those follow who follow somebody else.
    pub(crate) fn holder(&self, candidacy: &Candidacy) -> Option<String> {
        let mut held: BTreeMap<(u64, &str), usize> = BTreeMap::new();
        for reply in self.counts(candidacy) {
            if let Reply::Held { epoch, instance } = reply {
                *held.entry((*epoch, instance)).or_default() += 1;
            }
        }
        let most = held.into_iter().max_by_key(|(_, count)| *count);
        most.map(|((epoch, instance), _)| format!("{} of term {epoch}", short(instance)))
    }

    /// The latest term that was promised to somebody else, if this coordinator's is not above it.
    pub(crate) fn later_term(&self, candidacy: &Candidacy) -> Option<u64> {
        let terms = self.replies.values().filter_map(|reply| match reply {
            Reply::OldTerm { promised, .. } => Some(*promised),
            Reply::Promised { .. } | Reply::Held { .. } | Reply::Silent { .. } => None,
        });
        terms.filter(|term| *term >= candidacy.epoch).max()
    }

    /// Why somebody who should answer did not, if so.
    pub(crate) fn silence(&self) -> Option<&str> {
        self.replies.values().find_map(|reply| match reply {
            Reply::Silent { why } => Some(why.as_str()),
            Reply::Promised { .. } | Reply::Held { .. } | Reply::OldTerm { .. } => None,
        })
    }
}

/// Enough of an instance to tell two apart.
fn short(instance: &str) -> &str {
    instance.get(..8).unwrap_or(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidacy(voters: &[&str]) -> Candidacy {
        Candidacy {
            epoch: 4,
            instance: "ours".into(),
            voters: voters.iter().map(|voter| voter.parse().unwrap()).collect(),
        }
    }

    fn standing(replies: &[(&str, Reply)]) -> Standing {
        let replies = replies
            .iter()
            .map(|(host, reply)| (host.parse().unwrap(), reply.clone()));
        Standing::new(4, replies.collect())
    }

    fn promised(now: Instant, seconds: u64) -> Reply {
        Reply::Promised {
            until: now + Duration::from_secs(seconds),
        }
    }

    fn held() -> Reply {
        Reply::Held {
            epoch: 9,
            instance: "theirs-and-more".into(),
        }
    }

    #[tokio::test]
    async fn a_majority_of_those_in_the_layout_must_follow_also_of_those_who_are_silent() {
        let now = Instant::now();
        let two = standing(&[("a", promised(now, 10)), ("b", promised(now, 10)), ("z", held())]);
        assert!(two.leads(&candidacy(&["a", "b", "c"]), now));
        assert!(!two.leads(&candidacy(&["a", "b", "c", "d"]), now));
        let stranger = standing(&[("a", promised(now, 10)), ("x", promised(now, 10))]);
        assert!(!stranger.leads(&candidacy(&["a", "b", "c"]), now));
    }

    #[tokio::test]
    async fn before_the_first_layout_a_majority_of_all_who_can_be_asked_counts_and_nobody_is_no_majority() {
        let now = Instant::now();
        let two = standing(&[("a", promised(now, 10)), ("b", promised(now, 10)), ("c", held())]);
        assert!(two.leads(&candidacy(&[]), now));
        assert!(!standing(&[]).leads(&candidacy(&[]), now));
    }

    #[tokio::test]
    async fn a_promise_that_is_about_to_end_or_was_made_for_another_term_counts_no_more() {
        let now = Instant::now();
        let one = standing(&[("a", promised(now, 10))]);
        assert!(one.leads(&candidacy(&["a"]), now));
        assert!(!one.leads(&candidacy(&["a"]), now + Duration::from_secs(9)));
        let next = Candidacy {
            epoch: 5,
            ..candidacy(&["a"])
        };
        assert!(!one.leads(&next, now));
    }

    #[tokio::test]
    async fn the_holder_is_named_and_a_later_term_is_found() {
        let old = Reply::OldTerm {
            promised: 7,
            instance: "gone".into(),
        };
        let standing = standing(&[("a", held()), ("b", old)]);
        let candidacy = candidacy(&["a", "b"]);
        assert_eq!(standing.holder(&candidacy).unwrap(), "theirs-a of term 9");
        assert_eq!(standing.later_term(&candidacy), Some(7));
        let above = Candidacy {
            epoch: 8,
            ..candidacy
        };
        assert_eq!(standing.later_term(&above), None);
    }
}
