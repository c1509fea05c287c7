//! A gateway: what it knows, and what it is doing.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use hayloft_store::commit::{Claim, ClaimStep, Step, Term};
use hayloft_store::key::{EpochId, LogPlace, Position};

use crate::ask::Ask;
use crate::view::View;

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gateway {
    pub(crate) view: View,
    pub(crate) seat: Seat,
    /// The highest log format that it reads.
    pub(crate) reads: u32,
    /// Its last term as it was at rest, kept only where a restart goes on in it.
    pub(crate) kept: Option<Office>,
}

/// What it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Seat {
    /// It does not run.
    Down,
    /// It follows.
    Following,
    /// It claims an epoch; `began`: what was durable when the listing under way began.
    Claiming {
        claim: Claim,
        step: ClaimStep,
        began: BTreeSet<EpochId>,
        first: BTreeSet<EpochId>,
        log_began: BTreeSet<LogPlace>,
    },
    /// It has claimed, and lists the log.
    Reading {
        epoch: EpochId,
        began: BTreeSet<LogPlace>,
    },
    /// It writes again what it counts but is not known to count.
    Again {
        epoch: EpochId,
        rest: Vec<LogPlace>,
        after: Option<Position>,
    },
    /// It has opened or is opening its epoch.
    Leading(Office),
}

/// A term under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Office {
    pub(crate) term: Term,
    pub(crate) step: Step,
    /// The mark of its end was durable when the look under way began.
    pub(crate) over: bool,
    /// What is in flight.
    pub(crate) asks: Vec<Ask>,
    /// What is shown together with the opening.
    pub(crate) rest: Vec<LogPlace>,
}

impl Hash for Office {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.term.epoch().hash(state);
        self.term.position().hash(state);
        discriminant(&self.step).hash(state);
        if let Step::Write { place, bytes } = &self.step {
            place.hash(state);
            bytes.hash(state);
        }
        self.over.hash(state);
        self.asks.hash(state);
        self.rest.hash(state);
    }
}
