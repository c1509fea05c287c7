//! What `nix-store --dump-db PATH…` prints: for each path its name, SHA-256 in hex, size, deriver (or an empty line), the
//! number of references and then each of them, a line each. Every Nix since 2.0 and every Lix prints this alike.

use super::path_info::{PathInfo, base_name};
use super::run::StoreError;

/// Reads the output.
///
/// # Errors
/// The output ends early, or a line is not what has to stand there.
pub(super) fn parse(output: &str) -> Result<Vec<PathInfo>, StoreError> {
    let mut lines = output.lines();
    let mut infos = Vec::new();
    while let Some(path) = lines.next() {
        let wrong = |why: &str| StoreError::Entry {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let mut line = || lines.next().ok_or_else(|| wrong("the entry ends early"));
        let hash = line()?;
        let size = line()?;
        let deriver = line()?;
        let count: usize = line()?
            .parse()
            .map_err(|_| wrong("its number of references is no number"))?;
        let mut references = Vec::new();
        for _ in 0..count {
            references.push(base_name(line()?).to_owned());
        }
        references.sort_unstable();
        references.dedup();
        infos.push(PathInfo {
            path: path.parse().map_err(|_| wrong("it is not a store path"))?,
            nar_hash: format!("sha256:{}", base_name(hash).trim_start_matches("sha256:"))
                .parse()
                .map_err(|_| wrong("its hash is not a SHA-256"))?,
            nar_size: size.parse().map_err(|_| wrong("its size is no number"))?,
            references,
            deriver: (!deriver.is_empty()).then(|| base_name(deriver).to_owned()),
            ca: None,
            signatures: Vec::new(),
        });
    }
    Ok(infos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("recorded/dump-db.txt");

    #[test]
    fn a_recorded_dump_tells_paths_sizes_and_references() {
        insta::assert_debug_snapshot!(parse(RECORDED).expect("parses"));
    }

    #[test]
    fn a_dump_that_ends_early_is_an_error() {
        let cut = RECORDED
            .trim_end()
            .rsplit_once('\n')
            .map(|(head, _)| head)
            .expect("has lines");
        assert!(parse(cut).is_err());
        assert_eq!(parse("").expect("parses"), []);
    }
}
