//! Times a stage of a push or a pull: a histogram, and a span for traces.

use std::future::Future;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span};

use super::names::STAGE_SECONDS;

fn note(name: &'static str, took: Duration) {
    metrics::histogram!(STAGE_SECONDS, "stage" => name).record(took);
}

/// A stage within `parent`, for traces; it lasts until the span is dropped.
pub(crate) fn span(parent: &Span, name: &'static str) -> Span {
    // Spans have fixed names; the stage's own is what traces show (`otel.name`).
    tracing::debug_span!(target: super::traces::TARGET, parent: parent, "stage", otel.name = name)
}

/// Puts the stages of a request into one span.
pub(crate) async fn stage_of_request<F: Future>(endpoint: &'static str, work: F) -> F::Output {
    let span = tracing::debug_span!(target: super::traces::TARGET, "request", otel.name = endpoint);
    work.instrument(span).await
}

/// Times work that waits.
pub(crate) async fn stage<F: Future>(name: &'static str, work: F) -> F::Output {
    let begin = Instant::now();
    let done = work.instrument(span(&Span::current(), name)).await;
    note(name, begin.elapsed());
    done
}

/// Times work on a blocking thread; `parent` is the span that it was handed over in.
pub(crate) fn stage_sync<T>(name: &'static str, parent: &Span, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = span(parent, name).in_scope(work);
    note(name, begin.elapsed());
    done
}
