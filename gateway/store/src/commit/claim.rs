//! Claiming office, as a state machine: list, write the claim, list again, mark the end of every older epoch.
//!
//! Why the second look may read one mark instead of listing all claims. Let `old` and `new` be epochs, `old < new`, and
//! let both have claimed. Each wrote its claim before its second listing began, and reads and writes go by quorum: a
//! listing shows every claim whose write ended before the listing began.
//!
//! - `new`'s second listing shows `old`: then `new` writes the mark of `old`'s end before it reads the log. `old`
//!   acknowledges an object only when a read of that mark, begun after the object's write ended, finds nothing. Then the
//!   mark's write had not ended, `new` had not begun to read the log, and so it sees the object, and counts it.
//! - It does not show `old`: then `old`'s claim was still being written when that listing began, which is after `new`'s
//!   claim was written. So `old`'s second listing shows `new`, and `old` gives way before it writes anything to the log.
//!
//! A mark that somebody else wrote is written again: seen is not yet durable. Claims may be removed once an opening
//! above them counts, for by then the marks are durable; marks stay for ever.

use crate::key::EpochId;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimInput {
    /// All claims in the bucket.
    Listed(Vec<EpochId>),
    /// The claim was written.
    Written,
    /// All marks that were asked for were written.
    Marked,
    /// It failed, or nobody knows: the same is to be done again.
    Failed,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimStep {
    /// List all claims.
    List,
    /// Write this claim. Its instance was never used before.
    Write(EpochId),
    /// Write the marks that these epochs are over, each naming `by`; all must be written.
    Mark {
        /// The older epochs.
        over: Vec<EpochId>,
        /// The claimed one.
        by: EpochId,
    },
    /// The epoch is claimed: read the log, write its last object again, and open.
    Claimed(EpochId),
    /// A newer claim is there. Nothing may be written under this one.
    GiveWay {
        /// The newer one.
        newer: EpochId,
    },
}

/// A claim under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    instance: u64,
    floor: u64,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Looking,
    Writing(EpochId),
    LookingAgain(EpochId),
    Marking { over: Vec<EpochId>, by: EpochId },
    Claimed(EpochId),
    GaveWay(EpochId),
}

impl Claim {
    /// Begins a claim. `instance` is random and fresh; the epoch's number will be at least `floor`.
    #[must_use]
    pub const fn new(instance: u64, floor: u64) -> (Self, ClaimStep) {
        let claim = Self {
            instance,
            floor,
            phase: Phase::Looking,
        };
        (claim, ClaimStep::List)
    }

    /// Goes on after something happened. What does not fit is as if nothing had happened.
    pub fn step(&mut self, input: ClaimInput) -> ClaimStep {
        let phase = std::mem::replace(&mut self.phase, Phase::Looking);
        self.phase = match (phase, input) {
            (Phase::Looking, ClaimInput::Listed(claims)) => {
                let highest = claims.iter().map(|epoch| epoch.number).max().unwrap_or(0);
                Phase::Writing(EpochId {
                    number: highest.saturating_add(1).max(self.floor),
                    instance: self.instance,
                })
            }
            (Phase::Writing(own), ClaimInput::Written) => Phase::LookingAgain(own),
            (Phase::LookingAgain(own), ClaimInput::Listed(claims)) => match claims.iter().max() {
                Some(newer) if *newer > own => Phase::GaveWay(*newer),
                _ => {
                    let over: Vec<EpochId> = claims.into_iter().filter(|epoch| *epoch < own).collect();
                    if over.is_empty() {
                        Phase::Claimed(own)
                    } else {
                        Phase::Marking { over, by: own }
                    }
                }
            },
            (Phase::Marking { by, .. }, ClaimInput::Marked) => Phase::Claimed(by),
            (phase, _) => phase,
        };
        match &self.phase {
            Phase::Looking | Phase::LookingAgain(_) => ClaimStep::List,
            Phase::Writing(own) => ClaimStep::Write(*own),
            Phase::Marking { over, by } => ClaimStep::Mark {
                over: over.clone(),
                by: *by,
            },
            Phase::Claimed(own) => ClaimStep::Claimed(*own),
            Phase::GaveWay(newer) => ClaimStep::GiveWay { newer: *newer },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: u64, instance: u64) -> EpochId {
        EpochId { number, instance }
    }

    #[test]
    fn a_claim_marks_every_older_epoch_before_it_stands() {
        let (mut claim, step) = Claim::new(7, 0);
        assert_eq!(step, ClaimStep::List);
        let before = vec![epoch(1, 1), epoch(2, 9)];
        assert_eq!(
            claim.step(ClaimInput::Listed(before.clone())),
            ClaimStep::Write(epoch(3, 7))
        );
        // An early answer proves nothing, and a failure changes nothing.
        assert_eq!(claim.step(ClaimInput::Marked), ClaimStep::Write(epoch(3, 7)));
        assert_eq!(claim.step(ClaimInput::Failed), ClaimStep::Write(epoch(3, 7)));
        assert_eq!(claim.step(ClaimInput::Written), ClaimStep::List);
        let all = vec![epoch(1, 1), epoch(2, 9), epoch(3, 2), epoch(3, 7)];
        let mark = ClaimStep::Mark {
            over: vec![epoch(1, 1), epoch(2, 9), epoch(3, 2)],
            by: epoch(3, 7),
        };
        assert_eq!(claim.step(ClaimInput::Listed(all)), mark);
        assert_eq!(claim.step(ClaimInput::Failed), mark);
        assert_eq!(claim.step(ClaimInput::Marked), ClaimStep::Claimed(epoch(3, 7)));
    }

    #[test]
    fn of_two_claims_that_see_each_other_the_older_gives_way() {
        let (mut claim, _) = Claim::new(7, 0);
        claim.step(ClaimInput::Listed(vec![]));
        claim.step(ClaimInput::Written);
        let step = claim.step(ClaimInput::Listed(vec![epoch(1, 7), epoch(1, 8)]));
        assert_eq!(step, ClaimStep::GiveWay { newer: epoch(1, 8) });
        assert_eq!(claim.step(ClaimInput::Listed(vec![])), step);
    }

    #[test]
    fn a_claim_is_not_below_its_floor() {
        let (mut claim, _) = Claim::new(7, 10);
        assert_eq!(
            claim.step(ClaimInput::Listed(vec![epoch(4, 1)])),
            ClaimStep::Write(epoch(10, 7))
        );
        let (mut claim, _) = Claim::new(7, 3);
        assert_eq!(
            claim.step(ClaimInput::Listed(vec![epoch(4, 1)])),
            ClaimStep::Write(epoch(5, 7))
        );
    }
}
