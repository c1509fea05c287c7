//! Which gateway, which cache, which token: from flags, the environment, the folder of `hayloft up`, the user's file.

use std::io;
use std::path::{Path, PathBuf};

use hayloft_nixcache::CacheName;
use serde::Deserialize;
use url::{Host, Url};

use super::token::Token;
use crate::context::Context;

/// Name of the file that `hayloft up` leaves in its folder, and of the user's own beside other configuration.
const CLIENT_FILE: &str = "client.json";

/// Flags that every command for people who use a cache takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerArgs {
    /// The gateway's URL, such as https://cache.example.org [env: HAYLOFT_SERVER]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file that holds the token [env: HAYLOFT_TOKEN_FILE, or HAYLOFT_TOKEN for the token itself]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The folder of a `hayloft up` to take gateway, cache and token from
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// What the environment says, read once by `main`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `HAYLOFT_SERVER`.
    pub(crate) server: Option<String>,
    /// `HAYLOFT_CACHE`.
    pub(crate) cache: Option<String>,
    /// `HAYLOFT_TOKEN_FILE`.
    pub(crate) token_file: Option<PathBuf>,
    /// `HAYLOFT_TOKEN`.
    pub(crate) token: Option<Token>,
    /// The folder that `hayloft up` uses when none is given.
    pub(crate) default_dir: Option<PathBuf>,
    /// The user's folder for configuration, `$XDG_CONFIG_HOME` or `~/.config`.
    pub(crate) config_home: Option<PathBuf>,
}

impl Environment {
    /// Takes what `main` read.
    pub(crate) fn of(context: &Context) -> Environment {
        let env = &context.env;
        Environment {
            server: env.text("HAYLOFT_SERVER").map(str::to_owned),
            cache: env.text("HAYLOFT_CACHE").map(str::to_owned),
            token_file: env.get("HAYLOFT_TOKEN_FILE").map(PathBuf::from),
            token: env.text("HAYLOFT_TOKEN").map(Token::new),
            default_dir: context.default_dir(),
            config_home: env.xdg("XDG_CONFIG_HOME", ".config"),
        }
    }
}

/// A gateway to speak to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its URL, with a slash at the end.
    pub(crate) server: Url,
    /// The cache, when one was named.
    pub(crate) cache: Option<CacheName>,
    /// The token, when there is one; without it only public caches answer.
    pub(crate) token: Option<Token>,
}

/// Why there is no gateway to speak to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Nothing names a gateway.
    #[error(
        "no gateway is known: give --server URL, set HAYLOFT_SERVER, or start one here with `hayloft up`"
    )]
    NoServer,
    /// The folder that was named holds no client file.
    #[error("{dir} is not the folder of a `hayloft up` that was ready once: it has no {CLIENT_FILE}")]
    NotAnUpDir {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A client file is not what it should be.
    #[error("{path} is not a client file; remove it, or run `hayloft up` again to have it written anew")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A token file is empty.
    #[error("the token file {path} is empty")]
    EmptyToken {
        /// The file.
        path: PathBuf,
    },
    /// A URL is not one that a gateway can have.
    #[error(
        "{given:?} is not a gateway's URL: it looks like https://cache.example.org or http://127.0.0.1:8080"
    )]
    Url {
        /// What was given.
        given: String,
    },
    /// A cache name is not one.
    #[error("{given:?} is not a cache's name: letters, digits, -, _ and +, at most 50 of them")]
    Cache {
        /// What was given.
        given: String,
    },
}

/// `client.json`: what `hayloft up` writes for clients on the same machine.
#[derive(Deserialize)]
struct ClientFile {
    gateway: String,
    #[serde(default)]
    cache: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

/// Settles the target. Flags win over the folder that a flag names, that over the environment, that over the folder of
/// `hayloft up`, that over the user's file. A token from a file goes only to the gateway that the same file names.
///
/// # Errors
/// No gateway is named, or something that is named cannot be read or is malformed.
pub(crate) fn resolve(
    args: &ServerArgs,
    cache: Option<&str>,
    env: &Environment,
) -> Result<Target, SettingsError> {
    let named = match &args.dir {
        Some(dir) => Some(
            read(&dir.join(CLIENT_FILE))?.ok_or_else(|| SettingsError::NotAnUpDir { dir: dir.clone() })?,
        ),
        None => None,
    };
    let mut found = Vec::new();
    if named.is_none() {
        let user = env.config_home.as_ref().map(|home| home.join("hayloft"));
        for dir in [env.default_dir.as_ref(), user.as_ref()].into_iter().flatten() {
            found.extend(read(&dir.join(CLIENT_FILE))?);
        }
    }
    let files: Vec<&ClientFile> = named.iter().chain(&found).collect();
    let named = named.as_ref();

    let flag = args.server.as_deref().or(named.map(|file| file.gateway.as_str()));
    let server = flag
        .or(env.server.as_deref())
        .or(files.first().map(|file| file.gateway.as_str()));
    let server = parse_server(server.ok_or(SettingsError::NoServer)?)?;

    let of_server: Vec<&&ClientFile> = files
        .iter()
        .filter(|file| parse_server(&file.gateway).is_ok_and(|url| url.origin() == server.origin()))
        .collect();
    let cache = cache
        .or(named.and_then(|file| file.cache.as_deref()))
        .or(env.cache.as_deref())
        .or(of_server.iter().find_map(|file| file.cache.as_deref()));
    let cache = match cache {
        Some(given) => Some(given.parse().map_err(|_| SettingsError::Cache {
            given: given.to_owned(),
        })?),
        None => None,
    };

    let of_named = named.filter(|file| of_server.iter().any(|other| std::ptr::eq(**other, *file)));
    let token = if let Some(path) = &args.token_file {
        Some(read_token(path)?)
    } else if let Some(token) = of_named.and_then(|file| file.token.as_deref()) {
        Some(Token::new(token))
    } else if let Some(path) = &env.token_file {
        Some(read_token(path)?)
    } else if let Some(token) = env.token.as_ref().filter(|token| !token.is_empty()) {
        Some(token.clone())
    } else {
        of_server
            .iter()
            .find_map(|file| file.token.as_deref())
            .map(Token::new)
    };
    Ok(Target { server, cache, token })
}

fn read(path: &Path) -> Result<Option<ClientFile>, SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(source) => {
            return Err(SettingsError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source,
        })
}

fn read_token(path: &Path) -> Result<Token, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let token = Token::new(&text);
    if token.is_empty() {
        Err(SettingsError::EmptyToken {
            path: path.to_owned(),
        })
    } else {
        Ok(token)
    }
}

/// Parses a gateway's URL; a path in it is kept, as of a gateway behind a prefix.
pub(crate) fn parse_server(given: &str) -> Result<Url, SettingsError> {
    let wrong = || SettingsError::Url {
        given: given.to_owned(),
    };
    let mut url = Url::parse(given).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https")
        || url.host().is_none()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Whether the URL's host is this machine itself, so that no proxy can be meant.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(gateway: &str, token: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("makes a folder");
        let text = format!(r#"{{"gateway":"{gateway}","cache":"main","token":"{token}"}}"#);
        std::fs::write(dir.path().join(CLIENT_FILE), text).expect("writes");
        dir
    }

    #[test]
    fn a_running_up_is_found_without_any_flag() {
        let dir = dir_with("http://127.0.0.1:8080", "local");
        let env = Environment {
            default_dir: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let target = resolve(&ServerArgs::default(), None, &env).expect("resolves");
        assert_eq!(target.server.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(target.cache.map(|name| name.to_string()), Some("main".to_owned()));
        assert_eq!(target.token, Some(Token::new("local")));
    }

    #[test]
    fn a_token_from_a_file_never_goes_to_another_server() {
        let dir = dir_with("http://127.0.0.1:8080", "local");
        let args = ServerArgs {
            server: Some("https://elsewhere.example".to_owned()),
            ..ServerArgs::default()
        };
        let env = Environment {
            default_dir: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let target = resolve(&args, Some("main"), &env).expect("resolves");
        assert_eq!(target.token, None);
        let named = ServerArgs {
            dir: Some(dir.path().to_owned()),
            ..args
        };
        assert_eq!(
            resolve(&named, Some("main"), &Environment::default())
                .expect("resolves")
                .token,
            None
        );
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_files() {
        let dir = dir_with("http://127.0.0.1:8080", "local");
        let env = Environment {
            server: Some("https://env.example/sub".to_owned()),
            cache: Some("from-env".to_owned()),
            token: Some(Token::new("from-env")),
            default_dir: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let target = resolve(&ServerArgs::default(), None, &env).expect("resolves");
        assert_eq!(target.server.as_str(), "https://env.example/sub/");
        assert_eq!(
            target.cache.map(|name| name.to_string()),
            Some("from-env".to_owned())
        );
        assert_eq!(target.token, Some(Token::new("from-env")));

        let args = ServerArgs {
            server: Some("https://flag.example".to_owned()),
            ..ServerArgs::default()
        };
        let target = resolve(&args, Some("from-flag"), &env).expect("resolves");
        assert_eq!(target.server.as_str(), "https://flag.example/");
        assert_eq!(
            target.cache.map(|name| name.to_string()),
            Some("from-flag".to_owned())
        );

        let named = ServerArgs {
            dir: Some(dir.path().to_owned()),
            ..ServerArgs::default()
        };
        let target = resolve(&named, None, &env).expect("resolves");
        assert_eq!(target.server.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(target.token, Some(Token::new("local")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let empty = tempfile::tempdir().expect("makes a folder");
        let named = ServerArgs {
            dir: Some(empty.path().to_owned()),
            ..ServerArgs::default()
        };
        assert!(matches!(
            resolve(&named, None, &Environment::default()),
            Err(SettingsError::NotAnUpDir { .. })
        ));
        assert!(matches!(
            resolve(&ServerArgs::default(), None, &Environment::default()),
            Err(SettingsError::NoServer)
        ));
        for given in ["cache.example.org", "ftp://h", "http://u:p@h", "http://h/?q", ""] {
            let args = ServerArgs {
                server: Some(given.to_owned()),
                ..ServerArgs::default()
            };
            assert!(
                matches!(
                    resolve(&args, None, &Environment::default()),
                    Err(SettingsError::Url { .. })
                ),
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_token_is_not_in_any_debug_output() {
        let env = Environment {
            token: Some(Token::new("eyJsecret")),
            ..Environment::default()
        };
        assert!(!format!("{env:?}").contains("secret"));
    }
}
