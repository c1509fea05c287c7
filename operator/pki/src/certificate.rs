//! Certificates as they travel, and what is read in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayloft_api::join::HostKey;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// `SubjectPublicKeyInfo` (RFC 8410 §4) of an Ed25519 key is this and its 32 bytes.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A certificate, or a chain of them, could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not certificates in PEM.
    #[error("this is no certificate in PEM (`-----BEGIN CERTIFICATE-----`)")]
    NotPem,
    /// No X.509 certificate of an Ed25519 key.
    #[error("this is no X.509 certificate of an Ed25519 key")]
    Malformed,
}

/// A certificate and those that lead from it to a root, the root included: a joiner knows only the root's pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(Vec<CertificateDer<'static>>);

impl Chain {
    /// A chain of these, the certificate itself first.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(certificates)
    }

    /// Reads what [`Chain::to_pem`] wrote.
    ///
    /// # Errors
    /// When it holds no certificate, or something else.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NotPem)?;
        match chain.first() {
            Some(first) => read(first).map(|_| Self(chain)),
            None => Err(CertificateError::NotPem),
        }
    }

    /// All of them in PEM.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(|certificate| to_pem(certificate)).collect()
    }

    /// The certificates, the one that is used first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// Whose key it is, and from when until when it is valid.
    ///
    /// # Errors
    /// When the first certificate is malformed.
    pub fn facts(&self) -> Result<Facts, CertificateError> {
        self.0.first().ok_or(CertificateError::Malformed).and_then(read)
    }
}

/// What is read in a certificate, without believing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The key that it is about.
    pub key: HostKey,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The last.
    pub not_after: Timestamp,
}

/// Reads one certificate.
pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Facts, CertificateError> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let key = parsed
        .public_key()
        .raw
        .strip_prefix(SPKI_PREFIX.as_slice())
        .and_then(|key| <[u8; 32]>::try_from(key).ok())
        .ok_or(CertificateError::Malformed)?;
    let moment = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|_| CertificateError::Malformed)
    };
    Ok(Facts {
        key: HostKey::from_bytes(key),
        not_before: moment(parsed.validity().not_before)?,
        not_after: moment(parsed.validity().not_after)?,
    })
}

/// The `SubjectPublicKeyInfo` of a key, in DER.
pub(crate) fn public_key_info(key: &HostKey) -> [u8; 44] {
    let mut info = [0; 44];
    info[..12].copy_from_slice(&SPKI_PREFIX);
    info[12..].copy_from_slice(key.as_bytes());
    info
}

/// One certificate in PEM (RFC 7468: lines of 64).
pub(crate) fn to_pem(der: &CertificateDer<'_>) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// One certificate out of PEM.
pub(crate) fn from_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::NotPem)
}
