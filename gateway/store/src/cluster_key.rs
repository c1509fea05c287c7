//! The one secret of a gateway: from it come the key that signs the log and the key that seals secrets in it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const PREFIX: &str = "hlk1:";
const SIGNING: &[u8] = b"hayloft log signing v1";
const SEALING: &[u8] = b"hayloft sealing v1";

/// Why a text is not a cluster key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster key is \"hlk1:\" and the base64 of 32 bytes")]
pub struct ClusterKeyError;

/// What went wrong inside the crypto library; it never says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A key could not be derived.
    #[error("a key could not be derived from the cluster key")]
    Derive,
    /// A secret could not be sealed.
    #[error("a secret could not be sealed")]
    Seal,
    /// A secret was sealed under another cluster key or context, or was changed.
    #[error("a sealed secret cannot be opened with this cluster key")]
    Open,
}

/// 32 secret bytes. Never shown by `Debug`.
#[derive(Clone)]
pub struct ClusterKey(Zeroizing<[u8; 32]>);

impl ClusterKey {
    /// The key that these 32 random bytes are.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key as its file holds it: `hlk1:<base64>`. Keep it out of logs.
    #[must_use]
    pub fn expose_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(self.0.as_slice())))
    }

    /// The key that signs log objects.
    ///
    /// # Errors
    /// Only when the crypto library fails.
    pub fn log_signer(&self) -> Result<LogSigner, SecretError> {
        let seed = self.derive(SIGNING)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| SecretError::Derive)?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| SecretError::Derive)?;
        Ok(LogSigner { pair, public })
    }

    /// The key that seals secrets in records.
    ///
    /// # Errors
    /// Only when the crypto library fails.
    pub fn sealer(&self) -> Result<Sealer, SecretError> {
        let key = self.derive(SEALING)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SecretError::Derive)?;
        Ok(Sealer {
            key: LessSafeKey::new(key),
        })
    }

    fn derive(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, SecretError> {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                32
            }
        }
        let mut out = Zeroizing::new([0_u8; 32]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_slice());
        let info = [info];
        let material = secret.expand(&info, Length).map_err(|_| SecretError::Derive)?;
        material
            .fill(out.as_mut_slice())
            .map_err(|_| SecretError::Derive)?;
        Ok(out)
    }
}

impl FromStr for ClusterKey {
    type Err = ClusterKeyError;

    fn from_str(text: &str) -> Result<Self, ClusterKeyError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(ClusterKeyError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| ClusterKeyError)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| ClusterKeyError)?;
        Ok(Self::from_random(bytes))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

/// Signs log objects.
pub struct LogSigner {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl LogSigner {
    /// The public half; it stands in every log object.
    #[must_use]
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// An Ed25519 signature (64 bytes) of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Whether `signature` is this key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSigner({})", hex::encode(self.public))
    }
}

/// Seals secrets that stand in records (AES-256-GCM; nonce, ciphertext and tag in one).
pub struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// Seals `secret`, to be opened only with the same `context`. `nonce` must be fresh and random.
    ///
    /// # Errors
    /// Only when the crypto library fails.
    pub fn seal(&self, nonce: [u8; 12], context: &str, secret: &[u8]) -> Result<Vec<u8>, SecretError> {
        let mut body = secret.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut body,
            )
            .map_err(|_| SecretError::Seal)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// When it was sealed under another key or context, or was changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (nonce, body) = sealed.split_at_checked(12).ok_or(SecretError::Open)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::Open)?;
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| SecretError::Open)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_what_it_wrote_and_keeps_silent_in_debug() {
        let key = ClusterKey::from_random([7; 32]);
        let text = key.expose_secret();
        let again: ClusterKey = text.parse().unwrap();
        assert_eq!(again.expose_secret(), text);
        assert_eq!(format!("{key:?}"), "ClusterKey(..)");
        for wrong in [
            "",
            "hlk1:",
            "hlk2:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "hlk1:BwcH",
        ] {
            assert!(wrong.parse::<ClusterKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_derived_keys_never_change_between_versions() {
        // Buckets in the wild depend on these two derivations.
        let key = ClusterKey::from_random([7; 32]);
        insta::assert_snapshot!(hex::encode(key.log_signer().unwrap().public()));
        let sealed = key.sealer().unwrap().seal([1; 12], "main", b"secret").unwrap();
        insta::assert_snapshot!(hex::encode(sealed));
    }

    #[test]
    fn a_sealed_secret_opens_only_with_its_key_and_context() {
        let key = ClusterKey::from_random([7; 32]);
        let sealed = key.sealer().unwrap().seal([9; 12], "main", b"secret").unwrap();
        assert_eq!(
            key.sealer().unwrap().open("main", &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert_eq!(
            key.sealer().unwrap().open("other", &sealed).err(),
            Some(SecretError::Open)
        );
        let other = ClusterKey::from_random([8; 32]).sealer().unwrap();
        assert_eq!(other.open("main", &sealed).err(), Some(SecretError::Open));
        assert_eq!(other.open("main", &sealed[..5]).err(), Some(SecretError::Open));
    }
}
