//! Starting, stopping, and what happens around requests.

use std::sync::Arc;
use std::time::Duration;

use hayloft_nixcache::token::Verifier;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::home::{NOW, client, refusal};
use super::{Home, Sample, all};
use crate::serve::Server;
use crate::state::MAX_UPLOADS;
use crate::{Gateway, router};

#[tokio::test]
async fn while_it_starts_a_gateway_says_so() {
    let clock = Arc::new(|| Timestamp::from_second(NOW).unwrap());
    let gateway = Gateway::new(Verifier::hs256(b"x"), clock, None, vec![]);
    let server = Server::start(([127, 0, 0, 1], 0).into(), router(gateway))
        .await
        .unwrap();
    for path in ["/healthz", "/main/nix-cache-info", "/_api/v1/cache-config/main"] {
        let response = client()
            .get(format!("http://{}{path}", server.addr()))
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["retry-after"], "5");
        let (status, name, message) = refusal(response).await;
        assert_eq!((status, &*name), (503, "Unavailable"), "{path}");
        assert!(message.contains("starting"), "{message}");
    }
    assert!(server.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_healthy_gateway_says_ok() {
    let home = Home::new().await;
    let response = home.get("/healthz", None).await;
    assert_eq!(
        (response.status().as_u16(), response.text().await.unwrap().trim()),
        (200, "ok")
    );
    let page = home.get("/", None).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn an_upload_that_runs_is_finished_before_the_gateway_stops() {
    let mut home = Home::new().await;
    let sample = Sample::new(1, 200_000);
    let info = sample.info("public");
    let mut stream = TcpStream::connect(home.addr).await.unwrap();
    let head = format!(
        "PUT /_api/v1/upload-path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nX-Attic-Nar-Info: {info}\r\nContent-Length: {}\r\n\r\n",
        all(),
        sample.nar.len(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&sample.nar[..100_000]).await.unwrap();
    // Until the server has taken the request up.
    home.get("/healthz", None).await;
    let stopping = tokio::spawn(home.server.take().unwrap().stop(Duration::from_secs(20)));
    // New connections are refused from some moment on.
    while TcpStream::connect(home.addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(&sample.nar[100_000..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(stopping.await.unwrap());
}

#[tokio::test]
async fn uploads_beyond_the_most_at_a_time_wait_for_their_turn() {
    let home = Home::new().await;
    let mut held = Vec::new();
    for number in 0..u32::try_from(MAX_UPLOADS).unwrap() {
        let sample = Sample::new(number, 20_000);
        let mut stream = TcpStream::connect(home.addr).await.unwrap();
        let head = format!(
            "PUT /_api/v1/upload-path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nX-Attic-Nar-Info: {}\r\nContent-Length: {}\r\n\r\n",
            all(),
            sample.info("public"),
            sample.nar.len(),
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&sample.nar[..10_000]).await.unwrap();
        held.push((stream, sample));
        // Until the server has taken the request up.
        home.get("/healthz", None).await;
    }
    let late = Sample::new(1000, 100);
    let late = home.push("public", &late, None);
    assert_eq!(late.await.status(), 403, "who may not push does not wait");
    let late = Sample::new(1000, 100);
    let token = all();
    let mut late = std::pin::pin!(home.push("public", &late, Some(&token)));
    let soon = tokio::time::timeout(Duration::from_millis(300), late.as_mut()).await;
    assert!(soon.is_err(), "it did not wait");
    let (mut stream, sample) = held.pop().unwrap();
    stream.write_all(&sample.nar[10_000..]).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    assert_eq!(late.await.status(), 200);
}

#[tokio::test]
async fn requests_that_do_not_end_are_cut_off_when_the_gateway_stops() {
    let mut home = Home::new().await;
    let mut stream = TcpStream::connect(home.addr).await.unwrap();
    let head = "PUT /_api/v1/upload-path HTTP/1.1\r\nHost: x\r\nX-Attic-Nar-Info-Preamble-Size: 9\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Until the server has taken the request up.
    home.get("/healthz", None).await;
    assert!(!home.server.take().unwrap().stop(Duration::from_millis(300)).await);
}
