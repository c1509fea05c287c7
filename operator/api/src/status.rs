//! What the coordinator tells people: the state of a cluster. The JSON is stable.

mod catalogue;
mod moves;
mod preview;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::document::Role;
pub use moves::{DelayStatus, Event, EventKind, MovePhase, MoveStatus};
pub use preview::{Bounds, HostPreview, Preview, ZonePreview};

use crate::{Bytes, CacheName, ClusterName, HostName, NodeId, OwnerName, ZoneName};

/// Writes bytes as a plain number, for scripts.
fn plain<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(bytes.0)
}

/// The same where there may be none.
#[expect(clippy::ref_option, reason = "serde's signature")]
fn plain_option<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_some(&bytes.0),
        None => serializer.serialize_none(),
    }
}

/// The state of a cluster at one moment, from what was seen and done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster.
    pub cluster: ClusterName,
    /// When this was observed.
    pub observed_at: Timestamp,
    /// All in one word.
    pub phase: Phase,
    /// Declared hosts and hosts that still hold data, by name.
    pub hosts: Vec<HostStatus>,
    /// Garage's layout.
    pub layout: LayoutStatus,
    /// Space in the cluster.
    pub space: SpaceStatus,
    /// How Nix clients are served.
    pub gateway: GatewayStatus,
    /// What evicted hosts knew, and how it is renewed.
    #[serde(default)]
    pub secrets: SecretsStatus,
    /// What is so, and what is wrong.
    pub conditions: Vec<Condition>,
    /// What is to be done and waits.
    pub waiting: Vec<Waiting>,
    /// Layout versions whose data is on its way, oldest first.
    #[serde(default)]
    pub moves: Vec<MoveStatus>,
    /// What happened lately, oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
}

impl Status {
    /// The condition of that type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// The state of a cluster in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Nothing is served yet.
    Starting,
    /// It serves, and something is being changed.
    Converging,
    /// It serves, and all is as declared.
    Ready,
    /// It serves or not, and something is wrong; the conditions say what.
    Degraded,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// Its name.
    pub name: HostName,
    /// Its failure domain.
    pub zone: Option<ZoneName>,
    /// What it does.
    pub roles: Vec<Role>,
    /// Its Garage node, once heard of.
    pub garage_id: Option<NodeId>,
    /// Whether the document declares it.
    pub declared: bool,
    /// Whether its agent reports.
    pub agent: bool,
    /// Whether the other members reach its Garage.
    pub up: bool,
    /// Whether it has a role in the current layout.
    pub in_layout: bool,
    /// Bytes it lends.
    #[serde(serialize_with = "plain_option")]
    pub pledge: Option<Bytes>,
    /// Partitions (of 256, each held by replication-factor hosts) that it holds.
    pub partitions: Option<u64>,
    /// The disk that holds its data.
    pub disk: Option<crate::agent::DiskReport>,
    /// Its Garage's version.
    pub garage_version: Option<String>,
    /// What it runs.
    pub units: Vec<crate::agent::UnitReport>,
    /// What is known of it beyond its being up.
    #[serde(default)]
    pub watch: HostWatch,
}

/// What is known of a host beyond its being up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostWatch {
    /// Who owns it.
    pub owner: Option<OwnerName>,
    /// Whether it is being drained, removed or put out, in a word.
    pub leaving: Option<String>,
    /// Whether its node was evicted.
    pub evicted: bool,
    /// Seconds for which it was seen to be away.
    pub away_seconds: Option<u64>,
    /// How often it came back within a day.
    pub returns: u64,
    /// Blocks on its disk, when it was last counted.
    pub blocks: Option<u64>,
    /// Their bytes.
    pub block_bytes: Option<u64>,
    /// Seconds that its clock is ahead of the coordinator's.
    pub clock_ahead: Option<i64>,
    /// When the newest snapshot of its metadata that lies on another host was made.
    pub snapshot: Option<Timestamp>,
}

/// Garage's layout.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutStatus {
    /// Its version; 0 before the first.
    pub version: u64,
    /// Whether metadata is synced to the current version. It says nothing about blocks.
    pub settled: bool,
    /// Storage hosts in it.
    pub storage_hosts: u64,
    /// Copies are in at least so many zones; `None`: as many as Garage can.
    pub zone_redundancy: Option<u8>,
    /// Partitions that have a write quorum, of 256.
    pub partitions_with_quorum: Option<u64>,
}

/// Space in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpaceStatus {
    /// Bytes that hosts lend, all copies counted.
    #[serde(serialize_with = "plain")]
    pub pledged: Bytes,
    /// Bytes of distinct data that the layout can hold.
    #[serde(serialize_with = "plain_option")]
    pub usable: Option<Bytes>,
    /// Bytes in the bucket, one copy counted.
    #[serde(serialize_with = "plain_option")]
    pub used: Option<Bytes>,
    /// Objects in the bucket.
    pub objects: Option<u64>,
}

/// How Nix clients are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Whether at least one gateway runs.
    pub up: bool,
    /// The URL for clients.
    pub url: Option<String>,
    /// Hosts whose gateways run.
    pub hosts: Vec<HostName>,
    /// Declared caches.
    pub caches: Vec<CacheName>,
}

/// What evicted hosts knew, and how it is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretsStatus {
    /// Hosts that were put out and know secrets that are in use.
    pub known_to: Vec<HostName>,
    /// How far their renewal has come.
    pub renewal: SecretsRenewal,
    /// Milliseconds for which no member reached a quorum when secrets were last renewed; `None`: they never were, or nobody
    /// measured it.
    pub last_down_ms: Option<u64>,
}

/// How far a renewal of secrets has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretsRenewal {
    /// None is under way.
    #[default]
    None,
    /// New ones are being written down by all hosts, and are not in use.
    Staged,
    /// New ones are in use, and the last that the evicted hosts knew is being renewed.
    Switched,
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// Clients can push and pull.
    Serving,
    /// All is as the document declares.
    Converged,
    /// All hosts report and all members reach each other.
    HostsUp,
    /// Metadata is synced to the current layout.
    LayoutSettled,
    /// Nobody else has staged a layout change.
    StagingClean,
    /// The last look at the cluster succeeded.
    Observed,
    /// The last steps succeeded.
    Acting,
    /// This coordinator leads, and no other does.
    Leading,
    /// All members have the same layout.
    Agreed,
    /// All data lies where the layouts want it.
    Placed,
    /// Everyone who left is empty.
    Emptied,
    /// What is to move fits the disks, with the reserve left free.
    Fits,
    /// Disks have room for what is pledged.
    PledgesKept,
    /// There are as many copies, in as many zones, as are declared.
    Redundant,
    /// No owner alone could make data unwritable or hold all copies of it.
    OwnersApart,
    /// Nobody is away for so long that somebody must decide.
    NobodyMissed,
    /// Data disks and metadata are as they should be.
    DisksSound,
    /// The clocks of all hosts agree.
    ClocksAgree,
    /// Every host's Garage may be used.
    GarageFit,
    /// Every declared host that is there is let in.
    Admitted,
    /// Nobody who was put out knows secrets that are in use.
    SecretsKept,
    /// Repairs, scrubs and snapshots are done in time.
    Upkept,
    /// Bucket, key and tokens are as they should be.
    AccessSound,
    /// No access key but Hayloft's own may use the bucket.
    KeysKnown,
    /// The document in force is the newest one.
    DocumentCurrent,
    /// All hosts reach each other.
    Reached,
}

impl ConditionType {
    /// Whether something is wrong when it does not hold; else something is only under way.
    pub const fn is_health(self) -> bool {
        !matches!(
            self,
            Self::Converged
                | Self::LayoutSettled
                | Self::Placed
                | Self::Emptied
                | Self::Upkept
                | Self::AccessSound
                | Self::KeysKnown
                | Self::OwnersApart
                | Self::PledgesKept
        )
    }
}

/// Why a condition is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// It is as it should be.
    AsDeclared,
    /// There is something to do, and it is being done.
    InProgress,
    /// Something must happen first; see what waits.
    Waiting,
    /// A host is down.
    HostDown,
    /// Something that a host runs ends again and again, or cannot be started.
    UnitFailing,
    /// The gateway does not run.
    GatewayDown,
    /// There is no layout yet.
    NoLayout,
    /// Metadata is still being synced.
    Syncing,
    /// The staging area holds changes that Hayloft did not stage.
    ForeignStaging,
    /// The plan broke a rule and was not followed.
    PlanRefused,
    /// No member could be asked.
    Unreachable,
    /// A step failed; it is tried again.
    StepFailed,
    /// Partitions have no write quorum.
    QuorumLost,
    /// Too few agents promised to follow this coordinator.
    Unpromised,
    /// Another coordinator leads.
    OtherCoordinator,
    /// Members have different layouts of one version.
    SplitHistory,
    /// A member has another version than the others.
    Behind,
    /// An apply's answer was not heard.
    Unanswered,
    /// No quorum can say that a version is complete, because of who is gone.
    Stuck,
    /// Data moves.
    Moving,
    /// Blocks that should be there are not.
    BlocksMissing,
    /// Repairs found errors.
    RepairErrors,
    /// Garage's fixed delay runs.
    GarageDelay,
    /// A disk is too small for what would lie on it.
    DiskTooSmall,
    /// More is pledged than the disk has room for.
    OverPledged,
    /// Fewer hosts than copies.
    TooFewHosts,
    /// Fewer zones than declared.
    TooFewZones,
    /// One owner holds too much of something.
    OwnerHoldsTooMuch,
    /// A host is away.
    Away,
    /// Several hosts are taken for dead.
    SeveralDead,
    /// A host comes and goes.
    Flapping,
    /// A data disk is empty or not mounted.
    DataLost,
    /// The metadata of a host is older than what it had before.
    OlderMetadata,
    /// A scrub found damaged blocks.
    Corruption,
    /// A clock is wrong.
    ClockSkew,
    /// A Garage is too old, or of a series that this Hayloft does not know.
    GarageUnfit,
    /// The document does not let a host in.
    NotAdmitted,
    /// Evicted hosts know secrets that are in use.
    SecretsKnown,
    /// Something is due.
    Due,
    /// Somebody else changed what Hayloft keeps.
    Drift,
    /// Somebody else made an access key that may use the bucket.
    ForeignKeys,
    /// An older document came back.
    OlderDocument,
    /// One host does not reach another one's ports.
    HostUnreached,
}

/// One fact about the cluster that a person or a script may wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// The same as a sentence, with what to do.
    pub message: String,
    /// Since when `status` is what it is.
    pub since: Timestamp,
}

/// Something that is to be done and cannot be done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What is to be done.
    pub what: String,
    /// What it waits for.
    pub waits_for: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{DiskReport, UnitReport, UnitState};

    #[test]
    fn the_json_stays_as_scripts_know_it() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let status = Status {
            cluster: "laptop".parse().unwrap(),
            observed_at: at,
            phase: Phase::Converging,
            hosts: vec![HostStatus {
                name: "host-1".parse().unwrap(),
                zone: Some("zone-1".parse().unwrap()),
                roles: vec![Role::Storage, Role::Gateway],
                garage_id: Some(NodeId::from_public_key([0xab; 32])),
                declared: true,
                agent: true,
                up: true,
                in_layout: true,
                pledge: Some(Bytes::gib(10)),
                partitions: Some(256),
                disk: Some(DiskReport {
                    data_available: 90,
                    data_total: 100,
                }),
                garage_version: Some("2.5.0".into()),
                units: vec![UnitReport {
                    name: "garage".into(),
                    state: UnitState::BackingOff { retry_in_ms: 500 },
                    restarts: 1,
                    last_error: Some("exit code 1".into()),
                }],
                watch: HostWatch {
                    owner: Some("maison".parse().unwrap()),
                    blocks: Some(12),
                    ..HostWatch::default()
                },
            }],
            layout: LayoutStatus {
                version: 1,
                settled: false,
                storage_hosts: 1,
                zone_redundancy: Some(1),
                partitions_with_quorum: Some(256),
            },
            space: SpaceStatus {
                pledged: Bytes::gib(10),
                usable: Some(Bytes::gib(10)),
                used: Some(Bytes(1234)),
                objects: Some(2),
            },
            secrets: SecretsStatus::default(),
            gateway: GatewayStatus {
                up: true,
                url: Some("http://127.0.0.1:8080".into()),
                hosts: vec!["host-1".parse().unwrap()],
                caches: vec!["main".parse().unwrap()],
            },
            conditions: vec![Condition {
                kind: ConditionType::LayoutSettled,
                status: false,
                reason: Reason::Syncing,
                message: "metadata of layout version 1 is being synced".into(),
                since: at,
            }],
            waiting: vec![Waiting {
                what: "settle".into(),
                waits_for: "metadata".into(),
            }],
            moves: vec![MoveStatus {
                version: 2,
                refilled: None,
                what: "host-4 joins".into(),
                applied: at,
                phase: MovePhase::Repairing,
                settled: 1000,
                placed: 412,
                empty: 1000,
                partitions: Some(188),
                bytes: Some(1000),
                arrived: 412,
                left: Some(588),
                rate: Some(42),
                seconds_left: Some(14),
                delays: vec![DelayStatus {
                    what: "waiting for Garage's fixed delay, 412 s left".into(),
                    seconds_left: 412,
                }],
            }],
            events: vec![Event {
                at,
                kind: EventKind::Move,
                text: "layout version 2 is applied".into(),
            }],
        };
        let json = serde_json::to_string_pretty(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        insta::assert_snapshot!(json);
    }
}
