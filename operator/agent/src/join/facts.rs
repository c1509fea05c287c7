//! What a host says of itself when it asks to be let in.

use hayloft_api::join::JoinFacts;
use hayloft_garage::{GarageVersion, layout_file};

use super::JoinError;
use crate::files;
use crate::launch::Places;
use crate::membership::Record;
use crate::{blocks, member, report};

/// What a host lends, beside what its record says.
#[derive(Debug, Clone)]
pub struct Lends {
    /// The version of its Garage.
    pub garage_version: GarageVersion,
    /// 32 random bytes, from which its node key is made.
    pub node_key_seed: [u8; 32],
}

/// Gathers them. Makes the host's folder and its Garage node key, where they are not there.
///
/// # Errors
/// When the folder or the key cannot be had.
pub fn facts(
    places: &Places,
    record: &Record,
    lends: &Lends,
    now: jiff::Timestamp,
) -> Result<JoinFacts, JoinError> {
    for folder in [places.dir.clone(), places.metadata_dir()] {
        files::private_dir(&folder).map_err(JoinError::Folder)?;
    }
    let garage_id = member::ensure(places, &lends.node_key_seed).map_err(JoinError::NodeKey)?;
    let disk = report::disk(&places.dir).ok_or_else(|| JoinError::Disk(places.dir.clone()))?;
    // From an earlier life; one that cannot be read counts as none, and shows later by itself.
    let layout = layout_file::read(&places.metadata_dir(), false).ok().flatten();
    let factor = layout.and_then(|layout| layout.versions.last().map(|version| version.replication_factor));
    Ok(JoinFacts {
        name: record.name.clone(),
        owner: record.owner.clone(),
        zone: record.zone.clone(),
        roles: record.roles.clone(),
        pledge: record.pledge,
        uplink: record.uplink,
        disk,
        held: blocks::bytes_in(&places.data_dir()),
        garage_id,
        garage_version: Some(lends.garage_version.to_string()),
        replication_factor: factor,
        address: record.network.at(record.network.door),
        rpc_address: record.network.at(record.network.rpc),
        clock: now,
        dialled: Vec::new(),
    })
}
