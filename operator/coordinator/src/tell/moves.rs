//! How far moves have come. No figure goes back within one version, also after a restart: what was told is kept.

use hayloft_api::status::MoveStatus;
use hayloft_engine::{Snapshot, progress};

use crate::memory::Memory;

pub(super) fn moves(snapshot: &Snapshot, memory: &mut Memory) -> Vec<MoveStatus> {
    let mut told = Vec::new();
    for facts in &snapshot.moves {
        let status = progress(snapshot, facts);
        if let Some(record) = memory.moves.records.get_mut(&facts.key()) {
            record.facts.told = [status.settled, status.placed, status.empty];
        }
        told.push(status);
    }
    told
}
