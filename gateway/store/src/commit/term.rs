//! One term of office, as a state machine: one group in flight; its object is PUT until that succeeds, then a
//! second look shows whether the term still runs, and only then the group counts.

use crate::Digest;
use crate::cluster_key::LogSigner;
use crate::key::{EpochId, LogPlace, Position};
use crate::log::LogError;
use crate::log::object::LogObject;
use crate::log::record::{EpochOpened, Record};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The PUT succeeded.
    Written,
    /// The PUT failed, or nobody knows.
    WriteFailed,
    /// A look shows that this is the highest epoch: this term's own when the mark of its end is not there, else the one
    /// that the mark names; or the last of a listing of the epochs.
    Looked(EpochId),
    /// The look failed.
    LookFailed,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// PUT these bytes there. A key only ever gets the same bytes.
    Write {
        /// Where.
        place: LogPlace,
        /// What.
        bytes: Vec<u8>,
    },
    /// Read the mark of this epoch's end ([`crate::key::ObjectKey::Ended`]), or list the epochs; the read must begin after
    /// this was asked for. Why either will do, [`super::Claim`] says.
    Look,
    /// Apply the group to the index, then acknowledge it.
    Show {
        /// What counts now.
        records: Vec<Record>,
        /// The position after it.
        position: Position,
    },
    /// Nothing is in flight: a group may be proposed.
    Rest,
    /// A newer epoch exists: nothing more may be written or acknowledged, ever, by this term.
    Stop {
        /// Who took over.
        newer: EpochId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Resting,
    Writing(Group),
    Looking(Group),
    Deposed(EpochId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    position: Position,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

/// A term of office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    epoch: EpochId,
    last: Option<Position>,
    phase: Phase,
}

impl Term {
    /// A term that begins with its opening, after everything that counts up to `after`. The epoch's key must
    /// be in the bucket before, and the last object that counts must have been PUT again.
    ///
    /// # Errors
    /// When the opening cannot be made into bytes.
    pub fn open(
        epoch: EpochId,
        after: Option<Position>,
        signer: &LogSigner,
    ) -> Result<(Self, Step), LogError> {
        let mut term = Self {
            epoch,
            last: after,
            phase: Phase::Resting,
        };
        let step = term.write(vec![Record::EpochOpened(EpochOpened { after })], signer)?;
        Ok((term, step))
    }

    /// Puts the next group in flight. When one is in flight already, or the term is over, it says so by
    /// asking for the same step again, and the records are not taken.
    ///
    /// # Errors
    /// When the group cannot be made into bytes.
    pub fn propose(&mut self, records: Vec<Record>, signer: &LogSigner) -> Result<Step, LogError> {
        match &self.phase {
            Phase::Resting if records.is_empty() => Ok(Step::Rest),
            Phase::Resting => self.write(records, signer),
            Phase::Writing(_) | Phase::Looking(_) | Phase::Deposed(_) => Ok(self.again()),
        }
    }

    /// Puts a group without records in flight: it says that the object before it counts, to those who only read the
    /// bucket.
    ///
    /// # Errors
    /// When it cannot be made into bytes.
    pub fn seal(&mut self, signer: &LogSigner) -> Result<Step, LogError> {
        match &self.phase {
            Phase::Resting => self.write(Vec::new(), signer),
            Phase::Writing(_) | Phase::Looking(_) | Phase::Deposed(_) => Ok(self.again()),
        }
    }

    /// Goes on after something happened.
    pub fn step(&mut self, input: Input) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Resting);
        self.phase = match (phase, input) {
            (Phase::Writing(group), Input::Written) => Phase::Looking(group),
            (Phase::Looking(group), Input::Looked(highest)) if highest <= self.epoch => {
                self.last = Some(group.position);
                return Step::Show {
                    records: group.records,
                    position: group.position,
                };
            }
            (Phase::Looking(_), Input::Looked(newer)) => Phase::Deposed(newer),
            // Nothing is in flight, and the look was taken only to hear of this soon.
            (Phase::Resting, Input::Looked(newer)) if newer > self.epoch => Phase::Deposed(newer),
            (phase, _) => phase,
        };
        self.again()
    }

    /// The epoch of this term.
    #[must_use]
    pub const fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The last position that counts.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.last
    }

    fn again(&self) -> Step {
        match &self.phase {
            Phase::Resting => Step::Rest,
            Phase::Writing(group) => Step::Write {
                place: group.position.place,
                bytes: group.bytes.clone(),
            },
            Phase::Looking(_) => Step::Look,
            Phase::Deposed(newer) => Step::Stop { newer: *newer },
        }
    }

    fn write(&mut self, records: Vec<Record>, signer: &LogSigner) -> Result<Step, LogError> {
        let seq = self
            .last
            .filter(|last| last.place.epoch == self.epoch)
            .map_or(1, |last| last.place.seq + 1);
        let object = LogObject {
            place: LogPlace {
                epoch: self.epoch,
                seq,
            },
            before: self.last.map_or(Digest::ZERO, |last| last.digest),
            records,
        };
        let (bytes, position) = object.encode(signer)?;
        self.phase = Phase::Writing(Group {
            position,
            bytes,
            records: object.records,
        });
        Ok(self.again())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_key::ClusterKey;

    fn epoch(number: u64) -> EpochId {
        EpochId { number, instance: 1 }
    }

    fn group() -> Vec<Record> {
        vec![Record::CacheDestroyed("main".parse().unwrap())]
    }

    #[test]
    fn nothing_is_shown_before_the_write_and_the_second_look() {
        let signer = ClusterKey::from_random([0; 32]).log_signer().unwrap();
        let (mut term, step) = Term::open(epoch(1), None, &signer).unwrap();
        assert!(matches!(step, Step::Write { place, .. } if place.seq == 1));
        // A look that came too early proves nothing.
        assert_eq!(term.step(Input::Looked(epoch(1))), step);
        assert_eq!(term.step(Input::WriteFailed), step);
        assert_eq!(term.step(Input::Written), Step::Look);
        assert_eq!(term.step(Input::LookFailed), Step::Look);
        assert!(matches!(term.step(Input::Looked(epoch(1))), Step::Show { .. }));
        assert!(
            matches!(term.propose(group(), &signer).unwrap(), Step::Write { place, .. } if place.seq == 2)
        );
    }

    #[test]
    fn one_group_is_in_flight_and_its_key_only_gets_the_same_bytes() {
        let signer = ClusterKey::from_random([0; 32]).log_signer().unwrap();
        let (mut term, _) = Term::open(epoch(1), None, &signer).unwrap();
        let _ = term.step(Input::Written);
        let _ = term.step(Input::Looked(epoch(1)));
        let first = term.propose(group(), &signer).unwrap();
        let other = vec![Record::CacheDestroyed("other".parse().unwrap())];
        assert_eq!(term.propose(other, &signer).unwrap(), first);
        assert_eq!(term.step(Input::WriteFailed), first);
    }

    #[test]
    fn a_look_while_nothing_is_in_flight_ends_the_term_when_it_is_over() {
        let signer = ClusterKey::from_random([0; 32]).log_signer().unwrap();
        let (mut term, _) = Term::open(epoch(1), None, &signer).unwrap();
        let _ = term.step(Input::Written);
        let _ = term.step(Input::Looked(epoch(1)));
        assert_eq!(term.step(Input::Looked(epoch(1))), Step::Rest);
        assert_eq!(term.step(Input::LookFailed), Step::Rest);
        let stop = Step::Stop { newer: epoch(2) };
        assert_eq!(term.step(Input::Looked(epoch(2))), stop);
        assert_eq!(term.propose(group(), &signer).unwrap(), stop);
    }

    #[test]
    fn a_deposed_term_never_shows_or_writes_again() {
        let signer = ClusterKey::from_random([0; 32]).log_signer().unwrap();
        let (mut term, _) = Term::open(epoch(1), None, &signer).unwrap();
        let _ = term.step(Input::Written);
        let stop = Step::Stop { newer: epoch(2) };
        assert_eq!(term.step(Input::Looked(epoch(2))), stop);
        assert_eq!(term.propose(group(), &signer).unwrap(), stop);
        for input in [
            Input::Written,
            Input::Looked(epoch(1)),
            Input::LookFailed,
            Input::WriteFailed,
        ] {
            assert_eq!(term.step(input), stop);
        }
    }
}
