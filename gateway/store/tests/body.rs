//! What is served for a NAR: any bytes, cut, framed and put together, come back through a streaming decoder.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::io::{Read as _, Write as _};

use hayloft_store::Digest;
use hayloft_store::chunk::{Chunker, Segment};
use hayloft_store::frame::{self, FrameEncoder};
use hayloft_store::manifest::{Entry, Manifest};
use proptest::prelude::*;

const OWN: &[u8; 32] = b"26xbg1ndr7hbcncrlf9nhx5is2b25d13";
const DEP: &[u8; 32] = b"0c1sg9lj2xzyqmh4ps7y2q4q0w9lm6cf";

/// Stores bytes in `bucket` and gives their manifest.
fn store(bytes: &[u8], portion: usize, bucket: &mut HashMap<Digest, Vec<u8>>) -> Manifest {
    let mut encoder = FrameEncoder::new().expect("an encoder");
    let mut manifest = Manifest::default();
    let mut take = |segment| match segment {
        Segment::Literal(bytes) => manifest.push_literal(&bytes),
        Segment::Piece(bytes) => {
            let frame = encoder.encode(Digest::of(&bytes), &bytes).expect("a frame");
            let stored = u32::try_from(frame.stored.len()).expect("a small frame");
            manifest.push_frame(frame.frame, stored, frame.raw);
            bucket.insert(frame.frame, frame.stored);
        }
    };
    let mut chunker = Chunker::new([OWN, DEP]).expect("a chunker");
    for part in bytes.chunks(portion) {
        chunker.feed(part, &mut take);
    }
    chunker.finish(take);
    manifest
}

fn body(manifest: &Manifest, bucket: &HashMap<Digest, Vec<u8>>) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in manifest.entries() {
        match entry {
            Entry::Frame { frame, .. } => body.extend_from_slice(&bucket[frame]),
            Entry::Literal(bytes) => frame::literal(bytes, &mut body),
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_nar_comes_back_through_a_streaming_decoder(
        seed: u64,
        length in 0_usize..900_000,
        repeat in 1_usize..40_000,
        own in proptest::collection::vec(0_usize..900_000, 0..40),
        portion in 1_usize..300_000,
        read in 1_usize..50_000,
    ) {
        // Half noise, half repetition, with hashes anywhere, also overlapping and cut off.
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        for at in length / 2..length {
            bytes[at] = bytes[at % repeat.min(length / 2 + 1)];
        }
        for (n, place) in own.into_iter().enumerate() {
            let hash = if n % 2 == 0 { OWN } else { DEP };
            let end = (place + 32).min(length);
            if place < end {
                bytes[place..end].copy_from_slice(&hash[..end - place]);
            }
        }
        let mut bucket = HashMap::new();
        let manifest = store(&bytes, portion, &mut bucket);
        prop_assert_eq!(manifest.raw(), length as u64);
        let body = body(&manifest, &bucket);
        prop_assert_eq!(body.len() as u64, manifest.sent());
        // As a client does: pieces of the body as they arrive, decoded at once.
        let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
        for part in body.chunks(read) {
            decoder.write_all(part).unwrap();
        }
        decoder.flush().unwrap();
        prop_assert!(decoder.into_inner() == bytes);
        let mut whole = Vec::new();
        zstd::stream::read::Decoder::new(body.as_slice()).unwrap().read_to_end(&mut whole).unwrap();
        prop_assert!(whole == bytes);
        let again = Manifest::decode(&manifest.encode().unwrap()).unwrap();
        prop_assert_eq!(again, manifest);
    }

    #[test]
    fn a_mass_rebuild_adds_no_frame(
        seed: u64,
        length in 100_000_usize..900_000,
        places in proptest::collection::vec(0_usize..800, 1..30),
    ) {
        let build = |own: &[u8; 32]| {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            for place in &places {
                let place = place * 100;
                bytes[place..place + 32].copy_from_slice(own);
            }
            bytes
        };
        let mut bucket = HashMap::new();
        store(&build(OWN), 50_000, &mut bucket);
        let before = bucket.len();
        store(&build(DEP), 70_001, &mut bucket);
        prop_assert_eq!(bucket.len(), before);
    }
}
