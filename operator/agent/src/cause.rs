//! Why a unit died, read from the last lines it wrote.

use serde::{Deserialize, Serialize};

/// A cause that the agent knows and can speak of, or even mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// An address it wanted is taken. For random ports the remedy is other ports.
    PortInUse,
    /// The disk is full.
    DiskFull,
    /// The system refused a file or an address.
    PermissionDenied,
    /// The data folder does not carry Garage's mark: most likely a disk that is not mounted.
    DataFolderUnmarked,
    /// Another gateway serves the same bucket.
    BucketTakenOver,
}

impl Cause {
    /// What one line of a unit's log says about why it dies, if it says something known.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        const KNOWN: [(&str, Cause); 8] = [
            ("Address already in use", Cause::PortInUse),
            ("No space left on device", Cause::DiskFull),
            ("ENOSPC", Cause::DiskFull),
            ("MDB_MAP_FULL", Cause::DiskFull),
            ("Permission denied", Cause::PermissionDenied),
            (
                "make sure this data directory is mounted",
                Cause::DataFolderUnmarked,
            ),
            ("Mismatched content for marker file", Cause::DataFolderUnmarked),
            (
                "another gateway with the same bucket took over",
                Cause::BucketTakenOver,
            ),
        ];
        KNOWN
            .iter()
            .find(|(needle, _)| line.contains(needle))
            .map(|(_, cause)| *cause)
    }

    /// Whether a line says that a unit goes on without something that it is there for. Garage does so when one of its APIs cannot
    /// listen (2.5.0): it reaches its peers, and nobody reaches its S3.
    #[must_use]
    pub fn cripples(line: &str) -> bool {
        line.contains("API server exited with error")
    }

    /// The cause in a few words, to stand after "died: ".
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::PortInUse => "a port it needs is taken",
            Self::DiskFull => "the disk is full",
            Self::PermissionDenied => "the system denied it a file or an address",
            Self::DataFolderUnmarked => "its data folder is not the one it knows (is the disk mounted?)",
            Self::BucketTakenOver => "another gateway took over its bucket; stop that one",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_causes_are_read_from_log_lines() {
        assert_eq!(
            Cause::of_line("Error: Address already in use (os error 98)"),
            Some(Cause::PortInUse)
        );
        assert_eq!(
            Cause::of_line("ERROR garage: No space left on device (os error 28)"),
            Some(Cause::DiskFull)
        );
        assert_eq!(
            Cause::of_line(
                "hayloft-gateway: another gateway with the same bucket took over, so this one ends"
            ),
            Some(Cause::BucketTakenOver)
        );
        assert_eq!(Cause::of_line("INFO all is well"), None);
    }
}
