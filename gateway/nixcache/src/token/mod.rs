//! Attic's tokens: signed claims that give permissions on caches by pattern.

mod claims;
mod keys;
mod pattern;

pub use claims::{CLAIM_NAMESPACE, Claims, Grants, Permissions};
pub use keys::{MintError, Signer, TokenError, TokenKeyError, Verifier, mint_hs256};
pub use pattern::{CachePattern, CachePatternError};
