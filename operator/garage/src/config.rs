//! `garage.toml`, rendered from what the coordinator desires and from the host's own paths and ports.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use hayloft_api::agent::{AdminAddress, GarageDesired};

/// Where a host's Garage keeps and finds things. All absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaragePaths {
    /// Keys, layout, database.
    pub metadata_dir: PathBuf,
    /// Snapshots of the database.
    pub snapshots_dir: PathBuf,
    /// Blocks.
    pub data_dir: PathBuf,
    /// Holds [`GarageDesired::rpc_secret`], mode 0600: Garage refuses to read it when others may.
    pub rpc_secret_file: PathBuf,
    /// Holds [`GarageDesired::admin_token`], mode 0600.
    pub admin_token_file: PathBuf,
}

/// Where a host's Garage listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarageAddresses {
    /// `address:port` to bind for RPC.
    pub rpc_bind: String,
    /// `host:port` at which other members reach it, as far as the host itself knows; [`GarageDesired::rpc_public`] knows better.
    pub rpc_public: String,
    /// `address:port` to bind for S3.
    pub s3_bind: String,
    /// Where the admin API is bound.
    pub admin: AdminAddress,
}

/// Why `garage.toml` cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// TOML is UTF-8.
    #[error("Garage cannot be told of the path {path:?}, which is not valid UTF-8; choose another folder")]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
}

/// Renders `garage.toml`. It holds no secret, only the names of the files that do.
///
/// # Errors
/// When a path is not valid UTF-8.
pub fn garage_toml(
    desired: &GarageDesired,
    paths: &GaragePaths,
    addresses: &GarageAddresses,
) -> Result<String, ConfigError> {
    let GarageDesired {
        replication_factor,
        fsync,
        rpc_secret: _,
        admin_token: _,
        s3_region,
        zone: _,
        rpc_public: declared,
        program: _,
        bootstrap_peers,
    } = desired;
    let GaragePaths {
        metadata_dir,
        snapshots_dir,
        data_dir,
        rpc_secret_file,
        admin_token_file,
    } = paths;
    let GarageAddresses {
        rpc_bind,
        rpc_public,
        s3_bind,
        admin,
    } = addresses;
    let admin_bind = match admin {
        AdminAddress::Unix(socket) => quote_path(socket)?,
        AdminAddress::Url(url) => quote(url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/')),
    };
    // A socket is guarded by its file's mode; at a port anyone could read how much is stored and asked for.
    let guarded = matches!(admin, AdminAddress::Url(_));
    let mut peers = String::new();
    for peer in bootstrap_peers {
        // Writing to a String cannot fail.
        let _ = writeln!(peers, "  {},", quote(&peer.to_string()));
    }
    let peers = if peers.is_empty() {
        "[]".to_owned()
    } else {
        format!("[\n{peers}]")
    };
    Ok(format!(
        "\
# Written by Hayloft from the cluster's document; changes here are overwritten.
metadata_dir = {metadata}
metadata_snapshots_dir = {snapshots}
data_dir = {data}
db_engine = \"lmdb\"
metadata_fsync = {fsync}
data_fsync = {fsync}
replication_factor = {replication_factor}
consistency_mode = \"consistent\"
compression_level = \"none\"

rpc_bind_addr = {rpc_bind}
rpc_public_addr = {rpc_public}
rpc_secret_file = {rpc_secret_file}
bootstrap_peers = {peers}

[s3_api]
api_bind_addr = {s3_bind}
s3_region = {region}

[admin]
api_bind_addr = {admin_bind}
admin_token_file = {admin_token_file}
metrics_require_token = {guarded}
",
        metadata = quote_path(metadata_dir)?,
        snapshots = quote_path(snapshots_dir)?,
        data = quote_path(data_dir)?,
        rpc_bind = quote(rpc_bind),
        rpc_public = quote(declared.as_ref().unwrap_or(rpc_public)),
        rpc_secret_file = quote_path(rpc_secret_file)?,
        s3_bind = quote(s3_bind),
        region = quote(s3_region),
        admin_token_file = quote_path(admin_token_file)?,
    ))
}

fn quote_path(path: &Path) -> Result<String, ConfigError> {
    path.to_str().map(quote).ok_or_else(|| ConfigError::PathNotUtf8 {
        path: path.to_owned(),
    })
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use hayloft_api::agent::Peer;
    use hayloft_api::{NodeId, Secret};

    use super::*;

    fn desired() -> GarageDesired {
        GarageDesired {
            replication_factor: 3,
            fsync: true,
            rpc_secret: Secret::new("rpc-secret-text"),
            admin_token: Secret::new("admin-token-text"),
            s3_region: "garage".into(),
            zone: "paris".parse().unwrap(),
            rpc_public: None,
            program: None,
            bootstrap_peers: vec![
                Peer {
                    id: NodeId::from_public_key([0xab; 32]),
                    addr: "127.0.0.1:4001".into(),
                },
                Peer {
                    id: NodeId::from_public_key([0xcd; 32]),
                    addr: "lyon.example.org:3901".into(),
                },
            ],
        }
    }

    fn paths() -> GaragePaths {
        GaragePaths {
            metadata_dir: "/srv/host-1/garage/meta".into(),
            snapshots_dir: "/srv/host-1/garage/snapshots".into(),
            data_dir: "/srv/host-1/garage/data".into(),
            rpc_secret_file: "/srv/host-1/garage/rpc-secret".into(),
            admin_token_file: "/srv/host-1/garage/admin-token".into(),
        }
    }

    fn addresses(admin: AdminAddress) -> GarageAddresses {
        GarageAddresses {
            rpc_bind: "127.0.0.1:4000".into(),
            rpc_public: "127.0.0.1:4000".into(),
            s3_bind: "127.0.0.1:5000".into(),
            admin,
        }
    }

    #[test]
    fn a_member_with_peers_and_an_admin_socket() {
        let admin = AdminAddress::Unix("/srv/host-1/garage/admin.sock".into());
        let text = garage_toml(&desired(), &paths(), &addresses(admin)).unwrap();
        assert!(!text.contains("-text"), "a secret is in the file");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_lone_member_with_an_admin_port_and_a_strange_folder() {
        let desired = GarageDesired {
            fsync: false,
            replication_factor: 1,
            rpc_public: Some("paris-1.example.org:3901".into()),
            program: None,
            bootstrap_peers: vec![],
            ..desired()
        };
        let paths = GaragePaths {
            data_dir: "/srv/a \"b\"\\c\n".into(),
            ..paths()
        };
        let admin = AdminAddress::Url("http://127.0.0.1:6000".into());
        insta::assert_snapshot!(garage_toml(&desired, &paths, &addresses(admin)).unwrap());
    }
}
