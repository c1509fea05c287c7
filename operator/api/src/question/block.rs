//! Blocks by name, and counts of them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// From its bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BlockNameError;
            fn from_str(text: &str) -> Result<Self, BlockNameError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BlockNameError {
                    given: text.chars().take(100).collect(),
                })?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BlockNameError;
            fn try_from(text: String) -> Result<Self, BlockNameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0[..8]))
            }
        }
    };
}

hash!(
    /// The name of a block: Garage's hash of it, written as 64 hex digits.
    BlockName
);
hash!(
    /// A BLAKE3 hash, written as 64 hex digits.
    Digest
);

/// A text is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not 64 hex digits")]
pub struct BlockNameError {
    /// What was given.
    pub given: String,
}

impl BlockName {
    /// The layout partition that it belongs to: its first byte.
    pub const fn partition(&self) -> u8 {
        self.0[0]
    }
}

/// The blocks of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionCensus {
    /// How many.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Of their names, sorted: two hosts that hold the same blocks have the same.
    pub digest: Digest,
}

/// All blocks that lay on a host's disk while they were counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Census {
    /// When the count began, by the host's clock.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// By partition: always 256.
    pub partitions: Vec<PartitionCensus>,
}

impl Census {
    /// Blocks in all.
    pub fn blocks(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.count).sum()
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_name_reads_back_and_tells_its_partition() {
        let text = format!("ab{}", "01".repeat(31));
        let name: BlockName = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
        assert_eq!(name.partition(), 0xab);
        assert!("ab".parse::<BlockName>().is_err());
    }
}
