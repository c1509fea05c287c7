//! Nix's Ed25519 keys and signatures, and the text that they sign.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{NarHash, StorePath};

/// Why a text is not a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no `name:` in front, or the name is empty or holds blanks.
    #[error("it must be \"<name>:<base64>\", the name at most 256 characters without blanks and colons")]
    Name,
    /// What follows is not base64.
    #[error("what follows the colon is not base64")]
    Base64,
    /// The bytes are too few or too many.
    #[error("there must be {expected} bytes, there are {found}")]
    Length {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The two halves of a secret key do not belong together.
    #[error("the secret and the public half of the key do not belong together")]
    Mismatch,
}

/// A cache's secret signing key: a name and an Ed25519 key pair. Never shown by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyPair {
    #[zeroize(skip)]
    name: String,
    seed: [u8; 32],
    #[zeroize(skip)]
    public: [u8; 32],
}

impl KeyPair {
    /// The key pair that `seed` (32 random bytes) makes.
    ///
    /// # Errors
    /// When `name` is empty or holds blanks, colons or control characters.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        check_key_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Mismatch)?;
        Ok(Self {
            name: name.to_owned(),
            seed,
            public: to_array(pair.public_key().as_ref())?,
        })
    }

    /// The key's name, which clients see in front of the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The half that clients trust.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            bytes: self.public,
        }
    }

    /// The whole key as Nix writes it to a file. Keep it out of logs.
    #[must_use]
    pub fn expose_secret(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        bytes[..32].copy_from_slice(&self.seed);
        bytes[32..].copy_from_slice(&self.public);
        Zeroizing::new(format!("{}:{}", self.name, STANDARD.encode(bytes.as_slice())))
    }

    /// Signs `text`, normally a [`fingerprint`].
    ///
    /// # Errors
    /// Only when the key cannot be loaded, which a key that was parsed always can.
    pub fn sign(&self, text: &str) -> Result<Signature, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed).map_err(|_| KeyError::Mismatch)?;
        Ok(Signature {
            name: self.name.clone(),
            bytes: to_array(pair.sign(text.as_bytes()).as_ref())?,
        })
    }
}

impl FromStr for KeyPair {
    type Err = KeyError;

    /// Parses Nix's `name:base64`: the seed, then the public key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, bytes) = split_key(text)?;
        let bytes = Zeroizing::new(bytes);
        let halves: Zeroizing<[u8; 64]> = Zeroizing::new(to_array(&bytes)?);
        let pair = Self::from_seed(name, to_array(&halves[..32])?)?;
        if pair.public[..] == halves[32..] {
            Ok(pair)
        } else {
            Err(KeyError::Mismatch)
        }
    }
}

impl TryFrom<String> for KeyPair {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Zeroizing::new(text).parse()
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        // The public halves tell keys apart as well as the secret ones do.
        self.name == other.name && self.public == other.public
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}:[secret])", self.name)
    }
}

/// The public half of a key, as in nix.conf's `trusted-public-keys`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    name: String,
    bytes: [u8; 32],
}

impl PublicKey {
    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature` is this key's, over `text`.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &Signature) -> bool {
        self.name == signature.name
            && UnparsedPublicKey::new(&ED25519, self.bytes)
                .verify(text.as_bytes(), &signature.bytes)
                .is_ok()
    }
}

/// One signature, as in a narinfo's `Sig:`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    name: String,
    bytes: [u8; 64],
}

impl Signature {
    /// The name of the key that made it.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.name
    }
}

/// `FromStr`, `Display`, `Debug` and the string forms that serde wants, for what is `name:base64`.
macro_rules! named_bytes {
    ($type:ident) => {
        impl FromStr for $type {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                let (name, bytes) = split_key(text)?;
                Ok(Self {
                    name: name.to_owned(),
                    bytes: to_array(&bytes)?,
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.name, STANDARD.encode(self.bytes))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = KeyError;

            fn try_from(text: String) -> Result<Self, KeyError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

named_bytes!(PublicKey);
named_bytes!(Signature);

/// The text that a signature for a store path covers:
/// `1;<path>;<NAR hash in base-32>;<NAR size>;<references as full paths, sorted, with commas>`.
///
/// `references` are base names in any order, with or without repetitions; Nix makes the same text from a sorted set.
pub fn fingerprint<I>(path: &StorePath, nar_hash: &NarHash, nar_size: u64, references: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let references: BTreeSet<String> = references
        .into_iter()
        .map(|base_name| format!("{}/{}", path.store_dir(), base_name.as_ref()))
        .collect();
    let references = references.into_iter().collect::<Vec<_>>().join(",");
    format!("1;{path};{};{nar_size};{references}", nar_hash.to_nix32())
}

fn split_key(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    let (name, encoded) = text.split_once(':').ok_or(KeyError::Name)?;
    check_key_name(name)?;
    Ok((name, STANDARD.decode(encoded).map_err(|_| KeyError::Base64)?))
}

fn check_key_name(name: &str) -> Result<(), KeyError> {
    let wrong = |c: char| c == ':' || c.is_control() || c.is_whitespace();
    if name.is_empty() || name.len() > 256 || name.contains(wrong) {
        Err(KeyError::Name)
    } else {
        Ok(())
    }
}

fn to_array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Length {
        expected: N,
        found: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published key of the public cache.
    const NIXOS_KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

    #[test]
    fn a_key_makes_signatures_that_its_public_half_accepts() {
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        let signature = pair.sign("text").unwrap();
        assert!(pair.public_key().verify("text", &signature));
        assert!(!pair.public_key().verify("other text", &signature));
        let other = KeyPair::from_seed("main", [8; 32]).unwrap();
        assert!(!other.public_key().verify("text", &signature));
        let renamed = KeyPair::from_seed("other", [7; 32]).unwrap();
        assert!(!renamed.public_key().verify("text", &signature));
    }

    #[test]
    fn keys_and_signatures_survive_their_text_form() {
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        assert_eq!(pair.expose_secret().parse::<KeyPair>().unwrap(), pair);
        let public = pair.public_key();
        assert_eq!(public.to_string().parse(), Ok(public));
        let signature = pair.sign("text").unwrap();
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert!(NIXOS_KEY.parse::<PublicKey>().is_ok());
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        assert_eq!(format!("{pair:?}"), "KeyPair(main:[secret])");
    }

    #[test]
    fn halves_of_two_keys_are_not_a_key() {
        let mut mixed = [7_u8; 64];
        mixed[32..].copy_from_slice(&KeyPair::from_seed("a", [8; 32]).unwrap().public);
        let text = format!("a:{}", STANDARD.encode(mixed));
        assert_eq!(text.parse::<KeyPair>(), Err(KeyError::Mismatch));
    }

    #[test]
    fn the_fingerprint_sorts_references_and_drops_repetitions() {
        let path: StorePath = "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello"
            .parse()
            .unwrap();
        let text = fingerprint(
            &path,
            &NarHash::of(b""),
            4,
            [
                "b".repeat(32) + "-z",
                "a".repeat(32) + "-y",
                "b".repeat(32) + "-z",
            ],
        );
        insta::assert_snapshot!(text);
    }
}
