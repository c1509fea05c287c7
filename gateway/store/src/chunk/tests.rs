use proptest::prelude::*;

use super::*;

const OWN: &[u8; 32] = b"26xbg1ndr7hbcncrlf9nhx5is2b25d13";
const DEP: &[u8; 32] = b"0c1sg9lj2xzyqmh4ps7y2q4q0w9lm6cf";

/// Bytes that look random, from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn cut(bytes: &[u8], hashes: &[&[u8; 32]], portion: usize) -> Vec<Segment> {
    let mut chunker = Chunker::new(hashes.iter().copied()).unwrap();
    let mut segments = Vec::new();
    for part in bytes.chunks(portion.max(1)) {
        chunker.feed(part, |segment| segments.push(segment));
    }
    chunker.finish(|segment| segments.push(segment));
    segments
}

fn join(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        match segment {
            Segment::Piece(part) | Segment::Literal(part) => bytes.extend_from_slice(part),
        }
    }
    bytes
}

fn pieces(segments: &[Segment]) -> Vec<Vec<u8>> {
    let pieces = segments.iter().filter_map(|segment| match segment {
        Segment::Piece(bytes) => Some(bytes.clone()),
        Segment::Literal(_) => None,
    });
    pieces.collect()
}

fn with(mut bytes: Vec<u8>, hash: &[u8; 32], places: &[usize]) -> Vec<u8> {
    for &place in places {
        if place + 32 <= bytes.len() {
            bytes[place..place + 32].copy_from_slice(hash);
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn segments_make_the_input_and_do_not_depend_on_how_it_was_read(
        seed: u64,
        length in 0_usize..1_500_000,
        places in proptest::collection::vec(0_usize..1_500_000, 0..60),
        portion in 1_usize..700_000,
    ) {
        let bytes = with(noise(seed, length), OWN, &places);
        let whole = cut(&bytes, &[OWN, DEP], usize::MAX);
        prop_assert_eq!(join(&whole), bytes.clone());
        prop_assert_eq!(cut(&bytes, &[OWN, DEP], portion), whole);
    }

    #[test]
    fn a_mass_rebuild_changes_no_piece(
        seed: u64,
        length in 32_usize..1_500_000,
        own in proptest::collection::vec(0_usize..1_500_000, 0..40),
        deps in proptest::collection::vec(0_usize..1_500_000, 0..40),
    ) {
        // Hashes do not overlap in real files.
        let mut taken: Vec<usize> = Vec::new();
        let mut free = |places: Vec<usize>| -> Vec<usize> {
            places.into_iter().filter(|place| {
                let ok = taken.iter().all(|other| place.abs_diff(*other) >= 32);
                if ok { taken.push(*place); }
                ok
            }).collect()
        };
        let (own, deps) = (free(own), free(deps));
        let other_own = b"zzzzg1ndr7hbcncrlf9nhx5is2b25zzz";
        let other_dep = b"yyyyg9lj2xzyqmh4ps7y2q4q0w9lmyyy";
        let before = with(with(noise(seed, length), OWN, &own), DEP, &deps);
        let after = with(with(noise(seed, length), other_own, &own), other_dep, &deps);
        let before = cut(&before, &[OWN, DEP], 65_536);
        let after = cut(&after, &[other_own, other_dep], 10_007);
        prop_assert_eq!(pieces(&before), pieces(&after));
    }
}

#[test]
fn no_hash_is_left_in_a_piece() {
    let places: Vec<usize> = (0..30).map(|i| i * 40_013).collect();
    let bytes = with(noise(1, 1_300_000), OWN, &places);
    for piece in pieces(&cut(&bytes, &[OWN], 4096)) {
        assert!(!piece.windows(32).any(|window| window == OWN));
    }
}

#[test]
fn hashes_and_what_little_lies_between_them_make_one_literal() {
    let mut bytes = noise(1, 1000);
    for _ in 0..10 {
        bytes.extend_from_slice(b"/nix/store/");
        bytes.extend_from_slice(OWN);
        bytes.extend_from_slice(b"-hello");
    }
    bytes.extend_from_slice(&noise(2, 1000));
    let segments = cut(&bytes, &[OWN], 100);
    assert!(matches!(
        segments.as_slice(),
        [Segment::Piece(_), Segment::Literal(_), Segment::Piece(_)]
    ));
}

#[test]
fn chunks_keep_within_their_bounds_and_near_their_average() {
    let bytes = noise(3, 16 * 1024 * 1024);
    let pieces = pieces(&cut(&bytes, &[OWN], 1 << 20));
    let (last, rest) = pieces.split_last().unwrap();
    assert!(rest.iter().all(|piece| (MIN..=MAX).contains(&piece.len())) && last.len() <= MAX);
    let average = bytes.len() / pieces.len();
    assert!(
        (AVERAGE * 7 / 10..AVERAGE * 3 / 2).contains(&average),
        "{average}"
    );
}

#[test]
fn a_nar_made_of_hashes_does_not_become_a_manifest_of_its_own_size() {
    let bytes = OWN.repeat(2 * MAX_HASHES);
    let segments = cut(&bytes, &[OWN], 1 << 20);
    assert_eq!(join(&segments), bytes);
    let literal: usize = segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(bytes) => bytes.len(),
            Segment::Piece(_) => 0,
        })
        .sum();
    assert!(literal <= MAX_HASHES * 32 + 1024, "{literal} bytes of literals");
}
