//! How a handshake judges the other end.

use std::sync::Arc;

use hayloft_api::ClusterName;
use hayloft_api::join::{HostKey, Member};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::certificate::{self, Facts};
use crate::pin::Pin;
use crate::tls::Strangers;
use crate::trust::{LiveTrust, Trust};

/// TLS 1.2 is never negotiated: its signatures need no check of ours.
fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

fn read(certificate: &CertificateDer<'_>) -> Result<Facts, Error> {
    certificate::read(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// The moment at which a certificate is checked: now, moved into the time for which it says that it is valid. The list
/// decides who belongs; a certificate only proves a name, which it does also when an outage outlived it or a clock is wrong.
/// ([`crate::Standing`] tells a door of either.)
fn moment(facts: &Facts, now: UnixTime) -> UnixTime {
    let seconds = |moment: jiff::Timestamp| u64::try_from(moment.as_second()).unwrap_or(0);
    let within = now.as_secs().clamp(
        seconds(facts.not_before),
        seconds(facts.not_after).max(seconds(facts.not_before)),
    );
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(within))
}

/// The member that a listed key belongs to; its certificate must bear that member's name.
fn listed<'t>(
    trust: &'t Trust,
    key: &HostKey,
    certificate: &ParsedCertificate<'_>,
) -> Result<&'t Member, Error> {
    let member = trust
        .member(key)
        .ok_or(Error::InvalidCertificate(CertificateError::Revoked))?;
    verify_server_name(certificate, &named(member, &trust.cluster)?)?;
    Ok(member)
}

fn named(member: &Member, cluster: &ClusterName) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(member.dns_name(cluster)).map_err(|_| CertificateError::NotValidForName.into())
}

/// Judges one who dials: its key is on the list, and its certificate is of the cluster's authority and bears the key's name.
#[derive(Debug)]
pub(crate) struct Knocking {
    pub(crate) trust: Arc<LiveTrust>,
    pub(crate) strangers: Strangers,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Knocking {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strangers == Strangers::Refused
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let facts = read(certificate)?;
        let trust = self.trust.now();
        listed(&trust, &facts.key, &ParsedCertificate::try_from(certificate)?)?;
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_client_cert(certificate, intermediates, moment(&facts, now))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms(&self.provider))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Judges one who is dialled: the same, and it is the member that was meant (the name given to the connection).
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) trust: Arc<LiveTrust>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let facts = read(certificate)?;
        let trust = self.trust.now();
        let parsed = ParsedCertificate::try_from(certificate)?;
        listed(&trust, &facts.key, &parsed)?;
        verify_server_name(&parsed, name)?;
        chain(
            &parsed,
            &trust.roots,
            intermediates,
            moment(&facts, now),
            &self.provider,
        )
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms(&self.provider))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Judges a coordinator that is dialled by one who knows only the pin of the authority's root, out of a join token: the root is
/// among the certificates that are shown, and they lead from it to the coordinator.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) pin: Pin,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let facts = read(certificate)?;
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_name(&parsed, name)?;
        let mut roots = RootCertStore::empty();
        for shown in intermediates {
            if read(shown).is_ok_and(|root| Pin::of(&root.key) == self.pin) {
                roots.add(shown.clone().into_owned())?;
            }
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        chain(
            &parsed,
            &roots,
            intermediates,
            moment(&facts, now),
            &self.provider,
        )
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms(&self.provider))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

fn chain(
    certificate: &ParsedCertificate<'_>,
    roots: &RootCertStore,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<ServerCertVerified, Error> {
    verify_server_cert_signed_by_trust_anchor(
        certificate,
        roots,
        intermediates,
        now,
        algorithms(provider).all,
    )?;
    Ok(ServerCertVerified::assertion())
}
