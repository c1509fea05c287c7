//! The links between gateways: an authority of their own, made of a secret that all gateways of a bucket know and nobody else.
//!
//! Whoever shows a certificate of it may have changes ordered in the log, which whoever knows that secret can do anyway. It is
//! never renewed by time: with another secret, as after an eviction, it is another authority.

use std::net::IpAddr;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use hayloft_api::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use zeroize::Zeroizing;

use crate::authority::AuthorityError;
use crate::certificate;
use crate::key::{Keypair, PublicKey};

/// What keeps keys of other kinds apart from these.
const PURPOSE: &[u8] = b"hayloft gateway links 1";

/// What a gateway shows on its links, and whom it trusts there.
#[derive(Debug, Clone)]
pub struct LinkIdentity {
    /// Its certificate in PEM.
    pub certificate: String,
    /// The certificate's private key in PEM.
    pub key: Secret,
    /// The authority's certificate in PEM.
    pub authority: String,
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(secret: &Secret, role: &str, name: &str) -> Result<Keypair, AuthorityError> {
    let mut seed = Zeroizing::new([0; 32]);
    let prk = Salt::new(HKDF_SHA256, PURPOSE).extract(secret.expose().as_bytes());
    prk.expand(&[role.as_bytes(), &[0], name.as_bytes()], Length)
        .and_then(|okm| okm.fill(&mut *seed))
        .map_err(|_| AuthorityError::Key(crate::key::KeyError::Seed))?;
    Ok(Keypair::from_seed(&seed)?)
}

fn params(name: &str, serial: &Keypair) -> CertificateParams {
    let mut params = CertificateParams::default();
    // RFC 5280 §4.1.2.5: a certificate without a well-defined end.
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&serial.public().as_bytes()[..16]));
    params
}

impl LinkIdentity {
    /// The identity of the gateway `name`, which the others dial at `host`, a DNS name or an IP address. The same for the same
    /// three.
    ///
    /// # Errors
    /// When `host` can stand in no certificate.
    pub fn derive(secret: &Secret, name: &str, host: &str) -> Result<Self, AuthorityError> {
        let authority_key = derive(secret, "authority", "")?;
        let key = derive(secret, "gateway", name)?;
        let mut authority = params("hayloft gateway links", &authority_key);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = authority
            .self_signed(&authority_key)
            .map_err(AuthorityError::Sign)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut own = params(name, &key);
        own.subject_alt_names = vec![match bare.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(bare.try_into().map_err(AuthorityError::Sign)?),
        }];
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        own.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        own.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(authority, &authority_key);
        let certificate = own
            .signed_by(&PublicKey(key.public()), &issuer)
            .map_err(AuthorityError::Sign)?;
        Ok(Self {
            certificate: certificate::to_pem(certificate.der()),
            key: key.to_pem(),
            authority: certificate::to_pem(root.der()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_that_know_the_same_secret_have_the_same_authority_and_others_another() {
        let secret = Secret::new("hush");
        let one = LinkIdentity::derive(&secret, "h1", "10.0.0.1").unwrap();
        let two = LinkIdentity::derive(&secret, "h2", "h2.example.org").unwrap();
        assert_eq!(one.authority, two.authority);
        assert_ne!(one.certificate, two.certificate);
        assert_ne!(one.key.expose(), two.key.expose());
        let again = LinkIdentity::derive(&secret, "h1", "10.0.0.1").unwrap();
        assert_eq!(
            (one.certificate, one.authority.clone()),
            (again.certificate, again.authority)
        );
        let later = LinkIdentity::derive(&Secret::new("other"), "h1", "10.0.0.1").unwrap();
        assert_ne!(later.authority, one.authority);
        assert!(LinkIdentity::derive(&secret, "h1", "hôte").is_err());
    }
}
