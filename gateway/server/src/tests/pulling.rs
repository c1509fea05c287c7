//! The side that Nix sees.

use hayloft_nixcache::{NarHash, NarInfo, PublicKey};
use reqwest::{Method, StatusCode};

use super::{Home, Sample, all, grants};

#[tokio::test]
async fn what_was_pushed_comes_back_signed_and_byte_by_byte() {
    let home = Home::new().await;
    // Over 8 MiB, the NAR streams while it is checked; below, it is checked first.
    for (number, size) in [(1, 0), (2, 1), (3, 70_000), (4, 12 << 20)] {
        let mut sample = Sample::new(number, size);
        sample.references = vec![
            "z".repeat(32) + "-b",
            "a".repeat(32) + "-a",
            "z".repeat(32) + "-b",
        ];
        let pushed = home.push("public", &sample, Some(&all())).await;
        assert_eq!(pushed.status(), 200, "{:?}", pushed.text().await);

        let config = home.get("/_api/v1/cache-config/public", None).await;
        let config: serde_json::Value = config.json().await.unwrap();
        let key: PublicKey = config["public_key"].as_str().unwrap().parse().unwrap();

        let response = home
            .get(&format!("/public/{}.narinfo", sample.hash()), None)
            .await;
        assert_eq!(response.headers()["content-type"], "text/x-nix-narinfo");
        assert_eq!(response.headers()["x-attic-cache-visibility"], "public");
        let narinfo: NarInfo = response.text().await.unwrap().parse().unwrap();
        assert_eq!(narinfo.store_path.as_str(), sample.store_path());
        assert_eq!(narinfo.references, ["a".repeat(32) + "-a", "z".repeat(32) + "-b"]);
        assert!(key.verify(&narinfo.fingerprint(), &narinfo.signatures[0]));

        let response = home.get(&format!("/public/{}", narinfo.url), None).await;
        assert_eq!(response.headers()["content-type"], "application/x-nix-nar");
        assert_eq!(response.headers()["accept-ranges"], "bytes");
        let body = response.bytes().await.unwrap();
        assert_eq!(Some(body.len() as u64), narinfo.file_size);
        let nar = zstd::decode_all(&body[..]).unwrap();
        assert_eq!(nar.len() as u64, narinfo.nar_size);
        assert_eq!(NarHash::of(&nar), narinfo.nar_hash);
        assert!(nar == sample.nar);
    }
}

#[tokio::test]
async fn head_says_what_get_would_without_a_body() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100_000);
    home.push("public", &sample, Some(&all())).await;
    let hash = sample.hash();
    for path in [
        "/".to_owned(),
        "/public/nix-cache-info".to_owned(),
        format!("/public/{hash}.narinfo"),
        format!("/public/nar/{hash}.nar"),
        format!("/public/nar/{hash}.nar.zst"),
    ] {
        let get = home.get(&path, None).await;
        let head = home.request(Method::HEAD, &path, None).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        for name in [
            "content-type",
            "content-length",
            "etag",
            "accept-ranges",
            "x-attic-cache-visibility",
        ] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{path} {name}");
        }
        let length: usize = get.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(get.bytes().await.unwrap().len(), length, "{path}");
    }
}

#[tokio::test]
async fn a_download_that_broke_off_can_be_resumed() {
    let home = Home::new().await;
    let sample = Sample::new(1, 500_000);
    home.push("public", &sample, Some(&all())).await;
    let path = format!("/public/nar/{}.nar", sample.hash());
    let whole = home.get(&path, None).await;
    let etag = whole.headers()["etag"].clone();
    let whole = whole.bytes().await.unwrap();
    let get = |range: String, if_range: &str| {
        home.request(Method::GET, &path, None)
            .header("range", range)
            .header("if-range", if_range)
            .send()
    };
    let tag = etag.to_str().unwrap();
    let at = whole.len() / 3;
    let rest = get(format!("bytes={at}-"), tag).await.unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.headers()["etag"], etag);
    let range = format!("bytes {at}-{}/{}", whole.len() - 1, whole.len());
    assert_eq!(rest.headers()["content-range"], *range);
    assert!(rest.bytes().await.unwrap() == whole[at..]);
    let middle = get("bytes=1000-1999".to_owned(), tag).await.unwrap();
    assert!(middle.bytes().await.unwrap() == whole[1000..2000]);
    let stale = get("bytes=1000-".to_owned(), "\"other\"").await.unwrap();
    assert_eq!(stale.status(), StatusCode::OK);
    let beyond = get(format!("bytes={}-", whole.len()), tag).await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        beyond.headers()["content-range"],
        *format!("bytes */{}", whole.len())
    );
}

#[tokio::test]
async fn a_netrc_password_opens_a_private_cache() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100);
    home.push("private", &sample, Some(&all())).await;
    let url = home.url(&format!("/private/{}.narinfo", sample.hash()));
    let puller = grants(r#"{"private":{"r":1}}"#);
    let response = home
        .http
        .get(&url)
        .basic_auth("", Some(&puller))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("x-attic-cache-visibility").is_none());
    assert_eq!(home.http.get(&url).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn http_2_without_tls_works() {
    let mut home = Home::new().await;
    let sample = Sample::new(1, 300_000);
    let http = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    home.http = http;
    assert_eq!(home.push("public", &sample, Some(&all())).await.status(), 200);
    let response = home
        .get(&format!("/public/nar/{}.nar", sample.hash()), None)
        .await;
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert!(zstd::decode_all(&response.bytes().await.unwrap()[..]).unwrap() == sample.nar);
    let shown = home.get("/_api/v1/cache-config/public", None).await;
    let shown: serde_json::Value = shown.json().await.unwrap();
    assert_eq!(shown["api_endpoint"], serde_json::json!(home.url("/")));
}
