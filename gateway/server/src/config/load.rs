//! File → [`Config`]: reads the file and the secrets it names, and checks what its shape cannot say.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hayloft_nixcache::CacheName;
use hayloft_nixcache::token::{Signer, TokenKeyError, Verifier};
use hayloft_store::cluster_key::{ClusterKey, ClusterKeyError};
use hayloft_store::object::s3::S3Config;
use url::Url;
use zeroize::Zeroizing;

use super::fleet::fleet;
use super::{Config, DeclaredCache, Span, Tokens, file, upkeep};
use crate::depot::Upkeep;

/// The longest retention that clients can be told, in seconds (attic keeps it in 31 bits).
const MAX_RETENTION: u32 = i32::MAX.unsigned_abs();

/// Why a configuration is not taken. Each names the field, what was given and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("{field}: cannot read {}", path.display())]
    Read {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not YAML of the right shape.
    #[error("the configuration is not as it must be")]
    Shape(#[source] serde_yaml::Error),
    /// A value is not one that is allowed.
    #[error("{field}: {given:?} is not allowed: {allowed}")]
    Value {
        /// The field, by path.
        field: String,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A key in a file is not one.
    #[error("{field}: the content of {} is not a key for tokens", path.display())]
    TokenKey {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: TokenKeyError,
    },
    /// The cluster key is not one.
    #[error("keyFile: the content of {} is not a cluster key", path.display())]
    ClusterKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ClusterKeyError,
    },
    /// None or several of the keys for tokens are named.
    #[error(
        "tokens: name exactly one of hs256SecretFile, rs256SecretFile and rs256PublicKeyFile ({named} are named)"
    )]
    TokenKeys {
        /// How many are.
        named: usize,
    },
}

/// Reads and checks the configuration at `path`, and the secrets that it names.
///
/// # Errors
/// At the first thing that is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    check(open(path)?)
}

fn open(path: &Path) -> Result<file::File, ConfigError> {
    serde_yaml::from_str(&read("--config", path)?).map_err(ConfigError::Shape)
}

/// Reads only where the bucket is, and who the gateway is there: the other secrets may be readable to the gateway alone.
///
/// # Errors
/// When the file cannot be read, or that part of it is wrong.
pub fn load_bucket(path: &Path) -> Result<S3Config, ConfigError> {
    bucket(open(path)?.s3)
}

fn check(file: file::File) -> Result<Config, ConfigError> {
    let file::File {
        listen,
        public_url,
        state_dir,
        key_file,
        s3,
        tokens,
        link,
        gateways,
        committer,
        epoch_floor,
        cache,
        send,
        collect,
        scrub,
        metrics,
        traces,
        caches,
    } = file;
    let listen = address("listen", &listen)?;
    if !state_dir.is_absolute() {
        return Err(ConfigError::Value {
            field: "stateDir".to_owned(),
            given: state_dir.display().to_string(),
            allowed: "give an absolute path",
        });
    }
    let key = read("keyFile", &key_file)?
        .trim()
        .parse::<ClusterKey>()
        .map_err(|source| ConfigError::ClusterKey {
            path: key_file.clone(),
            source,
        })?;
    Ok(Config {
        listen,
        public_url: public_url.map(|given| public_url_of(&given)).transpose()?,
        state_dir,
        key,
        s3: bucket(s3)?,
        tokens: token_keys(tokens)?,
        fleet: fleet(link, gateways, committer, epoch_floor)?,
        memory: cache.memory,
        uplink: send.max_rate.map_or(0, |rate| rate.0),
        upkeep: Upkeep {
            collect: upkeep::collect(collect)?,
            scrub: upkeep::scrub(scrub)?,
            disk: cache.disk.0,
        },
        metrics: metrics
            .map(|m| address("metrics.listen", &m.listen))
            .transpose()?,
        traces: traces.map(|t| http_url("traces.otlp", &t.otlp)).transpose()?,
        caches: declared(caches)?,
    })
}

fn address(field: &str, given: &str) -> Result<SocketAddr, ConfigError> {
    given.parse().map_err(|_| ConfigError::Value {
        field: field.to_owned(),
        given: given.to_owned(),
        allowed: "give an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
    })
}

fn public_url_of(given: &str) -> Result<Url, ConfigError> {
    let mut url = http_url("publicUrl", given)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::Value {
            field: "publicUrl".to_owned(),
            given: given.to_owned(),
            allowed: "give a URL without \"?\" and \"#\"",
        });
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn http_url(field: &str, given: &str) -> Result<Url, ConfigError> {
    Url::parse(given)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| ConfigError::Value {
            field: field.to_owned(),
            given: given.to_owned(),
            allowed: "give a URL such as http://127.0.0.1:3900, without user and password",
        })
}

fn bucket(s3: file::S3) -> Result<S3Config, ConfigError> {
    let file::S3 {
        endpoints,
        region,
        bucket,
        access_key_id,
        secret_access_key_file,
    } = s3;
    if endpoints.is_empty() {
        return Err(ConfigError::Value {
            field: "s3.endpoints".to_owned(),
            given: "[]".to_owned(),
            allowed: "name at least one",
        });
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        http_url(&format!("s3.endpoints[{index}]"), endpoint)?;
    }
    for (field, value) in [
        ("s3.region", &region),
        ("s3.bucket", &bucket),
        ("s3.accessKeyId", &access_key_id),
    ] {
        if value.is_empty() {
            return Err(ConfigError::Value {
                field: field.to_owned(),
                given: String::new(),
                allowed: "it must not be empty",
            });
        }
    }
    let secret = read("s3.secretAccessKeyFile", &secret_access_key_file)?;
    Ok(S3Config {
        endpoints,
        region,
        bucket,
        access_key_id,
        secret_access_key: Zeroizing::new(secret.trim().to_owned()),
    })
}

fn token_keys(tokens: file::Tokens) -> Result<Tokens, ConfigError> {
    let file::Tokens {
        hs256_secret_file,
        rs256_secret_file,
        rs256_public_key_file,
        issuer,
        audiences,
    } = tokens;
    let (verifier, signer) = match (&hs256_secret_file, &rs256_secret_file, &rs256_public_key_file) {
        (Some(path), None, None) => {
            let field = "tokens.hs256SecretFile";
            let verifier = token_key(field, path, Verifier::hs256_base64)?;
            (verifier, Some(token_key(field, path, Signer::hs256_base64)?))
        }
        (None, Some(path), None) => {
            let field = "tokens.rs256SecretFile";
            let verifier = token_key(field, path, Verifier::rs256_private_base64)?;
            (verifier, Some(token_key(field, path, Signer::rs256_base64)?))
        }
        (None, None, Some(path)) => {
            let field = "tokens.rs256PublicKeyFile";
            (token_key(field, path, Verifier::rs256_public_base64)?, None)
        }
        several => {
            let named = [several.0, several.1, several.2]
                .iter()
                .filter(|key| key.is_some())
                .count();
            return Err(ConfigError::TokenKeys { named });
        }
    };
    let verifier = verifier
        .bound_to_issuer(issuer.clone())
        .bound_to_audiences(audiences.clone());
    Ok(Tokens {
        verifier,
        signer,
        issuer,
        audiences,
    })
}

fn token_key<T>(
    field: &'static str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, TokenKeyError>,
) -> Result<T, ConfigError> {
    let text = read(field, path)?;
    parse(&text).map_err(|source| ConfigError::TokenKey {
        field,
        path: path.to_owned(),
        source,
    })
}

fn declared(caches: Vec<file::Cache>) -> Result<Vec<DeclaredCache>, ConfigError> {
    let mut names = BTreeSet::new();
    let mut declared = Vec::with_capacity(caches.len());
    for (index, cache) in caches.into_iter().enumerate() {
        let file::Cache {
            name,
            public,
            priority,
            store_dir,
            upstream_keys,
            retention,
            max_size,
        } = cache;
        let field = |name: &str| format!("caches[{index}].{name}");
        let name: CacheName = parse(
            field("name"),
            &name,
            "give 1 to 50 letters, digits, '-', '_' or '+', beginning with a letter or digit",
        )?;
        if !names.insert(name.clone()) {
            return Err(ConfigError::Value {
                field: field("name"),
                given: name.to_string(),
                allowed: "declare each cache once",
            });
        }
        let store_dir = store_dir
            .map(|dir| {
                parse(
                    field("storeDir"),
                    &dir,
                    "give an absolute path such as /nix/store",
                )
            })
            .transpose()?;
        let retention = retention
            .map(|span| retention_of(field("retention"), &span))
            .transpose()?;
        declared.push(DeclaredCache {
            name,
            public,
            priority,
            store_dir,
            upstream_keys,
            retention,
            max_size,
        });
    }
    Ok(declared)
}

fn retention_of(field: String, given: &str) -> Result<u32, ConfigError> {
    let Span(span) = parse(field.clone(), given, "give a span of time such as 90d or 12h")?;
    u32::try_from(span.as_secs())
        .ok()
        .filter(|seconds| *seconds <= MAX_RETENTION)
        .ok_or(ConfigError::Value {
            field,
            given: given.to_owned(),
            allowed: "give at most 68 years",
        })
}

pub(super) fn parse<T: FromStr>(field: String, given: &str, allowed: &'static str) -> Result<T, ConfigError> {
    given.parse().map_err(|_| ConfigError::Value {
        field,
        given: given.to_owned(),
        allowed,
    })
}

fn read(field: &'static str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| ConfigError::Read {
            field,
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
