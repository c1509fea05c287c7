//! In which order paths are uploaded: what a path refers to comes before it, so that nobody ever sees a path in the cache
//! whose references are not there.

use std::collections::{BTreeMap, BinaryHeap};

use super::nix::PathInfo;

/// The state of one path, by its place in the list that the schedule was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for this many references.
    Waiting(usize),
    /// Given out, or ready to be.
    Ready,
    /// Uploaded.
    Done,
    /// It, or something it refers to, could not be uploaded.
    Failed,
}

/// Which paths may be uploaded now.
#[derive(Debug)]
pub(crate) struct Schedule {
    states: Vec<State>,
    /// For each path those that refer to it.
    referrers: Vec<Vec<usize>>,
    /// Ready paths; the one with the longest chain of bytes behind it comes first, so that the last ones do not wait in line.
    ready: BinaryHeap<(u64, std::cmp::Reverse<usize>)>,
    weights: Vec<u64>,
}

impl Schedule {
    /// Takes the paths to upload. References to others, which are in the cache already or are not to be there, do not count.
    pub(crate) fn new(paths: &[PathInfo]) -> Schedule {
        let places: BTreeMap<&str, usize> = paths
            .iter()
            .enumerate()
            .map(|(place, info)| (info.path.base_name(), place))
            .collect();
        let references: Vec<Vec<usize>> = paths
            .iter()
            .enumerate()
            .map(|(place, info)| {
                let places = info
                    .references
                    .iter()
                    .filter_map(|name| places.get(name.as_str()).copied());
                places.filter(|reference| *reference != place).collect()
            })
            .collect();
        let mut referrers = vec![Vec::new(); paths.len()];
        for (place, references) in references.iter().enumerate() {
            for &reference in references {
                referrers[reference].push(place);
            }
        }
        let order = topological(&references, &referrers);
        // A store has no cycles but a path's reference to itself; should one come up, its paths go last, in any order.
        let mut position = vec![usize::MAX; paths.len()];
        for (at, &place) in order.iter().enumerate() {
            position[place] = at;
        }
        let mut states = Vec::with_capacity(paths.len());
        for (place, references) in references.iter().enumerate() {
            let counted = references
                .iter()
                .filter(|&&reference| position[reference] < position[place])
                .count();
            states.push(State::Waiting(counted));
        }
        for (reference, referrers) in referrers.iter_mut().enumerate() {
            referrers.retain(|&place| position[reference] < position[place]);
        }
        let mut weights: Vec<u64> = paths.iter().map(|info| info.nar_size).collect();
        for &place in order.iter().rev() {
            let behind = referrers[place]
                .iter()
                .map(|&referrer| weights[referrer])
                .max()
                .unwrap_or(0);
            weights[place] = weights[place].saturating_add(behind);
        }
        let mut schedule = Schedule {
            states,
            referrers,
            ready: BinaryHeap::new(),
            weights,
        };
        for place in 0..paths.len() {
            schedule.release(place);
        }
        schedule
    }

    /// A path all of whose references are uploaded; it is given out once.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.ready.pop().map(|(_, place)| place.0)
    }

    /// Notes that a path is in the cache now.
    pub(crate) fn done(&mut self, place: usize) {
        self.states[place] = State::Done;
        for referrer in self.referrers[place].clone() {
            if let State::Waiting(left) = &mut self.states[referrer] {
                *left = left.saturating_sub(1);
                self.release(referrer);
            }
        }
    }

    /// Notes that a path cannot be uploaded; the paths that refer to it, directly or not, are given up and returned.
    pub(crate) fn failed(&mut self, place: usize) -> Vec<usize> {
        self.states[place] = State::Failed;
        let mut given_up = Vec::new();
        let mut todo = vec![place];
        while let Some(place) = todo.pop() {
            for &referrer in &self.referrers[place] {
                if matches!(self.states[referrer], State::Waiting(_)) {
                    self.states[referrer] = State::Failed;
                    given_up.push(referrer);
                    todo.push(referrer);
                }
            }
        }
        given_up.sort_unstable();
        given_up
    }

    fn release(&mut self, place: usize) {
        if self.states[place] == State::Waiting(0) {
            self.states[place] = State::Ready;
            self.ready.push((self.weights[place], std::cmp::Reverse(place)));
        }
    }
}

/// All places, references first; those in a cycle come last.
fn topological(references: &[Vec<usize>], referrers: &[Vec<usize>]) -> Vec<usize> {
    let mut left: Vec<usize> = references.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..left.len()).filter(|&place| left[place] == 0).collect();
    let mut at = 0;
    while let Some(&place) = order.get(at) {
        at += 1;
        for &referrer in &referrers[place] {
            left[referrer] -= 1;
            if left[referrer] == 0 {
                order.push(referrer);
            }
        }
    }
    order.extend((0..left.len()).filter(|&place| left[place] > 0));
    order
}

#[cfg(test)]
mod tests {
    use hayloft_nixcache::NarHash;

    use super::*;

    fn name(place: usize) -> String {
        format!("{place:032}-p{place}")
    }

    fn paths(references: &[&[usize]]) -> Vec<PathInfo> {
        let info = |(place, references): (usize, &&[usize])| PathInfo {
            path: format!("/nix/store/{}", name(place)).parse().expect("is a path"),
            nar_hash: NarHash::of(b""),
            nar_size: 100,
            references: references.iter().map(|&reference| name(reference)).collect(),
            deriver: None,
            ca: None,
            signatures: Vec::new(),
        };
        references.iter().enumerate().map(info).collect()
    }

    fn run(references: &[&[usize]]) -> Vec<usize> {
        let mut schedule = Schedule::new(&paths(references));
        let mut order = Vec::new();
        while let Some(place) = schedule.next() {
            order.push(place);
            schedule.done(place);
        }
        order
    }

    #[test]
    fn references_come_before_referrers() {
        let references: &[&[usize]] = &[&[1, 2, 0], &[3], &[3, 99], &[], &[0]];
        let order = run(references);
        assert_eq!(order.len(), 5, "{order:?}");
        for (place, references) in references.iter().enumerate() {
            for reference in references
                .iter()
                .filter(|&&reference| reference != place && reference < 5)
            {
                let at = |wanted: usize| order.iter().position(|place| *place == wanted);
                assert!(
                    at(*reference) < at(place),
                    "{reference} after {place} in {order:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_given_out_while_a_reference_is_under_way() {
        let mut schedule = Schedule::new(&paths(&[&[], &[0], &[]]));
        let first = [schedule.next(), schedule.next()];
        assert_eq!(
            (first, schedule.next()),
            ([Some(0), Some(2)], None),
            "the one that others wait for comes first"
        );
        schedule.done(2);
        assert_eq!(schedule.next(), None);
        schedule.done(0);
        assert_eq!(schedule.next(), Some(1));
    }

    #[test]
    fn a_failed_path_takes_its_referrers_with_it_and_nothing_else() {
        let mut schedule = Schedule::new(&paths(&[&[], &[0], &[1], &[], &[3, 2]]));
        assert_eq!(schedule.next(), Some(0));
        assert_eq!(schedule.failed(0), [1, 2, 4]);
        assert_eq!(schedule.next(), Some(3));
        schedule.done(3);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_cycle_ends_nevertheless() {
        let mut order = run(&[&[1], &[2], &[0], &[], &[1]]);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn ten_thousand_paths_in_a_row_take_no_deep_stack() {
        let chain: Vec<Vec<usize>> = (0..10_000)
            .map(|place: usize| place.checked_sub(1).into_iter().collect())
            .collect();
        let chain: Vec<&[usize]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(run(&chain), (0..10_000).collect::<Vec<_>>());
    }
}
