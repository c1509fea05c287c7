//! Lets a client that is still sending hear why it is refused.
//!
//! When a handler answers before it has read the body, closing the connection at once makes the operating system reset
//! it, and the client may lose the answer that is on its way. So an unread rest is read on for a little and thrown away,
//! while the answer goes out. Clients stop sending when they see it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;

/// How much of an unread body is thrown away, in bytes.
const MOST: usize = 16 * 1024 * 1024;
/// For how long.
const LONGEST: Duration = Duration::from_secs(10);

/// A request whose body's unread rest is thrown away in the background when it is dropped. A client that waits to be
/// told to send (`Expect: 100-continue`) is left alone: reading would tell it to.
pub(super) fn lingering(request: Request) -> Request {
    if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| {
        Body::from_stream(Lingering {
            rest: Some(body.into_data_stream()),
        })
    })
}

struct Lingering {
    rest: Option<BodyDataStream>,
}

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let piece = rest.poll_next_unpin(cx);
        if matches!(piece, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        piece
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.rest.take(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LONGEST, discard(rest)));
        }
    }
}

async fn discard(mut rest: BodyDataStream) {
    let mut seen = 0;
    while let Some(Ok(piece)) = rest.next().await {
        seen += piece.len();
        if seen > MOST {
            return;
        }
    }
}
