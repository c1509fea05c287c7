//! The pin: by which one who joins knows the cluster's authority before it was ever seen.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use hayloft_api::join::HostKey;
use serde::{Deserialize, Serialize};

use crate::certificate::public_key_info;

/// SHA-256 of the `SubjectPublicKeyInfo` of the authority's root key (as in RFC 7469 §2.4), written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin([u8; 32]);

/// A text is not a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a pin: 64 hex digits")]
pub struct PinError;

impl Pin {
    /// The pin of a key.
    pub fn of(key: &HostKey) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, &public_key_info(key)).as_ref());
        Self(pin)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The pin with these bytes.
    pub const fn from_bytes(pin: [u8; 32]) -> Self {
        Self(pin)
    }
}

impl FromStr for Pin {
    type Err = PinError;
    fn from_str(text: &str) -> Result<Self, PinError> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text, &mut pin).map_err(|_| PinError)?;
        Ok(Self(pin))
    }
}

impl TryFrom<String> for Pin {
    type Error = PinError;
    fn try_from(text: String) -> Result<Self, PinError> {
        text.parse()
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> String {
        pin.to_string()
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}
