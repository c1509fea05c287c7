//! The layout as a member has it on its disk: `cluster_layout` in the metadata folder. The nodes of a partition are told
//! nowhere else, and two members that follow different versions of one number are seen only here.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_api::NodeId;
use hayloft_api::question::{Digest, LayoutFacts, LayoutMap, LayoutVersion, PARTITIONS};
use serde::Deserialize;

use crate::msgpack::{self, RawBytes, RawId};

pub use crate::msgpack::FileError;

/// The file's name in the metadata folder.
pub const LAYOUT_FILE: &str = "cluster_layout";
/// Garage 2.x begins the file with this.
const MARK: &[u8] = b"G010lh";
/// 256 nodes in 16 remembered versions with long tags are below this.
const LONGEST: u64 = 16 << 20;

#[derive(Deserialize)]
struct History {
    versions: Vec<Version>,
    #[serde(default)]
    old_versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
    roles: Roles,
    parameters: Parameters,
    replication_factor: usize,
    node_id_vec: Vec<RawId>,
    ring_assignment_data: RawBytes,
}

/// A map in which the last writer wins: key, time, value; a value that is none is a grave.
#[derive(Deserialize)]
struct Roles {
    vals: Vec<(RawId, u64, Option<Role>)>,
}

#[derive(Deserialize)]
struct Role {
    zone: String,
    capacity: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Parameters {
    zone_redundancy: ZoneRedundancy,
}

#[derive(Deserialize)]
enum ZoneRedundancy {
    AtLeast(usize),
    Maximum,
}

/// Reads the layout versions that a member knows. `None` before it has heard of any layout.
///
/// # Errors
/// When the file cannot be read or understood. Garage writes it in place: ask again before you believe it.
pub fn read(metadata_dir: &Path, with_map: bool) -> Result<Option<LayoutFacts>, FileError> {
    let path = metadata_dir.join(LAYOUT_FILE);
    let Some(History {
        versions,
        old_versions,
    }) = msgpack::read(&path, MARK, LONGEST)?
    else {
        return Ok(None);
    };
    let tell = |versions: Vec<Version>| {
        let mut told = versions
            .iter()
            // Version 0 is the state before the first layout.
            .filter(|version| version.version > 0)
            .map(|version| version.tell(with_map))
            .collect::<Result<Vec<_>, String>>()
            .map_err(|why| FileError::Senseless {
                path: path.clone(),
                why,
            })?;
        told.sort_by_key(|version| version.version);
        Ok::<_, FileError>(told)
    };
    let facts = LayoutFacts {
        versions: tell(versions)?,
        old_versions: tell(old_versions)?,
    };
    Ok((!facts.versions.is_empty()).then_some(facts))
}

impl Version {
    fn tell(&self, with_map: bool) -> Result<LayoutVersion, String> {
        let number = self.version;
        let roles: BTreeMap<NodeId, &Role> = self
            .roles
            .vals
            .iter()
            .filter_map(|(id, _, role)| Some((id.0, role.as_ref()?)))
            .collect();
        let replication_factor =
            u8::try_from(self.replication_factor).map_err(|_| "too many copies".to_owned())?;
        let map = self.map(&roles)?;
        if !map.is_whole(replication_factor) {
            return Err(format!(
                "version {number} does not give {replication_factor} holders to every partition"
            ));
        }
        Ok(LayoutVersion {
            version: number,
            digest: self.digest(&roles, &map),
            replication_factor,
            map: with_map.then_some(map),
        })
    }

    fn map(&self, roles: &BTreeMap<NodeId, &Role>) -> Result<LayoutMap, String> {
        let number = self.version;
        let assignment = &self.ring_assignment_data.0;
        let copies = self.replication_factor;
        if copies == 0 || assignment.len() != PARTITIONS * copies {
            return Err(format!(
                "version {number} assigns {} places, not 256 times {copies}",
                assignment.len()
            ));
        }
        let node = |index: &u8| {
            let found = self.node_id_vec.get(usize::from(*index)).map(|id| id.0);
            found.ok_or_else(|| format!("version {number} names a node {index} that it does not list"))
        };
        Ok(LayoutMap {
            zones: roles
                .iter()
                .filter(|(_, role)| role.capacity.is_some())
                .map(|(id, role)| (*id, role.zone.clone()))
                .collect(),
            holders: assignment
                .chunks(copies)
                .map(|places| places.iter().map(node).collect())
                .collect::<Result<_, String>>()?,
        })
    }

    /// Over all that members must agree on, in an order that does not depend on how each of them came to it.
    fn digest(&self, roles: &BTreeMap<NodeId, &Role>, map: &LayoutMap) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("hayloft layout version 1");
        let mut text = |bytes: &[u8]| {
            hasher.update(&bytes.len().to_le_bytes());
            hasher.update(bytes);
        };
        text(&self.version.to_le_bytes());
        text(&self.replication_factor.to_le_bytes());
        let redundancy = match self.parameters.zone_redundancy {
            ZoneRedundancy::AtLeast(zones) => zones,
            ZoneRedundancy::Maximum => usize::MAX,
        };
        text(&redundancy.to_le_bytes());
        text(&roles.len().to_le_bytes());
        for (id, Role { zone, capacity, tags }) in roles {
            text(id.public_key());
            text(zone.as_bytes());
            // Garage takes no capacity below 1024.
            text(&capacity.unwrap_or_default().to_le_bytes());
            text(&tags.len().to_le_bytes());
            tags.iter().for_each(|tag| text(tag.as_bytes()));
        }
        for holders in &map.holders {
            holders.iter().for_each(|id| text(id.public_key()));
        }
        Digest::new(*hasher.finalize().as_bytes())
    }
}
