//! What the gateway refuses, on the whole line; and that a refusal keeps nothing.

use anyhow::Result;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::StreamExt as _;
use hayloft_e2e::attic_wire::{Attic, InfoIn};
use hayloft_e2e::home::Place;
use hayloft_e2e::synthetic_nar::SyntheticNar;

/// A JWT with all rights and a year of validity, signed by a key that is not the gateway's.
fn foreign_token() -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let rights = r#"{"r":1,"w":1,"cc":1,"cr":1,"cq":1,"cd":1}"#;
    let claims = format!(
        r#"{{"sub":"stranger","exp":4102324986,"https://jwt.attic.rs/v1":{{"caches":{{"*":{rights}}}}}}}"#
    );
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"not the gateway's secret, whatever that is");
    format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    )
}

/// A token of this home that ended long ago, signed with its own secret.
fn expired_token(secret: &[u8]) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claims =
        r#"{"sub":"late","exp":1000000000,"https://jwt.attic.rs/v1":{"caches":{"*":{"r":1,"w":1}}}}"#;
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    )
}

/// The gateway's own token secret, found where the gateway's configuration says it lies.
fn token_secret(dir: &std::path::Path) -> Result<Vec<u8>> {
    fn find(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                find(&path, found)?;
            } else if path.file_name().is_some_and(|n| n == "token-hs256") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    find(dir, &mut found)?;
    let file = found
        .first()
        .ok_or_else(|| anyhow::anyhow!("no token-hs256 below {}", dir.display()))?;
    Ok(BASE64_STANDARD.decode(std::fs::read_to_string(file)?.trim())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_hashes_cut_bodies_and_bad_tokens_are_refused_and_nothing_of_them_is_kept() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let server = home.ready.gateway.clone();
    let cache = home.ready.cache.clone();
    let nar = SyntheticNar {
        size: 3 * 1024 * 1024,
        seed: 7,
    };
    let good = nar.upload(&cache);
    let owner = Attic::new(&server, Some(&home.ready.token))?;

    let mut wrong_hash = good.clone();
    wrong_hash.nar_hash = format!("sha256:{}", "ab".repeat(32));
    let answer = owner.upload(&wrong_hash, nar.stream(), InfoIn::AsClient).await?;
    assert_eq!(answer.status(), 400);

    // A body that ends cleanly, but early: as a proxy that gave up would leave it.
    let cut = nar.stream().take(5).boxed();
    let answer = owner.upload(&good, cut, InfoIn::AsClient).await?;
    assert_eq!(answer.status(), 400);

    // A connection that breaks within the body.
    let broken = nar.stream().take(5).chain(futures::stream::once(async {
        Err(std::io::Error::other("cable cut"))
    }));
    assert!(
        owner
            .upload(&good, broken.boxed(), InfoIn::AsClient)
            .await
            .is_err()
    );

    // Bytes that have the right hash and size but are no NAR.
    let junk = Bytes::from(vec![7_u8; 4096]);
    let mut not_a_nar = good.clone();
    not_a_nar.nar_size = 4096;
    not_a_nar.nar_hash = format!(
        "sha256:{}",
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &junk))
    );
    let answer = owner
        .upload(&not_a_nar, futures::stream::iter([Ok(junk)]), InfoIn::AsClient)
        .await?;
    assert_eq!(answer.status(), 400);

    let mut injected = good.clone();
    injected.references = vec!["x\nSig: evil:AAAA".to_owned()];
    let answer = owner.upload(&injected, nar.stream(), InfoIn::AsClient).await?;
    assert_eq!(answer.status(), 400);

    let expired = expired_token(&token_secret(&place.dir())?);
    for (name, token) in [
        ("garbled", "not.a.token".to_owned()),
        ("foreign", foreign_token()),
        ("expired", expired),
    ] {
        let caller = Attic::new(&server, Some(&token))?;
        let answer = caller.upload(&good, nar.stream(), InfoIn::AsClient).await?;
        assert!(
            matches!(answer.status().as_u16(), 401 | 403),
            "{name}: {}",
            answer.status()
        );
    }
    let stranger = Attic::new(&server, None)?;
    let answer = stranger.upload(&good, nar.stream(), InfoIn::AsClient).await?;
    assert!(
        matches!(answer.status().as_u16(), 401 | 403),
        "{}",
        answer.status()
    );

    let hashes = vec![nar.hash()];
    assert_eq!(
        owner.missing(&cache, &hashes).await?,
        hashes,
        "something of a refused upload was kept"
    );
    let answer = owner.upload(&good, nar.stream(), InfoIn::AsClient).await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(owner.pull(&cache, &nar.hash()).await?.nar_hash, good.nar_hash);

    // Once there, a path never gets another NAR.
    let other = SyntheticNar { size: 1024, seed: 8 };
    let mut replaced = other.upload(&cache);
    replaced.store_path.clone_from(&good.store_path);
    replaced.store_path_hash.clone_from(&good.store_path_hash);
    let answer = owner.upload(&replaced, other.stream(), InfoIn::AsClient).await?;
    assert!(answer.status().is_client_error(), "{}", answer.status());
    assert_eq!(owner.pull(&cache, &nar.hash()).await?.nar_hash, good.nar_hash);
    home.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_cache_shows_a_stranger_nothing_and_its_owner_everything() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let owner = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    assert_eq!(owner.create_cache("secret", false).await?, 200);
    assert_eq!(owner.create_cache("secret", false).await?, 400);
    let nar = SyntheticNar {
        size: 100_000,
        seed: 9,
    };
    let answer = owner
        .upload(&nar.upload("secret"), nar.stream(), InfoIn::AsClient)
        .await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        owner.pull("secret", &nar.hash()).await?.nar_hash,
        nar.upload("secret").nar_hash
    );

    let stranger = Attic::new(&home.ready.gateway, None)?;
    let absent = SyntheticNar { size: 1, seed: 10 };
    for url in [
        "nix-cache-info",
        &format!("{}.narinfo", nar.hash()),
        &format!("nar/{}.nar", nar.hash()),
    ] {
        let there = stranger.get(&format!("/secret/{url}")).await?.status();
        let nowhere = stranger.get(&format!("/nosuchcache/{url}")).await?.status();
        assert_eq!(there, nowhere, "{url} tells a stranger whether the cache exists");
        assert!(
            matches!(there.as_u16(), 403 | 404),
            "{url}: Nix takes {there} for an error"
        );
    }
    let there = stranger
        .get(&format!("/secret/{}.narinfo", nar.hash()))
        .await?
        .status();
    let absent = stranger
        .get(&format!("/secret/{}.narinfo", absent.hash()))
        .await?
        .status();
    assert_eq!(there, absent, "a stranger learns whether a path is there");
    home.stop().await?;
    Ok(())
}
