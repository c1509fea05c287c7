//! Claiming office: what the bucket answers to [`Claim`].

use std::collections::BTreeSet;

use hayloft_store::commit::{Claim, ClaimInput, ClaimStep};
use hayloft_store::key::EpochId;

use crate::gateway::Seat;
use crate::hole::Hole;
use crate::world::{Search, World};

impl Search {
    /// The first listing ended, and the claim is being written.
    pub(crate) fn claim(&self, world: &mut World, at: usize, seen: &BTreeSet<EpochId>) -> Option<()> {
        // Of two that take the same number at once, either may be the later.
        let instance = 10 * (at as u64) + u64::from(self.setup.claims - world.claims) + 1;
        world.claims -= 1;
        let (mut claim, _) = Claim::new(instance, 0);
        let step = claim.step(ClaimInput::Listed(seen.iter().copied().collect()));
        if let ClaimStep::Write(epoch) = step {
            world.bucket.claims.entry(epoch).or_insert(false);
        }
        world.gateways[at].kept = None;
        world.gateways[at].seat = Seat::Claiming {
            claim,
            step,
            began: BTreeSet::new(),
            first: if self.without(Hole::NoSecondListing) {
                seen.clone()
            } else {
                BTreeSet::new()
            },
            log_began: BTreeSet::new(),
        };
        Some(())
    }

    /// The claim or the marks are written.
    pub(crate) fn claim_written(&self, world: &mut World, at: usize) -> Option<()> {
        let durable_log = world.bucket.durable_log();
        let Seat::Claiming {
            claim,
            step,
            began,
            first,
            ..
        } = &mut world.gateways[at].seat
        else {
            return None;
        };
        match step.clone() {
            ClaimStep::Write(epoch) => {
                world.bucket.claims.insert(epoch, true);
                *step = claim.step(ClaimInput::Written);
                // The second listing begins.
                *began = world.bucket.durable_claims();
                if self.without(Hole::NoSecondListing) {
                    let seen = first.clone();
                    return self.claims_listed(world, at, &seen);
                }
            }
            ClaimStep::Mark { over, .. } => {
                for epoch in over {
                    world.bucket.marks.insert(epoch, true);
                }
                *step = claim.step(ClaimInput::Marked);
                if let ClaimStep::Claimed(epoch) = step {
                    let epoch = *epoch;
                    self.claimed(world, at, epoch, durable_log)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The second listing ended.
    pub(crate) fn claims_listed(&self, world: &mut World, at: usize, seen: &BTreeSet<EpochId>) -> Option<()> {
        let durable_log = world.bucket.durable_log();
        let Seat::Claiming {
            claim,
            step,
            log_began,
            ..
        } = &mut world.gateways[at].seat
        else {
            return None;
        };
        *step = claim.step(ClaimInput::Listed(seen.iter().copied().collect()));
        if let ClaimStep::Mark { over, .. } = &*step {
            if !self.without(Hole::NoMarks) {
                for epoch in over {
                    world.bucket.marks.entry(*epoch).or_insert(false);
                }
            }
            if self.without(Hole::NoMarks) || self.without(Hole::MarksNotAwaited) {
                *step = claim.step(ClaimInput::Marked);
            } else if self.without(Hole::ReadsBeforeMarks) {
                log_began.clone_from(&durable_log);
            }
        }
        match step {
            ClaimStep::GiveWay { .. } => world.gateways[at].seat = Seat::Following,
            ClaimStep::Claimed(epoch) => {
                let epoch = *epoch;
                self.claimed(world, at, epoch, durable_log)?;
            }
            _ => {}
        }
        Some(())
    }

    fn claimed(
        &self,
        world: &mut World,
        at: usize,
        epoch: EpochId,
        durable_log: BTreeSet<hayloft_store::key::LogPlace>,
    ) -> Option<()> {
        let seat = &mut world.gateways[at].seat;
        let Seat::Claiming { log_began, .. } = seat else {
            return None;
        };
        let began = if self.without(Hole::ReadsBeforeMarks) {
            std::mem::take(log_began)
        } else {
            durable_log
        };
        *seat = Seat::Reading { epoch, began };
        Some(())
    }
}
