//! The secrets of a cluster. Made once; the store keeps them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hayloft_api::Secret;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zeroize::Zeroizing;

/// All secrets of a cluster, each in the form in which it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSecrets {
    /// Garage's RPC secret: 64 hex digits.
    pub rpc_secret: Secret,
    /// Garage's static admin token: 64 hex digits; one with a `.` is never accepted.
    pub admin_token: Secret,
    /// The S3 access key's id: `GK` and 24 hex digits. Not secret.
    pub access_key_id: String,
    /// The S3 access key's secret: 64 hex digits.
    pub secret_access_key: Secret,
    /// Signs tokens: base64 of 64 bytes.
    pub token_secret: Secret,
    /// Seals and signs the log: `hlk1:` and base64 of 32 bytes.
    pub cluster_key: Secret,
}

/// The store holds some secrets and not all.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{missing}` is missing; restore the coordinator's store from a backup")]
pub struct SecretsError {
    missing: &'static str,
}

impl ClusterSecrets {
    /// Makes all secrets from 32 bytes of true randomness.
    pub(crate) fn make(seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut bytes = |buffer: &mut [u8]| rng.fill_bytes(buffer);
        let mut hex = |n: usize| {
            let mut buffer = Zeroizing::new(vec![0; n]);
            bytes(&mut buffer);
            hex::encode(&buffer[..])
        };
        let rpc_secret = Secret::new(hex(32));
        let admin_token = Secret::new(hex(32));
        let access_key_id = format!("GK{}", hex(12));
        let secret_access_key = Secret::new(hex(32));
        let mut base64 = |n: usize| {
            let mut buffer = Zeroizing::new(vec![0; n]);
            bytes(&mut buffer);
            Zeroizing::new(STANDARD.encode(&buffer[..]))
        };
        let token_secret = Secret::new(base64(64).as_str());
        let cluster_key = Secret::new(format!("hlk1:{}", base64(32).as_str()));
        Self {
            rpc_secret,
            admin_token,
            access_key_id,
            secret_access_key,
            token_secret,
            cluster_key,
        }
    }

    /// As rows of the store.
    pub(crate) fn rows(&self) -> [(&'static str, &str); 6] {
        let Self {
            rpc_secret,
            admin_token,
            access_key_id,
            secret_access_key,
            token_secret,
            cluster_key,
        } = self;
        [
            ("rpc", rpc_secret.expose()),
            ("admin", admin_token.expose()),
            ("s3-id", access_key_id),
            ("s3", secret_access_key.expose()),
            ("token", token_secret.expose()),
            ("cluster", cluster_key.expose()),
        ]
    }

    /// From rows of the store.
    pub(crate) fn from_rows(mut take: impl FnMut(&str) -> Option<String>) -> Result<Self, SecretsError> {
        let mut get = |missing| take(missing).ok_or(SecretsError { missing });
        Ok(Self {
            rpc_secret: Secret::new(get("rpc")?),
            admin_token: Secret::new(get("admin")?),
            access_key_id: get("s3-id")?,
            secret_access_key: Secret::new(get("s3")?),
            token_secret: Secret::new(get("token")?),
            cluster_key: Secret::new(get("cluster")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_the_forms_that_their_users_need() {
        let secrets = ClusterSecrets::make([7; 32]);
        let hex = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(hex(secrets.rpc_secret.expose(), 64));
        assert!(hex(secrets.admin_token.expose(), 64));
        assert!(hex(secrets.secret_access_key.expose(), 64));
        assert!(hex(secrets.access_key_id.strip_prefix("GK").unwrap(), 24));
        assert_eq!(STANDARD.decode(secrets.token_secret.expose()).unwrap().len(), 64);
        let key = secrets.cluster_key.expose().strip_prefix("hlk1:").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
        assert_ne!(secrets, ClusterSecrets::make([8; 32]));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let secrets = ClusterSecrets::make([7; 32]);
        let shown = format!("{secrets:?}");
        for (name, value) in secrets.rows() {
            assert!(name == "s3-id" || !shown.contains(value), "{name}");
        }
    }
}
