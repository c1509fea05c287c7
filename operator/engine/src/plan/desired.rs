//! What each host shall run.

use hayloft_api::HostName;
use hayloft_api::agent::{FleetDesired, GatewayPeer, Peer};
use hayloft_api::document::Role;
use jiff::SignedDuration;

use super::{retire, upgrade};
use crate::{GaragePlan, GatewayPlan, HostPlan, Input, Member, Plan, Reason, Step, WaitsFor};

/// How long hosts that are expected may take to report before a gateway is set up without them. Gateways are
/// restarted when their endpoints change, so they are better told once.
const FIRST_REPORTS: SignedDuration = SignedDuration::from_secs(10);

/// How many members a gateway is told of: its own, and two to fall back to.
const ENDPOINTS: usize = 3;

/// Tells every host that reports what it shall run, where that is news.
pub(super) fn tell_hosts(input: &Input<'_>, plan: &mut Plan) {
    let silent: Vec<HostName> = input
        .members
        .values()
        .filter(|member| member.spec.is_some() && member.report().is_none())
        .map(|member| member.name.clone())
        .collect();
    if !silent.is_empty() {
        plan.wait("tell hosts what to run", WaitsFor::Agents { hosts: silent });
    }
    second_gateways(input, plan);
    let mut peers: Vec<(&HostName, Peer)> = input
        .members
        .values()
        .filter(|member| member.keeps_garage())
        .filter_map(|member| Some((member.name, member.peer()?)))
        .collect();
    peers.sort_by(|(_, one), (_, other)| one.cmp(other));
    for member in input.members.values() {
        if member.facts.is_some_and(|facts| facts.agent) && member.report().is_some() {
            tell(input, member, &peers, plan);
        }
    }
}

/// Who shall serve Nix clients: all with that role whose gateways can be linked; else, where none can, one alone.
fn serving<'a>(input: &'a Input<'_>) -> Vec<&'a HostName> {
    let linked = input.members.values().filter(|member| {
        let linked = member.report().is_some_and(|report| report.link_addr.is_some());
        linked
            && member
                .spec
                .is_some_and(|spec| spec.has(Role::Gateway) && spec.state.is_active())
    });
    let linked: Vec<&HostName> = linked.map(|member| member.name).collect();
    if linked.is_empty() {
        input
            .document
            .gateway_host()
            .map(|host| &host.name)
            .into_iter()
            .collect()
    } else {
        linked
    }
}

/// The other gateways, for one whose gateway can be linked.
fn fleet(input: &Input<'_>, member: &Member<'_>) -> Option<FleetDesired> {
    let listen = member.report()?.link_addr.clone()?;
    let others = serving(input).into_iter().filter(|name| *name != member.name);
    let peer = |name: &HostName| {
        let other = input.members.get(name)?;
        let addr = other.report()?.link_addr.as_ref()?;
        Some(GatewayPeer {
            name: name.clone(),
            addr: other.reached_at(addr),
        })
    };
    Some(FleetDesired {
        name: member.name.clone(),
        listen,
        peers: others.filter_map(peer).collect(),
    })
}

/// Gateways without links cannot share the log of a bucket: a second one would take the writing from the first.
fn second_gateways(input: &Input<'_>, plan: &mut Plan) {
    let Some(serves) = input.document.gateway_host() else {
        return;
    };
    let serving = serving(input);
    for member in input.members.values() {
        let could =
            member.has(Role::Gateway) && member.report().is_none_or(|report| report.link_addr.is_none());
        if could && !serving.contains(&member.name) && *member.name != serves.name {
            plan.wait(
                format!("run a second gateway, on {}", member.name),
                WaitsFor::SharedLog {
                    host: serves.name.clone(),
                },
            );
        }
    }
}

fn tell(input: &Input<'_>, member: &Member<'_>, peers: &[(&HostName, Peer)], plan: &mut Plan) {
    let (Some(facts), Some(report)) = (member.facts, member.report()) else {
        return;
    };
    let told = facts.told.as_ref();
    if member.barred && member.role.is_none() {
        // While it is up, the version without it settles soonest with its own word.
        if input
            .cluster()
            .is_none_or(|cluster| !cluster.layout.settled && member.up)
        {
            return;
        }
        let wanted = HostPlan {
            forget: member.id(),
            ..HostPlan::default()
        };
        desire(member, wanted, Some(Reason::Barred), plan);
        return;
    }
    if let Some(unfit) = &report.unfit
        && member.keeps_garage()
    {
        plan.wait(
            format!("start Garage on {}", member.name),
            WaitsFor::FitGarage { unfit: unfit.clone() },
        );
        return;
    }
    let gateway = match gateway(input, member) {
        Ok(gateway) => gateway,
        Err(waits_for) => {
            plan.wait(format!("run the gateway of {}", member.name), waits_for);
            // It may serve with what it was told before; telling it half would stop that.
            if report.follows {
                return;
            }
            None
        }
    };
    let lost = retire::has_lost_its_data(&report.data);
    let new_disk = member.has_new_disk();
    if lost && !new_disk && member.keeps_garage() {
        plan.wait(
            format!("start Garage on {}", member.name),
            WaitsFor::DataLost {
                host: member.name.clone(),
            },
        );
    }
    let mut wanted = HostPlan {
        garage: garage(input, member, peers),
        gateway,
        accept_empty_data: new_disk && lost && member.keeps_garage(),
        ..HostPlan::default()
    };
    let mut because = (wanted.accept_empty_data && !told.is_some_and(|told| told.accept_empty_data))
        .then_some(Reason::NewDisk);
    if let Some(renewed) = retire::forgotten(input, member) {
        wanted.garage = None;
        wanted.accept_empty_data = false;
        wanted.forget = renewed.forget;
        wanted.erase_blocks = renewed.erase_blocks;
        because = Some(renewed.reason);
    }
    desire(member, wanted, because, plan);
}

/// Tells a host what it shall run, if that is news.
fn desire(member: &Member<'_>, wanted: HostPlan, because: Option<Reason>, plan: &mut Plan) {
    let reason = match member.facts.and_then(|facts| facts.told.as_ref()) {
        Some(told) if *told == wanted => return,
        Some(_) => because.unwrap_or(Reason::Outdated),
        None => because.unwrap_or(Reason::Untold),
    };
    plan.step(
        Step::Desire {
            host: member.name.clone(),
            plan: Box::new(wanted),
        },
        reason,
    );
}

fn garage(input: &Input<'_>, member: &Member<'_>, peers: &[(&HostName, Peer)]) -> Option<GaragePlan> {
    if !member.keeps_garage() {
        return None;
    }
    let zone = match member.spec {
        Some(spec) => spec.zone.clone(),
        None => member.facts?.zone.clone()?,
    };
    let others = peers.iter().filter(|(name, _)| *name != member.name);
    let peers = others.map(|(_, peer)| peer.clone()).collect();
    let rpc_public = member.report().and_then(|report| {
        let reached_at = member.reached_at(&report.rpc_addr);
        (reached_at != report.rpc_addr).then_some(reached_at)
    });
    let garage = &input.document.spec.garage;
    Some(GaragePlan {
        replication_factor: garage.replication_factor,
        fsync: garage.fsync,
        zone,
        rpc_public,
        program: upgrade::kept(member),
        peers,
    })
}

/// The gateway of a host; `None` when it shall run none, an error when it shall and cannot yet.
fn gateway(input: &Input<'_>, member: &Member<'_>) -> Result<Option<GatewayPlan>, WaitsFor> {
    if !serving(input).contains(&member.name) {
        return Ok(None);
    }
    let fleet = fleet(input, member);
    let alone: Vec<HostName> = input
        .members
        .values()
        .filter(|other| other.name != member.name && other.may_run_gateway())
        .filter(|other| fleet.is_none() || !other.is_linked())
        .map(|other| other.name.clone())
        .collect();
    if !alone.is_empty() {
        return Err(WaitsFor::GatewayStopped { hosts: alone });
    }
    let snapshot = input.snapshot;
    let access = input.cluster().and_then(|cluster| cluster.access.as_ref());
    if !snapshot.bucket_made && !access.is_some_and(crate::Access::ready) {
        return Err(WaitsFor::Bucket);
    }
    if input.cluster().is_none() {
        return Err(WaitsFor::Observation);
    }
    let silent: Vec<HostName> = input
        .members
        .values()
        .filter(|other| other.role.is_some() && other.report().is_none())
        .map(|other| other.name.clone())
        .collect();
    if !silent.is_empty() && snapshot.now.duration_since(snapshot.started) < FIRST_REPORTS {
        return Err(WaitsFor::Agents { hosts: silent });
    }
    let listen = member
        .report()
        .and_then(|report| report.gateway_addr.clone())
        .ok_or(WaitsFor::GatewayAddress)?;
    let told = member
        .facts
        .and_then(|facts| facts.told.as_ref())
        .and_then(|told| told.gateway.as_ref());
    let endpoints = endpoints(input, member, told.map_or(&[], |told| &told.endpoints));
    if endpoints.is_empty() {
        return Err(WaitsFor::Member);
    }
    let spec = &input.document.spec;
    Ok(Some(GatewayPlan {
        listen,
        public_url: spec.gateway.public_url.clone(),
        endpoints,
        memory: spec.gateway.cache.memory,
        disk: spec.gateway.cache.disk,
        uplink: member.spec.and_then(|spec| spec.uplink),
        caches: spec.caches.clone(),
        fleet: fleet.map(Box::new),
    }))
}

/// S3 endpoints for a gateway: its own host's, then those of its zone, then others. Only members with a role know the
/// key. What it was told stays while it is still good, so that a new member restarts no gateway.
fn endpoints(input: &Input<'_>, member: &Member<'_>, told: &[String]) -> Vec<String> {
    let zone = member.spec.map(|spec| &spec.zone);
    let mut near: Vec<(bool, bool, &HostName, String)> = input
        .members
        .values()
        .filter(|other| other.role.is_some_and(|role| role.capacity.is_some()))
        .filter_map(|other| {
            let url = format!("http://{}", other.reached_at(&other.report()?.s3_addr));
            let same_zone = other.spec.is_some() && other.spec.map(|spec| &spec.zone) == zone;
            Some((other.name != member.name, !same_zone, other.name, url))
        })
        .collect();
    near.sort();
    let own = near.first().filter(|(other, ..)| !other).map(|(.., url)| url);
    let enough = ENDPOINTS.min(near.len());
    let good = told.len() == enough && told.iter().all(|url| near.iter().any(|(.., known)| known == url));
    if good && own.is_none_or(|own| told.first() == Some(own)) {
        return told.to_vec();
    }
    near.into_iter().take(ENDPOINTS).map(|(.., url)| url).collect()
}
