//! From parts of a NAR to stored frames: look up what is there, compress the rest, pack it in runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hayloft_index::{Index, KnownFrame};
use hayloft_store::Digest;
use hayloft_store::frame::{Frame, FrameEncoder, FrameError};
use hayloft_store::manifest::Manifest;
use tracing::Span;

use super::cutter::Part;
use crate::depot::error::UploadError;
use crate::depot::packer::{Packer, Ticket};
use crate::metrics::{stage, stage_sync};

/// An upload's frames lie together in a pack in runs of at least this many bytes.
const RUN: usize = 1024 * 1024;

/// A part whose frame is known or made.
pub(super) enum Ready {
    /// Stored, or on its way.
    Known(KnownFrame, Option<Ticket>),
    /// To be packed.
    New(Frame),
    /// To stand in the manifest.
    Literal(Vec<u8>),
}

/// Looks up the pieces of `parts`, and makes frames of those that are new.
pub(super) async fn prepare(
    index: &Index,
    packer: &Packer,
    parts: Vec<Part>,
) -> Result<Vec<Ready>, UploadError> {
    let pieces: Vec<Digest> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Piece { id, .. } => Some(*id),
            Part::Literal(_) => None,
        })
        .collect();
    let coming = packer.on_the_way(&pieces);
    let known = if pieces.is_empty() {
        HashMap::new()
    } else {
        let known = stage("lookup", index.frames_of(&pieces)).await;
        known.map_err(UploadError::Index)?
    };
    let lookup = move |id: &Digest| {
        let stored = known.get(id).map(|frame| (*frame, None));
        stored.or_else(|| {
            coming
                .get(id)
                .map(|(frame, ticket)| (*frame, Some(ticket.clone())))
        })
    };
    let work = move || -> Result<Vec<Ready>, UploadError> {
        let mut encoder: Option<FrameEncoder> = None;
        let mut made: HashMap<Digest, KnownFrame> = HashMap::new();
        let mut ready = Vec::with_capacity(parts.len());
        for part in parts {
            ready.push(match part {
                Part::Literal(bytes) => Ready::Literal(bytes),
                Part::Piece { id, bytes } => {
                    if let Some((frame, ticket)) = lookup(&id) {
                        Ready::Known(frame, ticket)
                    } else if let Some(frame) = made.get(&id) {
                        Ready::Known(*frame, None)
                    } else {
                        let encoder = match &mut encoder {
                            Some(encoder) => encoder,
                            None => encoder.insert(FrameEncoder::new().map_err(|e| broken(&e))?),
                        };
                        let frame = encoder.encode(id, &bytes).map_err(|e| broken(&e))?;
                        made.insert(id, known_frame(&frame));
                        Ready::New(frame)
                    }
                }
            });
        }
        Ok(ready)
    };
    let span = Span::current();
    match tokio::task::spawn_blocking(move || stage_sync("compress", &span, work)).await {
        Ok(ready) => ready,
        Err(_) => Err(UploadError::Unavailable(
            "a piece could not be compressed".to_owned(),
        )),
    }
}

fn broken(error: &FrameError) -> UploadError {
    tracing::error!(error = %error, "a frame could not be made");
    UploadError::Unavailable(error.to_string())
}

fn known_frame(frame: &Frame) -> KnownFrame {
    let stored = u32::try_from(frame.stored.len()).unwrap_or(u32::MAX);
    KnownFrame {
        frame: frame.frame,
        stored,
        raw: frame.raw,
    }
}

/// Puts prepared parts together: the manifest, and the runs that go to packs.
pub(super) struct Assembly {
    packer: Arc<Packer>,
    manifest: Manifest,
    run: Vec<Frame>,
    run_bytes: usize,
    /// Pieces in the run, so that none is packed twice in it.
    in_run: HashSet<Digest>,
    tickets: HashMap<u64, Ticket>,
    new_bytes: u64,
}

/// What an assembly came to.
pub(super) struct Assembled {
    pub(super) manifest: Manifest,
    pub(super) tickets: Vec<Ticket>,
    /// Bytes of the NAR that had to be stored.
    pub(super) new_bytes: u64,
}

impl Assembly {
    pub(super) fn new(packer: Arc<Packer>) -> Self {
        Self {
            packer,
            manifest: Manifest::default(),
            run: Vec::new(),
            run_bytes: 0,
            in_run: HashSet::new(),
            tickets: HashMap::new(),
            new_bytes: 0,
        }
    }

    pub(super) async fn add(&mut self, parts: Vec<Ready>) -> Result<(), UploadError> {
        for part in parts {
            match part {
                Ready::Literal(bytes) => self.manifest.push_literal(&bytes),
                Ready::Known(frame, ticket) => {
                    self.manifest.push_frame(frame.frame, frame.stored, frame.raw);
                    if let Some(ticket) = ticket {
                        self.tickets.insert(ticket.id(), ticket);
                    }
                }
                Ready::New(frame) => {
                    let known = known_frame(&frame);
                    self.manifest.push_frame(known.frame, known.stored, known.raw);
                    if self.in_run.insert(frame.piece) {
                        self.new_bytes += u64::from(frame.raw);
                        self.run_bytes += frame.stored.len();
                        self.run.push(frame);
                    }
                }
            }
        }
        if self.run_bytes >= RUN {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), UploadError> {
        if self.run.is_empty() {
            return Ok(());
        }
        let run = std::mem::take(&mut self.run);
        self.in_run.clear();
        self.run_bytes = 0;
        let appended = stage("pack", self.packer.append(&run)).await;
        let ticket = appended.map_err(UploadError::Unavailable)?;
        self.tickets.insert(ticket.id(), ticket);
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Assembled, UploadError> {
        self.flush().await?;
        let tickets = self.tickets.into_values().collect();
        Ok(Assembled {
            manifest: self.manifest,
            tickets,
            new_bytes: self.new_bytes,
        })
    }
}
