//! What a join token allows, and what is told of one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Role;
use crate::{Bytes, HostName, ZoneName};

/// Which token it is: 16 hex digits. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 8]);

/// A text is not the id of a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the id of a join token: 16 hex digits, as `hayloft token list` shows them")]
pub struct TokenIdError;

impl TokenId {
    /// The id with these bytes.
    pub const fn from_bytes(id: [u8; 8]) -> Self {
        Self(id)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;
    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let mut id = [0; 8];
        // What was given is not repeated: it may be a whole token.
        hex::decode_to_slice(text, &mut id).map_err(|_| TokenIdError)?;
        Ok(Self(id))
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;
    fn try_from(text: String) -> Result<Self, TokenIdError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> String {
        id.to_string()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// What a join token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenLimits {
    /// How many hosts it lets in.
    pub uses: u32,
    /// Until when.
    pub expires: Timestamp,
    /// The roles that they may have.
    pub roles: Vec<Role>,
    /// The zone that they must be in.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// The most that one may pledge.
    #[serde(default)]
    pub max_pledge: Option<Bytes>,
    /// The one host that it is for.
    #[serde(default)]
    pub name: Option<HostName>,
}

/// What is told of a token: all but the secret, of which only a hash is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSummary {
    /// Which.
    pub id: TokenId,
    /// What it allows.
    pub limits: TokenLimits,
    /// When it was made.
    pub created: Timestamp,
    /// How many hosts it has let in.
    pub used: u32,
    /// When it was revoked, if it was.
    #[serde(default)]
    pub revoked: Option<Timestamp>,
    /// The hosts.
    pub hosts: Vec<HostName>,
}
