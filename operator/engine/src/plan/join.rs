//! What keeps a host from being given a role.

use hayloft_api::Bytes;
use jiff::SignedDuration;

use super::retire::{MAY_RETURN, has_lost_its_data};
use crate::{Input, Member, WaitsFor};

/// A clock that is further off than this makes Garage's own order of writes wrong.
pub const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// A host that came back so often within a day must stay a while before it is given a role: each absence of a role
/// holder keeps the layout from being changed.
const RETURNS: usize = 4;

/// How long it must stay.
const STAYS: SignedDuration = SignedDuration::from_mins(10);

/// Why a host without a role cannot get one now.
pub(super) fn obstacle(input: &Input<'_>, member: &Member<'_>) -> Option<WaitsFor> {
    let name = || vec![member.name.clone()];
    let now = input.snapshot.now;
    if member.barred {
        return Some(WaitsFor::Barred {
            host: member.name.clone(),
        });
    }
    let Some(report) = member.report() else {
        return Some(WaitsFor::Agents { hosts: name() });
    };
    if let Some(unfit) = &report.unfit {
        return Some(WaitsFor::FitGarage { unfit: unfit.clone() });
    }
    if let Some(why) = too_old(input, report.garage_version.as_deref()) {
        return Some(WaitsFor::Admission { why });
    }
    if has_lost_its_data(&report.data) {
        return Some(WaitsFor::DataLost {
            host: member.name.clone(),
        });
    }
    if !report.garage_runs || !member.up {
        return Some(WaitsFor::GarageUp { hosts: name() });
    }
    let facts = member.facts?;
    if let Some(left) = facts.left
        && now.duration_since(left) > MAY_RETURN
    {
        return Some(WaitsFor::NewIdentity { left });
    }
    if let Some(skew) = facts.skew.filter(|skew| skew.abs() > SKEW) {
        return Some(WaitsFor::Clock {
            ahead: skew.as_secs(),
        });
    }
    if input.snapshot.secrets.known_to.contains(member.name) {
        return Some(WaitsFor::Secrets { hosts: name() });
    }
    let returns = facts.presence.flaps(now);
    if returns >= RETURNS
        && let Some(until) = facts.ready_since.and_then(|since| since.checked_add(STAYS).ok())
        && until > now
    {
        return Some(WaitsFor::Steady { returns, until });
    }
    let pledge = member.spec?.pledge?;
    let disk = report.disk.map(|disk| Bytes(disk.data_total));
    disk.filter(|disk| *disk < pledge)
        .map(|disk| WaitsFor::LargerDisk { disk, pledge })
}

/// Why the document does not admit a Garage of that version.
fn too_old(input: &Input<'_>, version: Option<&str>) -> Option<String> {
    let least = input.document.spec.admission.min_garage.as_deref()?;
    let version = version.filter(|version| older(version, least))?;
    Some(format!(
        "Garage {least} or newer, as spec.admission.minGarage asks; it runs {version}, so update it"
    ))
}

/// Whether a version is older than another.
pub fn older(version: &str, least: &str) -> bool {
    numbers(version) < numbers(least)
}

/// Whether two versions have so many numbers in common: of major and minor, 2.
pub(super) fn same(one: &str, other: &str, so_many: usize) -> bool {
    let (one, other) = (numbers(one), numbers(other));
    one.iter().take(so_many).eq(other.iter().take(so_many))
}

/// The numbers of a version, up to the first part that is none.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.trim_start_matches('v').split(['.', '-', '+']);
    parts.map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("2.5.0") >= numbers("2.5"));
        assert!(numbers("2.10.0") > numbers("2.9.4"));
        assert!(numbers("v2.4.9-rc1") < numbers("2.5"));
    }
}
