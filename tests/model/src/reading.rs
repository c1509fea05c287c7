//! Finding what counts in the bucket.

use std::collections::BTreeSet;

use hayloft_store::Digest;
use hayloft_store::commit::Term;
use hayloft_store::key::{EpochId, LogPlace, Position};
use hayloft_store::log::chain::{Listing, Next, Walk, settled};
use hayloft_store::log::record::Record;

use crate::bucket::Bucket;
use crate::gateway::{Office, Seat};
use crate::hole::Hole;
use crate::world::{Search, World};

/// What a listing leads to.
pub(crate) enum Found {
    /// What counts behind the starting point, in order; so many of them are known to.
    Chain { places: Vec<LogPlace>, settled: usize },
    /// The starting point is not on the chain.
    Astray,
    /// An object was not listed though one behind it was.
    Hole,
}

/// Walks from the newest epoch that `seen` shows back to `from`.
pub(crate) fn walk(bucket: &Bucket, seen: &BTreeSet<LogPlace>, from: Option<Position>) -> Found {
    let behind = seen
        .iter()
        .copied()
        .filter(|place| from.is_none_or(|from| *place > from.place));
    let Ok(listing) = Listing::new(behind, from.map(|from| from.place)) else {
        return Found::Hole;
    };
    let (mut walk, mut next) = Walk::new(listing, from);
    loop {
        match next {
            Next::Read(place) => {
                let records = bucket.log.get(&place).map(|object| &object.records);
                let Some(Record::EpochOpened(opened)) = records.and_then(|records| records.first()) else {
                    return Found::Hole;
                };
                next = walk.read(*opened);
            }
            Next::ListAgain(_) => return Found::Hole,
            Next::StartOver => return Found::Astray,
            Next::Apply(stretches) => {
                return Found::Chain {
                    settled: usize::try_from(settled(&stretches)).unwrap_or(usize::MAX),
                    places: stretches
                        .iter()
                        .flat_map(|s| (s.first..=s.last).map(|seq| LogPlace { epoch: s.epoch, seq }))
                        .collect(),
                };
            }
        }
    }
}

impl Search {
    /// Who claimed has listed the log. What goes wrong here is tried again, as if the listing had not ended.
    pub(crate) fn log_listed(&self, world: &mut World, at: usize, seen: &BTreeSet<LogPlace>) -> Option<()> {
        let Seat::Reading { epoch, .. } = world.gateways[at].seat else {
            return None;
        };
        let from = world.gateways[at].view.position();
        let Found::Chain { places, settled } = walk(&world.bucket, seen, from) else {
            return None;
        };
        if places.last().is_some_and(|last| last.epoch >= epoch) {
            world.gateways[at].seat = Seat::Following;
            return Some(());
        }
        let (known, rest) = places.split_at(settled);
        self.apply(world, at, known)?;
        let after = match rest.last() {
            Some(last) => Some(world.bucket.log.get(last)?.position),
            None => world.gateways[at].view.position(),
        };
        for place in rest {
            let object = world.bucket.log.get(place)?;
            if !self.readable(&world.gateways[at], &object.records) {
                return None;
            }
        }
        world.gateways[at].seat = Seat::Again {
            epoch,
            rest: rest.to_vec(),
            after,
        };
        Some(())
    }

    /// What is counted was written again: the epoch is opened.
    pub(crate) fn opens(
        &self,
        world: &mut World,
        at: usize,
        epoch: EpochId,
        rest: Vec<LogPlace>,
        after: Option<Position>,
    ) -> Option<()> {
        if !self.without(Hole::NoTailAgain) {
            for place in rest.iter().chain(after.iter().map(|after| &after.place)) {
                world.bucket.log.get_mut(place)?.durable = true;
            }
        }
        let (term, step) = Term::open(epoch, after, &self.signer).ok()?;
        self.begin_write(&mut world.bucket, &step)?;
        world.gateways[at].seat = Seat::Leading(Office {
            term,
            step,
            over: false,
            asks: Vec::new(),
            rest,
        });
        Some(())
    }

    /// A follower has listed the log.
    pub(crate) fn follow(&self, world: &mut World, at: usize, seen: &BTreeSet<LogPlace>) -> Option<()> {
        let from = world.gateways[at].view.position();
        let Found::Chain { places, settled } = walk(&world.bucket, seen, from) else {
            return None;
        };
        let upto = if self.without(Hole::ShowsUnsettled) {
            places.len()
        } else {
            settled
        };
        self.apply(world, at, &places[..upto])
    }

    /// A follower hears from the committer what counts.
    pub(crate) fn tell(&self, world: &mut World, from: usize, to: usize) -> Option<()> {
        let told = world.gateways[from].view.chain.clone();
        let known = world.gateways[to].view.chain.len();
        if world.gateways[to].seat != Seat::Following || !told.starts_with(&world.gateways[to].view.chain) {
            return None;
        }
        let places: Vec<LogPlace> = told[known..].iter().map(|position| position.place).collect();
        self.apply(world, to, &places)
    }

    /// Applies objects in order; each must name the one before it.
    pub(crate) fn apply(&self, world: &mut World, at: usize, places: &[LogPlace]) -> Option<()> {
        for place in places {
            let object = world.bucket.log.get(place)?.clone();
            let gateway = &world.gateways[at];
            let before = gateway
                .view
                .position()
                .map_or(Digest::ZERO, |before| before.digest);
            if object.before != before || !self.readable(gateway, &object.records) {
                return None;
            }
            self.show(world, at, &object.records, object.position);
        }
        Some(())
    }
}
