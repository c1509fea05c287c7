//! From what a person types to the store path that is meant.

use std::io;
use std::path::{Component, Path, PathBuf};

use hayloft_nixcache::{StoreDir, StorePath};

/// Links that are followed before they count as a loop, as many as Linux follows.
const MAX_LINKS: u32 = 40;

/// Why there is no store path behind a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// There is nothing of that name.
    #[error("{given} does not exist")]
    Missing {
        /// What was given.
        given: PathBuf,
    },
    /// It lies outside the store, and is no link into it.
    #[error("{given} is not in {store_dir}, nor a link into it")]
    Outside {
        /// What was given.
        given: PathBuf,
        /// The store.
        store_dir: String,
    },
    /// What lies in the store under that name is no store path.
    #[error("{path} is not a store path")]
    Malformed {
        /// The path in the store.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot look at {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Finds the store path that `given` names: itself, a file inside one, or a link (such as `./result`) to either.
///
/// Links are followed only until they lead into the store: a store path may be a link to another one, and it is the first
/// that is meant.
///
/// # Errors
/// There is nothing of that name, or it does not lead into the store.
pub(crate) fn resolve(
    given: &Path,
    current_dir: &Path,
    store_dir: &StoreDir,
) -> Result<StorePath, ResolveError> {
    let store = Path::new(store_dir.as_str());
    let mut todo: Vec<PathBuf> = vec![current_dir.join(given)];
    let mut walked = PathBuf::from("/");
    let mut links = 0;
    while let Some(next) = todo.pop() {
        // The store's own folder may be reached by links; a path that names it is taken at its word.
        if let Some(Component::Normal(name)) = next
            .strip_prefix(store)
            .ok()
            .and_then(|inside| inside.components().next())
        {
            return store_path(&store.join(name));
        }
        let mut parts = next.components();
        let Some(part) = parts.next() else { continue };
        let rest = parts.as_path();
        if !rest.as_os_str().is_empty() {
            todo.push(rest.to_owned());
        }
        match part {
            Component::RootDir => walked = PathBuf::from("/"),
            Component::ParentDir => {
                walked.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            Component::Normal(name) => {
                walked.push(name);
                if walked.parent() == Some(store) {
                    return store_path(&walked);
                }
                let facts = walked.symlink_metadata().map_err(|source| match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ResolveError::Missing {
                        given: given.to_owned(),
                    },
                    _ => ResolveError::Io {
                        path: walked.clone(),
                        source,
                    },
                })?;
                if facts.is_symlink() {
                    links += 1;
                    let target = std::fs::read_link(&walked).map_err(|source| ResolveError::Io {
                        path: walked.clone(),
                        source,
                    })?;
                    if links > MAX_LINKS {
                        break;
                    }
                    walked.pop();
                    todo.push(target);
                }
            }
        }
    }
    Err(ResolveError::Outside {
        given: given.to_owned(),
        store_dir: store_dir.as_str().to_owned(),
    })
}

fn store_path(path: &Path) -> Result<StorePath, ResolveError> {
    let parsed = path.to_str().and_then(|path| path.parse().ok());
    parsed.ok_or_else(|| ResolveError::Malformed {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HELLO: &str = "0123456789abcdfghijklmnpqrsvwxyz-hello-2.10";
    const LINK: &str = "1123456789abcdfghijklmnpqrsvwxyz-link";

    struct Room {
        _dir: tempfile::TempDir,
        at: PathBuf,
        store_dir: StoreDir,
    }

    fn room() -> Room {
        let dir = tempfile::tempdir().expect("makes a folder");
        let at = dir.path().canonicalize().expect("is there");
        let store = at.join("store");
        std::fs::create_dir_all(store.join(HELLO).join("bin")).expect("makes a path");
        std::fs::write(store.join(HELLO).join("bin/hello"), "x").expect("writes");
        symlink(store.join(HELLO), store.join(LINK)).expect("links");
        symlink(store.join(HELLO), at.join("result")).expect("links");
        symlink("result", at.join("again")).expect("links");
        symlink(store.join(LINK), at.join("to-link")).expect("links");
        symlink("loop", at.join("loop")).expect("links");
        let store_dir = store
            .to_str()
            .expect("is text")
            .parse()
            .expect("is a store directory");
        Room {
            _dir: dir,
            at,
            store_dir,
        }
    }

    fn name(room: &Room, given: &str) -> Result<String, ResolveError> {
        resolve(Path::new(given), &room.at, &room.store_dir).map(|path| path.base_name().to_owned())
    }

    #[test]
    fn links_are_followed_into_the_store_and_no_further() {
        let room = room();
        for given in [
            "result",
            "./result",
            "again",
            "result/bin/hello",
            "again/bin/../bin",
            "store/../result",
        ] {
            assert_eq!(name(&room, given).expect("resolves"), HELLO, "{given}");
        }
        assert_eq!(name(&room, "to-link").expect("resolves"), LINK);
        let whole = format!("{}/{HELLO}/bin/hello", room.store_dir.as_str());
        assert_eq!(name(&room, &whole).expect("resolves"), HELLO);
    }

    #[test]
    fn what_is_not_in_the_store_is_refused_with_what_was_given() {
        let room = room();
        assert!(matches!(
            name(&room, "nothing"),
            Err(ResolveError::Missing { .. })
        ));
        assert!(matches!(name(&room, "."), Err(ResolveError::Outside { .. })));
        assert!(matches!(name(&room, "store"), Err(ResolveError::Outside { .. })));
        assert!(matches!(
            name(&room, "store/.links"),
            Err(ResolveError::Malformed { .. })
        ));
        assert!(matches!(name(&room, "loop"), Err(ResolveError::Outside { .. })));
    }
}
