//! Checks tokens, and says what is wrong with one in words that its owner may see.

use std::fmt;

use aws_lc_rs::signature::KeyPair as _;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};

use super::Claims;
use super::sign::{TokenKeyError, decode};

/// How far a client's clock may be from ours, in seconds. Attic allows none, so that a token stamped "not before
/// now" is refused by a server whose clock lags.
const LEEWAY: i64 = 60;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// Why a token is not good. Tells apart what a person would do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a JSON Web Token at all.
    #[error("the token is malformed")]
    Malformed,
    /// Its header names another algorithm or type.
    #[error("the token is of another kind than this gateway's: it must be a JWT signed with {expected}")]
    Kind {
        /// The algorithm that this gateway takes.
        expected: &'static str,
    },
    /// Somebody else signed it, or it was changed.
    #[error("the token is not signed by this gateway's key")]
    Foreign,
    /// Its time is over.
    #[error("the token expired at {at}")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// Its time has not come.
    #[error("the token is not good before {from}")]
    TooEarly {
        /// From when on it is good.
        from: Timestamp,
    },
    /// It was made by another issuer or for another audience.
    #[error("the token's {claim} is not the one that this gateway expects")]
    Bound {
        /// `iss` or `aud`.
        claim: &'static str,
    },
    /// It is signed well, but says nothing that can be understood.
    #[error("the token's claims cannot be understood: {reason}")]
    Claims {
        /// What the parser says.
        reason: String,
    },
}

/// Checks tokens against one key and algorithm.
pub struct Verifier {
    key: DecodingKey,
    algorithm: Algorithm,
    issuer: Option<String>,
    audiences: Vec<String>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithm", &self.algorithm)
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// From the base64 of a raw secret of any length.
    ///
    /// # Errors
    /// When it is not base64, or empty.
    pub fn hs256_base64(text: &str) -> Result<Self, TokenKeyError> {
        Ok(Self::hs256(&decode(text)?))
    }

    /// From a raw secret.
    #[must_use]
    pub fn hs256(secret: &[u8]) -> Self {
        Self::new(DecodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// From the base64 of the PEM text of a private RSA key, whose public half it uses.
    ///
    /// # Errors
    /// When it is not that.
    pub fn rs256_private_base64(text: &str) -> Result<Self, TokenKeyError> {
        let wrong = || TokenKeyError::Rsa { half: "private" };
        let pem = decode(text)?;
        let key = EncodingKey::from_rsa_pem(&pem).map_err(|_| wrong())?;
        let pair = aws_lc_rs::signature::RsaKeyPair::from_der(key.as_bytes())
            .or_else(|_| aws_lc_rs::signature::RsaKeyPair::from_pkcs8(key.as_bytes()))
            .map_err(|_| wrong())?;
        let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
        Ok(Self::new(public, Algorithm::RS256))
    }

    /// From the base64 of the PEM text of a public RSA key.
    ///
    /// # Errors
    /// When it is not that.
    pub fn rs256_public_base64(text: &str) -> Result<Self, TokenKeyError> {
        let key =
            DecodingKey::from_rsa_pem(&decode(text)?).map_err(|_| TokenKeyError::Rsa { half: "public" })?;
        Ok(Self::new(key, Algorithm::RS256))
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        Self {
            key,
            algorithm,
            issuer: None,
            audiences: Vec::new(),
        }
    }

    /// Takes only tokens of this issuer.
    #[must_use]
    pub fn bound_to_issuer(self, issuer: Option<String>) -> Self {
        Self { issuer, ..self }
    }

    /// Takes only tokens that name one of these audiences; none means all.
    #[must_use]
    pub fn bound_to_audiences(self, audiences: Vec<String>) -> Self {
        Self { audiences, ..self }
    }

    /// Checks `token` at the time `now`: signature, algorithm, type, times with a minute of leeway, issuer, audience.
    ///
    /// # Errors
    /// Says what is wrong, in words that may be shown to whoever sent it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let kind = TokenError::Kind {
            expected: self.algorithm_name(),
        };
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != self.algorithm || !header.typ.as_deref().is_none_or(is_jwt) {
            return Err(kind);
        }
        let mut validation = Validation::new(self.algorithm);
        // Times and bounds are checked below, by the clock that is passed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &validation)
            .map_err(|error| explain(&error))?
            .claims;
        check_times(&claims, now)?;
        self.check_bounds(&claims)?;
        Ok(claims)
    }

    const fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            _ => "HS256",
        }
    }

    fn check_bounds(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(TokenError::Bound { claim: "iss" });
        }
        let meant = claims
            .aud
            .iter()
            .any(|audience| self.audiences.contains(audience));
        if !self.audiences.is_empty() && !meant {
            return Err(TokenError::Bound { claim: "aud" });
        }
        Ok(())
    }
}

fn explain(error: &jsonwebtoken::errors::Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Foreign,
        ErrorKind::Json(error) => TokenError::Claims {
            reason: error.to_string(),
        },
        _ => TokenError::Malformed,
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    let second = now.as_second();
    if let Some(exp) = claims.exp.filter(|exp| exp.saturating_add(LEEWAY) < second) {
        return Err(TokenError::Expired { at: timestamp(exp) });
    }
    let from = claims.nbf.max(claims.iat);
    if let Some(from) = from.filter(|from| from.saturating_sub(LEEWAY) > second) {
        return Err(TokenError::TooEarly {
            from: timestamp(from),
        });
    }
    Ok(())
}

pub(super) fn timestamp(seconds: i64) -> Timestamp {
    let edge = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(seconds).unwrap_or(edge)
}

fn is_jwt(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ == "jwt" || typ.ends_with("+jwt")
}
