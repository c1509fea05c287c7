//! All that there is at one moment, and what must hold of it.

use std::collections::BTreeSet;
use std::error::Error;

use hayloft_store::cluster_key::{ClusterKey, LogSigner};
use hayloft_store::commit::{Step, Term};
use hayloft_store::key::{EpochId, LogPlace, PackName, Position};
use hayloft_store::log::object::LogObject;
use hayloft_store::log::record::Record;
use stateright::{Model, Property};

use crate::action::Action;
use crate::ask::{Ask, Progress, Words, frame, pack_name};
use crate::bucket::{Bucket, Object, listings};
use crate::gateway::{Gateway, Office, Seat};
use crate::hole::Hole;
use crate::reading::{Found, walk};
use crate::setup::Setup;
use crate::view::View;

/// A setup with the words that its records are made of.
#[derive(Debug)]
pub struct Search {
    pub(crate) setup: Setup,
    pub(crate) words: Words,
    pub(crate) signer: LogSigner,
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) bucket: Bucket,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) uploads: Vec<Progress>,
    pub(crate) caches: u8,
    pub(crate) removals: Vec<u8>,
    /// A pack into which a frame was copied.
    pub(crate) copy: Option<(PackName, u8)>,
    pub(crate) claims: u8,
    pub(crate) groups: u8,
    pub(crate) crashes: u8,
    /// All that was ever shown by anybody, as one state.
    pub(crate) truth: View,
    pub(crate) wrong: Option<Wrong>,
}

/// What must never happen, where it shows in a step and not in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// Something was shown that does not follow what was shown before.
    TwoTruths,
}

impl Search {
    /// A search of that size.
    ///
    /// # Errors
    /// When keys or records cannot be made.
    pub fn new(setup: Setup) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            words: Words::new(&setup.uploads)?,
            signer: ClusterKey::from_random([7; 32]).log_signer()?,
            setup,
        })
    }

    pub(crate) fn without(&self, hole: Hole) -> bool {
        self.setup.without == Some(hole)
    }

    /// Begins to write what a term asks for.
    pub(crate) fn begin_write(&self, bucket: &mut Bucket, step: &Step) -> Option<()> {
        let Step::Write { place, bytes } = step else {
            return Some(());
        };
        let (object, position) = LogObject::decode(*place, bytes, &self.signer).ok()?;
        bucket.put_log(Object {
            position,
            before: object.before,
            records: object.records.into(),
            durable: false,
        });
        Some(())
    }

    /// The gateway applies a group and answers by it from now on.
    pub(crate) fn show(&self, world: &mut World, at: usize, records: &[Record], position: Position) {
        let gateway = &mut world.gateways[at];
        gateway.view.apply(records, position, gateway.reads);
        let (chain, truth) = (&gateway.view.chain, &world.truth.chain);
        let common = chain.len().min(truth.len());
        if chain[..common] != truth[..common] {
            world.wrong = Some(Wrong::TwoTruths);
        } else if chain.len() > truth.len() {
            world.truth.apply(records, position, u32::MAX);
        }
    }

    pub(crate) fn readable(&self, gateway: &Gateway, records: &[Record]) -> bool {
        self.without(Hole::SkipsUnknown) || records.iter().all(|record| record.since() <= gateway.reads)
    }

    fn led_from_the_start(&self, world: &mut World) -> Option<()> {
        let epoch = EpochId {
            number: 1,
            instance: 0,
        };
        world.bucket.claims.insert(epoch, true);
        let (mut term, mut step) = Term::open(epoch, None, &self.signer).ok()?;
        for records in [None, Some(vec![self.words.first()])] {
            if let Some(records) = records {
                step = term.propose(records, &self.signer).ok()?;
            }
            self.begin_write(&mut world.bucket, &step)?;
            term.step(hayloft_store::commit::Input::Written);
            let Step::Show { records, position } = term.step(hayloft_store::commit::Input::Looked(epoch))
            else {
                return None;
            };
            world.bucket.log.get_mut(&position.place)?.durable = true;
            for at in 0..world.gateways.len() {
                self.show(world, at, &records, position);
            }
        }
        let office = Office {
            term,
            step: Step::Rest,
            over: false,
            asks: Vec::new(),
            rest: Vec::new(),
        };
        world.gateways[0].kept = self.without(Hole::RestartIsNoSuccession).then(|| office.clone());
        world.gateways[0].seat = Seat::Leading(office);
        Some(())
    }

    fn of_gateway(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let gateway = &world.gateways[at];
        if world.crashes > 0 && gateway.seat != Seat::Down && gateway.seat != Seat::Following {
            actions.push(Action::Crash(at));
        }
        let bucket = &world.bucket;
        match &gateway.seat {
            Seat::Down => actions.push(Action::Start(at)),
            Seat::Following => {
                if world.claims > 0 {
                    let mut numbers = BTreeSet::new();
                    for seen in listings(&bucket.durable_claims(), bucket.claims.keys().copied()) {
                        let highest = seen.last().map(|epoch| epoch.number);
                        if numbers.insert(highest) || self.without(Hole::NoSecondListing) {
                            actions.push(Action::Claim(at, seen));
                        }
                    }
                }
                if self.setup.follows {
                    for seen in listings(&bucket.durable_log(), bucket.log.keys().copied()) {
                        actions.push(Action::Follow(at, seen));
                    }
                }
            }
            Seat::Claiming { step, began, .. } => match step {
                hayloft_store::commit::ClaimStep::List => {
                    for seen in listings(began, bucket.claims.keys().copied()) {
                        actions.push(Action::ClaimsListed(at, seen));
                    }
                }
                _ => actions.push(Action::Written(at)),
            },
            Seat::Reading { began, .. } => {
                for seen in listings(began, bucket.log.keys().copied()) {
                    actions.push(Action::LogListed(at, seen));
                }
            }
            Seat::Again { .. } => actions.push(Action::Written(at)),
            Seat::Leading(office) => self.of_leader(world, at, office, actions),
        }
    }

    fn of_leader(&self, world: &World, at: usize, office: &Office, actions: &mut Vec<Action>) {
        match &office.step {
            Step::Write { .. } => actions.push(Action::Written(at)),
            Step::Look => {
                if !office.over {
                    actions.push(Action::Looked(at, false));
                }
                if world.bucket.marks.contains_key(&office.term.epoch()) {
                    actions.push(Action::Looked(at, true));
                }
            }
            Step::Rest => {
                if world.groups > 0 {
                    self.proposals(world, at, actions);
                }
                if self.setup.collects && world.copy.is_none() {
                    for pack in world.gateways[at].view.packs.keys() {
                        actions.push(Action::Copy(at, *pack));
                    }
                }
            }
            Step::Show { .. } | Step::Stop { .. } => {}
        }
        if self.setup.tells {
            for to in (0..world.gateways.len()).filter(|to| *to != at) {
                actions.push(Action::Tell(at, to));
            }
        }
    }

    fn proposals(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let mut asks: Vec<Ask> = Vec::new();
        if world.caches > 0 {
            asks.push(Ask::Cache(world.caches));
        }
        for (number, upload) in (0_u8..).zip(&world.uploads) {
            if let Progress::Stored { pack, .. } = upload {
                asks.push(Ask::Upload(number, *pack));
                actions.push(Action::Refuse(at, number));
            }
        }
        asks.extend(world.removals.iter().map(|path| Ask::Remove(*path)));
        if self.setup.collects {
            let view = &world.gateways[at].view;
            if let Some((pack, frame)) = world.copy
                && !view.packs.contains_key(&pack)
            {
                asks.push(Ask::Copied(pack, frame));
            }
            // Registered or not: what an upload that never ended left behind is condemned, too.
            let all: BTreeSet<PackName> = view.packs.keys().chain(&world.bucket.packs).copied().collect();
            asks.extend(all.difference(&view.condemned).map(|pack| Ask::Condemn(*pack)));
        }
        if self.setup.pairs {
            for (n, first) in asks.iter().enumerate() {
                for second in &asks[n + 1..] {
                    actions.push(Action::Propose(at, vec![*first, *second]));
                    actions.push(Action::Propose(at, vec![*second, *first]));
                }
            }
        }
        actions.extend(asks.into_iter().map(|ask| Action::Propose(at, vec![ask])));
    }

    fn upload(&self, world: &mut World, number: u8, at: usize) -> Option<()> {
        let upload = self.setup.uploads.get(usize::from(number))?;
        let known = world.gateways[at].view.holds(&frame(upload.frame));
        let pack = (!known).then(|| pack_name(number, 0));
        world.bucket.packs.extend(pack);
        world.uploads[usize::from(number)] = Progress::Stored { pack, tries: 0 };
        Some(())
    }

    fn copy(&self, world: &mut World, at: usize, pack: PackName) -> Option<()> {
        let frames = world.gateways[at].view.packs.get(&pack)?;
        let number = self
            .setup
            .uploads
            .iter()
            .find(|upload| frames.contains(&frame(upload.frame)))?
            .frame;
        let name = pack_name(100, 0);
        world.bucket.packs.insert(name);
        world.copy = Some((name, number));
        if self.without(Hole::DeletesBeforeCopy) {
            world.bucket.packs.remove(&pack);
        }
        Some(())
    }
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let gateways = (0..self.setup.gateways)
            .map(|at| Gateway {
                view: View::default(),
                seat: Seat::Following,
                reads: self.setup.reads.get(at).copied().unwrap_or(u32::MAX),
                kept: None,
            })
            .collect();
        let mut world = World {
            bucket: Bucket::default(),
            gateways,
            uploads: vec![Progress::Waiting; self.setup.uploads.len()],
            caches: self.setup.caches,
            removals: self.setup.removals.clone(),
            copy: None,
            claims: self.setup.claims,
            groups: self.setup.groups,
            crashes: self.setup.crashes,
            truth: View::default(),
            wrong: None,
        };
        if self.setup.cold || self.led_from_the_start(&mut world).is_some() {
            vec![world]
        } else {
            Vec::new()
        }
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.wrong.is_some() {
            return;
        }
        for at in 0..world.gateways.len() {
            self.of_gateway(world, at, actions);
        }
        for (number, upload) in (0_u8..).zip(&world.uploads) {
            if *upload == Progress::Waiting {
                for (at, gateway) in world.gateways.iter().enumerate() {
                    if gateway.seat != Seat::Down {
                        actions.push(Action::Upload(number, at));
                    }
                }
            }
        }
        if self.setup.collects {
            for pack in &world.bucket.packs {
                for (at, gateway) in world.gateways.iter().enumerate() {
                    let knows = gateway.view.condemned.contains(pack) || self.deletes_early(gateway, *pack);
                    if gateway.seat != Seat::Down && knows {
                        actions.push(Action::Delete(at, *pack));
                    }
                }
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Crash(at) => {
                world.crashes -= 1;
                world.gateways[at].seat = Seat::Down;
                if self.setup.index_lost {
                    world.gateways[at].view = View::default();
                }
            }
            Action::Start(at) => {
                let gateway = &mut world.gateways[at];
                gateway.seat = gateway.kept.clone().map_or(Seat::Following, Seat::Leading);
            }
            Action::Claim(at, seen) => self.claim(&mut world, at, &seen)?,
            Action::Written(at) => self.written(&mut world, at)?,
            Action::ClaimsListed(at, seen) => self.claims_listed(&mut world, at, &seen)?,
            Action::LogListed(at, seen) => self.log_listed(&mut world, at, &seen)?,
            Action::Looked(at, over) => self.looked(&mut world, at, over)?,
            Action::Follow(at, seen) => self.follow(&mut world, at, &seen)?,
            Action::Tell(from, to) => self.tell(&mut world, from, to)?,
            Action::Upload(number, at) => self.upload(&mut world, number, at)?,
            Action::Propose(at, asks) => self.propose(&mut world, at, asks)?,
            Action::Refuse(at, number) => self.refuse(&mut world, at, number)?,
            Action::Copy(at, pack) => self.copy(&mut world, at, pack)?,
            Action::Delete(_, pack) => {
                world.bucket.packs.remove(&pack);
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "I1: what was acknowledged is made again from the bucket",
                Self::durable,
            ),
            Property::always(
                "I1: an acknowledged push is known",
                |search: &Self, world: &World| {
                    (0_u8..).zip(&world.uploads).all(|(number, upload)| {
                        *upload != Progress::Acknowledged || search.is_known(world, number)
                    })
                },
            ),
            Property::always("I3: a path's NAR hash never changes", |_, world: &World| {
                !world.truth.changed && world.gateways.iter().all(|gateway| !gateway.view.changed)
            }),
            Property::always("I4: what a live path needs is there", |_, world: &World| {
                world.truth.paths.values().filter(|path| path.live).all(|path| {
                    path.frames.iter().all(|frame| {
                        world
                            .truth
                            .packs
                            .iter()
                            .any(|(pack, frames)| frames.contains(frame) && world.bucket.packs.contains(pack))
                    })
                })
            }),
            Property::always("I5: whoever restarts goes on from what it has", Self::goes_on),
            Property::always("I6: nobody shows what others do not", |_, world: &World| {
                world.wrong.is_none()
            }),
            Property::always("I6: at one position all answer the same", |_, world: &World| {
                world.gateways.iter().enumerate().all(|(n, one)| {
                    world.gateways[n + 1..]
                        .iter()
                        .all(|other| one.view.chain != other.view.chain || one.view == other.view)
                })
            }),
            Property::sometimes("a later epoch orders", |_, world: &World| {
                let last = world.truth.position();
                last.is_some_and(|last| last.place.epoch.number > 1 && last.place.seq > 1)
            }),
        ]
    }
}

impl Search {
    /// A listing of what is durable, and one of all there is, lead along all that was ever shown.
    fn durable(&self, world: &World) -> bool {
        self.both(world)
            .iter()
            .all(|seen| match walk(&world.bucket, seen, None) {
                Found::Chain { places, .. } => {
                    let chain: Vec<Option<Position>> =
                        places.iter().map(|place| self.at(world, *place)).collect();
                    world.truth.chain.len() <= chain.len()
                        && world
                            .truth
                            .chain
                            .iter()
                            .zip(chain)
                            .all(|(truth, there)| Some(*truth) == there)
                }
                Found::Astray | Found::Hole => false,
            })
    }

    fn goes_on(&self, world: &World) -> bool {
        let both = self.both(world);
        world.gateways.iter().all(|gateway| {
            both.iter().all(|seen| {
                matches!(
                    walk(&world.bucket, seen, gateway.view.position()),
                    Found::Chain { .. }
                )
            })
        })
    }

    fn both(&self, world: &World) -> [BTreeSet<LogPlace>; 2] {
        [
            world.bucket.durable_log(),
            world.bucket.log.keys().copied().collect(),
        ]
    }

    fn at(&self, world: &World, place: LogPlace) -> Option<Position> {
        world.bucket.log.get(&place).map(|object| object.position)
    }

    fn is_known(&self, world: &World, number: u8) -> bool {
        let upload = self.setup.uploads[usize::from(number)];
        let known = world.truth.paths.get(&self.words.path(upload.path).hash());
        known.is_some_and(|known| known.nar_hash == [upload.nar; 32])
    }
}
