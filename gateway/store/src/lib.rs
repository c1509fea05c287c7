//! Chunks, frames, packs and the log in the bucket.
