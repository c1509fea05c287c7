//! Attic's tokens: signed claims that give permissions on caches by pattern.

mod claims;
mod pattern;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::{CLAIM_NAMESPACE, Claims, Grants, Permissions};
pub use pattern::{CachePattern, CachePatternError};
pub use sign::{MintError, Signer, TokenKeyError, mint_hs256};
pub use verify::{TokenError, Verifier};
