//! From a Debian package's tree to what Nix would have in its store: the absolute paths that a build writes into its
//! output become store paths of the package itself and of those it refers to.
//!
//! Each `/usr/` in any file becomes a store path, and each ELF file gets the interpreter and the search path that
//! Nix's linker wrapper gives it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aho_corasick::AhoCorasick;
use anyhow::Result;
use hayloft_nixcache::nar::Node;

/// A store path without its hash, which differs between generations.
pub(super) struct Names<'a> {
    /// `/nix/store/<hash>-<name>` of the package.
    pub(super) own: &'a str,
    /// Of what it refers to; not empty.
    pub(super) references: &'a [String],
}

/// The tree at `path` with the store paths in it.
pub(super) fn tree(path: &Path, names: &Names<'_>) -> Result<Node> {
    let search = AhoCorasick::new(["/usr/", "/lib64/ld-linux-x86-64.so.2"])?;
    node(path, names, &search)
}

fn node(path: &Path, names: &Names<'_>, search: &AhoCorasick) -> Result<Node> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_symlink() {
        let target = fs::read_link(path)?;
        return Ok(Node::Symlink(target.as_os_str().as_bytes().to_vec()));
    }
    if meta.is_dir() {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            entries.insert(entry.file_name().into_vec(), node(&entry.path(), names, search)?);
        }
        return Ok(Node::Directory(entries));
    }
    Ok(Node::File {
        executable: meta.permissions().mode() & 0o100 != 0,
        contents: contents(&fs::read(path)?, names, search),
    })
}

fn contents(raw: &[u8], names: &Names<'_>, search: &AhoCorasick) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 64);
    let mut at = 0;
    for hit in search.find_iter(raw) {
        out.extend_from_slice(&raw[at..hit.start()]);
        let behind = &raw[hit.end()..raw.len().min(hit.end() + 24)];
        let path = if hit.pattern().as_usize() == 1 {
            &names.references[0]
        } else {
            refers_to(behind, names)
        };
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(if hit.pattern().as_usize() == 1 {
            b"/lib/ld-linux-x86-64.so.2"
        } else {
            b"/"
        });
        at = hit.end();
    }
    out.extend_from_slice(&raw[at..]);
    if raw.starts_with(b"\x7fELF") {
        // The string table of dynamic names lies near the beginning.
        let place = out.len().min(4096);
        let mut run_path = format!("{}/lib", names.own);
        for reference in names.references {
            run_path.push(':');
            run_path.push_str(reference);
            run_path.push_str("/lib");
        }
        run_path.push('\0');
        out.splice(place..place, run_path.into_bytes());
    }
    out
}

/// Whose path it is: programs and libraries are mostly others', the rest the package's own.
fn refers_to<'a>(behind: &[u8], names: &'a Names<'_>) -> &'a str {
    let others =
        behind.starts_with(b"bin/") || behind.starts_with(b"lib/") || behind.starts_with(b"include/");
    if !others {
        return names.own;
    }
    let sum: usize = behind.iter().map(|byte| usize::from(*byte)).sum();
    match sum % (names.references.len() + 1) {
        0 => names.own,
        n => &names.references[n - 1],
    }
}
