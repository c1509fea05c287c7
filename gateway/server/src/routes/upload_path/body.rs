//! The body of an upload as a stream that can give the metadata at its beginning apart.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use super::super::extract::IDLE;
use crate::depot::BoxError;
use crate::error::Refusal;

/// Pieces of a body.
pub(super) struct Pieces {
    /// What was read together with the preamble, but follows it.
    first: Bytes,
    rest: BodyDataStream,
}

impl Pieces {
    pub(super) fn new(body: Body) -> Self {
        Self {
            first: Bytes::new(),
            rest: body.into_data_stream(),
        }
    }

    /// The next `size` bytes.
    pub(super) async fn take(&mut self, size: usize) -> Result<Bytes, Refusal> {
        let mut taken = BytesMut::with_capacity(size.min(64 * 1024));
        while taken.len() < size {
            let next = tokio::time::timeout(IDLE, self.next()).await;
            let next = next.map_err(|_| Refusal::Request("the upload info stopped coming".to_owned()))?;
            let Some(piece) = next else {
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
        self.rest
            .poll_next_unpin(cx)
            .map(|piece| piece.map(|piece| piece.map_err(BoxError::from)))
    }
}
