//! The key that opens recovery kits.

use std::fmt;
use std::str::FromStr;

use age::secrecy::ExposeSecret as _;
use hayloft_api::Secret;

/// A text is no recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryKeyError {
    /// The secret half.
    #[error(
        "this is not a recovery key: that begins with `AGE-SECRET-KEY-1`, and was shown when the cluster was made"
    )]
    Secret,
    /// The public half.
    #[error("this is not the public half of a recovery key: that begins with `age1`")]
    Public,
}

/// Opens kits. The coordinator shows it once and forgets it.
pub struct RecoveryKey(pub(super) age::x25519::Identity);

/// Seals kits: the public half.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(pub(super) age::x25519::Recipient);

impl RecoveryKey {
    /// A new one, from the system's randomness: the library takes no other.
    #[must_use]
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// As it is written down: `AGE-SECRET-KEY-1` and what follows.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        Secret::new(self.0.to_string().expose_secret())
    }

    /// Its public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKey(of {})", self.recipient())
    }
}

impl FromStr for RecoveryKey {
    type Err = RecoveryKeyError;

    /// Lines that begin with `#` are passed over, as age's own key files have them.
    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let mut lines = text.lines().map(str::trim);
        let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let key = key.and_then(|line| line.parse().ok());
        key.map(Self).ok_or(RecoveryKeyError::Secret)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = RecoveryKeyError;

    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let parsed = text.trim().parse();
        parsed.map(Self).map_err(|_| RecoveryKeyError::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written_down_and_shows_itself_nowhere_else() {
        let key = RecoveryKey::generate();
        let text = key.to_text();
        let with_notes = format!("# kept in the safe\n\n  {}\n", text.expose());
        let again: RecoveryKey = with_notes.parse().unwrap();
        assert_eq!(again.recipient(), key.recipient());
        assert!(!format!("{key:?}").contains(text.expose()));
        assert_eq!(key.recipient().to_string().parse(), Ok(key.recipient()));
    }

    #[test]
    fn what_is_no_key_is_told_so_without_being_shown() {
        let key = RecoveryKey::generate();
        for bad in ["", "# nothing", "hlj1.abc", &key.recipient().to_string()] {
            assert_eq!(
                bad.parse::<RecoveryKey>().unwrap_err(),
                RecoveryKeyError::Secret,
                "{bad}"
            );
        }
        assert!(key.to_text().expose().parse::<Recipient>().is_err());
    }
}
