//! Saving what an upload counted on: frames of packs that were given up while it was under way. Their objects stay for
//! a time, so the frames are read from there, checked, and stored again.

use std::time::Duration;

use hayloft_index::{Index, Retired};
use hayloft_store::Digest;
use hayloft_store::frame::Frame;
use hayloft_store::key::ObjectKey;
use hayloft_store::object::{ObjectError, SharedStore};
use hayloft_store::read::{Fetch, Wanted, plan};

use super::error::sentence;

/// Frames that are looked for at a time: some 4 MiB.
pub(super) const PORTION: usize = 64;
/// How long this gateway may take to hear that the packs were given up, when another one orders.
const HEARD: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Reads `frames` from packs that were given up. None: not all of them can be had.
pub(super) async fn frames(
    index: &Index,
    store: &SharedStore,
    frames: &[Digest],
) -> Result<Option<Vec<Frame>>, String> {
    let Some(retired) = locate(index, frames).await? else {
        return Ok(None);
    };
    let wanted = retired.iter().enumerate().map(|(index, retired)| Wanted {
        index,
        pack: retired.pack,
        offset: retired.offset,
        stored: retired.frame.stored,
    });
    let mut saved = Vec::with_capacity(retired.len());
    for Fetch { pack, range, frames } in plan(wanted) {
        let key = ObjectKey::Pack(pack).to_string();
        let bytes = match store.get_range(&key, range.clone()).await {
            Ok(bytes) => bytes,
            Err(ObjectError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(sentence(&error)),
        };
        for wanted in frames {
            let Some(Retired { frame, .. }) = retired.get(wanted.index) else {
                continue;
            };
            let from = usize::try_from(wanted.offset.saturating_sub(range.start)).unwrap_or(usize::MAX);
            match bytes.get(from..from.saturating_add(frame.stored as usize)) {
                Some(stored) if Digest::of(stored) == frame.frame => saved.push(Frame {
                    piece: frame.piece,
                    frame: frame.frame,
                    raw: frame.raw,
                    stored: stored.to_vec(),
                }),
                _ => return Ok(None),
            }
        }
    }
    Ok(Some(saved))
}

async fn locate(index: &Index, frames: &[Digest]) -> Result<Option<Vec<Retired>>, String> {
    let deadline = tokio::time::Instant::now() + HEARD;
    loop {
        let found = index.retired(frames).await.map_err(|error| sentence(&error))?;
        let all: Option<Vec<Retired>> = frames.iter().map(|frame| found.get(frame).copied()).collect();
        if all.is_some() || tokio::time::Instant::now() >= deadline {
            return Ok(all);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
