//! A term of office: what the bucket answers to [`Term`](hayloft_store::commit::Term), and what clients ask for.

use hayloft_store::commit::{Admission, Facts, Input, Refusal, Step};
use hayloft_store::key::{EpochId, PackName};
use hayloft_store::log::record::Record;
use hayloft_store::manifest::Manifest;

use crate::ask::{Ask, Progress, pack_name};
use crate::gateway::{Gateway, Office, Seat};
use crate::hole::Hole;
use crate::world::{Search, World};

/// How often an upload stores its pack.
const TRIES: u8 = 2;
/// What a mark names does not matter.
const LATER: EpochId = EpochId {
    number: u64::MAX,
    instance: u64::MAX,
};

impl Search {
    /// What the gateway was writing is written.
    pub(crate) fn written(&self, world: &mut World, at: usize) -> Option<()> {
        match &mut world.gateways[at].seat {
            Seat::Claiming { .. } => self.claim_written(world, at),
            Seat::Again { epoch, rest, after } => {
                let (epoch, rest, after) = (*epoch, std::mem::take(rest), *after);
                self.opens(world, at, epoch, rest, after)
            }
            Seat::Leading(office) => {
                let Step::Write { place, .. } = &office.step else {
                    return None;
                };
                world.bucket.log.get_mut(place)?.durable = true;
                let epoch = office.term.epoch();
                office.over = world.bucket.marks.get(&epoch) == Some(&true);
                office.step = office.term.step(Input::Written);
                if self.without(Hole::NoSecondLook) {
                    office.step = office.term.step(Input::Looked(epoch));
                    return self.after_look(world, at);
                }
                Some(())
            }
            _ => None,
        }
    }

    /// The second look ended.
    pub(crate) fn looked(&self, world: &mut World, at: usize, over: bool) -> Option<()> {
        let Seat::Leading(office) = &mut world.gateways[at].seat else {
            return None;
        };
        let highest = if over { LATER } else { office.term.epoch() };
        office.step = office.term.step(Input::Looked(highest));
        self.after_look(world, at)
    }

    fn after_look(&self, world: &mut World, at: usize) -> Option<()> {
        let Seat::Leading(office) = &mut world.gateways[at].seat else {
            return None;
        };
        match office.step.clone() {
            Step::Stop { .. } => world.gateways[at].seat = Seat::Following,
            Step::Show { records, position } => {
                office.step = Step::Rest;
                office.over = false;
                let (rest, asks) = (std::mem::take(&mut office.rest), std::mem::take(&mut office.asks));
                let kept = self.without(Hole::RestartIsNoSuccession).then(|| office.clone());
                self.apply(world, at, &rest)?;
                self.show(world, at, &records, position);
                world.gateways[at].kept = kept;
                for ask in asks {
                    if let Ask::Upload(number, _) = ask {
                        world.uploads[usize::from(number)] = Progress::Acknowledged;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// The committer puts a group in flight, as far as the rules admit it.
    pub(crate) fn propose(&self, world: &mut World, at: usize, asks: Vec<Ask>) -> Option<()> {
        let mut admission = Admission::default();
        let mut records = Vec::new();
        for ask in &asks {
            let request = self.words.records(*ask);
            let facts = self.facts(world, at, &request);
            admission.admit(&request, &facts).ok()?;
            records.extend(request);
        }
        let Gateway { seat, reads, .. } = &mut world.gateways[at];
        let Seat::Leading(office) = seat else {
            return None;
        };
        if records.iter().any(|record| record.since() > *reads) {
            return None;
        }
        let step = office.term.propose(records, &self.signer).ok()?;
        self.begin_write(&mut world.bucket, &step)?;
        for ask in &asks {
            match ask {
                Ask::Cache(_) => world.caches -= 1,
                Ask::Remove(path) => world.removals.retain(|other| other != path),
                _ => {}
            }
        }
        office.step = step;
        office.asks = asks;
        world.groups -= 1;
        Some(())
    }

    /// The committer refuses an upload, if the rules do.
    pub(crate) fn refuse(&self, world: &mut World, at: usize, number: u8) -> Option<()> {
        let Progress::Stored { pack, tries } = world.uploads[usize::from(number)] else {
            return None;
        };
        let request = self.words.records(Ask::Upload(number, pack));
        let facts = self.facts(world, at, &request);
        world.uploads[usize::from(number)] = match Admission::default().admit(&request, &facts) {
            Ok(()) => return None,
            Err(Refusal::FramesMissing(_) | Refusal::PackCondemned(_)) => {
                if tries == TRIES {
                    return None;
                }
                let pack = pack_name(number, tries + 1);
                world.bucket.packs.insert(pack);
                Progress::Stored {
                    pack: Some(pack),
                    tries: tries + 1,
                }
            }
            Err(_) => Progress::Refused,
        };
        Some(())
    }

    /// Whether a pack is deleted though the record that condemns it does not count yet.
    pub(crate) fn deletes_early(&self, gateway: &Gateway, pack: PackName) -> bool {
        self.without(Hole::DeletesBeforeLook)
            && matches!(&gateway.seat, Seat::Leading(Office { step: Step::Look, asks, .. })
                if asks.contains(&Ask::Condemn(pack)))
    }

    fn facts(&self, world: &World, at: usize, request: &[Record]) -> Facts {
        let mut facts = world.gateways[at].view.facts(request);
        if self.without(Hole::NoCheckOfCondemned) {
            facts.condemning.clear();
            facts.packs.clear();
            for record in request {
                if let Record::PathAdded(path) = record
                    && let Ok(manifest) = Manifest::decode(&path.manifest)
                {
                    facts.frames.extend(manifest.frames());
                }
            }
        }
        facts
    }
}
