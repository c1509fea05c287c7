//! What of a closure has to be uploaded, and what is said of it. Pure.

use std::collections::HashSet;

use hayloft_nixcache::{CacheName, StorePathHash, UploadInfo};

use super::nix::PathInfo;

/// Signatures that go with one path; a gateway takes no more.
const MAX_SIGNATURES: usize = 64;
/// The longest signature that goes along.
const MAX_SIGNATURE: usize = 1024;

/// Splits off the paths that a key of these names signed: everybody can have them from that key's cache. Returns what is
/// left and how many were split off. As in attic, the name is taken at its word.
pub(crate) fn without_upstream(infos: Vec<PathInfo>, key_names: &[String]) -> (Vec<PathInfo>, usize) {
    let all = infos.len();
    let signed = |signature: &String| {
        let name = signature
            .split_once(':')
            .map_or(signature.as_str(), |(name, _)| name);
        key_names.iter().any(|key| key == name)
    };
    let left: Vec<PathInfo> = infos
        .into_iter()
        .filter(|info| !info.signatures.iter().any(signed))
        .collect();
    let skipped = all - left.len();
    (left, skipped)
}

/// Keeps the paths that the cache said it lacks.
pub(crate) fn only_missing(infos: Vec<PathInfo>, missing: &[StorePathHash]) -> Vec<PathInfo> {
    let missing: HashSet<&StorePathHash> = missing.iter().collect();
    infos
        .into_iter()
        .filter(|info| missing.contains(&info.path.hash()))
        .collect()
}

/// What goes with the NAR of a path.
pub(crate) fn upload_info(cache: &CacheName, info: &PathInfo) -> UploadInfo {
    let sendable = |text: &String| {
        !text.is_empty() && text.len() <= MAX_SIGNATURE && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    UploadInfo {
        cache: cache.clone(),
        store_path_hash: info.path.hash(),
        store_path: info.path.clone(),
        references: info.references.clone(),
        system: None,
        deriver: info.deriver.clone(),
        sigs: info
            .signatures
            .iter()
            .filter(|text| sendable(text))
            .take(MAX_SIGNATURES)
            .cloned()
            .collect(),
        ca: info.ca.clone().filter(sendable),
        nar_hash: info.nar_hash,
        nar_size: info.nar_size,
    }
}

#[cfg(test)]
mod tests {
    use hayloft_nixcache::{NarHash, StoreDir};

    use super::*;

    fn info(digit: char, signatures: &[&str]) -> PathInfo {
        PathInfo {
            path: format!("/nix/store/{}-x", digit.to_string().repeat(32))
                .parse()
                .expect("is a path"),
            nar_hash: NarHash::of(b""),
            nar_size: 112,
            references: Vec::new(),
            deriver: None,
            ca: None,
            signatures: signatures.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn what_an_upstream_key_signed_is_skipped_and_only_that() {
        let infos = vec![
            info('1', &["cache.nixos.org-1:AA=="]),
            info('2', &["other:AA==", "cache.nixos.org-1:BB=="]),
            info('3', &["cache.nixos.org-10:AA=="]),
            info('4', &[]),
        ];
        let (left, skipped) = without_upstream(infos, &["cache.nixos.org-1".to_owned()]);
        assert_eq!((left.len(), skipped), (2, 2));
        assert_eq!(without_upstream(left, &[]).1, 0);
    }

    #[test]
    fn only_what_is_missing_is_left() {
        let infos = vec![info('1', &[]), info('2', &[])];
        let missing = [infos[1].path.hash(), "3".repeat(32).parse().expect("is a hash")];
        assert_eq!(only_missing(infos.clone(), &missing), [infos[1].clone()]);
    }

    #[test]
    fn a_gateway_takes_what_is_said_of_a_path() {
        let many: Vec<String> = (0..100).map(|n| format!("k{n}:AA==")).collect();
        let mut odd = info('1', &["bad\nline", ""]);
        odd.signatures.extend(many);
        let sent = upload_info(&"main".parse().expect("is a name"), &odd);
        assert_eq!(sent.sigs.len(), 64);
        sent.validate(&StoreDir::nix_store()).expect("is valid");
    }
}
