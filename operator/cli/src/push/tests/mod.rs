//! Pushes from a store in a temporary folder to a gateway that is played here and speaks attic's wire.

mod fake_gateway;
mod fake_store;
mod other_servers;
mod watching;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use hayloft_nixcache::token::{Claims, Grants, mint_hs256};
use hayloft_nixcache::{CacheName, StorePath, StorePathHash};

use self::fake_gateway::{FakeGateway, Play};
use self::fake_store::FakeStore;
use super::progress::Progress;
use super::session::{Choices, PushError, Session};
use super::summary::Summary;
use crate::client::backoff::Policy;
use crate::client::gateway::{Gateway, GatewayError};
use crate::client::token::Token;

const TOKEN: &str = "a.jwt.token";

/// As patient as the real one, in another measure of time.
const HASTY: Policy = Policy {
    tries: 8,
    base: Duration::from_millis(4),
    cap: Duration::from_millis(100),
    asked_cap: Duration::from_millis(300),
};

fn cache() -> CacheName {
    "main".parse().expect("is a name")
}

fn choices() -> Choices {
    Choices {
        jobs: NonZeroUsize::new(5).expect("is not zero"),
        closure: true,
        ignore_upstream: false,
    }
}

fn client(server: &FakeGateway) -> Gateway {
    let url = server.url.parse().expect("is a URL");
    Gateway::new(url, Some(&Token::new(TOKEN)), HASTY, 1, Arc::new(|_| ())).expect("makes a client")
}

fn lines() -> (Progress, Arc<Mutex<Vec<u8>>>) {
    let sink = Arc::new(Mutex::new(Vec::new()));
    (Progress::lines(sink.clone()), sink)
}

fn text(sink: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(sink.lock().expect("is not poisoned").clone()).expect("is text")
}

async fn open(server: &FakeGateway, store: &FakeStore, choices: Choices) -> Session {
    Session::open(client(server), cache(), store.commands(), choices)
        .await
        .expect("opens")
}

async fn push(server: &FakeGateway, store: &FakeStore, roots: &[&str]) -> Summary {
    let session = open(server, store, choices()).await;
    session
        .push(&store.paths(roots), &lines().0)
        .await
        .expect("pushes")
}

/// A closure of seven paths: `top` needs all others.
fn closure() -> FakeStore {
    let mut store = FakeStore::new();
    store.add("libc", &["libc"], 300_000);
    store.add("zlib", &["libc"], 1_000);
    store.add("ssl", &["libc", "zlib", "ssl"], 700_000);
    store.add("curl", &["ssl", "zlib"], 20);
    store.add("git", &["curl", "libc"], 900_000);
    store.add("doc", &[], 5);
    store.add("top", &["git", "doc", "top"], 0);
    store
}

#[tokio::test]
async fn a_closure_arrives_whole_with_references_before_referrers() {
    let (server, store) = (FakeGateway::start().await, closure());
    let summary = push(&server, &store, &["top"]).await;
    assert_eq!((summary.pushed, summary.present), (7, 0));
    assert!(summary.is_whole());
    // The gateway played here refuses a NAR that is not what its info says, and a path whose references it lacks.
    assert_eq!(server.stored(), store.all_hashes());
    assert_eq!(
        server.authorizations(),
        [format!("Bearer {TOKEN}")],
        "the same on every request"
    );

    let again = push(&server, &store, &["top"]).await;
    assert_eq!((again.pushed, again.present), (0, 7));
    assert_eq!(server.uploads(), 7);
}

#[tokio::test]
async fn the_last_in_line_waits_for_slow_references() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play("libc", &[Play::Slow(Duration::from_millis(300))]);
    assert_eq!(push(&server, &store, &["top"]).await.pushed, 7);
    assert_eq!(
        server.order().first().map(String::as_str),
        Some("doc"),
        "what waits for nothing goes ahead"
    );
}

#[tokio::test]
async fn what_an_upstream_key_signed_is_left_to_its_cache_unless_asked() {
    let (server, mut store) = (FakeGateway::start().await, closure());
    store.sign("libc", "cache.nixos.org-1");
    store.sign("zlib", "somebody-1");
    let summary = push(&server, &store, &["top"]).await;
    assert_eq!((summary.pushed, summary.upstream), (6, 1));

    let everything = open(
        &server,
        &store,
        Choices {
            ignore_upstream: true,
            ..choices()
        },
    )
    .await;
    let summary = everything
        .push(&store.paths(&["top"]), &lines().0)
        .await
        .expect("pushes");
    assert_eq!((summary.pushed, summary.upstream, summary.present), (1, 0, 6));
}

#[tokio::test]
async fn a_busy_gateway_and_broken_connections_are_borne() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play(
        "libc",
        &[
            Play::Answer(StatusCode::SERVICE_UNAVAILABLE),
            Play::Break,
            Play::Answer(StatusCode::BAD_GATEWAY),
        ],
    );
    server.play("git", &[Play::Break, Play::Break]);
    server.play("doc", &[Play::Answer(StatusCode::TOO_MANY_REQUESTS)]);
    let summary = push(&server, &store, &["top"]).await;
    assert_eq!(summary.pushed, 7);
    assert_eq!(server.stored(), store.all_hashes());
    assert_eq!(server.uploads(), 7 + 3 + 2 + 1);
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_takes_only_the_referrers_with_it() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play("curl", &[Play::Answer(StatusCode::BAD_REQUEST)]);
    let session = open(&server, &store, choices()).await;
    let (progress, sink) = lines();
    let summary = session
        .push(&store.paths(&["top"]), &progress)
        .await
        .expect("pushes what it can");
    assert_eq!(summary.pushed, 4, "libc, zlib, ssl and doc");
    assert_eq!(summary.failed, [store.path("curl")]);
    let mut held_back: Vec<&str> = summary.held_back.iter().map(StorePath::name).collect();
    held_back.sort_unstable();
    assert_eq!(held_back, ["git", "top"]);
    assert!(
        summary
            .complaint()
            .is_some_and(|line| line.contains("1 failed, 2 held back"))
    );
    assert_eq!(server.tries("curl"), 1);
    assert!(
        text(&sink).contains("curl: the gateway answers 400: played here"),
        "{}",
        text(&sink)
    );

    let again = push(&server, &store, &["top"]).await;
    assert_eq!(
        (again.pushed, again.present),
        (3, 4),
        "the same command goes on from there"
    );
}

#[tokio::test]
async fn a_token_that_is_refused_ends_the_push_at_once() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play("libc", &[Play::Answer(StatusCode::UNAUTHORIZED)]);
    let summary = push(&server, &store, &["top"]).await;
    let complaint = summary.complaint().expect("complains");
    assert!(
        complaint.starts_with("the gateway does not take the token: played here"),
        "{complaint}"
    );
    assert!(!complaint.contains(TOKEN));
    assert!(server.uploads() <= 2);
}

#[tokio::test]
async fn a_token_that_gives_too_little_on_the_cache_is_told_which_rule_decides() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play("libc", &[Play::Answer(StatusCode::FORBIDDEN)]);
    let mut grants = Grants::new();
    grants.entry("*".parse().expect("is a pattern")).pull = true;
    grants.entry("ma*".parse().expect("is a pattern")).push = true;
    let token = Token::new(&mint_hs256(b"secret", &Claims::new(grants)).expect("signs"));
    let mut session = open(&server, &store, choices()).await;
    session.renew(&token);
    let summary = session
        .push(&store.paths(&["top"]), &lines().0)
        .await
        .expect("asks");
    let complaint = summary.complaint().expect("complains");
    assert!(
        complaint.starts_with(
            "the token does not allow this: played here; the token gives pull alone on this cache: the first pattern that matches \
             decides (see docs/push-and-pull.md); "
        ),
        "{complaint}"
    );
}

#[tokio::test]
async fn a_gateway_that_stays_away_ends_the_push_before_every_path_has_waited() {
    let (server, mut store) = (FakeGateway::start().await, FakeStore::new());
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    for name in &names {
        store.add(name, &[], 10);
        server.play(name, &[Play::Answer(StatusCode::SERVICE_UNAVAILABLE); 8]);
    }
    let roots: Vec<&str> = names.iter().map(String::as_str).collect();
    let summary = push(&server, &store, &roots).await;
    assert!(
        summary
            .complaint()
            .is_some_and(|line| line.starts_with("the gateway is gone; 40 paths were not pushed"))
    );
    assert!(server.uploads() < 100, "{} tries", server.uploads());
}

#[tokio::test]
async fn a_path_that_is_damaged_here_is_named_and_never_repeated() {
    let (server, store) = (FakeGateway::start().await, closure());
    store.damage("zlib");
    let session = open(&server, &store, choices()).await;
    let (progress, sink) = lines();
    let summary = session
        .push(&store.paths(&["top"]), &progress)
        .await
        .expect("pushes what it can");
    assert_eq!(summary.hopeless, [store.path("zlib")]);
    let complaint = summary.complaint().expect("complains");
    let (verify, repair) = ("nix-store --verify-path", "nix-store --repair-path");
    for command in [verify, repair] {
        let whole = format!("`{command} {}`", store.path("zlib"));
        assert!(complaint.contains(&whole), "{complaint}");
    }
    assert!(!complaint.contains("again"), "{complaint}");
    assert_eq!(summary.pushed, 2, "libc and doc");
    assert!(text(&sink).contains("damaged on this machine"), "{}", text(&sink));
    assert!(server.tries("zlib") <= 1);
}

#[tokio::test]
async fn a_path_with_very_many_references_sends_its_info_ahead_of_the_body() {
    let (server, mut store) = (FakeGateway::start().await, FakeStore::new());
    let names: Vec<String> = (0..100)
        .map(|n| format!("reference-with-a-long-name-{n}"))
        .collect();
    for name in &names {
        store.add(name, &[], 10);
    }
    let references: Vec<&str> = names.iter().map(String::as_str).collect();
    store.add("many", &references, 300_000);
    assert_eq!(push(&server, &store, &["many"]).await.pushed, 101);
    assert_eq!(server.preambles(), ["many"]);
}

#[tokio::test]
async fn questions_come_in_batches_that_every_server_takes() {
    let server = FakeGateway::start().await;
    let hashes: Vec<StorePathHash> = (0..25_000)
        .map(|n| format!("{n:032}").parse().expect("is a hash"))
        .collect();
    let missing = client(&server).missing(&cache(), &hashes).await.expect("answers");
    assert_eq!(missing.len(), 25_000);
    assert_eq!(server.questions(), [10_000, 10_000, 5_000]);
}

#[tokio::test]
async fn uploads_go_where_the_configuration_points() {
    let (front, back, store) = (FakeGateway::start().await, FakeGateway::start().await, closure());
    front.steer_to(&back.url);
    assert_eq!(push(&front, &store, &["top"]).await.pushed, 7);
    assert_eq!((front.uploads(), back.uploads()), (0, 7));
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let (server, store) = (FakeGateway::start().await, closure());
    server.play("libc", &[Play::Redirect]);
    let summary = push(&server, &store, &["top"]).await;
    let complaint = summary.complaint().expect("complains");
    assert!(
        complaint.contains("sends its clients to https://elsewhere.example/: give that as --server"),
        "{complaint}"
    );
}

#[tokio::test]
async fn without_the_new_command_the_old_ones_tell_the_same() {
    let (server, store) = (FakeGateway::start().await, closure());
    let mut commands = store.commands();
    commands.nix = "/no/such/nix".into();
    let session = Session::open(client(&server), cache(), commands, choices())
        .await
        .expect("opens");
    let (progress, sink) = lines();
    let summary = session
        .push(&store.paths(&["top"]), &progress)
        .await
        .expect("pushes");
    assert_eq!(summary.pushed, 7);
    assert_eq!(server.stored(), store.all_hashes());
    assert!(text(&sink).contains("does not tell who signed a path"));
}

#[tokio::test]
async fn no_gateway_and_no_cache_are_told_apart() {
    let (server, store) = (FakeGateway::start().await, closure());
    let other = "other".parse().expect("is a name");
    let refused = Session::open(client(&server), other, store.commands(), choices())
        .await
        .err()
        .expect("refuses");
    let expected = format!(
        "there is no cache other at {}: check its name and --server",
        server.url
    );
    assert_eq!(refused.to_string(), expected);
    let url = "http://127.0.0.1:9".parse().expect("is a URL");
    let nobody = Gateway::new(url, None, HASTY, 1, Arc::new(|_| ())).expect("makes a client");
    let refused = Session::open(nobody, cache(), store.commands(), choices())
        .await
        .err()
        .expect("fails");
    assert!(
        matches!(refused, PushError::Gateway(GatewayError::Unreachable { .. })),
        "{refused:?}"
    );
}
