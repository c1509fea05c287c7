//! A request for a certificate: the proof that one who asks holds the key that it asks for.

use hayloft_api::join::HostKey;
use rcgen::{CertificateParams, CertificateSigningRequestParams, DistinguishedName, PublicKeyData};

use crate::key::Keypair;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It could not be made.
    #[error("the request for a certificate could not be written")]
    Write,
    /// It is malformed, or its signature is not by the key in it.
    #[error("the request for a certificate is malformed or not signed by its own key")]
    Forged,
    /// The key is of another kind.
    #[error("the request is for another kind of key than Ed25519")]
    OtherKey,
}

/// A PKCS #10 request (RFC 2986) whose signature was checked. Names and extensions in it are never used: what a key is
/// called is the coordinator's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The key, whose owner signed the request.
    pub key: HostKey,
}

impl CertificateRequest {
    /// Writes a request for a pair's own key, in PEM.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(key: &Keypair) -> Result<String, RequestError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .serialize_request(key)
            .and_then(|request| request.pem())
            .map_err(|_| RequestError::Write)
    }

    /// Reads a request in PEM and checks its signature.
    ///
    /// # Errors
    /// When it is malformed, forged, or for a key of another kind.
    pub fn read(pem: &str) -> Result<Self, RequestError> {
        let request = CertificateSigningRequestParams::from_pem(pem).map_err(|_| RequestError::Forged)?;
        if request.public_key.algorithm() != &rcgen::PKCS_ED25519 {
            return Err(RequestError::OtherKey);
        }
        let key = request
            .public_key
            .der_bytes()
            .try_into()
            .map_err(|_| RequestError::OtherKey)?;
        Ok(Self {
            key: HostKey::from_bytes(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_request_names_the_key_that_signed_it() {
        let key = Keypair::from_seed(&[3; 32]).unwrap();
        let request = CertificateRequest::write(&key).unwrap();
        assert_eq!(CertificateRequest::read(&request).unwrap().key, key.public());
    }

    #[test]
    fn a_request_with_another_ones_key_is_refused() {
        let key = Keypair::from_seed(&[3; 32]).unwrap();
        let other = Keypair::from_seed(&[4; 32]).unwrap();
        let pem = CertificateRequest::write(&key).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
        let mut der = STANDARD.decode(body).unwrap();
        let at = der
            .windows(32)
            .position(|window| window == key.public().as_bytes())
            .unwrap();
        der[at..at + 32].copy_from_slice(other.public().as_bytes());
        let forged = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD.encode(der)
        );
        assert_eq!(CertificateRequest::read(&forged), Err(RequestError::Forged));
        assert_eq!(CertificateRequest::read("what"), Err(RequestError::Forged));
    }
}
