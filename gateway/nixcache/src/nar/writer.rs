//! Writes NARs: of a tree in memory, and of a path in a file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::MAGIC;

/// A tree of files in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Whether its owner may execute it, the only permission that a NAR keeps.
        executable: bool,
        /// The bytes in it.
        contents: Vec<u8>,
    },
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A directory: names and what they name, sorted as a NAR wants them.
    Directory(BTreeMap<Vec<u8>, Node>),
}

/// Writes `node` as a NAR.
///
/// # Errors
/// When `out` fails.
pub fn write(node: &Node, out: &mut impl Write) -> io::Result<()> {
    string(MAGIC, out)?;
    write_node(node, out)
}

/// Writes what lies at `path` as a NAR, as `nix-store --dump` does. Reads files piece by piece.
///
/// # Errors
/// When `out` fails, something cannot be read, is not a file, link or directory, or a file changes its size while it is read.
pub fn dump(path: &Path, out: &mut impl Write) -> io::Result<()> {
    string(MAGIC, out)?;
    dump_node(path, out)
}

fn write_node(node: &Node, out: &mut impl Write) -> io::Result<()> {
    strings(&["(", "type"], out)?;
    match node {
        Node::File { executable, contents } => {
            begin_file(*executable, out)?;
            string(contents, out)?;
        }
        Node::Symlink(target) => {
            strings(&["symlink", "target"], out)?;
            string(target, out)?;
        }
        Node::Directory(entries) => {
            string(b"directory", out)?;
            for (name, node) in entries {
                begin_entry(name, out)?;
                write_node(node, out)?;
                string(b")", out)?;
            }
        }
    }
    string(b")", out)
}

fn dump_node(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    strings(&["(", "type"], out)?;
    if meta.is_file() {
        begin_file(meta.permissions().mode() & 0o100 != 0, out)?;
        dump_contents(path, meta.len(), out)?;
    } else if meta.is_symlink() {
        strings(&["symlink", "target"], out)?;
        string(fs::read_link(path)?.as_os_str().as_bytes(), out)?;
    } else if meta.is_dir() {
        string(b"directory", out)?;
        let names: io::Result<Vec<_>> = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().into_vec()))
            .collect();
        let mut names = names?;
        names.sort_unstable();
        for name in names {
            begin_entry(&name, out)?;
            dump_node(&path.join(std::ffi::OsStr::from_bytes(&name)), out)?;
            string(b")", out)?;
        }
    } else {
        let message = format!("{} is neither a file nor a link nor a directory", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    string(b")", out)
}

fn dump_contents(path: &Path, length: u64, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&length.to_le_bytes())?;
    let copied = io::copy(&mut fs::File::open(path)?.take(length), out)?;
    if copied != length {
        let message = format!("{} became shorter while it was read", path.display());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    pad(length, out)
}

fn begin_file(executable: bool, out: &mut impl Write) -> io::Result<()> {
    string(b"regular", out)?;
    if executable {
        strings(&["executable", ""], out)?;
    }
    string(b"contents", out)
}

fn begin_entry(name: &[u8], out: &mut impl Write) -> io::Result<()> {
    strings(&["entry", "(", "name"], out)?;
    string(name, out)?;
    string(b"node", out)
}

fn strings(all: &[&str], out: &mut impl Write) -> io::Result<()> {
    all.iter().try_for_each(|one| string(one.as_bytes(), out))
}

fn string(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    let length = bytes.len() as u64;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)?;
    pad(length, out)
}

fn pad(length: u64, out: &mut impl Write) -> io::Result<()> {
    let padding = usize::try_from((8 - length % 8) % 8).unwrap_or_default();
    out.write_all(&[0; 8][..padding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NarHash;

    #[test]
    fn a_file_makes_the_nar_that_nix_makes() {
        // `printf hello > f; nix-store --dump f | sha256sum`, a known pair.
        let mut out = Vec::new();
        let node = Node::File {
            executable: false,
            contents: b"hello".to_vec(),
        };
        write(&node, &mut out).unwrap();
        assert_eq!(out.len(), 120);
        assert_eq!(
            NarHash::of(&out).to_string(),
            "sha256:0a430879c266f8b57f4092a0f935cf3facd48bbccde5760d4748ca405171e969"
        );
    }

    #[test]
    fn a_path_on_disk_makes_the_same_nar_as_the_tree_in_memory() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("b"), b"contents").unwrap();
        fs::set_permissions(top.join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(top.join("a")).unwrap();
        std::os::unix::fs::symlink("../b", top.join("a/link")).unwrap();

        let inner = BTreeMap::from([(b"link".to_vec(), Node::Symlink(b"../b".to_vec()))]);
        let tree = Node::Directory(BTreeMap::from([
            (
                b"b".to_vec(),
                Node::File {
                    executable: true,
                    contents: b"contents".to_vec(),
                },
            ),
            (b"a".to_vec(), Node::Directory(inner)),
        ]));
        let (mut dumped, mut written) = (Vec::new(), Vec::new());
        dump(&top, &mut dumped).unwrap();
        write(&tree, &mut written).unwrap();
        assert_eq!(dumped, written);
    }
}
