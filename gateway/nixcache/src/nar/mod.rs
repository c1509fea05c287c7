//! Nix's archive format (NAR): a checker that reads a stream piece by piece, and a writer.
//!
//! A NAR is a sequence of strings, each a 64-bit little-endian length, the bytes, and zeros up to a
//! multiple of eight; the strings form a grammar with one tree of files for every NAR and back.

mod validator;
mod writer;

pub use validator::{MAX_DEPTH, MAX_NAME, MAX_TARGET, NarError, Validator};
pub use writer::{Node, dump, write};

/// The string that every NAR begins with.
const MAGIC: &[u8] = b"nix-archive-1";
