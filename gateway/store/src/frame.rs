//! Frames: a piece of a NAR as one zstd frame, and literal frames of our own making.
//!
//! Concatenated zstd frames are valid zstd (RFC 8878, section 3), so that a NAR is served by sending its
//! frames one after the other, without decompressing anything.

use crate::Digest;

/// Compression level of pieces; measured as the best trade of push speed against size.
pub const LEVEL: i32 = 3;
/// The longest literal that one literal frame holds.
pub const MAX_LITERAL: usize = 32 * 1024;

/// One stored piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// BLAKE3 of the raw bytes: what deduplication looks for.
    pub piece: Digest,
    /// BLAKE3 of `stored`: what manifests name and readers check.
    pub frame: Digest,
    /// Bytes when decompressed.
    pub raw: u32,
    /// The zstd frame.
    pub stored: Vec<u8>,
}

/// Why a piece could not be made a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The compressor failed.
    #[error("a piece could not be compressed")]
    Compress(#[source] std::io::Error),
    /// What was compressed does not decompress to what went in: broken memory, or a broken library.
    #[error("a compressed piece does not decompress to what was compressed")]
    Mismatch,
    /// Larger than chunks ever are.
    #[error("a piece of {0} bytes is too large")]
    TooLarge(usize),
}

/// Makes frames; keeps its working memory, so use one per thread or task.
pub struct FrameEncoder {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    check: Vec<u8>,
}

impl FrameEncoder {
    /// A fresh encoder.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn new() -> Result<Self, FrameError> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(FrameError::Compress)?;
        compressor.include_checksum(false).map_err(FrameError::Compress)?;
        compressor
            .include_contentsize(true)
            .map_err(FrameError::Compress)?;
        compressor.include_dictid(false).map_err(FrameError::Compress)?;
        let decompressor = zstd::bulk::Decompressor::new().map_err(FrameError::Compress)?;
        Ok(Self {
            compressor,
            decompressor,
            check: Vec::new(),
        })
    }

    /// Compresses one piece, and checks that it decompresses to the same bytes.
    ///
    /// # Errors
    /// When it does not.
    pub fn encode(&mut self, piece: Digest, raw: &[u8]) -> Result<Frame, FrameError> {
        let length = u32::try_from(raw.len()).map_err(|_| FrameError::TooLarge(raw.len()))?;
        let mut stored = self.compressor.compress(raw).map_err(FrameError::Compress)?;
        stored.shrink_to_fit();
        self.check.clear();
        self.check.reserve(raw.len());
        let n = self
            .decompressor
            .decompress_to_buffer(&stored, &mut self.check)
            .map_err(|_| FrameError::Mismatch)?;
        if n != raw.len() || self.check != raw {
            return Err(FrameError::Mismatch);
        }
        Ok(Frame {
            piece,
            frame: Digest::of(&stored),
            raw: length,
            stored,
        })
    }
}

/// Bytes of the frame that [`literal`] makes of `length` bytes.
#[must_use]
pub const fn literal_length(length: usize) -> usize {
    // Magic, descriptor, content size of one or two bytes, block header.
    length
        + if length < 256 {
            4 + 1 + 1 + 3
        } else {
            4 + 1 + 2 + 3
        }
}

/// Appends `bytes` to `out` as a zstd frame of one raw block: fixed bytes, whatever library made the rest.
/// `bytes` are at most [`MAX_LITERAL`] long; what is longer is cut into several frames.
pub fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    for bytes in bytes.chunks(MAX_LITERAL) {
        out.extend_from_slice(&0xFD2F_B528_u32.to_le_bytes());
        // Single segment, so that the window is the content; the content size in one or two bytes.
        // The chunk is at most MAX_LITERAL long, so both conversions hold.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match u8::try_from(length) {
            Ok(short) => out.extend_from_slice(&[0x20, short]),
            Err(_) => {
                out.push(0x60);
                out.extend_from_slice(&u16::try_from(length - 256).unwrap_or(u16::MAX).to_le_bytes());
            }
        }
        // Block header: last block, raw, size from bit 3.
        out.extend_from_slice(&(1 | (length << 3)).to_le_bytes()[..3]);
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_frames_of_every_length_decode_to_what_went_in() {
        for length in [0, 1, 32, 45, 255, 256, 257, 4096, MAX_LITERAL] {
            let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut out = Vec::new();
            literal(&bytes, &mut out);
            if length > 0 {
                assert_eq!(out.len(), literal_length(length), "{length}");
                assert_eq!(zstd::decode_all(out.as_slice()).unwrap(), bytes, "{length}");
            }
        }
    }

    #[test]
    fn the_bytes_of_a_literal_frame_are_fixed() {
        let mut out = Vec::new();
        literal(b"26xbg1ndr7hbcncrlf9nhx5is2b25d13", &mut out);
        insta::assert_snapshot!(hex::encode(out));
    }

    #[test]
    fn a_frame_tells_its_content_size_and_decodes_to_its_piece() {
        let raw = b"hello, hello, hello, hello, hello, hello".repeat(100);
        let frame = FrameEncoder::new()
            .unwrap()
            .encode(Digest::of(&raw), &raw)
            .unwrap();
        assert_eq!(
            zstd::zstd_safe::get_frame_content_size(&frame.stored).unwrap(),
            Some(raw.len() as u64)
        );
        assert_eq!(frame.frame, Digest::of(&frame.stored));
        assert_eq!(zstd::decode_all(frame.stored.as_slice()).unwrap(), raw);
    }
}
