//! The cluster's own certificate authority: a root, an intermediate that signs, and what they sign.

use aws_lc_rs::digest::{Context, SHA256};
use hayloft_api::join::{HostKey, Member, cluster_domain};
use hayloft_api::{ClusterName, Secret, exposed};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::certificate::{self, CertificateError, Chain, Facts};
use crate::key::{KeyError, Keypair, PublicKey};
use crate::pin::Pin;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
const INTERMEDIATE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 730);

/// How long a member's certificate is valid. It is renewed when a third of that has passed ([`should_renew`]), so that an
/// outage of days passes unnoticed.
pub const HOST_CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Certificates are valid from this much before they are made: clocks differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// Why an authority cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key.
    #[error("the certificate authority's key cannot be used")]
    Key(#[from] KeyError),
    /// A certificate of its own.
    #[error("the certificate authority's own certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// A moment that no certificate can bear.
    #[error("the clock says a time at which no certificate can be made; set it right")]
    Clock,
    /// Signing.
    #[error("a certificate could not be signed")]
    Sign(#[source] rcgen::Error),
}

/// An authority as it is kept: secret, in the coordinator's store and its encrypted backups only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityRecord {
    /// The cluster whose names it may sign.
    pub cluster: ClusterName,
    /// The root's certificate.
    pub root: String,
    /// The root's private key.
    #[serde(with = "exposed")]
    pub root_key: Secret,
    /// The intermediate's certificate.
    pub intermediate: String,
    /// The intermediate's private key.
    #[serde(with = "exposed")]
    pub intermediate_key: Secret,
    /// The root's key as the authority before it signed it, then that authority's root; while a token may be about that
    /// bears the pin of that one.
    #[serde(default)]
    pub bridge: Option<String>,
}

/// The cluster's authority. It shows no key.
#[derive(Debug)]
pub struct Authority {
    cluster: ClusterName,
    root: CertificateDer<'static>,
    root_key: Keypair,
    intermediate: CertificateDer<'static>,
    intermediate_key: Keypair,
    bridge: Option<Chain>,
}

impl Authority {
    /// A new authority, from 32 random bytes for each of its two keys.
    ///
    /// # Errors
    /// When a seed or the clock is unusable.
    pub fn create(
        cluster: ClusterName,
        root_seed: &[u8; 32],
        intermediate_seed: &[u8; 32],
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let root_key = Keypair::from_seed(root_seed)?;
        let intermediate_key = Keypair::from_seed(intermediate_seed)?;
        let window = Window::new(now, ROOT_LIFE)?;
        let root = sign(
            &ca_params(&cluster, "root", &root_key.public(), 1, &window),
            &root_key.public(),
            &root_issuer(&cluster, &root_key),
        )?;
        let intermediate = sign_intermediate(&cluster, &root_key, &intermediate_key, now)?;
        Ok(Self {
            cluster,
            root,
            root_key,
            intermediate,
            intermediate_key,
            bridge: None,
        })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When a key or certificate in it is malformed.
    pub fn from_record(record: &AuthorityRecord) -> Result<Self, AuthorityError> {
        Ok(Self {
            cluster: record.cluster.clone(),
            root: certificate::from_pem(&record.root)?,
            root_key: Keypair::from_pem(&record.root_key)?,
            intermediate: certificate::from_pem(&record.intermediate)?,
            intermediate_key: Keypair::from_pem(&record.intermediate_key)?,
            bridge: record.bridge.as_deref().map(Chain::from_pem).transpose()?,
        })
    }

    /// What to keep.
    pub fn to_record(&self) -> AuthorityRecord {
        AuthorityRecord {
            cluster: self.cluster.clone(),
            root: certificate::to_pem(&self.root),
            root_key: self.root_key.to_pem(),
            intermediate: certificate::to_pem(&self.intermediate),
            intermediate_key: self.intermediate_key.to_pem(),
            bridge: self.bridge.as_ref().map(Chain::to_pem),
        }
    }

    /// The pin that join tokens bear.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.root_key.public())
    }

    /// The root's certificate in PEM, for [`hayloft_api::join::TrustList::roots`].
    pub fn root_pem(&self) -> String {
        certificate::to_pem(&self.root)
    }

    /// The cluster whose names it signs.
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// A certificate that says who owns a key. Whether that is so is the caller's to know.
    ///
    /// # Errors
    /// When the clock is unusable.
    pub fn issue(&self, member: &Member, key: &HostKey, now: Timestamp) -> Result<Chain, AuthorityError> {
        let name = member.dns_name(&self.cluster);
        let intermediate = certificate::read(&self.intermediate)?;
        let window = Window::new(now, HOST_CERTIFICATE_LIFE)?.within(&intermediate)?;
        let mut params = params(&window, key, &name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(AuthorityError::Sign)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let leaf = sign(
            &params,
            key,
            &issuer(&self.cluster, "intermediate", &self.intermediate_key, 0),
        )?;
        let mut chain = vec![leaf, self.intermediate.clone(), self.root.clone()];
        if let Some(bridge) = &self.bridge {
            chain.extend(bridge.certificates().iter().cloned());
        }
        Ok(Chain::new(chain))
    }

    /// Whether the intermediate should be made anew: its last third has begun.
    ///
    /// # Errors
    /// When its certificate is malformed.
    pub fn intermediate_is_due(&self, now: Timestamp) -> Result<bool, AuthorityError> {
        let facts = certificate::read(&self.intermediate)?;
        Ok(facts.not_after.duration_since(now) < INTERMEDIATE_LIFE / 3)
    }

    /// The same authority with a new intermediate. Nobody needs to be told: the root stays.
    ///
    /// # Errors
    /// When the seed or the clock is unusable.
    pub fn with_new_intermediate(self, seed: &[u8; 32], now: Timestamp) -> Result<Self, AuthorityError> {
        let intermediate_key = Keypair::from_seed(seed)?;
        let intermediate = sign_intermediate(&self.cluster, &self.root_key, &intermediate_key, now)?;
        Ok(Self {
            intermediate,
            intermediate_key,
            ..self
        })
    }

    /// Signs the root of the authority that shall follow this one, so that a token with this one's pin still leads to it.
    ///
    /// # Errors
    /// When the clock is unusable.
    pub fn bridge_to(&self, next: Self, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = next.root_key.public();
        let window = Window::new(now, DAY * 90)?;
        let bridge = sign(
            &ca_params(&self.cluster, "root", &key, 1, &window),
            &key,
            &root_issuer(&self.cluster, &self.root_key),
        )?;
        Ok(Self {
            bridge: Some(Chain::new(vec![bridge, self.root.clone()])),
            ..next
        })
    }
}

/// Whether a certificate should be renewed: a third of its life has passed, or the clock is before its beginning.
pub fn should_renew(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    let life = not_after.duration_since(not_before);
    now < not_before || now.duration_since(not_before) > life / 3
}

/// From when until when.
struct Window {
    from: OffsetDateTime,
    until: OffsetDateTime,
}

impl Window {
    fn new(now: Timestamp, life: SignedDuration) -> Result<Self, AuthorityError> {
        let at = |moment: Result<Timestamp, jiff::Error>| {
            moment.map_err(|_| AuthorityError::Clock).and_then(offset)
        };
        Ok(Self {
            from: at(now.checked_sub(BACKDATED))?,
            until: at(now.checked_add(life))?,
        })
    }

    /// No longer than the one that signs is valid.
    fn within(self, signer: &Facts) -> Result<Self, AuthorityError> {
        let from = self.from.max(offset(signer.not_before)?);
        let until = self.until.min(offset(signer.not_after)?);
        if from < until {
            Ok(Self { from, until })
        } else {
            Err(AuthorityError::Clock)
        }
    }
}

fn offset(moment: Timestamp) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).map_err(|_| AuthorityError::Clock)
}

fn params(window: &Window, key: &HostKey, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = window.from;
    params.not_after = window.until;
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial(window, key, name));
    params
}

/// A number that differs when anything in the certificate does: an authority must not use one twice (RFC 5280 §4.1.2.2).
fn serial(window: &Window, key: &HostKey, name: &str) -> SerialNumber {
    let mut hash = Context::new(&SHA256);
    hash.update(key.as_bytes());
    hash.update(&window.from.unix_timestamp().to_be_bytes());
    hash.update(&window.until.unix_timestamp().to_be_bytes());
    hash.update(name.as_bytes());
    SerialNumber::from_slice(&hash.finish().as_ref()[..16])
}

fn ca_subject(role: &str, key: &HostKey) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    // The key is in the name, so that chains of two authorities are never mixed up while both are trusted.
    subject.push(DnType::CommonName, format!("hayloft {role} {}", key.short()));
    subject
}

fn ca_params(
    cluster: &ClusterName,
    role: &str,
    key: &HostKey,
    below: u8,
    window: &Window,
) -> CertificateParams {
    let mut params = params(window, key, role);
    params.distinguished_name = ca_subject(role, key);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(cluster_domain(cluster))],
        // A kind of name that no permitted subtree mentions is free (RFC 5280 §4.2.1.10): addresses must be named.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params
}

fn issuer<'a>(cluster: &ClusterName, role: &str, key: &'a Keypair, below: u8) -> Issuer<'a, &'a Keypair> {
    // Only its subject, key usages and key identifier are read.
    let window = Window {
        from: OffsetDateTime::UNIX_EPOCH,
        until: OffsetDateTime::UNIX_EPOCH,
    };
    Issuer::new(ca_params(cluster, role, &key.public(), below, &window), key)
}

fn root_issuer<'a>(cluster: &ClusterName, key: &'a Keypair) -> Issuer<'a, &'a Keypair> {
    issuer(cluster, "root", key, 1)
}

fn sign_intermediate(
    cluster: &ClusterName,
    root_key: &Keypair,
    key: &Keypair,
    now: Timestamp,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let window = Window::new(now, INTERMEDIATE_LIFE)?;
    sign(
        &ca_params(cluster, "intermediate", &key.public(), 0, &window),
        &key.public(),
        &root_issuer(cluster, root_key),
    )
}

fn sign(
    params: &CertificateParams,
    key: &HostKey,
    issuer: &Issuer<'_, &Keypair>,
) -> Result<CertificateDer<'static>, AuthorityError> {
    params
        .signed_by(&PublicKey(*key), issuer)
        .map(|certificate| certificate.der().clone())
        .map_err(AuthorityError::Sign)
}
