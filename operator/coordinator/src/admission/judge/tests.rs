use hayloft_api::Bytes;
use hayloft_api::agent::DiskReport;
use jiff::SignedDuration;

use super::*;

const DOCUMENT: &str = "
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 3 }
  hosts:
    - { name: paris-1, zone: paris, roles: [storage], pledge: 1Ti, address: paris-1.example.org }
    - { name: lille-1, zone: lille, roles: [storage], pledge: 1Ti }
    - { name: brest-1, zone: brest, roles: [storage], pledge: 1Ti }
  admission: { maxPledge: 2Ti, zones: [paris, lyon, lille, brest], minGarage: '2.6' }
";

fn now() -> Timestamp {
    "2026-03-04T05:06:07Z".parse().unwrap()
}

fn key(n: u8) -> HostKey {
    HostKey::from_bytes([n; 32])
}

fn facts() -> JoinFacts {
    JoinFacts {
        name: "lyon-1".parse().unwrap(),
        owner: None,
        zone: "lyon".parse().unwrap(),
        roles: vec![Role::Storage],
        pledge: Some(Bytes::gib(100)),
        uplink: None,
        disk: DiskReport {
            data_available: 200 << 30,
            data_total: 300 << 30,
        },
        held: 0,
        garage_id: NodeId::from_public_key([1; 32]),
        garage_version: Some("2.6.1".into()),
        replication_factor: None,
        address: "lyon-1.example.org:3902".into(),
        rpc_address: "lyon-1.example.org:3901".into(),
        clock: now(),
        dialled: Vec::new(),
    }
}

fn limits() -> TokenLimits {
    TokenLimits {
        uses: 1,
        expires: now() + SignedDuration::from_hours(24),
        roles: vec![Role::Storage],
        zone: None,
        max_pledge: None,
        name: None,
    }
}

fn known(name: &str, n: u8, address: &str) -> Known {
    Known {
        name: name.parse().unwrap(),
        key: Some(key(n)),
        garage_id: Some(NodeId::from_public_key([n; 32])),
        address: Some(address.to_owned()),
        up: true,
    }
}

/// What is said of these facts, where a host of the public network belongs already.
fn said(facts: &JoinFacts, limits: &TokenLimits, members: &[Known]) -> Vec<(Check, String)> {
    let document = Document::from_yaml(DOCUMENT).unwrap();
    let ours = Ours {
        now: now(),
        document: &document,
        members,
    };
    before_dialling(key(1), facts, limits, ours)
        .iter()
        .map(|refusal| (refusal.check, refusal.to_string()))
        .collect()
}

#[test]
fn a_fit_host_is_refused_nothing() {
    assert_eq!(
        said(&facts(), &limits(), &[known("lyon-2", 2, "203.0.113.2:3902")]),
        []
    );
    assert_eq!(said(&facts(), &limits(), &[]), []);
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let public = [known("lyon-2", 2, "203.0.113.2:3902")];
    let mut all = Vec::new();
    let mut case = |check: Check, change: &dyn Fn(&mut JoinFacts, &mut TokenLimits)| {
        let (mut facts, mut limits) = (facts(), limits());
        change(&mut facts, &mut limits);
        let said = said(&facts, &limits, &public);
        assert_eq!(
            said.iter().map(|(check, _)| *check).collect::<Vec<_>>(),
            [check],
            "{said:?}"
        );
        all.push(format!("{check:?}: {}", said[0].1));
    };
    case(Check::Limits, &|_, limits| {
        limits.name = Some("lyon-9".parse().unwrap());
    });
    case(Check::Limits, &|_, limits| {
        limits.zone = Some("paris".parse().unwrap());
    });
    case(Check::Limits, &|_, limits| limits.roles = vec![Role::Gateway]);
    case(Check::Limits, &|_, limits| {
        limits.max_pledge = Some(Bytes::gib(50));
    });
    case(Check::Document, &|facts, _| {
        facts.name = "paris-1".parse().unwrap();
        facts.zone = "paris".parse().unwrap();
    });
    case(Check::Document, &|facts, limits| {
        facts.name = "paris-1".parse().unwrap();
        limits.name = Some("paris-1".parse().unwrap());
    });
    case(Check::Document, &|facts, _| facts.zone = "nice".parse().unwrap());
    case(Check::Document, &|facts, _| {
        facts.pledge = Some(Bytes::gib(3000));
        facts.disk.data_available = 4000 << 30;
    });
    case(Check::Clock, &|facts, _| {
        facts.clock = now() + SignedDuration::from_mins(10);
    });
    case(Check::Clock, &|facts, _| {
        facts.clock = now() - SignedDuration::from_mins(10);
    });
    case(Check::Disk, &|facts, _| facts.pledge = None);
    case(Check::Disk, &|facts, _| facts.roles = vec![]);
    case(Check::Disk, &|facts, _| facts.disk.data_available = 50 << 30);
    case(Check::Disk, &|facts, _| facts.disk.data_available = 1 << 20);
    case(Check::ReplicationFactor, &|facts, _| {
        facts.replication_factor = Some(1);
    });
    case(Check::Garage, &|facts, _| facts.garage_version = None);
    case(Check::Garage, &|facts, _| {
        facts.garage_version = Some("1.3.0".into());
    });
    case(Check::Garage, &|facts, _| {
        facts.garage_version = Some("2.5.0".into());
    });
    case(Check::Garage, &|facts, _| {
        facts.garage_version = Some("new".into());
    });
    case(Check::Duplicate, &|facts, _| {
        facts.garage_id = NodeId::from_public_key([2; 32]);
    });
    case(Check::Duplicate, &|facts, _| {
        facts.name = "lyon-2".parse().unwrap();
    });
    case(Check::PrivateAddress, &|facts, _| {
        facts.address = "192.168.1.7:3902".into();
    });
    case(Check::PrivateAddress, &|facts, _| {
        facts.rpc_address = "127.0.0.1:3901".into();
    });
    case(Check::PrivateAddress, &|facts, _| facts.address = "here".into());
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut facts = facts();
    facts.clock = now() + SignedDuration::from_mins(10);
    facts.garage_version = None;
    facts.pledge = Some(Bytes::gib(500));
    let checks: Vec<_> = said(&facts, &limits(), &[])
        .into_iter()
        .map(|(check, _)| check)
        .collect();
    assert_eq!(checks, [Check::Clock, Check::Disk, Check::Garage]);
}

#[test]
fn a_clock_may_be_off_by_as_much_as_a_members_may() {
    for (off, count) in [(30, 0), (31, 1), (-30, 0), (-31, 1)] {
        let mut facts = facts();
        facts.clock = now() + SignedDuration::from_secs(off);
        assert_eq!(said(&facts, &limits(), &[]).len(), count, "{off}");
    }
}

#[test]
fn private_addresses_are_good_among_hosts_of_one_private_network() {
    let mut facts = facts();
    facts.address = "192.168.1.7:3902".into();
    facts.rpc_address = "192.168.1.7:3901".into();
    assert_eq!(
        said(&facts, &limits(), &[known("lyon-2", 2, "192.168.1.8:3902")]),
        []
    );
    facts.address = "127.0.0.1:3902".into();
    facts.rpc_address = "127.0.0.1:3901".into();
    assert_eq!(
        said(&facts, &limits(), &[known("lyon-2", 2, "127.0.0.1:4902")]),
        [],
        "all on one machine"
    );
    assert_eq!(
        said(&facts, &limits(), &[known("lyon-2", 2, "192.168.1.8:3902")]).len(),
        2
    );
}

#[test]
fn a_disk_that_holds_blocks_of_an_earlier_life_counts_them_as_room() {
    let mut facts = facts();
    facts.disk.data_available = 50 << 30;
    facts.held = 60 << 30;
    assert_eq!(said(&facts, &limits(), &[]), []);
}

#[test]
fn a_name_of_a_host_that_is_away_is_free_only_if_the_document_declares_it() {
    let away = |name: &str| Known {
        up: false,
        ..known(name, 2, "203.0.113.2:3902")
    };
    let mut facts = facts();
    assert_eq!(said(&facts, &limits(), &[away("lyon-1")])[0].0, Check::Duplicate);
    facts.name = "paris-1".parse().unwrap();
    facts.zone = "paris".parse().unwrap();
    let named = TokenLimits {
        name: Some("paris-1".parse().unwrap()),
        ..limits()
    };
    assert_eq!(said(&facts, &named, &[away("paris-1")]), []);
}

#[test]
fn two_connected_members_try_the_way_and_never_the_joiner_itself() {
    let document = Document::from_yaml(DOCUMENT).unwrap();
    let mut down = known("a", 2, "203.0.113.2:1");
    down.up = false;
    let mut homeless = known("b", 3, "");
    homeless.address = None;
    let members = [
        down,
        homeless,
        known("lyon-1", 1, "203.0.113.3:1"),
        known("c", 4, "203.0.113.4:1"),
        known("d", 5, "203.0.113.5:1"),
        known("e", 6, "203.0.113.6:1"),
    ];
    let ours = Ours {
        now: now(),
        document: &document,
        members: &members,
    };
    let names: Vec<_> = ours
        .who_tries(key(1))
        .into_iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(names, ["c", "d"]);
}
