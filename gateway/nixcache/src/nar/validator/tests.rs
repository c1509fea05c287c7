//! Good NARs in pieces of any size, and everything that is none.

use super::*;
use crate::nar::{Node, write};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn nar(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    write(node, &mut out).unwrap();
    out
}

fn judge(bytes: &[u8], piece: usize) -> Result<(), NarError> {
    let mut validator = Validator::new();
    for piece in bytes.chunks(piece) {
        validator.feed(piece)?;
    }
    validator.finish()
}

/// A NAR from its words.
fn words(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in words {
        out.extend_from_slice(&(word.len() as u64).to_le_bytes());
        out.extend_from_slice(word);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

fn entry(name: &[u8]) -> [&[u8]; 12] {
    [
        b"entry", b"(", b"name", name, b"node", b"(", b"type", b"symlink", b"target", b"t", b")", b")",
    ]
}

fn directory(names: &[&[u8]]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = vec![MAGIC, b"(", b"type", b"directory"];
    for name in names {
        all.extend(entry(name));
    }
    all.push(b")");
    words(&all)
}

fn any_node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(executable, contents)| Node::File { executable, contents }),
        proptest::collection::vec(1_u8.., 1..40).prop_map(Node::Symlink),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        proptest::collection::btree_map("[a-z]{1,9}".prop_map(String::into_bytes), inner, 0..6)
            .prop_map(Node::Directory)
    })
}

proptest! {
    #[test]
    fn what_the_writer_makes_is_good_in_pieces_of_any_size(node in any_node(), piece in 1_usize..70) {
        prop_assert_eq!(judge(&nar(&node), piece), Ok(()));
    }

    #[test]
    fn a_nar_that_breaks_off_is_refused_wherever_it_does(node in any_node(), cut in 0.0_f64..1.0) {
        let bytes = nar(&node);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a position in a small test")]
        let cut = (bytes.len() as f64 * cut) as usize;
        prop_assert_eq!(judge(&bytes[..cut], 7), Err(NarError::Truncated { offset: cut as u64 }));
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_the_stream_is_cut(
        node in any_node(), at: prop::sample::Index, bit in 0_u8..8, piece in 1_usize..50,
    ) {
        let mut bytes = nar(&node);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(judge(&bytes, piece).is_ok(), judge(&bytes, usize::MAX).is_ok());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = judge(&[words(&[MAGIC, b"(", b"type"]), bytes].concat(), 5);
    }
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &[b'x'; 256]] {
        let refused = judge(&directory(&[name]), 8);
        assert!(
            matches!(refused, Err(NarError::Name { .. })),
            "{name:?}: {refused:?}"
        );
    }
    assert_eq!(judge(&directory(&[b"...", b".a", &[b'x'; 255]]), 8), Ok(()));
}

#[test]
fn names_out_of_order_or_twice_are_refused() {
    assert_eq!(judge(&directory(&[b"a", b"b"]), 8), Ok(()));
    for names in [[&b"b"[..], b"a"], [b"a", b"a"], [b"ab", b"a"]] {
        assert!(matches!(
            judge(&directory(&names), 8),
            Err(NarError::Order { .. })
        ));
    }
}

#[test]
fn padding_must_be_zeros() {
    let mut bytes = nar(&Node::Symlink(b"abc".to_vec()));
    let at = bytes.windows(3).position(|w| w == b"abc").unwrap() + 3;
    bytes[at] = 1;
    assert_eq!(judge(&bytes, 64), Err(NarError::Padding { offset: at as u64 }));
}

#[test]
fn nothing_may_follow_the_end() {
    let mut bytes = nar(&Node::Directory(BTreeMap::new()));
    let end = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(judge(&bytes, 64), Err(NarError::Trailing { offset: end }));
}

#[test]
fn other_data_is_refused_at_once() {
    assert_eq!(judge(b"PK\x03\x04 not a NAR at all", 64), Err(NarError::Magic));
    assert_eq!(judge(&words(&[b"nix-archive-2"]), 64), Err(NarError::Magic));
    assert_eq!(judge(b"", 1), Err(NarError::Truncated { offset: 0 }));
}

#[test]
fn a_word_with_a_huge_length_is_refused_by_its_length() {
    let mut bytes = words(&[MAGIC, b"("]);
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(judge(&bytes, 64), Err(NarError::Unexpected { .. })));
}

#[test]
fn a_file_without_contents_and_words_in_another_order_are_refused() {
    let no_contents: &[&[u8]] = &[MAGIC, b"(", b"type", b"regular", b")"];
    let late: &[&[u8]] = &[
        MAGIC,
        b"(",
        b"type",
        b"regular",
        b"contents",
        b"x",
        b"executable",
        b"",
        b")",
    ];
    let twice: &[&[u8]] = &[
        MAGIC,
        b"(",
        b"type",
        b"regular",
        b"executable",
        b"",
        b"executable",
        b"",
        b"contents",
        b"x",
        b")",
    ];
    for case in [no_contents, late, twice] {
        assert!(matches!(
            judge(&words(case), 64),
            Err(NarError::Unexpected { .. })
        ));
    }
}

#[test]
fn nesting_is_bounded() {
    let nest = |depth: usize| {
        let mut all: Vec<&[u8]> = vec![MAGIC];
        for _ in 0..depth {
            all.extend([
                &b"("[..],
                b"type",
                b"directory",
                b"entry",
                b"(",
                b"name",
                b"d",
                b"node",
            ]);
        }
        all.extend([&b"("[..], b"type", b"symlink", b"target", b"t", b")"]);
        for _ in 0..depth {
            all.extend([&b")"[..], b")"]);
        }
        words(&all)
    };
    assert_eq!(judge(&nest(MAX_DEPTH), 4096), Ok(()));
    assert!(matches!(
        judge(&nest(MAX_DEPTH + 1), 4096),
        Err(NarError::TooDeep { .. })
    ));
}
