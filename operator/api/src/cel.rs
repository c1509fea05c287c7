//! The rules of [`crate::rules`] in the language of Kubernetes' API server (CEL), for the schema of the CRDs: as far as
//! it can carry them. <https://kubernetes.io/docs/reference/using-api/cel/>
//!
//! An operator that reads an object runs the rules themselves again, so what is missing here is told a little later.

use serde_json::{Value, json};

use crate::rules::MIN_PLEDGE;

/// A rule and what is said to who breaks it.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// The number of bytes that a field says, as one of CEL's quantities, which know no `B`.
pub(crate) fn bytes(field: &str) -> String {
    format!("quantity(string({field}).replace(' ', '').replace('KB', 'k').replace('B', ''))")
}

/// The seconds that a field says.
pub(crate) fn seconds(field: &str) -> String {
    let unit = |(letter, seconds): (char, u32)| {
        format!("int('0' + {field}.find('[0-9]+{letter}').replace('{letter}', '')) * {seconds}")
    };
    let units = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)].map(unit);
    format!("({})", units.join(" + "))
}

/// A quantity is not zero.
pub(crate) fn more_than_nothing(quantity: &str) -> Value {
    rule(
        &format!("{quantity}.isGreaterThan(quantity('0'))"),
        "more than nothing is needed; leave it out for no limit",
    )
}

/// Who holds data says how much, and nobody else.
pub(crate) fn roles_and_pledge() -> Value {
    json!([
        rule(
            "!('storage' in self.roles) || has(self.pledge)",
            "pledge: a host with role storage needs a pledge"
        ),
        rule(
            "'storage' in self.roles || !has(self.pledge)",
            "pledge: only a host with role storage has a pledge"
        ),
        rule(
            &format!(
                "!has(self.pledge) || {}.compareTo(quantity('{MIN_PLEDGE}')) >= 0",
                bytes("self.pledge")
            ),
            &format!("pledge: at least {MIN_PLEDGE} is needed"),
        ),
    ])
}

/// What fields of the whole spec have to do with each other.
pub(crate) fn spec() -> Value {
    let storage = "(self.hosts.filter(h, 'storage' in h.roles && (!has(h.state) || h.state == 'active')).size() \
                   + self.pools.map(p, 'storage' in p.roles, p.replicas).sum())";
    let within = format!(
        "!has(self.admission.maxPledge) || self.hosts.all(h, !has(h.pledge) || {}.compareTo({}) <= 0)",
        bytes("h.pledge"),
        bytes("self.admission.maxPledge"),
    );
    json!([
        rule(
            &format!("{storage} == 0 || {storage} >= self.garage.replicationFactor"),
            "hosts: as many with role storage as the replication factor are needed"
        ),
        rule(
            &format!("{storage} <= 256"),
            "hosts: at most 256 with role storage, as many as Garage numbers, are allowed"
        ),
        rule(
            "!self.hosts.exists(h, self.pools.exists(p, p.name == h.name))",
            "hosts and pools: each name is allowed once"
        ),
        rule(
            "!self.hosts.exists(h, h.name.matches('-[0-9]+$') && self.pools.exists(p, p.name == h.name.substring(0, h.name.lastIndexOf('-'))))",
            "hosts: a name such as rack-0 belongs to the first host of the pool rack"
        ),
        rule(
            &within,
            "hosts: no pledge larger than admission.maxPledge is allowed"
        ),
        rule(
            "!has(self.admission.zones) || self.hosts.all(h, h.zone in self.admission.zones)",
            "hosts: only the zones of admission.zones are allowed"
        ),
    ])
}
