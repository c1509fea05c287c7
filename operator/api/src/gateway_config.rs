//! The gateway's configuration file, which is where operator and gateway meet.

use std::path::PathBuf;

use serde::Serialize;

use crate::agent::{GatewayDesired, GatewayPeer};
use crate::document::CacheSpec;
use crate::{Bytes, Rate, Span};

/// Where a gateway's files lie on its host. All absolute; the three files are of mode 0600 and hold one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPaths {
    /// The index and the spool.
    pub state_dir: PathBuf,
    /// Holds [`GatewayDesired::cluster_key`].
    pub key_file: PathBuf,
    /// Holds the S3 secret access key.
    pub s3_secret_file: PathBuf,
    /// Holds [`GatewayDesired::token_secret`].
    pub token_secret_file: PathBuf,
    /// Its certificate on links to other gateways.
    pub link_cert_file: PathBuf,
    /// The key of that.
    pub link_key_file: PathBuf,
    /// The authority of all gateways' links.
    pub link_ca_file: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    listen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<&'a str>,
    state_dir: &'a PathBuf,
    key_file: &'a PathBuf,
    s3: S3<'a>,
    tokens: Tokens<'a>,
    cache: Frames,
    #[serde(skip_serializing_if = "Option::is_none")]
    send: Option<Send>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<Gateway<'a>>,
    caches: Vec<Cache<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link<'a> {
    name: &'a str,
    listen: &'a str,
    cert_file: &'a PathBuf,
    key_file: &'a PathBuf,
    ca_file: &'a PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gateway<'a> {
    name: &'a str,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct S3<'a> {
    endpoints: &'a [String],
    region: &'a str,
    bucket: &'a str,
    access_key_id: &'a str,
    secret_access_key_file: &'a PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tokens<'a> {
    hs256_secret_file: &'a PathBuf,
}

/// Plain bytes a second.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    max_rate: u64,
}

/// Plain bytes, so that nobody needs to agree on suffixes.
#[derive(Serialize)]
struct Frames {
    memory: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cache<'a> {
    name: &'a str,
    public: bool,
    priority: i32,
    store_dir: &'a str,
    /// In plain seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<String>,
    upstream_keys: &'a [String],
}

impl<'a> Cache<'a> {
    fn of(spec: &'a CacheSpec) -> Self {
        let CacheSpec {
            name,
            public,
            priority,
            store_dir,
            retention,
            upstream_keys,
        } = spec;
        Self {
            name: name.as_str(),
            public: *public,
            priority: *priority,
            store_dir,
            retention: retention.map(|Span { seconds }| format!("{seconds}s")),
            upstream_keys,
        }
    }
}

/// Renders a gateway's configuration file (YAML). It names files that hold secrets and holds none itself.
///
/// # Errors
/// Only when a path is not valid UTF-8.
pub fn gateway_config(desired: &GatewayDesired, paths: &GatewayPaths) -> Result<String, serde_yaml::Error> {
    let GatewayDesired {
        listen,
        public_url,
        s3,
        token_secret: _,
        cluster_key: _,
        memory,
        disk,
        uplink,
        caches,
        fleet,
    } = desired;
    let GatewayPaths {
        state_dir,
        key_file,
        s3_secret_file,
        token_secret_file,
        link_cert_file,
        link_key_file,
        link_ca_file,
    } = paths;
    let yaml = serde_yaml::to_string(&File {
        listen,
        public_url: public_url.as_deref(),
        state_dir,
        key_file,
        s3: S3 {
            endpoints: &s3.endpoints,
            region: &s3.region,
            bucket: &s3.bucket,
            access_key_id: &s3.access_key_id,
            secret_access_key_file: s3_secret_file,
        },
        tokens: Tokens {
            hs256_secret_file: token_secret_file,
        },
        cache: Frames {
            memory: memory.0,
            disk: disk.map(|Bytes(disk)| disk),
        },
        send: uplink.map(|Rate(Bytes(max_rate))| Send { max_rate }),
        link: fleet.as_ref().map(|fleet| Link {
            name: fleet.name.as_str(),
            listen: &fleet.listen,
            cert_file: link_cert_file,
            key_file: link_key_file,
            ca_file: link_ca_file,
        }),
        gateways: fleet
            .iter()
            .flat_map(|fleet| &fleet.peers)
            .map(|GatewayPeer { name, addr }| Gateway {
                name: name.as_str(),
                url: format!("https://{addr}"),
            })
            .collect(),
        caches: caches.iter().map(Cache::of).collect(),
    })?;
    Ok(format!(
        "# Written by Hayloft from the cluster's document; changes here are overwritten.\n{yaml}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{FleetDesired, S3Desired};
    use crate::{Document, Secret};

    #[test]
    fn the_gateways_file_names_the_files_of_its_secrets() {
        let mut caches = Document::laptop(3, Bytes::gib(10)).unwrap().spec.caches;
        caches[0].retention = Some(Span::days(90));
        let desired = GatewayDesired {
            listen: "127.0.0.1:8080".into(),
            public_url: Some("https://cache.example.org".into()),
            s3: S3Desired {
                endpoints: vec!["http://127.0.0.1:40001".into(), "http://127.0.0.1:40002".into()],
                region: "garage".into(),
                bucket: "hayloft".into(),
                access_key_id: "GK0123456789abcdef01234567".into(),
                secret_access_key: Secret::new("s3-secret-text"),
            },
            token_secret: Secret::new("token-secret-text"),
            cluster_key: Secret::new("cluster-key-text"),
            memory: Bytes(256 << 20),
            disk: Some(Bytes::gib(20)),
            uplink: Some(Rate(Bytes(2_000_000))),
            caches,
            fleet: Some(FleetDesired {
                name: "paris-1".parse().unwrap(),
                listen: "0.0.0.0:7442".into(),
                peers: vec![GatewayPeer {
                    name: "lyon-1".parse().unwrap(),
                    addr: "lyon-1.example.org:7442".into(),
                }],
            }),
        };
        let paths = GatewayPaths {
            state_dir: "/srv/gateway".into(),
            key_file: "/srv/gateway/cluster.key".into(),
            s3_secret_file: "/srv/gateway/s3-secret".into(),
            token_secret_file: "/srv/gateway/token-hs256".into(),
            link_cert_file: "/srv/gateway/link.pem".into(),
            link_key_file: "/srv/gateway/link.key".into(),
            link_ca_file: "/srv/gateway/link-ca.pem".into(),
        };
        let text = gateway_config(&desired, &paths).unwrap();
        assert!(!text.contains("-text"), "a secret is in the file");
        insta::assert_snapshot!(text);
    }
}
