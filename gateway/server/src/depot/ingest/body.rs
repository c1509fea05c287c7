//! Reads an upload's body in portions of bounded size.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::depot::error::{BoxError, UploadError};

/// Bytes that go to a blocking thread at once.
pub(super) const PORTION: usize = 512 * 1024;

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
            match self.stream.next().await {
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
