//! Another program for a unit is on trial until it has run for a while; one that does not come up is put away for the former one.
//! Pure; see [`super::tended`] for who keeps and obeys it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// One that did not.
    refused: Option<Build>,
    /// The one on trial, and how many deaths there had been when that began.
    #[serde(skip)]
    trial: Option<(Build, u32)>,
}

impl Programs {
    /// Which program shall run where `wanted` is asked for: the former one, when this one did not come up.
    pub(super) fn choose<'a>(&'a self, wanted: &'a Build) -> &'a Path {
        match (&self.refused, &self.good) {
            (Some(refused), Some(good)) if refused == wanted => &good.path,
            _ => &wanted.path,
        }
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
        false
    }

    /// What to say of it, while another than `wanted` runs.
    pub(super) fn in_words(&self, wanted: &Build) -> Option<String> {
        let chosen = self.choose(wanted);
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
        assert_eq!(programs.choose(&newest), Path::new("/new"));
    }

    #[test]
    fn one_that_dies_twice_before_it_came_up_is_put_away() {
        let mut programs = with_old();
        let new = build("/new", "b");
        assert!(!programs.look(&new, 5, None));
        assert!(!programs.look(&new, 6, Some(Duration::from_secs(2))));
        assert_eq!(programs.choose(&new), Path::new("/new"));
        assert!(programs.look(&new, 7, None));
        assert_eq!(programs.choose(&new), Path::new("/old"));
        assert!(
            programs
                .in_words(&new)
                .is_some_and(|words| words.contains("/new did not"))
        );
        // The former one dies later for other reasons: no reason to go anywhere.
        assert!(!programs.look(&build("/old", "a"), 20, None));
        assert_eq!(programs.choose(&new), Path::new("/old"));
    }

    #[test]
    fn another_file_at_the_same_path_is_tried() {
        let mut programs = with_old();
        let new = build("/new", "b");
        programs.look(&new, 0, None);
        programs.look(&new, 2, None);
        let mended = build("/new", "c");
        assert_eq!(programs.choose(&mended), Path::new("/new"));
        assert_eq!(programs.in_words(&mended), None);
    }

    #[test]
    fn the_only_program_there_ever_was_is_never_put_away() {
        let mut programs = Programs::default();
        let only = build("/only", "a");
        for deaths in 0..100 {
            assert!(!programs.look(&only, deaths, None));
        }
        assert_eq!(programs.choose(&only), Path::new("/only"));
    }
}
