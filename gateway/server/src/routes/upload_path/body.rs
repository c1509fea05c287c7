//! The body of an upload as a stream, given up when nothing comes for long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use super::super::extract::IDLE;
use crate::depot::BoxError;
use crate::error::Refusal;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    /// Nothing came for too long.
    #[error("nothing came for {} seconds", IDLE.as_secs())]
    Idle,
    /// The connection broke, or the client did not keep to HTTP.
    #[error("the connection broke off")]
    Broken(#[source] axum::Error),
}

/// Pieces of a body.
pub(super) struct Pieces {
    /// What was read together with the preamble, but follows it.
    first: Bytes,
    rest: BodyDataStream,
    idle: Pin<Box<Sleep>>,
}

impl Pieces {
    pub(super) fn new(body: Body) -> Self {
        Self {
            first: Bytes::new(),
            rest: body.into_data_stream(),
            idle: Box::pin(tokio::time::sleep(IDLE)),
        }
    }

    /// The next `size` bytes.
    pub(super) async fn take(&mut self, size: usize) -> Result<Bytes, Refusal> {
        let mut taken = BytesMut::with_capacity(size.min(64 * 1024));
        while taken.len() < size {
            let Some(piece) = self.next().await else {
                return Err(Refusal::Request(
                    "the body ends within the upload info that the preamble header announces".to_owned(),
                ));
            };
            let mut piece = piece
                .map_err(|error| Refusal::Request(format!("the upload info could not be read: {error}")))?;
            let wanted = piece.len().min(size - taken.len());
            taken.extend_from_slice(&piece.split_to(wanted));
            self.first = piece;
        }
        Ok(taken.freeze())
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        match self.rest.poll_next_unpin(cx) {
            Poll::Ready(piece) => {
                self.idle.as_mut().reset(Instant::now() + IDLE);
                let piece = piece.map(|piece| piece.map_err(|error| BodyError::Broken(error).into()));
                Poll::Ready(piece)
            }
            Poll::Pending => {
                ready!(self.idle.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::Idle.into())))
            }
        }
    }
}
