//! TLS as all links of a cluster speak it: 1.3 only, both ends shown, nothing resumed.

use std::sync::Arc;

use hayloft_api::ClusterName;
use hayloft_api::join::Member;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::certificate::CertificateError;
use crate::identity::LiveIdentity;
use crate::pin::Pin;
use crate::trust::LiveTrust;
use crate::verify::{Dialled, Knocking, Pinned};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The private key was refused.
    #[error("the private key cannot be used for TLS")]
    Key,
    /// The certificate was refused.
    #[error("the certificate cannot be used for TLS")]
    Certificate(#[source] CertificateError),
    /// They do not belong together.
    #[error("the certificate is about another key; delete the certificate to have it renewed")]
    OtherKey,
    /// A name that TLS cannot carry.
    #[error("`{name}` is no name for TLS")]
    Name {
        /// The name.
        name: String,
    },
    /// The library.
    #[error("TLS 1.3 cannot be set up")]
    Config(#[source] rustls::Error),
}

/// What a door does with one who shows no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// It is refused in the handshake.
    Refused,
    /// It is let in without a name: a coordinator's door, where those knock who want to join. Each route must ask who is there.
    LetIn,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// TLS for a door. Who shows a certificate must be on the list, at the handshake and, by [`LiveTrust::peer`], at each request.
///
/// # Errors
/// When the library refuses, which it does not.
pub fn server_config(
    identity: Arc<LiveIdentity>,
    trust: Arc<LiveTrust>,
    strangers: Strangers,
) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Knocking {
        trust,
        strangers,
        provider: Arc::clone(&provider),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    // A resumed session skips the check of the certificate: one who was taken off the list would come back with it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// TLS for dialling a member: pass [`server_name`] of the one that is meant, whatever its address is.
///
/// # Errors
/// When the library refuses, which it does not.
pub fn client_config(identity: Arc<LiveIdentity>, trust: Arc<LiveTrust>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Dialled {
        trust,
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(identity);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// TLS for one who joins: it has no certificate, and knows the coordinator by the pin in its token.
///
/// # Errors
/// When the library refuses, which it does not.
pub fn joining_config(pin: Pin) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Pinned {
        pin,
        provider: Arc::clone(&provider),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name under which a member is dialled.
///
/// # Errors
/// When the names are too long for DNS together, which two labels are not.
pub fn server_name(member: &Member, cluster: &ClusterName) -> Result<ServerName<'static>, TlsError> {
    let name = member.dns_name(cluster);
    ServerName::try_from(name.clone()).map_err(|_| TlsError::Name { name })
}
