//! Tokens that are not good, and what their owners are told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use super::home::{expired, foreign, refusal};
use super::{Home, Sample, all};

#[tokio::test]
async fn the_api_says_what_is_wrong_with_a_token() {
    let home = Home::new().await;
    for (header, says) in [
        (
            format!("Bearer {}", expired()),
            "the token expired at 2027-01-15T07:00:00Z",
        ),
        (
            format!("bearer {}", foreign()),
            "the token is not signed by this gateway's key",
        ),
        ("Bearer abc".to_owned(), "the token is malformed"),
        ("Digest abc".to_owned(), "the Authorization header must be"),
        ("Basic !".to_owned(), "the Authorization header must be"),
        (
            format!("Basic {}", STANDARD.encode(format!("x:{}", expired()))),
            "the token expired at",
        ),
    ] {
        for cache in ["public", "private", "missing"] {
            let request = home.request(Method::GET, &format!("/_api/v1/cache-config/{cache}"), None);
            let response = request.header("authorization", &header).send().await.unwrap();
            let (status, name, message) = refusal(response).await;
            assert_eq!((status, &*name), (401, "Unauthorized"), "{header}");
            assert!(message.contains(says), "{message}");
        }
    }
}

#[tokio::test]
async fn a_bad_token_does_not_close_a_public_cache_to_nix_and_is_named_where_it_matters() {
    let home = Home::new().await;
    let sample = Sample::new(1, 10);
    home.push("public", &sample, Some(&all())).await;
    let token = expired();
    for path in [
        "/public/nix-cache-info".to_owned(),
        format!("/public/{}.narinfo", sample.hash()),
        format!("/public/nar/{}.nar", sample.hash()),
    ] {
        assert_eq!(home.get(&path, Some(&token)).await.status(), 200, "{path}");
    }
    let (status, _, message) = refusal(home.get("/private/nix-cache-info", Some(&token)).await).await;
    assert_eq!(status, 403);
    assert!(message.contains("the token expired at"), "{message}");
}

#[tokio::test]
async fn an_empty_password_is_no_token() {
    let home = Home::new().await;
    let request = home.http.get(home.url("/_api/v1/cache-config/public"));
    assert_eq!(
        request.basic_auth("x", Some("")).send().await.unwrap().status(),
        200
    );
}
