//! Real NARs: Debian packages in two adjacent versions, a mass rebuild of the first (the same files with all store
//! hashes changed), and one of about 1 GB. Made once, kept under the user's cache directory with their hashes.

mod deb;
mod nixify;
mod packages;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::nix32;
use serde::{Deserialize, Serialize};

use crate::say;

/// A NAR of a corpus.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nar {
    /// `<hash>-<name>`.
    pub base_name: String,
    /// Base names of what it refers to, sorted.
    pub references: Vec<String>,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The file, within the corpora's folder.
    pub file: PathBuf,
}

impl Nar {
    /// The 32 characters that Nix asks for.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.base_name.get(..32).unwrap_or_default()
    }
}

/// Paths that belong together.
pub type Generation = Vec<Nar>;

/// All corpora.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Corpora {
    /// The folder they lie in.
    #[serde(skip)]
    pub dir: PathBuf,
    /// What they were made of: `package=version`.
    pub packages: Vec<String>,
    /// Many paths.
    pub first: Generation,
    /// The same packages, each one version later.
    pub second: Generation,
    /// The files of `first` with other store hashes in them.
    pub rebuilt: Generation,
    /// One large path.
    pub large: Generation,
}

impl Corpora {
    /// Finds or makes them under `cache`.
    ///
    /// # Errors
    /// When packages cannot be had, or the disk is full.
    pub fn find_or_make(cache: &Path, quick: bool) -> Result<Self> {
        let kind = if quick { "quick" } else { "full" };
        let dir = cache.join(format!("{kind}-{}", packages::VERSION));
        let list = dir.join("corpora.json");
        if let Ok(text) = fs::read(&list) {
            let mut corpora: Self = serde_json::from_slice(&text)?;
            corpora.dir = dir;
            return Ok(corpora);
        }
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let (many, large) = if quick {
            (packages::FEW, packages::LESS_LARGE)
        } else {
            (packages::MANY, packages::LARGE)
        };
        let corpora = make(&dir, many, large)?;
        // Written last: a folder without it is incomplete.
        fs::write(&list, serde_json::to_vec_pretty(&corpora)?)?;
        Ok(corpora)
    }

    /// Reads a generation into memory and checks that it is still what it was.
    ///
    /// # Errors
    /// When a file is missing or was changed.
    pub fn load(&self, generation: &[Nar]) -> Result<Vec<(Nar, Bytes)>> {
        generation
            .iter()
            .map(|nar| {
                let path = self.dir.join(&nar.file);
                let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                ensure!(
                    sha256(&bytes) == nar.sha256,
                    "{} was changed: remove {}",
                    path.display(),
                    self.dir.display()
                );
                Ok((nar.clone(), Bytes::from(bytes)))
            })
            .collect()
    }
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&SHA256, bytes))
}

/// SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&SHA256, bytes).as_ref().to_vec()
}

fn make(dir: &Path, many: &[&str], large: &[&str]) -> Result<Corpora> {
    let mut corpora = Corpora {
        dir: dir.to_owned(),
        packages: Vec::new(),
        first: Vec::new(),
        second: Vec::new(),
        rebuilt: Vec::new(),
        large: Vec::new(),
    };
    for (index, package) in many.iter().enumerate() {
        say(&format!("corpus: {package} ({} of {})", index + 1, many.len()));
        let versions = deb::versions(package)?;
        let newest = versions.len() - 1;
        for (generation, version) in [("1", newest.saturating_sub(1)), ("2", newest)] {
            let version = &versions[version];
            corpora.packages.push(format!("{package}={version}"));
            let unpacked = tempfile::tempdir()?;
            deb::unpack(package, version, unpacked.path())?;
            let names = references(generation, package, many);
            let own = format!("/nix/store/{}", base_name(generation, package));
            let full: Vec<String> = names.iter().map(|name| format!("/nix/store/{name}")).collect();
            let names_in = nixify::Names {
                own: &own,
                references: &full,
            };
            let tree = nixify::tree(unpacked.path(), &names_in)?;
            let made = if generation == "1" {
                &mut corpora.first
            } else {
                &mut corpora.second
            };
            if let Some(file) = smallest(&tree) {
                let name = base_name(generation, &format!("{package}-file"));
                let only = vec![base_name(generation, package)];
                made.push(store(dir, generation, name, only, &file)?);
            }
            made.push(store(
                dir,
                generation,
                base_name(generation, package),
                names,
                &tree,
            )?);
        }
    }
    rebuild(dir, many, &mut corpora)?;
    let mut parts = BTreeMap::new();
    for package in large {
        say(&format!("corpus: {package} for the large one"));
        let versions = deb::versions(package)?;
        let version = versions.last().context("no version")?;
        corpora.packages.push(format!("{package}={version}"));
        let unpacked = tempfile::tempdir()?;
        deb::unpack(package, version, unpacked.path())?;
        let own = format!("/nix/store/{}", base_name("large", "large"));
        let names_in = nixify::Names {
            own: &own,
            references: std::slice::from_ref(&own),
        };
        parts.insert(
            package.as_bytes().to_vec(),
            nixify::tree(unpacked.path(), &names_in)?,
        );
    }
    let name = base_name("large", "large");
    corpora
        .large
        .push(store(dir, "large", name, Vec::new(), &Node::Directory(parts))?);
    Ok(corpora)
}

/// The files of the first generation, with the hashes of another one.
fn rebuild(dir: &Path, many: &[&str], corpora: &mut Corpora) -> Result<()> {
    say("corpus: the mass rebuild");
    let old: Vec<String> = many.iter().map(|name| base_name("1", name)).collect();
    let new: Vec<String> = many.iter().map(|name| base_name("3", name)).collect();
    let search = AhoCorasick::new(old.iter().map(|name| &name[..32]))?;
    let replace: Vec<&[u8]> = new.iter().map(|name| &name.as_bytes()[..32]).collect();
    fs::create_dir_all(dir.join("3"))?;
    for nar in &corpora.first {
        let raw = fs::read(dir.join(&nar.file))?;
        let bytes = search.replace_all_bytes(&raw, &replace);
        let name = &nar.base_name[33..];
        let base_name = base_name("3", name);
        let file = PathBuf::from("3").join(format!("{base_name}.nar"));
        fs::write(dir.join(&file), &bytes)?;
        let references: Vec<String> = nar
            .references
            .iter()
            .map(|reference| self::base_name("3", &reference[33..]))
            .collect();
        corpora.rebuilt.push(Nar {
            base_name,
            references: sorted(references),
            sha256: sha256(&bytes),
            size: bytes.len() as u64,
            file,
        });
    }
    Ok(())
}

fn base_name(generation: &str, name: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&SHA256, format!("{generation}/{name}").as_bytes());
    let name = name.replace(':', "-");
    format!("{}-{name}", nix32::encode(&digest.as_ref()[..20]))
}

/// The C library, and up to four others that the name picks.
fn references(generation: &str, package: &str, many: &[&str]) -> Vec<String> {
    let digest = aws_lc_rs::digest::digest(&SHA256, package.as_bytes());
    let picks = digest.as_ref().iter().take(4);
    let mut names: Vec<&str> = picks
        .filter_map(|byte| many.get(usize::from(*byte) % many.len()).copied())
        .collect();
    names.push("libc6");
    names.retain(|name| *name != package);
    if names.is_empty() {
        names.push("xz-utils");
    }
    sorted(names.iter().map(|name| base_name(generation, name)).collect())
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

/// The smallest file with something in it.
fn smallest(node: &Node) -> Option<Node> {
    fn look<'a>(node: &'a Node, best: &mut Option<(&'a Node, usize)>) {
        match node {
            Node::Directory(entries) => entries.values().for_each(|entry| look(entry, best)),
            Node::File { contents, .. } if contents.len() >= 500 => {
                if best.is_none_or(|(_, size)| contents.len() < size) {
                    *best = Some((node, contents.len()));
                }
            }
            Node::File { .. } | Node::Symlink(_) => {}
        }
    }
    let mut best = None;
    look(node, &mut best);
    best.map(|(node, _)| node.clone())
}

fn store(
    dir: &Path,
    generation: &str,
    base_name: String,
    references: Vec<String>,
    tree: &Node,
) -> Result<Nar> {
    fs::create_dir_all(dir.join(generation))?;
    let file = PathBuf::from(generation).join(format!("{base_name}.nar"));
    let mut out = Hashed {
        out: BufWriter::new(File::create(dir.join(&file))?),
        context: Context::new(&SHA256),
        size: 0,
    };
    nar::write(tree, &mut out)?;
    out.flush()?;
    Ok(Nar {
        base_name,
        references,
        sha256: hex::encode(out.context.finish()),
        size: out.size,
        file,
    })
}

struct Hashed {
    out: BufWriter<File>,
    context: Context,
    size: u64,
}

impl std::io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
