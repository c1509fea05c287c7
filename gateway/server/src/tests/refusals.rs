//! Uploads that are refused, and that leave nothing behind.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::home::refusal;
use super::{Home, Sample, all, grants};

const UPLOAD: &str = "/_api/v1/upload-path";

async fn put(home: &Home, info: &Value, body: Vec<u8>) -> (u16, String, String) {
    let request = home.request(Method::PUT, UPLOAD, Some(&all()));
    let request = request.header("x-attic-nar-info", info.to_string()).body(body);
    refusal(request.send().await.unwrap()).await
}

async fn assert_absent(home: &Home, sample: &Sample) {
    let cache = "public".parse().unwrap();
    let hash = sample.hash().parse().unwrap();
    assert!(home.depot.path(&cache, &hash).await.unwrap().is_none());
    assert_eq!(home.depot.missing(&cache, &[hash]).await.unwrap(), [hash]);
    assert_eq!(
        home.get(&format!("/public/{hash}.narinfo"), None).await.status(),
        404
    );
}

#[tokio::test]
async fn a_nar_of_another_hash_or_size_is_refused_and_nothing_is_kept() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100_000);
    let good = sample.info("public");
    let other = Sample::new(2, 100_000);
    let longer = [&sample.nar[..], &[0; 8]].concat();
    let shorter = sample.nar[..sample.nar.len() - 8].to_vec();
    for body in [other.nar, longer, shorter, vec![]] {
        let (status, name, message) = put(&home, &good, body).await;
        assert_eq!((status, &*name), (400, "RequestError"), "{message}");
    }
    assert_absent(&home, &sample).await;
    assert_eq!(home.push("public", &sample, Some(&all())).await.status(), 200);
}

#[tokio::test]
async fn what_is_no_nar_is_refused_even_with_the_right_hash() {
    let home = Home::new().await;
    for (number, nar) in [
        (1, b"not a NAR at all".to_vec()),
        (2, Sample::new(9, 64).nar.repeat(2)),
    ] {
        let sample = Sample {
            nar,
            ..Sample::new(number, 0)
        };
        let (status, _, message) = put(&home, &sample.info("public"), sample.nar.clone()).await;
        assert_eq!(status, 400);
        assert!(message.contains("NAR"), "{message}");
        assert_absent(&home, &sample).await;
    }
}

#[tokio::test]
async fn metadata_that_lies_or_injects_is_refused() {
    let home = Home::new().await;
    let sample = Sample::new(1, 10);
    let other = Sample::new(2, 10);
    for (field, value) in [
        ("store_path_hash", json!(other.hash())),
        ("store_path", json!(format!("/gnu/store/{}", sample.base_name))),
        ("store_path", json!(format!("/nix/store/x/{}", sample.base_name))),
        ("store_path", json!(format!("{}\nSig: x:y", sample.store_path()))),
        ("references", json!([format!("{}\nSig: x:y", sample.base_name)])),
        ("references", json!([sample.store_path()])),
        ("deriver", json!("x\nSig: a:b")),
        ("ca", json!("x\nSig: a:b")),
        ("nar_hash", json!("md5:0")),
        ("nar_size", json!(0)),
        ("nar_size", json!(-1)),
        ("cache", json!("../x")),
    ] {
        let mut info = sample.info("public");
        info[field] = value;
        let (status, name, message) = put(&home, &info, sample.nar.clone()).await;
        assert_eq!((status, &*name), (400, "RequestError"), "{field}: {message}");
    }
    assert_absent(&home, &sample).await;
}

#[tokio::test]
async fn metadata_that_is_missing_too_long_or_cut_is_refused() {
    let home = Home::new().await;
    let sample = Sample::new(1, 10);
    let request = || home.request(Method::PUT, UPLOAD, Some(&all()));
    let none = request().body(sample.nar.clone()).send().await.unwrap();
    let (status, _, message) = refusal(none).await;
    assert_eq!(status, 400);
    assert!(message.contains("X-Attic-Nar-Info must be set"), "{message}");
    for size in ["1048577", "-1", "many"] {
        let refused = request().header("x-attic-nar-info-preamble-size", size).body("x");
        assert_eq!(refused.send().await.unwrap().status(), 400, "{size}");
    }
    let cut = request()
        .header("x-attic-nar-info-preamble-size", "100")
        .body("{\"cache\":");
    let (status, _, message) = refusal(cut.send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(message.contains("ends within the upload info"), "{message}");
}

/// Sends the beginning of an upload over a connection of its own.
async fn begin(home: &Home, token: &str, info: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(home.addr).await.unwrap();
    let head = format!(
        "PUT {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-Attic-Nar-Info: {info}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream
        .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
        .await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}

#[tokio::test]
async fn a_truncated_body_is_refused_and_nothing_is_kept() {
    let home = Home::new().await;
    let sample = Sample::new(1, 300_000);
    let mut stream = begin(&home, &all(), &sample.info("public")).await;
    chunk(&mut stream, &sample.nar[..200_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_absent(&home, &sample).await;
    assert_eq!(home.push("public", &sample, Some(&all())).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_is_still_sending_hears_why_it_is_refused() {
    let home = Home::new().await;
    let sample = Sample::new(1, 6 << 20);
    let puller = grants(r#"{"*":{"r":1}}"#);
    let mut stream = begin(&home, &puller, &sample.info("public")).await;
    // A naive client that reads nothing before it has sent everything.
    for piece in sample.nar.chunks(100_000) {
        chunk(&mut stream, piece).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 64];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100);
    let puller = grants(r#"{"*":{"r":1}}"#);
    let mut stream = begin(&home, &puller, &sample.info("public")).await;
    let piece = vec![0; 1 << 20];
    let endless = async {
        let mut sent = 0_u32;
        while chunk(&mut stream, &piece).await.is_ok() {
            sent += 1;
        }
        sent
    };
    let sent = tokio::time::timeout(Duration::from_secs(30), endless)
        .await
        .unwrap();
    assert!(sent < 100, "{sent} MiB were read of an upload that was refused");
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_send_is_refused_before_it_does() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100);
    let puller = grants(r#"{"*":{"r":1}}"#);
    let info = sample.info("public");
    let mut stream = TcpStream::connect(home.addr).await.unwrap();
    let head = format!(
        "PUT {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {puller}\r\nX-Attic-Nar-Info: {info}\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 403");
}
