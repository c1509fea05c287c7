//! Narinfos as Nix writes, reads and refuses them.

use super::*;
use crate::KeyPair;
use proptest::prelude::*;

fn sample() -> NarInfo {
    let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
    let mut info = NarInfo {
        store_path: "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.10"
            .parse()
            .unwrap(),
        url: "nar/3n58xw4373jp0ljirf06d8077j15pc4j.nar".to_owned(),
        compression: Compression::Zstd,
        file_hash: None,
        file_size: Some(41_232),
        nar_hash: NarHash::of(b"hello"),
        nar_size: 205_968,
        references: vec![
            "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.10".to_owned(),
            "fz33c1mfi2krpg1lwzizfw28kj705yg0-glibc-2.34".to_owned(),
        ],
        deriver: Some("vvb4wxmnjixmrkhmj2xb75z62hrr41i7-hello-2.10.drv".to_owned()),
        signatures: vec![],
        ca: None,
    };
    info.signatures = vec![pair.sign(&info.fingerprint()).unwrap()];
    info
}

#[test]
fn a_narinfo_renders_in_attics_order_with_hashes_as_nix_writes_them() {
    insta::assert_snapshot!(sample().to_string());
}

#[test]
fn a_rendered_narinfo_reads_back_as_itself() {
    let info = sample();
    assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
    let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
    assert!(pair.public_key().verify(&info.fingerprint(), &info.signatures[0]));
}

#[test]
fn the_references_line_is_there_even_when_there_are_none() {
    let info = NarInfo {
        references: vec![],
        ..sample()
    };
    assert!(info.to_string().contains("\nReferences: \n"));
    assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
}

#[test]
fn a_narinfo_of_the_public_cache_verifies_with_its_published_key() {
    let text = "\
StorePath: /nix/store/w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10
URL: nar/15zk4zszw9lgkdkkwy7w11m5vag11n5dhv2i6hj308qpxczvdddx.nar.xz
Compression: xz
FileHash: sha256:15zk4zszw9lgkdkkwy7w11m5vag11n5dhv2i6hj308qpxczvdddx
FileSize: 41232
NarHash: sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i
NarSize: 205968
References: 9df65igwjmf2wbw0gbrrgair6piqjgmi-glibc-2.31 w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10
Sig: cache.nixos.org-1:uP5KU8MCmyRnKGlN5oEv6xWJBI5EO/Pf5aFztZuLSz8BpCcZ1fdBnJkVXhBAlxkdm/CemsgQskhwvyd2yghTAg==
";
    let info: NarInfo = text.parse().unwrap();
    let key: crate::PublicKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
        .parse()
        .unwrap();
    assert!(key.verify(&info.fingerprint(), &info.signatures[0]));
    let smaller = NarInfo {
        nar_size: 205_967,
        ..info
    };
    assert!(!key.verify(&smaller.fingerprint(), &smaller.signatures[0]));
}

#[test]
fn narinfos_that_nix_would_refuse_are_refused() {
    let text = sample().to_string();
    for (from, to) in [
        ("NarSize: 205968", "NarSize: 0"),
        ("NarHash: sha256:", "NarHash: sha1:"),
        ("Sig: main:", "Sig: main"),
        ("StorePath: /nix", "StorePath: nix"),
        ("Compression: zstd", "Compression"),
        ("URL: ", "Url: "),
        ("FileSize: 41232", "NarSize: 41232"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        assert!(broken.parse::<NarInfo>().is_err(), "{broken}");
    }
}

proptest! {
    #[test]
    fn any_narinfo_reads_back_as_itself(
        names in proptest::collection::vec("[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]{1,20}x", 1..6),
        hash: [u8; 32],
        nar_size in 1_u64..,
        file_size in proptest::option::of(1_u64..),
        ca in proptest::option::of("fixed:r:sha256:[0-9a-z]{52}"),
    ) {
        let Ok(names) = names.iter().map(|n| check_base_name(n).map(|_| n.clone())).collect::<Result<Vec<_>, _>>() else {
            return Ok(());
        };
        let info = NarInfo {
            store_path: StorePath::new(&crate::StoreDir::nix_store(), &names[0]).unwrap(),
            nar_hash: NarHash::new(hash),
            references: names[1..].to_vec(),
            deriver: names.get(1).cloned(),
            nar_size,
            file_size,
            ca,
            ..sample()
        };
        prop_assert_eq!(info.to_string().parse::<NarInfo>().unwrap(), info);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*") {
        let _ = text.parse::<NarInfo>();
    }
}
