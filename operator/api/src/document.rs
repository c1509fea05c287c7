//! The CacheCluster document: what one community declares.

use serde::{Deserialize, Serialize};

use crate::rules::Violations;
use crate::{Bytes, CacheName, ClusterName, HostName, OwnerName, Percent, Rate, Span, Window, ZoneName};

/// Why a text is not a valid document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML, or a field is unknown, missing or of another type. The source names the field and the line.
    #[error("the document cannot be read")]
    Parse(#[source] serde_yaml::Error),
    /// It is readable, and breaks rules.
    #[error("the document is not valid")]
    Rules(#[source] Violations),
}

/// A `CacheCluster` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// What kind of document it is.
    pub kind: Kind,
    /// Its name.
    pub metadata: Metadata,
    /// What is declared.
    pub spec: Spec,
}

impl Document {
    /// Reads a document and checks it against all rules that need nothing but the document.
    ///
    /// # Errors
    /// With the path of each wrong field, what was given and what is allowed.
    pub fn from_yaml(text: &str) -> Result<Self, DocumentError> {
        let document: Self = serde_yaml::from_str(text).map_err(DocumentError::Parse)?;
        crate::rules::check(&document).map_err(DocumentError::Rules)?;
        Ok(document)
    }

    /// Writes the document, with every default spelt out.
    ///
    /// # Errors
    /// None that a document read by [`Document::from_yaml`] can cause.
    pub fn to_yaml(&self) -> Result<String, DocumentError> {
        serde_yaml::to_string(self).map_err(DocumentError::Parse)
    }

    /// The declared host of that name.
    pub fn host(&self, name: &HostName) -> Option<&HostSpec> {
        self.spec.hosts.iter().find(|host| host.name == *name)
    }

    /// The declared hosts that hold data.
    pub fn storage_hosts(&self) -> impl Iterator<Item = &HostSpec> {
        self.spec.hosts.iter().filter(|host| host.has(Role::Storage))
    }

    /// The one host that answers Nix clients where gateways cannot be linked, as at home: the first with role `gateway` that is
    /// active, or the first of all when none is. Others with that role have to wait there.
    pub fn gateway_host(&self) -> Option<&HostSpec> {
        let gateways = || self.spec.hosts.iter().filter(|host| host.has(Role::Gateway));
        gateways()
            .find(|host| host.state.is_active())
            .or_else(|| gateways().next())
    }
}

/// Versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// The first one.
    #[serde(rename = "hayloft.dev/v1alpha1")]
    V1Alpha1,
}

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A cluster.
    CacheCluster,
}

/// What the document is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The cluster's name; immutable.
    pub name: ClusterName,
}

/// What is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// How data is kept.
    pub garage: GarageSpec,
    /// Hosts that are declared by name.
    #[serde(default)]
    pub hosts: Vec<HostSpec>,
    /// Hosts that the operator makes in Kubernetes.
    #[serde(default)]
    pub pools: Vec<PoolSpec>,
    /// Who may join.
    #[serde(default)]
    pub admission: AdmissionSpec,
    /// How data is moved.
    #[serde(default)]
    pub rebalance: RebalanceSpec,
    /// How Nix clients are served.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// Declared caches; others are left alone.
    #[serde(default)]
    pub caches: Vec<CacheSpec>,
}

/// How data is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GarageSpec {
    /// Copies of everything: 1, 3 or 5; immutable.
    #[serde(deserialize_with = "count::required")]
    pub replication_factor: u8,
    /// Flush data and metadata to disk before acknowledging. Default: true.
    #[serde(default = "yes")]
    pub fsync: bool,
    /// Copies lie in at least this many zones. Default: the replication factor, one copy in each zone.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::optional"
    )]
    pub zone_redundancy: Option<u8>,
    /// The most bytes that the bucket may hold, one copy counted. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Bytes>,
}

impl GarageSpec {
    /// The zone redundancy that applies. The default is fixed by the document alone, so that losing a zone never
    /// lowers it silently.
    pub fn zones(&self) -> u8 {
        self.zone_redundancy.unwrap_or(self.replication_factor)
    }
}

/// Small numbers, with errors in words instead of in types.
mod count {
    use std::fmt;

    use serde::Deserializer;
    use serde::de::{Error, Visitor};

    struct Count;

    impl Visitor<'_> for Count {
        type Value = u8;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a small number such as 3")
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<u8, E> {
            u8::try_from(number).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
        }
    }

    pub(super) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        deserializer.deserialize_u8(Count)
    }

    pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        required(deserializer).map(Some)
    }
}

const fn yes() -> bool {
    true
}

/// A part that a host plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Holds data.
    Storage,
    /// Answers Nix clients.
    Gateway,
}

impl Role {
    /// As the document writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Gateway => "gateway",
        }
    }
}

/// A declared host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// Its name, unique.
    pub name: HostName,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// Its failure domain.
    pub zone: ZoneName,
    /// What it does.
    pub roles: Vec<Role>,
    /// Bytes it lends; needed for `storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pledge: Option<Bytes>,
    /// A DNS name or IP address at which other hosts reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it takes part.
    #[serde(default, skip_serializing_if = "HostState::is_active")]
    pub state: HostState,
    /// An absence that is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// The most bytes a second that it may send, to members and clients. Default: no limit but `rebalance.maxRate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Rate>,
}

impl HostSpec {
    /// Whether it plays that part.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Whether a declared host takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// It does.
    #[default]
    Active,
    /// It gives its data away and then holds none.
    Drained,
}

impl HostState {
    /// Whether it is `active`.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// An announced absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Away {
    /// Until when the host is not missed.
    pub until: jiff::Timestamp,
}

/// Hosts that the operator makes in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// Its name; its hosts are called `<name>-0`, `<name>-1`, …
    pub name: HostName,
    /// Their failure domain.
    pub zone: ZoneName,
    /// How many.
    pub replicas: u16,
    /// What they do.
    pub roles: Vec<Role>,
    /// Bytes that each lends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pledge: Option<Bytes>,
    /// The class of their volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// How a host that asks to join is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// By these rules alone.
    #[default]
    Automatic,
    /// By a person, after these rules.
    Manual,
}

/// Who may join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmissionSpec {
    /// By rule or by hand. Default: automatic.
    #[serde(default)]
    pub approval: Approval,
    /// The largest pledge taken. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pledge: Option<Bytes>,
    /// The zones that hosts may be in. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<ZoneName>>,
    /// The oldest Garage taken, `major.minor`. Default: 2.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_garage: Option<String>,
}

/// How many of Garage's resync workers run on each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum ResyncWorkers {
    /// As the engine finds good.
    #[default]
    #[serde(with = "auto")]
    Auto,
    /// A fixed number, 1 to 8.
    Fixed(u8),
}

/// The word `auto`.
mod auto {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("auto")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(()),
            other => Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Str(other),
                &"`auto` or a number from 1 to 8",
            )),
        }
    }
}

/// How data is moved when hosts come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RebalanceSpec {
    /// Hosts that join within this time share one layout version. Default: 2m.
    pub join_window: Span,
    /// Observed absence after which a host may be removed. Default: 72h.
    pub dead_after: Span,
    /// Share of every disk that is never planned with. Default: 10%.
    pub reserve: Percent,
    /// Garage's resync workers. Default: auto.
    pub resync_workers: ResyncWorkers,
    /// When data may be moved; empty: always.
    pub windows: Vec<Window>,
    /// The most bytes a second that one host may send. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Rate>,
}

impl Default for RebalanceSpec {
    fn default() -> Self {
        Self {
            join_window: Span::minutes(2),
            dead_after: Span::hours(72),
            reserve: Percent::new(10),
            resync_workers: ResyncWorkers::Auto,
            windows: Vec::new(),
            max_rate: None,
        }
    }
}

/// How Nix clients are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewaySpec {
    /// The URL that clients use. Default: made from each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// What gateways keep near.
    pub cache: GatewayCacheSpec,
}

/// What a gateway keeps near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayCacheSpec {
    /// In memory. Default: 256Mi.
    pub memory: Bytes,
    /// On disk. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
}

impl Default for GatewayCacheSpec {
    fn default() -> Self {
        Self {
            memory: Bytes(256 << 20),
            disk: None,
        }
    }
}

/// A declared cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheSpec {
    /// Its name, unique.
    pub name: CacheName,
    /// Whether anyone may pull. Default: false.
    #[serde(default)]
    pub public: bool,
    /// Nix's priority; lower is asked first. Default: 41, after cache.nixos.org.
    #[serde(default = "default_priority")]
    pub priority: i32,
    /// The store that its paths belong to. Default: /nix/store.
    #[serde(default = "default_store_dir")]
    pub store_dir: String,
    /// How long a path is kept after its last use. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Names of keys whose paths clients need not push.
    #[serde(default = "default_upstream_keys")]
    pub upstream_keys: Vec<String>,
}

const fn default_priority() -> i32 {
    41
}

fn default_store_dir() -> String {
    "/nix/store".to_owned()
}

fn default_upstream_keys() -> Vec<String> {
    vec!["cache.nixos.org-1".to_owned()]
}
