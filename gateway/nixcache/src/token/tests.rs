//! Tokens that are signed here or elsewhere, in time or not.

use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::verify::timestamp;
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
    assert!(!format!("{:?} {:?}", Verifier::hs256(b"SECRET"), Signer::hs256(b"SECRET")).contains("SECRET"));
}
