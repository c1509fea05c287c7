//! Which Garage binaries can be used.

use std::fmt;
use std::str::FromStr;

use semver::Version;

/// The version of a Garage binary or daemon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GarageVersion(Version);

/// A text names no Garage version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` does not name a version of Garage")]
pub struct VersionError {
    given: String,
}

/// Why a Garage cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Another major version speaks another protocol and another metadata format.
    #[error("Garage {0} is of another major version; Hayloft needs Garage 2, from 2.5 on")]
    Major(GarageVersion),
    /// Too old.
    #[error("Garage {0} is too old; Hayloft needs Garage 2, from 2.5 on")]
    TooOld(GarageVersion),
}

impl GarageVersion {
    /// Reads what `garage --version` prints, e.g. `garage cargo:2.5.0 [features: lmdb, sqlite]` or
    /// `garage v2.5.0 [features: …]`.
    ///
    /// # Errors
    /// When no version stands there.
    pub fn from_output(output: &str) -> Result<Self, VersionError> {
        output
            .lines()
            .filter_map(|line| line.trim().strip_prefix("garage "))
            .find_map(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| VersionError {
                given: output.trim().to_owned(),
            })
    }

    /// Whether Hayloft can run it.
    ///
    /// # Errors
    /// Why not.
    pub fn fit(&self) -> Result<(), Unfit> {
        match (self.0.major, self.0.minor) {
            (2, 5..) => Ok(()),
            (2, _) => Err(Unfit::TooOld(self.clone())),
            _ => Err(Unfit::Major(self.clone())),
        }
    }
}

impl FromStr for GarageVersion {
    type Err = VersionError;
    /// Reads `2.5.0`, `v2.5.0` and `cargo:2.5.0`; what git adds to a version (`-12-gabcdef`) is kept.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let wrong = || VersionError {
            given: text.to_owned(),
        };
        let bare = text
            .strip_prefix("cargo:")
            .or_else(|| text.strip_prefix("git:"))
            .unwrap_or(text);
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        Version::parse(bare).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for GarageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_the_programs_output() {
        for (output, version) in [
            (
                "garage cargo:2.5.0 [features: bundled-libs, k2v, lmdb, metrics, sqlite]\n",
                "2.5.0",
            ),
            ("garage v2.6.1 [features: k2v]\n", "2.6.1"),
            (
                "noise\ngarage git:v1.2.0-3-gabcdef [features: k2v]\n",
                "1.2.0-3-gabcdef",
            ),
        ] {
            assert_eq!(GarageVersion::from_output(output).unwrap().to_string(), version);
        }
        assert!(GarageVersion::from_output("bash: garage: not found").is_err());
    }

    #[test]
    fn only_garage_2_from_2_5_on_is_fit() {
        let fit = |text: &str| text.parse::<GarageVersion>().unwrap().fit();
        assert_eq!(fit("2.5.0"), Ok(()));
        assert_eq!(fit("2.11.0"), Ok(()));
        assert!(matches!(fit("2.4.9"), Err(Unfit::TooOld(_))));
        assert!(matches!(fit("1.3.0"), Err(Unfit::Major(_))));
        assert!(matches!(fit("3.0.0"), Err(Unfit::Major(_))));
    }
}
