//! The file.

use std::fmt;
use std::io::{self, Read, Write};

use hayloft_api::ClusterName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Recipient, RecoveryKey};

/// What a kit begins with, before what is said of it in the open.
const MAGIC: &str = "hayloft-kit1 ";
/// The longest line that says it.
const LONGEST_LABEL: usize = 1024;
/// The largest store that is taken out of a kit: a thousand times what a cluster of fifty hosts needs.
const LARGEST_STORE: u64 = 4 << 30;
/// Fast, and the same size as slower levels within a few hundredths.
const LEVEL: i32 = 3;

/// What is said of a kit in the open. It is within what is sealed once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KitLabel {
    /// The cluster.
    pub cluster: ClusterName,
    /// The coordinator's term when it was made.
    pub epoch: u64,
    /// When it was made.
    pub made: Timestamp,
}

impl fmt::Display for KitLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, of {:.0}, term {}", self.cluster, self.made, self.epoch)
    }
}

/// Why a kit cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The file is something else.
    #[error("this is not a recovery kit: that begins with `hayloft-kit1`")]
    NotAKit,
    /// It is for another key.
    #[error(
        "the recovery key does not open this kit ({label}): it belongs to another cluster, or to a time before the key was replaced"
    )]
    OtherKey {
        /// Which kit.
        label: KitLabel,
    },
    /// It was cut or changed.
    #[error("the recovery kit is damaged ({label}); other storage hosts keep the same one")]
    Damaged {
        /// Which kit.
        label: KitLabel,
    },
    /// It cannot be made.
    #[error("the recovery kit cannot be made")]
    Seal(#[source] io::Error),
}

/// What a kit holds.
pub struct Kit {
    /// Which one it is.
    pub label: KitLabel,
    /// The store, an SQLite file.
    pub store: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Kit {
    /// Without the store, which is all secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kit({}, {} bytes)", self.label, self.store.len())
    }
}

impl Kit {
    /// Seals it. The first line is in the open, so that one knows which of several is the newest.
    ///
    /// # Errors
    /// When memory or the library refuse.
    pub fn seal(&self, recipient: &Recipient) -> Result<Vec<u8>, KitError> {
        let label = serde_json::to_string(&self.label).map_err(|error| KitError::Seal(error.into()))?;
        let mut plain = Zeroizing::new(Vec::with_capacity(self.store.len() / 2));
        writeln!(plain, "{label}").map_err(KitError::Seal)?;
        zstd::stream::copy_encode(self.store.as_slice(), &mut *plain, LEVEL).map_err(KitError::Seal)?;
        let sealed =
            age::encrypt(&recipient.0, &plain).map_err(|error| KitError::Seal(io::Error::other(error)))?;
        let mut file = format!("{MAGIC}{label}\n").into_bytes();
        file.extend(sealed);
        Ok(file)
    }

    /// Reads which kit a file is, without a key. What it says is proven only by [`Kit::open`].
    ///
    /// # Errors
    /// When it is none.
    pub fn label(file: &[u8]) -> Result<KitLabel, KitError> {
        split(file).map(|(label, _)| label)
    }

    /// Opens it.
    ///
    /// # Errors
    /// When it is no kit, is sealed to another key, or was cut or changed.
    pub fn open(file: &[u8], key: &RecoveryKey) -> Result<Self, KitError> {
        let (label, sealed) = split(file)?;
        let damaged = || KitError::Damaged { label: label.clone() };
        let plain = age::decrypt(&key.0, sealed).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => KitError::OtherKey { label: label.clone() },
            _ => damaged(),
        })?;
        let plain = Zeroizing::new(plain);
        let (inner, packed) = line(&plain).ok_or_else(damaged)?;
        // Whoever keeps a kit could write another date on an old one.
        if serde_json::from_slice::<KitLabel>(inner).ok().as_ref() != Some(&label) {
            return Err(damaged());
        }
        let mut store = Zeroizing::new(Vec::new());
        let mut unpacked = zstd::stream::read::Decoder::new(packed)
            .map_err(|_| damaged())?
            .take(LARGEST_STORE + 1);
        unpacked.read_to_end(&mut store).map_err(|_| damaged())?;
        if u64::try_from(store.len()).is_ok_and(|length| length > LARGEST_STORE) {
            return Err(damaged());
        }
        Ok(Self { label, store })
    }
}

/// The label, and what is sealed.
fn split(file: &[u8]) -> Result<(KitLabel, &[u8]), KitError> {
    let rest = file.strip_prefix(MAGIC.as_bytes()).ok_or(KitError::NotAKit)?;
    let (label, sealed) = line(rest).ok_or(KitError::NotAKit)?;
    let label = serde_json::from_slice(label).map_err(|_| KitError::NotAKit)?;
    Ok((label, sealed))
}

/// The first line, and what follows.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(LONGEST_LABEL).position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at(end);
    Some((line, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> Kit {
        Kit {
            label: KitLabel {
                cluster: "commons".parse().unwrap(),
                epoch: 7,
                made: "2026-01-02T03:04:05Z".parse().unwrap(),
            },
            store: Zeroizing::new(b"hush, a store of many pages ".repeat(2000)),
        }
    }

    #[test]
    fn a_kit_opens_with_its_key_alone_and_says_in_the_open_which_one_it_is() {
        let (key, other) = (RecoveryKey::generate(), RecoveryKey::generate());
        let sealed = kit().seal(&key.recipient()).unwrap();
        assert!(sealed.len() < kit().store.len() / 10, "it is packed");
        assert!(!sealed.windows(4).any(|window| window == b"hush"));
        assert_eq!(Kit::label(&sealed).unwrap(), kit().label);
        let opened = Kit::open(&sealed, &key).unwrap();
        assert_eq!((&opened.label, &*opened.store), (&kit().label, &*kit().store));
        assert!(matches!(
            Kit::open(&sealed, &other),
            Err(KitError::OtherKey { .. })
        ));
        assert_eq!(
            format!("{opened:?}"),
            "Kit(commons, of 2026-01-02T03:04:05Z, term 7, 56000 bytes)"
        );
    }

    #[test]
    fn a_kit_that_was_cut_changed_or_dated_anew_is_refused() {
        let key = RecoveryKey::generate();
        let sealed = kit().seal(&key.recipient()).unwrap();
        for at in (0..sealed.len()).step_by(sealed.len() / 97) {
            assert!(Kit::open(&sealed[..at], &key).is_err(), "cut at {at}");
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Kit::open(&changed, &key).is_err(), "changed at {at}");
        }
        let text = String::from_utf8_lossy(&sealed[..100]).into_owned();
        let at = text.find("2026").unwrap();
        let mut newer = sealed;
        newer[at + 3] = b'7';
        assert!(matches!(Kit::open(&newer, &key), Err(KitError::Damaged { .. })));
        assert!(matches!(Kit::open(b"hayloft", &key), Err(KitError::NotAKit)));
    }
}
