//! Which log objects count. Pure: a function of the places that a listing showed and of the openings.
//!
//! Every epoch's opening names the last object that counts before it, so what counts is one chain: from the
//! newest opening back. An epoch that wrote no opening, or that a later opening passes over, never counted.

use std::collections::BTreeMap;

use super::record::EpochOpened;
use super::{LogError, LogFault};
use crate::key::{EpochId, LogPlace, ObjectKey, Position};

/// What a listing of the log showed behind a starting point: how far each epoch's objects reach without a hole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    runs: BTreeMap<EpochId, Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

/// A stretch of one epoch to apply, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The epoch.
    pub epoch: EpochId,
    /// Its first object to apply.
    pub first: u64,
    /// Its last.
    pub last: u64,
}

/// What to do next to find the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read this opening and say what it holds.
    Read(LogPlace),
    /// Apply these in order: the chain is found.
    Apply(Vec<Stretch>),
    /// This object counts and was not in the listing. It was whole before the opening that counts it was written, so a
    /// listing that begins now shows it, unless it was lost.
    ListAgain(LogPlace),
    /// The starting point is not on the chain: what was applied up to there must be made again from nothing.
    StartOver,
}

/// Walks from the newest epoch back to the starting point.
#[derive(Clone, Debug)]
pub struct Walk {
    listing: Listing,
    from: Option<Position>,
    stretches: Vec<Stretch>,
}

impl Listing {
    /// Takes the places of a listing, in its order: those behind `from`, or all.
    ///
    /// # Errors
    /// When an object is there whose predecessor in its epoch is not.
    pub fn new(places: impl IntoIterator<Item = LogPlace>, from: Option<LogPlace>) -> Result<Self, LogError> {
        let mut runs: BTreeMap<EpochId, Run> = BTreeMap::new();
        for place in places {
            let expected = match (runs.get(&place.epoch), from) {
                (Some(run), _) => run.last + 1,
                (None, Some(from)) if from.epoch == place.epoch => from.seq + 1,
                (None, _) => 1,
            };
            if place.seq != expected {
                let object = ObjectKey::Log(place).to_string();
                return Err(LogError {
                    object,
                    fault: LogFault::Hole,
                });
            }
            runs.entry(place.epoch)
                .and_modify(|run| run.last = place.seq)
                .or_insert(Run {
                    first: place.seq,
                    last: place.seq,
                });
        }
        Ok(Self { runs })
    }

    /// The highest epoch that a log object was written in.
    #[must_use]
    pub fn highest(&self) -> Option<EpochId> {
        self.runs.last_key_value().map(|(epoch, _)| *epoch)
    }
}

/// How many objects of the stretches, from the first, are known to count without asking anybody.
///
/// An object counts when its own epoch wrote another behind it, for that comes only after the second look. So of the
/// newest stretch all but the last object count. When that was the opening alone, nobody knows whether the epoch ever
/// began, and of the stretch before it the last object waits, too.
#[must_use]
pub fn settled(stretches: &[Stretch]) -> u64 {
    let all: u64 = stretches.iter().map(Stretch::len).sum();
    let mut waiting = 0;
    for stretch in stretches.iter().rev() {
        waiting += 1;
        if stretch.last > 1 {
            break;
        }
    }
    all.saturating_sub(waiting)
}

impl Stretch {
    /// The number of its objects.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u64 {
        self.last + 1 - self.first
    }
}

impl Walk {
    /// Begins at the newest end of `listing`; `from` is the position that was applied already.
    #[must_use]
    pub fn new(listing: Listing, from: Option<Position>) -> (Self, Next) {
        let end = listing.runs.last_key_value().map(|(epoch, run)| LogPlace {
            epoch: *epoch,
            seq: run.last,
        });
        let mut walk = Self {
            listing,
            from,
            stretches: Vec::new(),
        };
        let next = match end {
            None => Next::Apply(Vec::new()),
            Some(end) => walk.reach(end),
        };
        (walk, next)
    }

    /// Says what the opening that [`Next::Read`] asked for holds.
    pub fn read(&mut self, opening: EpochOpened) -> Next {
        match (opening.after, self.from) {
            (None, None) => self.done(),
            (Some(after), Some(from)) if after == from => self.done(),
            (None, Some(_)) => Next::StartOver,
            (Some(after), from) => match from {
                Some(from) if after.place <= from.place => Next::StartOver,
                _ => self.reach(after.place),
            },
        }
    }

    /// The chain reaches up to `end` in its epoch.
    fn reach(&mut self, end: LogPlace) -> Next {
        let known = self
            .listing
            .runs
            .get(&end.epoch)
            .is_some_and(|run| run.last >= end.seq);
        if !known {
            // Openings before the starting point never come here.
            return Next::ListAgain(end);
        }
        let first = self.listing.runs.get(&end.epoch).map_or(1, |run| run.first);
        self.stretches.push(Stretch {
            epoch: end.epoch,
            first,
            last: end.seq,
        });
        if first > 1 {
            self.done()
        } else {
            Next::Read(LogPlace {
                epoch: end.epoch,
                seq: 1,
            })
        }
    }

    fn done(&mut self) -> Next {
        let mut stretches = std::mem::take(&mut self.stretches);
        stretches.reverse();
        Next::Apply(stretches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn place(number: u64, seq: u64) -> LogPlace {
        LogPlace {
            epoch: EpochId { number, instance: 0 },
            seq,
        }
    }

    fn position(number: u64, seq: u64) -> Position {
        Position {
            place: place(number, seq),
            digest: Digest::ZERO,
        }
    }

    /// Runs a walk to its end, reading openings from `after`.
    fn walk(places: &[LogPlace], from: Option<Position>, after: &[(u64, Option<Position>)]) -> Next {
        let listing = Listing::new(places.iter().copied(), from.map(|p| p.place)).unwrap();
        let (mut walk, mut next) = Walk::new(listing, from);
        while let Next::Read(opening) = next {
            let (_, after) = after
                .iter()
                .find(|(number, _)| *number == opening.epoch.number)
                .unwrap();
            next = walk.read(EpochOpened { after: *after });
        }
        next
    }

    fn stretch(number: u64, first: u64, last: u64) -> Stretch {
        Stretch {
            epoch: place(number, 1).epoch,
            first,
            last,
        }
    }

    #[test]
    fn an_empty_bucket_has_nothing_to_apply() {
        assert_eq!(walk(&[], None, &[]), Next::Apply(vec![]));
    }

    #[test]
    fn what_an_opening_passes_over_does_not_count() {
        // Epoch 2 wrote its opening after (1,1), epoch 3 saw nothing of it and counted (1,2).
        let places = [place(1, 1), place(1, 2), place(2, 1), place(2, 2), place(3, 1)];
        let openings = [(1, None), (2, Some(position(1, 1))), (3, Some(position(1, 2)))];
        let expected = vec![stretch(1, 1, 2), stretch(3, 1, 1)];
        assert_eq!(walk(&places, None, &openings), Next::Apply(expected));
    }

    #[test]
    fn what_comes_later_under_an_ended_epoch_is_void() {
        let places = [place(1, 1), place(1, 2), place(1, 3), place(2, 1)];
        let openings = [(1, None), (2, Some(position(1, 2)))];
        assert_eq!(
            walk(&places, None, &openings),
            Next::Apply(vec![stretch(1, 1, 2), stretch(2, 1, 1)])
        );
    }

    #[test]
    fn following_goes_on_from_where_it_was() {
        let openings = [(2, Some(position(1, 3)))];
        let next = walk(&[place(1, 3), place(2, 1)], Some(position(1, 2)), &openings);
        assert_eq!(next, Next::Apply(vec![stretch(1, 3, 3), stretch(2, 1, 1)]));
        let next = walk(&[place(1, 4)], Some(position(1, 3)), &[]);
        assert_eq!(next, Next::Apply(vec![stretch(1, 4, 4)]));
        let next = walk(&[place(2, 1)], Some(position(1, 3)), &openings);
        assert_eq!(next, Next::Apply(vec![stretch(2, 1, 1)]));
    }

    #[test]
    fn who_followed_something_void_starts_over() {
        // Applied up to (1,3), but epoch 2 counted only (1,2).
        let openings = [(2, Some(position(1, 2)))];
        assert_eq!(
            walk(&[place(2, 1)], Some(position(1, 3)), &openings),
            Next::StartOver
        );
        // Applied up to (2,1), but epoch 3 passed it over.
        let openings = [(3, Some(position(1, 9)))];
        assert_eq!(
            walk(&[place(3, 1)], Some(position(2, 1)), &openings),
            Next::StartOver
        );
        // Another log altogether.
        assert_eq!(
            walk(&[place(3, 1)], Some(position(2, 1)), &[(3, None)]),
            Next::StartOver
        );
    }

    #[test]
    fn who_lists_while_an_epoch_is_opened_lists_again_and_drops_nothing() {
        // The listing had passed epoch 1 when its last objects and the opening of epoch 2 were written.
        let openings = [(2, Some(position(1, 5)))];
        let again = Next::ListAgain(place(1, 5));
        assert_eq!(walk(&[place(2, 1)], Some(position(1, 3)), &openings), again);
        let passed = [place(1, 4), place(2, 1)];
        assert_eq!(walk(&passed, Some(position(1, 3)), &openings), again);
        assert_eq!(walk(&[place(2, 1)], None, &openings), again);
    }

    #[test]
    fn what_nobody_vouches_for_waits() {
        assert_eq!(settled(&[]), 0);
        assert_eq!(settled(&[stretch(1, 1, 5)]), 4);
        assert_eq!(settled(&[stretch(1, 4, 5), stretch(2, 1, 3)]), 4);
        // The opening may yet be passed over, and then the object before it, too.
        assert_eq!(settled(&[stretch(1, 4, 5), stretch(2, 1, 1)]), 1);
        assert_eq!(
            settled(&[stretch(1, 4, 5), stretch(2, 1, 1), stretch(3, 1, 1)]),
            1
        );
        assert_eq!(settled(&[stretch(1, 1, 1)]), 0);
        // Behind a starting point that counts.
        assert_eq!(settled(&[stretch(2, 1, 1)]), 0);
        assert_eq!(settled(&[stretch(1, 9, 9), stretch(2, 1, 2)]), 2);
    }

    #[test]
    fn a_hole_stops_the_follower() {
        let error = Listing::new([place(1, 1), place(1, 3)], None).unwrap_err();
        assert!(error.to_string().contains("0000000000000003"));
    }
}
