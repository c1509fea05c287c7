//! Reads an upload's body in portions of bounded size.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::depot::error::{BoxError, UploadError};

/// How long a client may send nothing: what its upload holds is taken from others.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes that go to a blocking thread at once.
pub(super) const PORTION: usize = 256 * 1024;

/// A body of which `expected` bytes were announced.
pub(super) struct Body<B> {
    stream: B,
    expected: u64,
    seen: u64,
    ended: bool,
}

impl<B> Body<B>
where
    B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
{
    pub(super) const fn new(stream: B, expected: u64) -> Self {
        Self {
            stream,
            expected,
            seen: 0,
            ended: false,
        }
    }

    /// The next portion; empty at the end.
    pub(super) async fn portion(&mut self) -> Result<Vec<Bytes>, UploadError> {
        let mut portion = Vec::new();
        let mut size = 0;
        while size < PORTION && !self.ended {
            let next = tokio::time::timeout(SILENCE, self.stream.next()).await;
            match next.map_err(|_| UploadError::Body(format!("nothing came for {SILENCE:?}").into()))? {
                Some(Ok(bytes)) => {
                    size += bytes.len();
                    self.seen += bytes.len() as u64;
                    if self.seen > self.expected {
                        let (expected, actual) = (self.expected, self.seen);
                        return Err(UploadError::SizeMismatch {
                            expected,
                            actual,
                            more: true,
                        });
                    }
                    if !bytes.is_empty() {
                        portion.push(bytes);
                    }
                }
                Some(Err(error)) => return Err(UploadError::Body(error)),
                None => self.ended = true,
            }
        }
        Ok(portion)
    }

    /// Reads on to the end and forgets it, so that the client gets to hear our answer; but no more than
    /// `limit` bytes.
    pub(super) async fn drain(&mut self, limit: u64) {
        let mut read = 0;
        while read < limit && !self.ended {
            match self.stream.next().await {
                Some(Ok(bytes)) => read += bytes.len() as u64,
                Some(Err(_)) | None => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn bytes(length: usize) -> Result<Bytes, BoxError> {
        Ok(Bytes::from(vec![1; length]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_is_let_go() {
        let stream = Box::pin(stream::iter([bytes(1000)]).chain(stream::pending()));
        let mut body = Body::new(stream, 5000);
        assert!(matches!(body.portion().await, Err(UploadError::Body(_))));
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_announced() {
        let mut body = Body::new(stream::iter([bytes(1000), bytes(1)]), 1000);
        let portion = body.portion().await;
        assert!(matches!(
            portion,
            Err(UploadError::SizeMismatch {
                actual: 1001,
                more: true,
                ..
            })
        ));
    }

    #[tokio::test]
    async fn portions_are_bounded_and_the_last_is_empty() {
        let stream = stream::iter((0..20).map(|_| bytes(100_000)));
        let mut body = Body::new(stream, 2_000_000);
        let mut total = 0;
        loop {
            let size: usize = body.portion().await.unwrap().iter().map(Bytes::len).sum();
            if size == 0 {
                break;
            }
            assert!(size < PORTION + 100_000);
            total += size;
        }
        assert_eq!(total, 2_000_000);
    }
}
