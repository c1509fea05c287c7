//! Rules that a document must keep, beyond its types. The same run offline and in Kubernetes.

use std::collections::BTreeSet;
use std::fmt;

use crate::document::{CacheSpec, HostSpec, PoolSpec, ResyncWorkers, Role, Spec};
use crate::{Bytes, Document, HostName, Percent, Span};

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, e.g. `spec.hosts[0].pledge`.
    pub path: String,
    /// What was given.
    pub given: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} given, {}", self.path, self.given, self.allowed)
    }
}

/// All fields of a document that break rules; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, violation) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, path: impl Into<String>, given: impl fmt::Display, allowed: impl Into<String>) {
        self.0.push(Violation {
            path: path.into(),
            given: given.to_string(),
            allowed: allowed.into(),
        });
    }

    fn result(self) -> Result<(), Violations> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Violations(self.0))
        }
    }
}

/// The smallest pledge: below it Garage's partitions become too small to be of use.
pub const MIN_PLEDGE: Bytes = Bytes::gib(1);

/// The most hosts that hold data: Garage numbers them with one byte.
const MAX_STORAGE: usize = 256;
/// The most entries of lists: a bound for who checks them.
pub(crate) const MAX_HOSTS: usize = 256;
pub(crate) const MAX_POOLS: usize = 32;
pub(crate) const MAX_CACHES: usize = 256;
pub(crate) const MAX_ZONES: usize = 256;
pub(crate) const MAX_WINDOWS: usize = 32;
/// Who is ready to join does not wait longer for others.
pub(crate) const MAX_JOIN_WINDOW: Span = Span::days(1);
/// The largest share of every disk that is never planned with.
pub(crate) const MAX_RESERVE: Percent = Percent::new(90);

// What gateways and clients take.
/// The longest retention, in seconds: clients hold it in 31 bits.
pub(crate) const MAX_RETENTION: u64 = 0x7fff_ffff;
/// The longest public URL, in bytes.
pub(crate) const MAX_URL: usize = 512;
/// The longest path of a store, in bytes.
pub(crate) const MAX_STORE_DIR: usize = 1024;
/// The most names of upstream keys that a cache has, and the longest of them.
pub(crate) const MAX_UPSTREAM_KEYS: usize = 64;
pub(crate) const MAX_KEY_NAME: usize = 256;

/// Checks one document by itself.
///
/// # Errors
/// All rules it breaks.
pub fn check(document: &Document) -> Result<(), Violations> {
    let mut found = Found::default();
    let spec = &document.spec;
    lengths(spec, &mut found);
    garage(spec, &mut found);
    hosts(spec, &mut found);
    admission(spec, &mut found);
    rebalance(spec, &mut found);
    if let ResyncWorkers::Fixed(n) = spec.rebalance.resync_workers
        && !(1..=8).contains(&n)
    {
        found.add("spec.rebalance.resyncWorkers", n, "`auto` or 1 to 8 is allowed");
    }
    if let Some(rate) = spec.rebalance.max_rate
        && rate.0.0 == 0
    {
        found.add(
            "spec.rebalance.maxRate",
            rate,
            "more than nothing is needed; leave it out for no limit",
        );
    }
    if let Some(url) = &spec.gateway.public_url
        && let Some(allowed) = wrong_public_url(url)
    {
        found.add("spec.gateway.publicUrl", format!("`{url}`"), allowed);
    }
    caches(&spec.caches, &mut found);
    found.result()
}

fn lengths(spec: &Spec, found: &mut Found) {
    let zones = spec.admission.zones.as_ref().map_or(0, Vec::len);
    for (path, entries, most) in [
        ("spec.hosts", spec.hosts.len(), MAX_HOSTS),
        ("spec.pools", spec.pools.len(), MAX_POOLS),
        ("spec.caches", spec.caches.len(), MAX_CACHES),
        ("spec.admission.zones", zones, MAX_ZONES),
        (
            "spec.rebalance.windows",
            spec.rebalance.windows.len(),
            MAX_WINDOWS,
        ),
    ] {
        if entries > most {
            found.add(
                path,
                format!("{entries} entries"),
                format!("at most {most} are allowed"),
            );
        }
    }
}

fn rebalance(spec: &Spec, found: &mut Found) {
    let rebalance = &spec.rebalance;
    if rebalance.dead_after.seconds == 0 {
        found.add(
            "spec.rebalance.deadAfter",
            rebalance.dead_after,
            "at least 1s is needed; hours are better, for a host that is put out loses its place",
        );
    }
    if rebalance.join_window > MAX_JOIN_WINDOW {
        found.add(
            "spec.rebalance.joinWindow",
            rebalance.join_window,
            format!("at most {MAX_JOIN_WINDOW} is allowed"),
        );
    }
    if rebalance.reserve > MAX_RESERVE {
        found.add(
            "spec.rebalance.reserve",
            rebalance.reserve,
            format!("at most {MAX_RESERVE} is allowed; else no disk would take any data"),
        );
    }
}

fn garage(spec: &Spec, found: &mut Found) {
    if spec.garage.quota == Some(Bytes(0)) {
        found.add(
            "spec.garage.quota",
            Bytes(0),
            "more than nothing is needed; leave it out for no limit",
        );
    }
    let garage = &spec.garage;
    let factor = garage.replication_factor;
    if !matches!(factor, 1 | 3 | 5) {
        found.add("spec.garage.replicationFactor", factor, "1, 3 or 5 is allowed");
        return;
    }
    let redundancy = garage.zones();
    if !(1..=factor).contains(&redundancy) {
        found.add(
            "spec.garage.zoneRedundancy",
            redundancy,
            format!("1 to {factor}, the replication factor, is allowed"),
        );
    }
    let pools = || {
        spec.pools
            .iter()
            .filter(|pool| pool.roles.contains(&Role::Storage))
    };
    let declared = spec
        .hosts
        .iter()
        .filter(|host| host.has(Role::Storage) && host.state.is_active());
    let zones: BTreeSet<_> = declared
        .clone()
        .map(|host| &host.zone)
        .chain(pools().map(|pool| &pool.zone))
        .collect();
    let storage = declared.count() + pools().map(|pool| usize::from(pool.replicas)).sum::<usize>();
    // Without any storage host declared, all of them join by token, and how many come is not known here.
    if storage == 0 {
        return;
    }
    if storage > MAX_STORAGE {
        found.add(
            "spec.hosts",
            format!("{storage} with role storage"),
            format!("at most {MAX_STORAGE}, as many as Garage numbers, are allowed"),
        );
    }
    if storage < usize::from(factor) {
        found.add(
            "spec.hosts",
            format!("{storage} with role storage"),
            format!("at least {factor}, the replication factor, are needed"),
        );
    } else if zones.len() < usize::from(redundancy) {
        found.add(
            "spec.garage.zoneRedundancy",
            redundancy,
            format!(
                "at most {}, the zones that storage hosts are in, is allowed",
                zones.len()
            ),
        );
    }
}

fn hosts(spec: &Spec, found: &mut Found) {
    let mut names = BTreeSet::new();
    for (n, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{n}]");
        if !names.insert(host.name.clone()) {
            found.add(
                format!("{path}.name"),
                format!("`{}`", host.name),
                "each name is allowed once",
            );
        }
        let HostSpec {
            pledge,
            roles,
            address,
            uplink,
            ..
        } = host;
        roles_and_pledge(&path, roles, *pledge, found);
        if let Some(rate) = uplink
            && rate.0.0 == 0
        {
            found.add(
                format!("{path}.uplink"),
                rate,
                "more than nothing is needed; leave it out for no limit",
            );
        }
        if let Some(address) = address
            && (address.is_empty() || address.contains(|c: char| c.is_whitespace() || c == '/'))
        {
            found.add(
                format!("{path}.address"),
                format!("`{address}`"),
                "a DNS name or IP address is allowed",
            );
        }
    }
    for (n, pool) in spec.pools.iter().enumerate() {
        let path = format!("spec.pools[{n}]");
        let PoolSpec {
            name, roles, pledge, ..
        } = pool;
        if !names.insert(name.clone()) {
            found.add(
                format!("{path}.name"),
                format!("`{name}`"),
                "each name is allowed once",
            );
        }
        roles_and_pledge(&path, roles, *pledge, found);
        for (n, host) in spec.hosts.iter().enumerate() {
            if is_of_pool(&host.name, name) {
                found.add(
                    format!("spec.hosts[{n}].name"),
                    format!("`{}`", host.name),
                    format!("such names are those of the hosts of the pool {name}"),
                );
            }
        }
    }
}

/// Whether a host of the pool may be called so.
fn is_of_pool(host: &HostName, pool: &HostName) -> bool {
    let number = host
        .as_str()
        .strip_prefix(pool.as_str())
        .and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn roles_and_pledge(path: &str, roles: &[Role], pledge: Option<Bytes>, found: &mut Found) {
    if roles.is_empty() {
        found.add(
            format!("{path}.roles"),
            "no role",
            "at least one of storage, gateway is needed",
        );
    }
    if roles.iter().collect::<BTreeSet<_>>().len() != roles.len() {
        found.add(
            format!("{path}.roles"),
            "a role twice",
            "each role is allowed once",
        );
    }
    match (roles.contains(&Role::Storage), pledge) {
        (true, None) => {
            found.add(
                format!("{path}.pledge"),
                "nothing",
                "a host with role storage needs a pledge",
            );
        }
        (true, Some(pledge)) if pledge < MIN_PLEDGE => {
            found.add(
                format!("{path}.pledge"),
                pledge,
                format!("at least {MIN_PLEDGE} is needed"),
            );
        }
        (false, Some(pledge)) => {
            found.add(
                format!("{path}.pledge"),
                pledge,
                "only a host with role storage has a pledge",
            );
        }
        (true, Some(_)) | (false, None) => {}
    }
}

fn admission(spec: &Spec, found: &mut Found) {
    let admission = &spec.admission;
    for (n, host) in spec.hosts.iter().enumerate() {
        if let (Some(pledge), Some(max)) = (host.pledge, admission.max_pledge)
            && pledge > max
        {
            found.add(
                format!("spec.hosts[{n}].pledge"),
                pledge,
                format!("at most {max}, spec.admission.maxPledge, is allowed"),
            );
        }
        if let Some(zones) = &admission.zones
            && !zones.contains(&host.zone)
        {
            found.add(
                format!("spec.hosts[{n}].zone"),
                format!("`{}`", host.zone),
                "only the zones of spec.admission.zones are allowed",
            );
        }
    }
    if let Some(version) = &admission.min_garage {
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
        let mut parts = version.split('.');
        let valid = matches!((number(parts.next()), number(parts.next())), (Some(2), Some(minor)) if minor >= 5)
            && parts.all(|part| number(Some(part)).is_some());
        if !valid {
            found.add(
                "spec.admission.minGarage",
                format!("`{version}`"),
                "a version of the 2.x series from \"2.5\" on is allowed",
            );
        }
    }
}

/// Why a URL cannot be the public one, if it cannot.
fn wrong_public_url(url: &str) -> Option<&'static str> {
    let Some(rest) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return Some("a URL that begins with https:// or http:// is allowed");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if url.len() > MAX_URL {
        return Some("a shorter URL is allowed");
    }
    if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("a URL with a host and without spaces is allowed");
    }
    if url.contains(['?', '#']) || host.contains('@') {
        return Some("a URL without user, query and fragment is allowed");
    }
    // The rest as those see it who will use it.
    let good = url::Url::parse(url).is_ok_and(|url| {
        url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    (!good).then_some("a URL such as https://cache.example.org is allowed")
}

/// Whether a path is one that Nix could keep its store at.
fn is_store_dir(path: &str) -> bool {
    let clean = path
        .strip_prefix('/')
        .is_some_and(|parts| parts.split('/').all(|part| !matches!(part, "" | "." | "..")));
    clean && path.len() <= MAX_STORE_DIR && !path.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// Whether a text can stand before the colon of a key.
fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_KEY_NAME
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
}

fn caches(caches: &[CacheSpec], found: &mut Found) {
    let mut names = BTreeSet::new();
    for (n, cache) in caches.iter().enumerate() {
        let path = format!("spec.caches[{n}]");
        if !names.insert(&cache.name) {
            found.add(
                format!("{path}.name"),
                format!("`{}`", cache.name),
                "each name is allowed once",
            );
        }
        if cache.priority < 0 {
            found.add(format!("{path}.priority"), cache.priority, "0 or more is allowed");
        }
        if !is_store_dir(&cache.store_dir) {
            found.add(
                format!("{path}.storeDir"),
                format!("`{}`", cache.store_dir),
                "an absolute path without empty, `.` or `..` parts, blanks and a slash at its end is allowed",
            );
        }
        if let Some(retention) = cache.retention
            && !(1..=MAX_RETENTION).contains(&retention.seconds)
        {
            found.add(
                format!("{path}.retention"),
                retention,
                format!(
                    "1s to {MAX_RETENTION}s, which is 68 years, is allowed; leave it out to keep paths for ever"
                ),
            );
        }
        if cache.upstream_keys.len() > MAX_UPSTREAM_KEYS {
            found.add(
                format!("{path}.upstreamKeys"),
                format!("{} names", cache.upstream_keys.len()),
                format!("at most {MAX_UPSTREAM_KEYS} are allowed"),
            );
        }
        for (k, key) in cache.upstream_keys.iter().enumerate() {
            if !is_key_name(key) {
                found.add(
                    format!("{path}.upstreamKeys[{k}]"),
                    format!("`{key}`"),
                    "the name of a key is allowed, such as cache.nixos.org-1",
                );
            }
        }
    }
}

/// Checks what may not change between a cluster's document and a new one.
///
/// # Errors
/// All immutable fields that differ.
pub fn check_change(old: &Document, new: &Document) -> Result<(), Violations> {
    let mut found = Found::default();
    let (was, is) = (&old.metadata.name, &new.metadata.name);
    if was != is {
        found.add(
            "metadata.name",
            format!("`{is}`"),
            format!("it is immutable and is `{was}`"),
        );
    }
    let (was, is) = (
        old.spec.garage.replication_factor,
        new.spec.garage.replication_factor,
    );
    if was != is {
        found.add(
            "spec.garage.replicationFactor",
            is,
            format!("it is immutable and is {was}"),
        );
    }
    found.result()
}

#[cfg(test)]
mod tests;
