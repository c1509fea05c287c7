//! Makes tokens, and reads the keys for them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use zeroize::Zeroizing;

use super::Claims;

/// Why a key for tokens cannot be used. Never holds a part of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// The text is not base64.
    #[error("it must be base64 (standard alphabet, with padding)")]
    Base64,
    /// There is no secret at all.
    #[error("the secret is empty")]
    Empty,
    /// The decoded text is not the PEM of an RSA key of that kind.
    #[error("decoded, it must be the PEM text of an RSA {half} key")]
    Rsa {
        /// `private` or `public`.
        half: &'static str,
    },
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// There is only the public half of a key.
    #[error("tokens cannot be made with a public key only: set rs256SecretFile or hs256SecretFile")]
    PublicKeyOnly,
    /// Signing failed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Makes tokens.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// From the base64 of a raw secret of any length, as attic's `token-hs256-secret-base64`.
    ///
    /// # Errors
    /// When it is not base64, or empty.
    pub fn hs256_base64(text: &str) -> Result<Self, TokenKeyError> {
        Ok(Self::hs256(&decode(text)?))
    }

    /// From a raw secret.
    #[must_use]
    pub fn hs256(secret: &[u8]) -> Self {
        Self {
            key: EncodingKey::from_secret(secret),
            algorithm: Algorithm::HS256,
        }
    }

    /// From the base64 of the PEM text of a private RSA key (PKCS#1 or PKCS#8).
    ///
    /// # Errors
    /// When it is not that.
    pub fn rs256_base64(text: &str) -> Result<Self, TokenKeyError> {
        let pem = decode(text)?;
        let key = EncodingKey::from_rsa_pem(&pem).map_err(|_| TokenKeyError::Rsa { half: "private" })?;
        Ok(Self {
            key,
            algorithm: Algorithm::RS256,
        })
    }

    /// Signs `claims`.
    ///
    /// # Errors
    /// When the key does not lend itself to it.
    pub fn sign(&self, claims: &Claims) -> Result<String, MintError> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key).map_err(MintError::Sign)
    }
}

/// Makes a token with a raw HS256 secret.
///
/// # Errors
/// When signing fails.
pub fn mint_hs256(secret: &[u8], claims: &Claims) -> Result<String, MintError> {
    Signer::hs256(secret).sign(claims)
}

/// The bytes of a key's base64, which may have a line end.
pub(super) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, TokenKeyError> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| TokenKeyError::Base64)?;
    if bytes.is_empty() {
        Err(TokenKeyError::Empty)
    } else {
        Ok(Zeroizing::new(bytes))
    }
}
