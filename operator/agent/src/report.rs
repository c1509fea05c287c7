//! What an agent reports: facts as values.

use std::path::Path;

use hayloft_api::agent::{
    AdminAddress, DataState, DiskReport, HostReport, UnitReport, UnitState as ReportedState,
};
use hayloft_api::{Generation, NodeId};

use crate::agent::AgentConfig;
use crate::driver::{Phase, UnitState, UnitStates};
use crate::ports::Ports;
use crate::unit::UnitName;

/// A report of a host on which nothing runs.
pub(crate) fn empty(config: &AgentConfig, garage_id: NodeId, ports: Ports) -> HostReport {
    HostReport {
        host: config.host.clone(),
        seq: 0,
        generation: None::<Generation>,
        garage_id,
        garage_version: Some(config.garage_version.to_string()),
        garage_waiting: None,
        rpc_addr: config.places.reach.rpc_public(ports),
        s3_addr: config.places.reach.s3_public(&config.host, ports),
        admin: AdminAddress::Unix(config.places.admin_socket.clone()),
        gateway_addr: config.gateway_addr.clone(),
        link_addr: config
            .gateway_addr
            .as_ref()
            .and_then(|_| config.places.reach.link_public()),
        units: Vec::new(),
        disk: disk(&config.places.dir),
        layout: None,
        data: DataState::Fresh,
        blocks: None,
        promise: None,
        rolled_back: None,
        clock: config.clock.now(),
    }
}

/// The units as a report tells them. What is wrong with the desired state itself stands at the first of them.
pub(crate) fn units(states: &UnitStates, trouble: Option<&str>) -> Vec<UnitReport> {
    let report = |(name, state): (&UnitName, &UnitState)| UnitReport {
        name: name.to_string(),
        state: match state.phase {
            Phase::Starting { pid } => ReportedState::Starting { pid },
            Phase::Running { pid } => ReportedState::Running { pid },
            Phase::BackingOff { wait } => ReportedState::BackingOff {
                retry_in_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            },
            Phase::Stopped | Phase::Stopping { .. } => ReportedState::Stopped,
        },
        restarts: state.restarts,
        last_error: state.last_error.clone(),
    };
    let mut units: Vec<_> = states.iter().map(report).collect();
    if let Some(trouble) = trouble {
        match units.first_mut() {
            Some(unit) => unit.last_error = Some(trouble.to_owned()),
            None => units.push(UnitReport {
                name: UnitName::Garage.to_string(),
                state: ReportedState::Failed {
                    reason: trouble.to_owned(),
                },
                restarts: 0,
                last_error: Some(trouble.to_owned()),
            }),
        }
    }
    units
}

/// The disk that holds a folder; `None` when the system does not tell.
pub(crate) fn disk(dir: &Path) -> Option<DiskReport> {
    let space = rustix::fs::statvfs(dir).ok()?;
    Some(DiskReport {
        data_available: space.f_bavail.saturating_mul(space.f_frsize),
        data_total: space.f_blocks.saturating_mul(space.f_frsize),
    })
}
