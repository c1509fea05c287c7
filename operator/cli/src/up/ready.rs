//! When a client can push and pull, and the files that tell how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_api::agent::{GARAGE_UNIT, GATEWAY_UNIT, GatewayDesired, HostReport, UnitState};
use hayloft_api::{CacheName, Document, HostName, NodeId};
use hayloft_nixcache::token::{Claims, Grants, Permissions, Verifier, mint_hs256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::hosts::{Hosts, Reports};

/// A token of `hayloft up` is good for so long.
const TOKEN_HOURS: i64 = 365 * 24;
/// One that still is good for so long is kept.
const KEEP_HOURS: i64 = 180 * 24;
/// A gateway that serves answers sooner.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why the gateway cannot be used yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// It does not answer.
    #[error("the gateway at {url} does not answer yet")]
    Silent {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// It answers that it cannot serve.
    #[error("the gateway at {url} answers {status} for {what}")]
    Refused { url: String, status: u16, what: String },
    /// The token cannot be made.
    #[error("the token cannot be made")]
    Mint(#[source] hayloft_nixcache::token::MintError),
    /// The secret of tokens is not base64.
    #[error("the secret that signs tokens is damaged")]
    Secret(#[source] base64::DecodeError),
}

/// A file for clients cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellError {
    #[error("cannot put the facts for clients in words")]
    Render(#[source] serde_json::Error),
    #[error("cannot write {}", .0.path.display())]
    Write(#[source] hayloft_agent::files::WriteError),
}

/// All that a client needs. Holds secrets, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    /// The gateway's URL.
    pub(crate) gateway: String,
    /// The first declared cache.
    pub(crate) cache: Option<CacheName>,
    /// That cache's public key, as Nix writes it.
    pub(crate) public_key: Option<String>,
    /// A token that may do everything.
    pub(crate) token: String,
    /// The bucket.
    pub(crate) s3: S3,
    /// The hosts.
    pub(crate) hosts: Vec<Host>,
}

/// How the bucket is reached.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct S3 {
    endpoint: String,
    region: String,
    bucket: String,
    access_key_id: String,
    secret_access_key: String,
}

/// One host.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    name: HostName,
    garage_id: NodeId,
    /// Of its Garage daemon; `None` while that is down.
    pid: Option<u32>,
    dir: PathBuf,
}

/// What `hayloft push` uses when nothing else is said.
#[derive(Serialize, Deserialize)]
struct ClientFile {
    gateway: String,
    cache: Option<String>,
    token: String,
}

/// A gateway that runs: its host, its address, what it was told.
pub(crate) fn running_gateway(hosts: &Hosts, reports: &Reports) -> Option<(String, GatewayDesired)> {
    reports
        .iter()
        .filter(|(_, report)| report.runs(GATEWAY_UNIT))
        .find_map(|(name, _)| {
            let desired = hosts.desired(name)?.gateway?;
            Some((format!("http://{}", desired.listen), desired))
        })
}

/// Asks a gateway whether it serves, and for the public key of the first declared cache.
pub(crate) async fn probe(
    http: &reqwest::Client,
    url: &str,
    told: &GatewayDesired,
    document: &Document,
    token: &str,
) -> Result<(Option<CacheName>, Option<String>), ProbeError> {
    let get = async |path: String| {
        let silent = |source| ProbeError::Silent {
            url: url.to_owned(),
            source,
        };
        let answer = http
            .get(format!("{url}/{path}"))
            .bearer_auth(token)
            .timeout(ANSWER_WITHIN)
            .send()
            .await;
        let answer = answer.map_err(silent)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(ProbeError::Refused {
                url: url.to_owned(),
                status: status.as_u16(),
                what: path,
            });
        }
        answer.bytes().await.map_err(silent)
    };
    get("healthz".to_owned()).await?;
    let declared = told
        .caches
        .first()
        .or(document.spec.caches.first())
        .map(|cache| cache.name.clone());
    let Some(cache) = declared else {
        return Ok((None, None));
    };
    let config = get(format!("_api/v1/cache-config/{cache}")).await?;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    let key = config
        .get("public_key")
        .and_then(|key| key.as_str())
        .map(str::to_owned);
    Ok((Some(cache), key))
}

/// The token that may do everything: the one of last time while it is good for long, else a new one.
pub(crate) fn token(folder: &Folder, secret: &str, now: Timestamp) -> Result<String, ProbeError> {
    use base64::Engine;
    let raw = base64::engine::general_purpose::STANDARD
        .decode(secret.trim())
        .map_err(ProbeError::Secret)?;
    if let Some(client) = read_client(&folder.client())
        && let Ok(claims) = Verifier::hs256(&raw).verify(&client.token, now)
        && claims
            .exp
            .is_some_and(|exp| exp > now.as_second() + KEEP_HOURS * 3600)
    {
        return Ok(client.token);
    }
    let mut grants = Grants::new();
    if let Ok(all) = "*".parse() {
        grants.set(all, Permissions::ALL);
    }
    let mut claims = Claims::new(grants);
    claims.sub = Some("hayloft-up".to_owned());
    claims.iat = Some(now.as_second());
    claims.exp = Some(now.as_second() + TOKEN_HOURS * 3600);
    mint_hs256(&raw, &claims).map_err(ProbeError::Mint)
}

fn read_client(path: &Path) -> Option<ClientFile> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Puts together what clients need.
pub(crate) fn compose(
    url: String,
    told: &GatewayDesired,
    found: (Option<CacheName>, Option<String>),
    token: String,
    hosts: &Hosts,
    reports: &Reports,
) -> Ready {
    Ready {
        gateway: url,
        cache: found.0,
        public_key: found.1,
        token,
        s3: S3 {
            endpoint: told.s3.endpoints.first().cloned().unwrap_or_default(),
            region: told.s3.region.clone(),
            bucket: told.s3.bucket.clone(),
            access_key_id: told.s3.access_key_id.clone(),
            secret_access_key: told.s3.secret_access_key.expose().to_owned(),
        },
        hosts: with_pids(hosts, reports),
    }
}

/// The hosts with their processes as they are now.
pub(crate) fn with_pids(hosts: &Hosts, reports: &Reports) -> Vec<Host> {
    reports
        .values()
        .map(|report| Host {
            name: report.host.clone(),
            garage_id: report.garage_id,
            pid: garage_pid(report),
            dir: hosts.dir(&report.host),
        })
        .collect()
}

fn garage_pid(report: &HostReport) -> Option<u32> {
    match report.unit(GARAGE_UNIT)?.state {
        UnitState::Running { pid } | UnitState::Starting { pid } => Some(pid),
        UnitState::BackingOff { .. } | UnitState::Failed { .. } | UnitState::Stopped => None,
    }
}

/// Writes the file that `--ready-file` names and the one that `hayloft push` looks for.
pub(crate) fn tell(ready: &Ready, folder: &Folder, ready_file: Option<&Path>) -> Result<(), TellError> {
    tell_client(folder, &ready.gateway, ready.cache.as_ref(), &ready.token)?;
    match ready_file {
        Some(path) => write(path, serde_json::to_vec_pretty(ready).map_err(TellError::Render)?),
        None => Ok(()),
    }
}

/// Writes the file that `hayloft push` looks for.
pub(crate) fn tell_client(
    folder: &Folder,
    gateway: &str,
    cache: Option<&CacheName>,
    token: &str,
) -> Result<(), TellError> {
    let client = ClientFile {
        gateway: gateway.to_owned(),
        cache: cache.map(ToString::to_string),
        token: token.to_owned(),
    };
    write(
        &folder.client(),
        serde_json::to_vec_pretty(&client).map_err(TellError::Render)?,
    )
}

fn write(path: &Path, mut text: Vec<u8>) -> Result<(), TellError> {
    text.push(b'\n');
    hayloft_agent::files::replace(path, &text, 0o600)
        .map(drop)
        .map_err(TellError::Write)
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;

    use super::*;

    /// A cache that is ready, with secrets that are none.
    pub(crate) fn ready() -> Ready {
        Ready {
            gateway: "http://127.0.0.1:8080".into(),
            cache: Some("main".parse().unwrap()),
            public_key: Some("main:OFf6jU0zPTKwuQcQ7owfbig245FbQUQafWTtXidU9uc=".into()),
            token: "[TOKEN]".into(),
            s3: S3 {
                endpoint: "http://127.0.0.1:40001".into(),
                region: "garage".into(),
                bucket: "hayloft".into(),
                access_key_id: "GK0123456789abcdef01234567".into(),
                secret_access_key: "[SECRET]".into(),
            },
            hosts: vec![Host {
                name: "host-1".parse().unwrap(),
                garage_id: NodeId::from_public_key([0xab; 32]),
                pid: Some(4711),
                dir: "/srv/cache/hosts/host-1".into(),
            }],
        }
    }

    #[test]
    fn the_ready_file_keeps_its_shape() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&ready()).unwrap());
    }

    #[test]
    fn a_token_is_kept_while_it_is_good_for_long_and_made_anew_then() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().to_owned());
        let secret = base64::engine::general_purpose::STANDARD.encode([7; 64]);
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let later = |days: i64| {
            now.checked_add(jiff::SignedDuration::from_hours(days * 24))
                .unwrap()
        };
        let first = token(&folder, &secret, now).unwrap();
        let keep = Ready {
            token: first.clone(),
            ..ready()
        };
        tell(&keep, &folder, None).unwrap();
        assert_eq!(token(&folder, &secret, later(100)).unwrap(), first);
        assert_ne!(token(&folder, &secret, later(200)).unwrap(), first);
        let other = base64::engine::general_purpose::STANDARD.encode([8; 64]);
        assert_ne!(
            token(&folder, &other, later(1)).unwrap(),
            first,
            "signed by a secret that is no more"
        );
    }
}
