//! Signs and verifies tokens (JSON Web Tokens, HS256 or RS256).

use std::fmt;

use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use zeroize::Zeroizing;

use super::Claims;

/// How far a client's clock may be from ours, in seconds. Attic allows none, so that a token stamped "not before
/// now" is refused by a server whose clock lags.
const LEEWAY: i64 = 60;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

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

fn timestamp(seconds: i64) -> Timestamp {
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

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, TokenKeyError> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| TokenKeyError::Base64)?;
    if bytes.is_empty() {
        Err(TokenKeyError::Empty)
    } else {
        Ok(Zeroizing::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grants, Permissions};
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn claims() -> Claims {
        let grants = Grants::from_iter([("*".parse().unwrap(), Permissions::ALL)]);
        Claims {
            sub: Some("ci".to_owned()),
            ..Claims::new(grants)
        }
    }

    fn hs(claims: &Claims) -> String {
        // Not UTF-8 on purpose.
        mint_hs256(&[0xff, 0xfe, 0x00, 0x80], claims).unwrap()
    }

    fn verifier() -> Verifier {
        Verifier::hs256(&[0xff, 0xfe, 0x00, 0x80])
    }

    fn with_header(header: &str, claims: &Claims) -> String {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let payload = serde_json::to_vec(claims).unwrap();
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[0xff, 0xfe, 0x00, 0x80]);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    #[test]
    fn a_token_with_a_secret_of_any_bytes_is_taken() {
        assert_eq!(verifier().verify(&hs(&claims()), now()).unwrap(), claims());
    }

    #[test]
    fn a_minute_of_difference_between_clocks_is_forgiven_and_no_more() {
        let verify = |claims: Claims| verifier().verify(&hs(&claims), now()).map(drop);
        assert_eq!(
            verify(Claims {
                exp: Some(NOW - 60),
                ..claims()
            }),
            Ok(())
        );
        let at = timestamp(NOW - 61);
        let expired = verify(Claims {
            exp: Some(NOW - 61),
            ..claims()
        });
        assert_eq!(expired, Err(TokenError::Expired { at }));
        assert_eq!(
            verify(Claims {
                nbf: Some(NOW + 60),
                ..claims()
            }),
            Ok(())
        );
        let from = timestamp(NOW + 61);
        for early in [
            Claims {
                nbf: Some(NOW + 61),
                ..claims()
            },
            Claims {
                iat: Some(NOW + 61),
                ..claims()
            },
        ] {
            assert_eq!(verify(early), Err(TokenError::TooEarly { from }));
        }
        assert_eq!(
            verify(Claims {
                exp: Some(i64::MAX),
                ..claims()
            }),
            Ok(())
        );
    }

    #[test]
    fn a_foreign_token_is_told_apart_from_an_expired_one() {
        let foreign = mint_hs256(b"another", &claims()).unwrap();
        assert_eq!(verifier().verify(&foreign, now()), Err(TokenError::Foreign));
        let mut changed = hs(&claims());
        let at = changed.find('.').unwrap() + 5;
        changed.replace_range(at..=at, if &changed[at..=at] == "A" { "B" } else { "A" });
        assert_eq!(verifier().verify(&changed, now()), Err(TokenError::Foreign));
        for nonsense in ["", "a", "a.b", "a.b.c", "a.b.c.d", &"x".repeat(70_000)] {
            assert_eq!(verifier().verify(nonsense, now()), Err(TokenError::Malformed));
        }
    }

    #[test]
    fn algorithm_and_type_must_be_the_expected_ones() {
        let verify = |header: &str| verifier().verify(&with_header(header, &claims()), now());
        for good in [
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"HS256","typ":"jwt"}"#,
            r#"{"alg":"HS256","typ":"at+JWT"}"#,
        ] {
            assert!(verify(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"alg":"HS512","typ":"JWT"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JOSE"}"#,
        ] {
            assert_eq!(verify(bad), Err(TokenError::Kind { expected: "HS256" }), "{bad}");
        }
        assert_eq!(verify(r#"{"alg":"none"}"#), Err(TokenError::Malformed));
    }

    #[test]
    fn issuer_and_audience_are_checked_only_when_bound() {
        let bound = || {
            verifier()
                .bound_to_issuer(Some("us".to_owned()))
                .bound_to_audiences(vec!["a".to_owned(), "b".to_owned()])
        };
        let good = Claims {
            iss: Some("us".to_owned()),
            aud: vec!["x".to_owned(), "b".to_owned()],
            ..claims()
        };
        assert!(bound().verify(&hs(&good), now()).is_ok());
        assert!(verifier().verify(&hs(&good), now()).is_ok());
        let other = Claims {
            iss: None,
            ..good.clone()
        };
        assert_eq!(
            bound().verify(&hs(&other), now()),
            Err(TokenError::Bound { claim: "iss" })
        );
        let other = Claims { aud: vec![], ..good };
        assert_eq!(
            bound().verify(&hs(&other), now()),
            Err(TokenError::Bound { claim: "aud" })
        );
    }

    #[test]
    fn an_rsa_key_signs_and_both_its_halves_verify() {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pem = |label: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(64)
                .map(|l| std::str::from_utf8(l).unwrap())
                .collect();
            let text = lines.join("\n");
            STANDARD.encode(format!(
                "-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"
            ))
        };
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let private = pem("PRIVATE KEY", private.as_ref());
        let public = pem("RSA PUBLIC KEY", pair.public_key().as_ref());

        let token = Signer::rs256_base64(&private).unwrap().sign(&claims()).unwrap();
        let by_private = Verifier::rs256_private_base64(&private).unwrap();
        let by_public = Verifier::rs256_public_base64(&public).unwrap();
        assert_eq!(by_private.verify(&token, now()), Ok(claims()));
        assert_eq!(by_public.verify(&token, now()), Ok(claims()));
        // The public key must not serve as an HS256 secret.
        let confused = mint_hs256(pair.public_key().as_ref(), &claims()).unwrap();
        assert_eq!(
            by_public.verify(&confused, now()),
            Err(TokenError::Kind { expected: "RS256" })
        );
    }

    #[test]
    fn keys_that_are_none_are_refused_without_being_shown() {
        assert_eq!(
            Signer::hs256_base64("no base64!").err(),
            Some(TokenKeyError::Base64)
        );
        assert_eq!(Verifier::hs256_base64("\n").err(), Some(TokenKeyError::Empty));
        let not_pem = STANDARD.encode("secret");
        let wrong = Verifier::rs256_private_base64(&not_pem).err();
        assert_eq!(wrong, Some(TokenKeyError::Rsa { half: "private" }));
        assert!(
            !format!("{:?} {:?}", Verifier::hs256(b"SECRET"), Signer::hs256(b"SECRET")).contains("SECRET")
        );
    }
}
