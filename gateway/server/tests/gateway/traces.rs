//! Traces as a collector gets them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::program::World;
use crate::support::wares::{Path, Pulled, token};

type Spans = Arc<Mutex<Vec<Span>>>;

async fn take(State(spans): State<Spans>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let came = request.resource_spans.into_iter();
    let came = came.flat_map(|resource| resource.scope_spans);
    spans.lock().unwrap().extend(came.flat_map(|scope| scope.spans));
}

/// A collector; its address and what it got.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&spans));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, spans)
}

/// The stages within requests of this kind.
fn stages_of(spans: &Spans, request: &str) -> BTreeSet<String> {
    let spans = spans.lock().unwrap();
    let roots = spans
        .iter()
        .filter(|span| span.name == request && span.parent_span_id.is_empty());
    let roots: BTreeSet<&[u8]> = roots.map(|span| span.span_id.as_slice()).collect();
    spans
        .iter()
        .filter(|span| roots.contains(span.parent_span_id.as_slice()))
        .map(|span| span.name.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_stages_of_pushes_and_pulls_by_their_names() {
    let (url, spans) = collector().await;
    let world = World::new("hs256").await;
    let with = format!("traces: {{ otlp: '{url}' }}\ntokens:\n");
    let gateway = world.serve_with(&[("tokens:\n", &with)]).await;
    let token = token(&world);
    let pushes = ["receive", "cut", "lookup", "compress", "pack", "commit"];
    let pulls = ["plan", "fetch", "check", "send"];
    let has = |request, stages: &[&str]| {
        let there = stages_of(&spans, request);
        stages.iter().all(|stage| there.contains(*stage))
    };
    // Few requests are traced; those that are, whole.
    let begin = Instant::now();
    let mut number = 0;
    while !has("upload-path", &pushes) || !has("nar", &pulls) {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "of {number} pushes there are {:?}, of the pulls {:?}",
            stages_of(&spans, "upload-path"),
            stages_of(&spans, "nar"),
        );
        let some: Vec<Path> = (number..number + 8).map(Path::new).collect();
        number += 8;
        let pushed = futures::future::join_all(some.iter().map(|path| path.push(&gateway.url, &token))).await;
        assert!(pushed.iter().all(|pushed| *pushed));
        let pulled = futures::future::join_all(some.iter().map(|path| path.pull(&gateway.url))).await;
        assert!(pulled.iter().all(|pulled| *pulled == Pulled::Whole));
    }
    gateway.terminate();
}
