//! Whether a host may join: rules over what both sides know. Nothing secret was told and nothing was changed before.

use hayloft_api::document::{HostSpec, Role};
use hayloft_api::join::{Check, Dialled, HostKey, JoinFacts, JoinRefusal, TokenLimits};
use hayloft_api::{Document, HostName, NodeId};
use hayloft_engine::{SKEW, older};
use hayloft_garage::GarageVersion;
use jiff::Timestamp;

use super::address::{Place, place};

/// So many members try whether they and the joiner reach each other.
const TRIED_BY: usize = 2;

/// What is known of a host that belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: HostName,
    pub(crate) key: Option<HostKey>,
    pub(crate) garage_id: Option<NodeId>,
    /// `host:port` of its agent.
    pub(crate) address: Option<String>,
    /// Whether its agent is connected.
    pub(crate) up: bool,
}

/// What the coordinator knows when it judges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours<'a> {
    pub(crate) now: Timestamp,
    pub(crate) document: &'a Document,
    pub(crate) members: &'a [Known],
}

impl Ours<'_> {
    fn declared(&self, name: &HostName) -> Option<&HostSpec> {
        self.document.spec.hosts.iter().find(|host| host.name == *name)
    }

    /// The members that shall dial the joiner, and be dialled by it.
    pub(crate) fn who_tries(&self, key: HostKey) -> Vec<(HostName, String)> {
        self.members
            .iter()
            .filter(|member| member.up && member.key != Some(key))
            .filter_map(|member| Some((member.name.clone(), member.address.clone()?)))
            .take(TRIED_BY)
            .collect()
    }

    /// Whether letting the joiner in puts out a host that has its name.
    pub(crate) fn replaces(&self, key: HostKey, facts: &JoinFacts) -> bool {
        self.members
            .iter()
            .any(|member| member.name == facts.name && member.key.is_some_and(|known| known != key))
    }
}

fn refusal(check: Check, why: impl Into<String>, remedy: impl Into<String>) -> JoinRefusal {
    JoinRefusal {
        check,
        why: why.into(),
        remedy: remedy.into(),
    }
}

/// Everything that speaks against a host, except whether it is reached: one who fails here is not worth a dial.
pub(crate) fn before_dialling(
    key: HostKey,
    facts: &JoinFacts,
    limits: &TokenLimits,
    ours: Ours<'_>,
) -> Vec<JoinRefusal> {
    [
        within_limits(facts, limits),
        as_declared(facts, limits, ours),
        clock(facts, ours),
        disk(facts),
        garage(facts, ours),
        duplicate(key, facts, ours),
        addresses(facts, ours),
    ]
    .concat()
}

fn words(roles: &[Role]) -> String {
    let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    words.join(" and ")
}

fn within_limits(facts: &JoinFacts, limits: &TokenLimits) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    let mut refuse = |why: String, remedy: String| found.push(refusal(Check::Limits, why, remedy));
    if let Some(name) = limits.name.as_ref().filter(|name| **name != facts.name) {
        refuse(
            format!(
                "this token is for the host {name} alone, and this one is {}",
                facts.name
            ),
            format!("join with `--name {name}`, or ask for a token for {}", facts.name),
        );
    }
    if let Some(zone) = limits.zone.as_ref().filter(|zone| **zone != facts.zone) {
        refuse(
            format!(
                "this token lets hosts into zone {zone}, and this one is in {}",
                facts.zone
            ),
            format!("join with `--zone {zone}`, or ask for a token for {}", facts.zone),
        );
    }
    let beyond: Vec<_> = facts
        .roles
        .iter()
        .copied()
        .filter(|role| !limits.roles.contains(role))
        .collect();
    if !beyond.is_empty() {
        refuse(
            format!(
                "this token lets in hosts for {}, not for {}",
                words(&limits.roles),
                words(&beyond)
            ),
            "join with fewer `--roles`, or ask for another token".to_owned(),
        );
    }
    if let (Some(most), Some(pledge)) = (limits.max_pledge, facts.pledge)
        && pledge > most
    {
        refuse(
            format!(
                "this token takes a pledge of {} at most, not {}",
                most.about(),
                pledge.about()
            ),
            format!("join with `--pledge {most}` or less, or ask for another token"),
        );
    }
    found
}

fn as_declared(facts: &JoinFacts, limits: &TokenLimits, ours: Ours<'_>) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    let mut refuse = |why: String, remedy: String| found.push(refusal(Check::Document, why, remedy));
    let admission = &ours.document.spec.admission;
    if let Some(declared) = ours.declared(&facts.name) {
        if limits.name.as_ref() != Some(&facts.name) {
            refuse(
                format!(
                    "the document declares a host {}, which joins with a token of its own",
                    facts.name
                ),
                format!(
                    "ask for one made with `hayloft token create --name {0}`, or take another name",
                    facts.name
                ),
            );
        }
        if declared.zone != facts.zone {
            refuse(
                format!(
                    "the document declares {} in zone {}, not {}",
                    facts.name, declared.zone, facts.zone
                ),
                format!("join with `--zone {}`", declared.zone),
            );
        }
        return found;
    }
    if let Some(zones) = admission
        .zones
        .as_ref()
        .filter(|zones| !zones.contains(&facts.zone))
    {
        let zones: Vec<_> = zones.iter().map(AsRef::as_ref).collect();
        refuse(
            format!(
                "hosts in zone {} are not taken, only in {}",
                facts.zone,
                zones.join(", ")
            ),
            "join with one of those as `--zone`, or ask that the document's spec.admission.zones be widened"
                .to_owned(),
        );
    }
    if let (Some(most), Some(pledge)) = (admission.max_pledge, facts.pledge)
        && pledge > most
    {
        refuse(
            format!(
                "hosts pledge {} at most here, not {}",
                most.about(),
                pledge.about()
            ),
            format!("join with `--pledge {most}` or less"),
        );
    }
    found
}

fn clock(facts: &JoinFacts, ours: Ours<'_>) -> Vec<JoinRefusal> {
    let ahead = facts.clock.duration_since(ours.now);
    if ahead.abs() <= SKEW {
        return Vec::new();
    }
    let way = if ahead.is_positive() { "ahead of" } else { "behind" };
    vec![refusal(
        Check::Clock,
        format!(
            "this host's clock is {} s {way} the coordinator's, and Garage orders writes by clocks",
            ahead.abs().as_secs()
        ),
        "switch time synchronisation on (`timedatectl set-ntp true`), see which of the two is wrong, and join again",
    )]
}

fn disk(facts: &JoinFacts) -> Vec<JoinRefusal> {
    let stores = facts.roles.contains(&Role::Storage);
    let Some(pledge) = facts.pledge else {
        return if stores {
            vec![refusal(
                Check::Disk,
                "a host that stores data must say how much",
                "join with `--pledge`, e.g. `--pledge 500Gi`",
            )]
        } else {
            Vec::new()
        };
    };
    if !stores {
        return vec![refusal(
            Check::Disk,
            "a host without the role storage pledges nothing",
            "leave `--pledge` out, or add storage to `--roles`",
        )];
    }
    let room = facts.disk.data_available.saturating_add(facts.held);
    if pledge.0 <= room {
        return Vec::new();
    }
    // A tenth stays free for metadata and for what the disk is used for besides.
    let offer = hayloft_api::Bytes((room - room / 10) >> 30 << 30);
    vec![refusal(
        Check::Disk,
        format!(
            "{} are pledged and the disk has room for {}",
            pledge.about(),
            hayloft_api::Bytes(room).about()
        ),
        if offer.0 == 0 {
            "put the data on a larger disk with `--data-dir`".to_owned()
        } else {
            format!(
                "join with `--pledge {offer}` or less, or put the data on a larger disk with `--data-dir`"
            )
        },
    )]
}

fn garage(facts: &JoinFacts, ours: Ours<'_>) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    let ours_rf = ours.document.spec.garage.replication_factor;
    if let Some(theirs) = facts.replication_factor.filter(|theirs| *theirs != ours_rf) {
        found.push(refusal(
            Check::ReplicationFactor,
            format!("this host's Garage ran with {theirs} copies before, and this cluster keeps {ours_rf}: it was in another cluster"),
            "move its metadata folder away, or join with another `--dir`",
        ));
    }
    let update = "install Garage 2, from 2.5 on, and join again";
    let Some(version) = &facts.garage_version else {
        found.push(refusal(
            Check::Garage,
            "no Garage program was found on this host",
            update,
        ));
        return found;
    };
    let unfit = match version.parse::<GarageVersion>() {
        Ok(version) => version.fit().err().map(|unfit| unfit.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let least = ours.document.spec.admission.min_garage.as_deref();
    if let Some(why) = unfit {
        found.push(refusal(Check::Garage, why, update));
    } else if let Some(least) = least.filter(|least| older(version, least)) {
        found.push(refusal(
            Check::Garage,
            format!("Garage {version} is older than {least}, which is asked of hosts here"),
            format!("install Garage {least} or newer and join again"),
        ));
    }
    found
}

fn duplicate(key: HostKey, facts: &JoinFacts, ours: Ours<'_>) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    for other in ours.members.iter().filter(|other| other.key != Some(key)) {
        if other.garage_id == Some(facts.garage_id) && other.name != facts.name {
            found.push(refusal(
                Check::Duplicate,
                format!(
                    "host {} has the same Garage node key: one folder was copied from the other",
                    other.name
                ),
                "join with an empty `--dir`; two hosts with one key lose data",
            ));
        }
        if other.name != facts.name {
            continue;
        }
        if other.up {
            found.push(refusal(
                Check::Duplicate,
                format!("a host {} belongs already and is connected now", facts.name),
                "take another `--name`, or stop that host first if this one shall replace it",
            ));
        } else if ours.declared(&facts.name).is_none() {
            found.push(refusal(
                Check::Duplicate,
                format!("a host {} belongs already, though it is away", facts.name),
                format!(
                    "take another `--name`, or put that one out first with `hayloft host evict {}`",
                    facts.name
                ),
            ));
        }
    }
    found
}

fn addresses(facts: &JoinFacts, ours: Ours<'_>) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    let name_it = "name an address that the others reach with `--address`";
    let alone = ours.members.iter().all(|member| member.name == facts.name);
    let places: Vec<_> = ours
        .members
        .iter()
        .filter(|member| member.name != facts.name)
        .filter_map(|member| place(member.address.as_deref()?))
        .collect();
    let all_here = places.iter().all(|place| *place == Place::Here);
    for address in [&facts.address, &facts.rpc_address] {
        match place(address) {
            None => found.push(refusal(
                Check::PrivateAddress,
                format!("`{address}` is no `host:port` that others could dial"),
                name_it,
            )),
            Some(Place::Here) if !alone && !all_here => found.push(refusal(
                Check::PrivateAddress,
                format!("{address} leads other hosts to themselves"),
                name_it,
            )),
            Some(Place::Private) if places.contains(&Place::Public) => found.push(refusal(
                Check::PrivateAddress,
                format!(
                    "{address} is known in its own network only, and other hosts are out in the public one"
                ),
                format!(
                    "forward the ports in the router and {name_it}, or put all hosts into one overlay network"
                ),
            )),
            Some(Place::Here | Place::Private | Place::Public | Place::Name) => {}
        }
    }
    found
}

/// Whether the members that tried and the joiner reach each other; `inward` are the members' own attempts.
pub(crate) fn reach(tried: &[(HostName, String)], facts: &JoinFacts, inward: &[Dialled]) -> Vec<JoinRefusal> {
    let mut found = Vec::new();
    for (name, address) in tried {
        if let Some(why) = facts
            .dialled
            .iter()
            .find(|dialled| dialled.member == *name)
            .and_then(|dialled| dialled.failed.as_ref())
        {
            found.push(refusal(
                Check::Reach,
                format!("this host does not reach {name} at {address}: {why}"),
                "let it dial out to that address and port, and join again",
            ));
        }
    }
    let asked = inward
        .iter()
        .filter(|dialled| tried.iter().any(|(name, _)| *name == dialled.member));
    let mut answers = 0;
    for dialled in asked {
        answers += 1;
        let Some(why) = &dialled.failed else { continue };
        found.push(refusal(
            Check::Reach,
            format!("{} does not reach this host at {}: {why}", dialled.member, dialled.address),
            "open that port in its firewall, forward it in its router, or name another address with `--address`",
        ));
    }
    if answers == 0 && !tried.is_empty() {
        found.push(refusal(
            Check::Reach,
            "no member could be asked whether it reaches this host",
            "join again in a minute",
        ));
    }
    found
}

#[cfg(test)]
mod tests;
