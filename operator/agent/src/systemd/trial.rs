//! Another program for a unit is on trial until it has run for a while; one that does not come up is put away for the former one.
//! Pure but for one look whether a file is there; see [`super::tended`] for who keeps and obeys it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_api::agent::ProgramStanding;
use serde::{Deserialize, Serialize};

use crate::driver::OtherProgram;

/// Who ran this long came up.
const CAME_UP: Duration = Duration::from_secs(20);
/// So many deaths before that mean that it does not. The first may have been chance.
const ENOUGH: u32 = 2;

/// One build of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    /// The file.
    pub(super) path: PathBuf,
    /// Which one of those that ever were at this path, see [`super::tended`].
    pub(super) stamp: Option<String>,
}

/// What is known of a unit's programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Programs {
    /// The last one that came up.
    good: Option<Build>,
    /// The first one ever, until one came up.
    first: Option<Build>,
    /// One that did not come up.
    refused: Option<Build>,
    /// The one on trial, and how many deaths there had been when that began.
    #[serde(skip)]
    trial: Option<(Build, u32)>,
}

impl Programs {
    /// Which program shall run where `wanted` is asked for: the former one, when this one did not come up, or when it shall wait
    /// (`hold`) and is not on trial already.
    pub(super) fn choose<'a>(&'a self, wanted: &'a Build, hold: bool) -> &'a Path {
        let tried = self.trial.as_ref().is_some_and(|(build, _)| build == wanted);
        match (&self.refused, &self.good, self.former()) {
            (Some(refused), Some(good), _) if refused == wanted => &good.path,
            (_, _, Some(former)) if hold && !tried => &former.path,
            _ => &wanted.path,
        }
    }

    /// The one that another one may follow.
    fn former(&self) -> Option<&Build> {
        self.good.as_ref().or(self.first.as_ref())
    }

    /// Whether that still lies where it did.
    pub(super) fn former_is_there(&self) -> bool {
        self.former().is_some_and(|former| former.path.exists())
    }

    /// Whether none came up yet.
    pub(super) fn young(&self) -> bool {
        self.good.is_none()
    }

    /// How far `wanted` is, while another one ran before it that came up.
    pub(super) fn standing(&self, wanted: &Build, hold: bool) -> Option<OtherProgram> {
        let former = self.former().filter(|former| former.path != wanted.path)?;
        let standing = if self.refused.as_ref() == Some(wanted) {
            ProgramStanding::Refused
        } else if self.choose(wanted, hold) == wanted.path {
            ProgramStanding::Trying
        } else {
            ProgramStanding::Held
        };
        Some(OtherProgram {
            former: former.path.clone(),
            standing,
        })
    }

    /// Takes note of how `running` does: so many deaths by now, alive for so long. Gives whether something is to be kept.
    pub(super) fn look(&mut self, running: &Build, deaths: u32, alive: Option<Duration>) -> bool {
        if self.good.as_ref() == Some(running) {
            self.trial = None;
            return false;
        }
        let began = match &self.trial {
            Some((build, began)) if build == running => *began,
            _ => {
                self.trial = Some((running.clone(), deaths));
                deaths
            }
        };
        if alive.is_some_and(|alive| alive >= CAME_UP) {
            self.good = Some(running.clone());
            self.first = None;
            self.refused = self.refused.take().filter(|refused| refused != running);
            self.trial = None;
            return true;
        }
        // Without a former one there is nothing to go back to.
        let back = self.good.as_ref().is_some_and(|good| good.path != running.path);
        if deaths.saturating_sub(began) >= ENOUGH && back && self.refused.as_ref() != Some(running) {
            self.refused = Some(running.clone());
            self.trial = None;
            return true;
        }
        if self.young() && self.first.as_ref() != Some(running) {
            self.first = Some(running.clone());
            return true;
        }
        false
    }

    /// What to say of it, while another than `wanted` runs because that did not come up.
    pub(super) fn in_words(&self, wanted: &Build) -> Option<String> {
        let chosen = self.choose(wanted, false);
        (chosen != wanted.path).then(|| {
            format!(
                "{} did not come up, so {} runs as before; look at the journal, then install another one",
                wanted.path.display(),
                chosen.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(path: &str, stamp: &str) -> Build {
        Build {
            path: path.into(),
            stamp: Some(stamp.to_owned()),
        }
    }

    /// One that knows that `/old` came up.
    fn with_old() -> Programs {
        let mut programs = Programs::default();
        assert!(programs.look(&build("/old", "a"), 0, None));
        assert!(!programs.look(&build("/old", "a"), 0, Some(Duration::from_secs(1))));
        assert!(programs.look(&build("/old", "a"), 0, Some(CAME_UP)));
        programs
    }

    #[test]
    fn a_program_that_comes_up_is_the_one_to_go_back_to_from_then_on() {
        let mut programs = with_old();
        let new = build("/new", "b");
        assert!(programs.look(&new, 1, Some(CAME_UP)));
        let newest = build("/newest", "c");
        programs.look(&newest, 1, None);
        assert!(programs.look(&newest, 3, None));
        assert_eq!(programs.choose(&newest, false), Path::new("/new"));
    }

    #[test]
    fn one_that_shall_wait_waits_and_one_on_trial_goes_on() {
        let mut programs = with_old();
        let new = build("/new", "b");
        let standing = |programs: &Programs, hold| programs.standing(&new, hold).map(|other| other.standing);
        assert_eq!(programs.choose(&new, true), Path::new("/old"));
        assert_eq!(standing(&programs, true), Some(ProgramStanding::Held));
        assert_eq!(programs.choose(&new, false), Path::new("/new"));
        programs.look(&new, 0, None);
        // Leave is taken back while it is tried: that would only be another restart.
        assert_eq!(programs.choose(&new, true), Path::new("/new"));
        assert_eq!(standing(&programs, true), Some(ProgramStanding::Trying));
        programs.look(&new, 0, Some(CAME_UP));
        assert_eq!(standing(&programs, true), None);
        let newer = build("/newer", "c");
        programs.look(&newer, 0, None);
        programs.look(&newer, ENOUGH, None);
        let refused = programs.standing(&newer, false).unwrap();
        assert_eq!(
            (refused.standing, refused.former),
            (ProgramStanding::Refused, "/new".into())
        );
    }

    #[test]
    fn the_first_program_waits_for_nobody() {
        let programs = Programs::default();
        let first = build("/first", "a");
        assert_eq!(programs.choose(&first, true), Path::new("/first"));
        assert_eq!(programs.standing(&first, true), None);
    }

    #[test]
    fn one_that_has_not_proven_itself_is_known_to_the_next_agent_too() {
        let mut programs = Programs::default();
        programs.look(&build("/old", "a"), 0, None);
        let kept = serde_json::to_vec(&programs).unwrap();
        let mut programs: Programs = serde_json::from_slice(&kept).unwrap();
        let new = build("/new", "b");
        assert!(programs.young());
        assert_eq!(programs.choose(&new, true), Path::new("/old"));
        assert_eq!(
            programs.standing(&new, true).unwrap().standing,
            ProgramStanding::Held
        );
        assert!(programs.look(&build("/old", "a"), 0, Some(CAME_UP)));
        assert!(!programs.young());
        assert_eq!(programs.choose(&new, false), Path::new("/new"));
    }

    #[test]
    fn one_that_dies_twice_before_it_came_up_is_put_away() {
        let mut programs = with_old();
        let new = build("/new", "b");
        assert!(!programs.look(&new, 5, None));
        assert!(!programs.look(&new, 6, Some(Duration::from_secs(2))));
        assert_eq!(programs.choose(&new, false), Path::new("/new"));
        assert!(programs.look(&new, 7, None));
        assert_eq!(programs.choose(&new, false), Path::new("/old"));
        assert!(
            programs
                .in_words(&new)
                .is_some_and(|words| words.contains("/new did not"))
        );
        // The former one dies later for other reasons: no reason to go anywhere.
        assert!(!programs.look(&build("/old", "a"), 20, None));
        assert_eq!(programs.choose(&new, false), Path::new("/old"));
    }

    #[test]
    fn another_file_at_the_same_path_is_tried() {
        let mut programs = with_old();
        let new = build("/new", "b");
        programs.look(&new, 0, None);
        programs.look(&new, 2, None);
        let mended = build("/new", "c");
        assert_eq!(programs.choose(&mended, false), Path::new("/new"));
        assert_eq!(programs.in_words(&mended), None);
    }

    #[test]
    fn the_only_program_there_ever_was_is_never_put_away() {
        let mut programs = Programs::default();
        let only = build("/only", "a");
        programs.look(&only, 0, None);
        for deaths in 0..100 {
            assert!(!programs.look(&only, deaths, None));
        }
        assert_eq!(programs.choose(&only, false), Path::new("/only"));
    }
}
