//! The document with those who joined without being declared.

use hayloft_api::document::{Away, HostSpec, HostState};
use hayloft_api::join::{Admission as Standing, Admitted};
use hayloft_api::{Document, HostName};

/// The document, and every host that belongs and that it does not declare, as that host was let in. What the document declares
/// stays as it says, but for a host that leaves: that wins.
pub fn with_admitted(document: &Document, hosts: &[Admitted]) -> Document {
    let mut document = document.clone();
    let leaves = |name: &HostName| {
        let of_name = |host: &&Admitted| host.facts.name == *name;
        hosts
            .iter()
            .filter(of_name)
            .any(|host| host.standing == Standing::Leaving)
    };
    document.spec.hosts.retain(|host| !leaves(&host.name));
    for host in hosts.iter().filter(|host| host.standing == Standing::In) {
        let facts = &host.facts;
        if document
            .spec
            .hosts
            .iter()
            .any(|declared| declared.name == facts.name)
        {
            continue;
        }
        let address = facts.address.rsplit_once(':').map(|(address, _)| address);
        document.spec.hosts.push(HostSpec {
            name: facts.name.clone(),
            owner: facts.owner.clone(),
            zone: facts.zone.clone(),
            roles: facts.roles.clone(),
            pledge: facts.pledge,
            address: address.map(|address| address.trim_start_matches('[').trim_end_matches(']').to_owned()),
            state: HostState::Active,
            away: host.away.map(|until| Away { until }),
            uplink: facts.uplink,
        });
    }
    document
}
