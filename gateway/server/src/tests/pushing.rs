//! Uploads that are taken, and questions before them.

use hayloft_nixcache::api::{GetMissingPathsResponse, UploadKind, UploadResult};
use hayloft_nixcache::nix32;
use reqwest::Method;
use serde_json::json;

use super::home::{chunked, refusal};
use super::{Home, Sample, all, grants};

const UPLOAD: &str = "/_api/v1/upload-path";

async fn nar_of(home: &Home, sample: &Sample) -> Vec<u8> {
    let response = home
        .get(&format!("/public/nar/{}.nar", sample.hash()), None)
        .await;
    assert_eq!(response.status(), 200);
    zstd::decode_all(&response.bytes().await.unwrap()[..]).unwrap()
}

#[tokio::test]
async fn metadata_may_come_in_a_header_or_before_the_nar_under_either_clients_names() {
    let home = Home::new().await;
    for (number, (header, preamble)) in [
        (Some("x-attic-nar-info"), None),
        (Some("x-celler-nar-info"), None),
        (None, Some("x-attic-nar-info-preamble-size")),
        (None, Some("X-Celler-Nar-Info-Preamble-Size")),
    ]
    .into_iter()
    .enumerate()
    {
        let sample = Sample::new(u32::try_from(number).unwrap(), 50_000);
        let info = sample.info("public").to_string();
        let mut request = home.request(Method::PUT, UPLOAD, Some(&all()));
        let mut body = sample.nar.clone();
        if let Some(header) = header {
            request = request.header(header, &info);
        }
        if let Some(preamble) = preamble {
            request = request.header(preamble, info.len());
            body = [info.as_bytes(), &sample.nar].concat();
        }
        let response = request.body(chunked(&body)).send().await.unwrap();
        let result: UploadResult = response.json().await.unwrap();
        assert_eq!(result.kind, UploadKind::Uploaded);
        assert!(nar_of(&home, &sample).await == sample.nar);
    }
}

#[tokio::test]
async fn the_preamble_wins_and_may_be_longer_than_any_header() {
    let home = Home::new().await;
    let mut sample = Sample::new(1, 50_000);
    sample.references = (0..5000_u32).map(|n| Sample::new(n, 0).base_name).collect();
    let info = sample.info("public").to_string();
    assert!(info.len() > 200_000);
    let response = home
        .request(Method::PUT, UPLOAD, Some(&all()))
        .header("x-attic-nar-info", "not even JSON")
        .header("x-attic-nar-info-preamble-size", info.len())
        .body(chunked(&[info.as_bytes(), &sample.nar].concat()))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
    assert!(nar_of(&home, &sample).await == sample.nar);
    let narinfo = home
        .get(&format!("/public/{}.narinfo", sample.hash()), None)
        .await;
    let narinfo: hayloft_nixcache::NarInfo = narinfo.text().await.unwrap().parse().unwrap();
    assert_eq!(narinfo.references.len(), 5000);
}

#[tokio::test]
async fn what_is_there_already_is_deduplicated_and_what_is_new_is_uploaded() {
    let home = Home::new().await;
    let sample = Sample::new(1, 200_000);
    let first: UploadResult = home
        .push("public", &sample, Some(&all()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(first.kind, UploadKind::Uploaded);
    assert!(first.file_size.unwrap() > 190_000);
    let again: UploadResult = home
        .push("public", &sample, Some(&all()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (again.kind, again.file_size),
        (UploadKind::Deduplicated, first.file_size)
    );
    assert!((again.frac_deduplicated.unwrap() - 1.0).abs() < 1e-9);
    let elsewhere: UploadResult = home
        .push("private", &sample, Some(&all()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(elsewhere.kind, UploadKind::Deduplicated);
}

#[tokio::test]
async fn a_path_never_changes_its_contents() {
    let home = Home::new().await;
    let sample = Sample::new(1, 1000);
    home.push("public", &sample, Some(&all())).await;
    let other = Sample {
        nar: Sample::new(2, 1000).nar,
        ..sample.clone()
    };
    let (status, name, message) = refusal(home.push("public", &other, Some(&all())).await).await;
    assert_eq!((status, &*name), (409, "PathConflict"));
    assert!(message.contains("never change"), "{message}");
    assert!(nar_of(&home, &sample).await == sample.nar);
}

#[tokio::test]
async fn who_pushed_is_recorded() {
    let home = Home::new().await;
    let sample = Sample::new(1, 10);
    home.push("public", &sample, Some(&all())).await;
    let entry = home
        .depot
        .path(&"public".parse().unwrap(), &sample.hash().parse().unwrap())
        .await;
    assert_eq!(entry.unwrap().unwrap().created_by.as_deref(), Some("tester"));
}

#[tokio::test]
async fn only_missing_paths_are_named_once_each() {
    let home = Home::new().await;
    let (there, gone) = (Sample::new(1, 10), Sample::new(2, 10));
    home.push("public", &there, Some(&all())).await;
    let body = json!({"cache": "public", "store_path_hashes": [there.hash(), gone.hash(), gone.hash()]});
    let pusher = grants(r#"{"public":{"w":1}}"#);
    let request = home.request(Method::POST, "/_api/v1/get-missing-paths", Some(&pusher));
    let answer: GetMissingPathsResponse = request.json(&body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer.missing_paths, [gone.hash().parse().unwrap()]);
}

#[tokio::test]
async fn a_closure_of_more_than_sixty_thousand_paths_is_one_question() {
    let home = Home::new().await;
    let there = Sample::new(1, 10);
    home.push("public", &there, Some(&all())).await;
    let mut hashes: Vec<String> = (0..65_000_u32)
        .map(|n| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            nix32::encode(&bytes)
        })
        .collect();
    hashes.push(there.hash().to_owned());
    let body = json!({"cache": "public", "store_path_hashes": hashes});
    let ask = |token: String| {
        let request = home.request(Method::POST, "/_api/v1/get-missing-paths", Some(&token));
        request.json(&body).send()
    };
    let response = ask(all()).await.unwrap();
    let answer: GetMissingPathsResponse = response.json().await.unwrap();
    assert_eq!(answer.missing_paths.len(), 65_000);
    // More than 16 MiB is too much, and what a stranger may send is less.
    let body = json!({"cache": "public", "store_path_hashes": vec![there.hash(); 500_000]});
    let request = home.request(Method::POST, "/_api/v1/get-missing-paths", Some(&all()));
    assert_eq!(request.json(&body).send().await.unwrap().status(), 413);
    let request = home.request(Method::POST, "/_api/v1/get-missing-paths", None);
    assert_eq!(request.json(&body).send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn the_first_matching_pattern_decides_over_http_too() {
    let home = Home::new().await;
    let sample = Sample::new(1, 10);
    let reader_first = grants(r#"{"pub*":{"r":1},"*":{"r":1,"w":1}}"#);
    let refused = refusal(home.push("public", &sample, Some(&reader_first)).await).await;
    assert_eq!((refused.0, &*refused.1), (403, "AccessError"));
    let exact_last = grants(r#"{"*":{"r":1},"public":{"w":1}}"#);
    assert_eq!(
        home.push("public", &sample, Some(&exact_last)).await.status(),
        200
    );
}
