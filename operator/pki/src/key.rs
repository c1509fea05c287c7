//! An Ed25519 key pair: a host's, a coordinator's, or the authority's.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayloft_api::Secret;
use hayloft_api::join::HostKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// PKCS #8 (RFC 8410 §7) of an Ed25519 key is this and the 32 bytes of its seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why a key pair could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The cryptography library refused the seed.
    #[error("no key can be made from this seed")]
    Seed,
    /// Not an Ed25519 private key in PEM.
    #[error("this is no Ed25519 private key in PEM (`-----BEGIN PRIVATE KEY-----`)")]
    NotAKey,
}

/// An Ed25519 key pair. It shows only its public half.
pub struct Keypair {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: HostKey,
}

impl Keypair {
    /// The pair that belongs to 32 random bytes.
    ///
    /// # Errors
    /// When the cryptography library refuses them.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let public = HostKey::from_bytes(
            pair.public_key()
                .as_ref()
                .try_into()
                .map_err(|_| KeyError::Seed)?,
        );
        Ok(Self {
            seed: Zeroizing::new(*seed),
            pair,
            public,
        })
    }

    /// Reads what [`Keypair::to_pem`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_pem(pem: &Secret) -> Result<Self, KeyError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| KeyError::NotAKey)?;
        let seed = der
            .secret_pkcs8_der()
            .strip_prefix(PKCS8_PREFIX.as_slice())
            .and_then(|seed| <&[u8; 32]>::try_from(seed).ok())
            .ok_or(KeyError::NotAKey)?;
        Self::from_seed(seed)
    }

    /// The private key as PKCS #8 in PEM, for a file of mode 0600.
    pub fn to_pem(&self) -> Secret {
        let body = Zeroizing::new(STANDARD.encode(self.pkcs8().as_slice()));
        Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            body.as_str()
        ))
    }

    /// The public half.
    pub const fn public(&self) -> HostKey {
        self.public
    }

    fn pkcs8(&self) -> Zeroizing<[u8; 48]> {
        let mut der = Zeroizing::new([0; 48]);
        der[..16].copy_from_slice(&PKCS8_PREFIX);
        der[16..].copy_from_slice(self.seed.as_slice());
        der
    }

    pub(crate) fn private_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8().to_vec()))
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.public.short())
    }
}

impl rcgen::PublicKeyData for Keypair {
    fn der_bytes(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Keypair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

/// A public key as rcgen wants it.
pub(crate) struct PublicKey(pub(crate) HostKey);

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let key = Keypair::from_seed(&[7; 32]).unwrap();
        assert_eq!(Keypair::from_pem(&key.to_pem()).unwrap().public(), key.public());
        assert_eq!(
            Keypair::from_pem(&Secret::new("hello")).unwrap_err(),
            KeyError::NotAKey
        );
    }

    #[test]
    fn debug_output_shows_only_the_public_half() {
        let key = Keypair::from_seed(&[7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("Keypair({})", key.public().short()));
    }
}
