//! Chunks, frames, packs and the log in the bucket.
//!
//! The bucket is the only truth: immutable packs of frames, and one ordered log of small signed records.
//! What decides is pure ([`chunk`], [`manifest`], [`commit`], [`log::chain`], [`read`]); what touches the
//! bucket goes through [`object::ObjectStore`].

pub mod checkpoint;
pub mod chunk;
pub mod cluster_key;
pub mod commit;
mod digest;
pub mod frame;
pub mod key;
pub mod log;
pub mod manifest;
pub mod object;
pub mod pack;
pub mod read;

pub use digest::Digest;
