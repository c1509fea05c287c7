use hayloft_api::question::{Census, Digest, PartitionCensus};
use hayloft_engine::RepairFacts;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn id(n: u8) -> NodeId {
    NodeId::from_public_key([n; 32])
}

fn hosts() -> BTreeMap<NodeId, HostName> {
    (1..=5)
        .map(|n| (id(n), format!("host-{n}").parse().unwrap()))
        .collect()
}

fn layout(version: u64, nodes: &[u8], settled: bool) -> LayoutFacts {
    let role = |n: &u8| NodeRole {
        zone: format!("zone-{n}"),
        capacity: Some(1 << 30),
        tags: vec![],
    };
    LayoutFacts {
        version,
        roles: nodes.iter().map(|n| (id(*n), role(n))).collect(),
        settled,
        ..LayoutFacts::default()
    }
}

/// All partitions on these nodes.
fn map(nodes: [u8; 3]) -> LayoutMap {
    LayoutMap {
        zones: nodes.iter().map(|n| (id(*n), format!("zone-{n}"))).collect(),
        holders: vec![nodes.map(id).to_vec(); 256],
    }
}

fn census(bytes: u64) -> Census {
    let partition = PartitionCensus {
        count: u64::from(bytes > 0),
        bytes,
        digest: Digest::new([0; 32]),
    };
    Census {
        began: at(0),
        ended: at(0),
        partitions: vec![partition; 256],
    }
}

struct Scene {
    moves: Moves,
    hosts: BTreeMap<NodeId, HostName>,
    started: BTreeMap<NodeId, Timestamp>,
    gone: BTreeSet<NodeId>,
    sound: BTreeSet<NodeId>,
    new_disks: BTreeMap<NodeId, Timestamp>,
    older: BTreeMap<NodeId, Timestamp>,
}

impl Scene {
    /// Three hosts with a first layout, whose move is over.
    fn new() -> Self {
        let mut scene = Self {
            moves: Moves::default(),
            hosts: hosts(),
            started: (1..=5).map(|n| (id(n), at(0))).collect(),
            gone: BTreeSet::new(),
            sound: (1..=5).map(id).collect(),
            new_disks: BTreeMap::new(),
            older: BTreeMap::new(),
        };
        scene.moves.maps.insert(1, map([1, 2, 3]));
        let news = scene.see(&layout(1, &[1, 2, 3], true), 1);
        assert_eq!(
            news,
            [
                News::Applied(1),
                News::Settled(1.into()),
                News::Placed(1.into()),
                News::Over(1.into())
            ]
        );
        scene
    }

    fn see(&mut self, layout: &LayoutFacts, now: i64) -> Vec<News> {
        self.see_split(layout, false, now)
    }

    fn see_split(&mut self, layout: &LayoutFacts, split: bool, now: i64) -> Vec<News> {
        self.moves.follow(&Seen {
            layout,
            split,
            hosts: &self.hosts,
            started: &self.started,
            gone: &self.gone,
            sound: &self.sound,
            new_disks: &self.new_disks,
            older: &self.older,
            bucket: Some(Bytes(256_000)),
            now: at(now),
        })
    }

    /// Node 3 gives everything to node 4.
    fn exchange(&mut self) -> LayoutFacts {
        self.moves.maps.insert(2, map([1, 2, 4]));
        let layout = layout(2, &[1, 2, 4], false);
        assert_eq!(self.see(&layout, 10), [News::Applied(2)]);
        layout
    }

    fn proven(&mut self, version: u64, began: i64) {
        let facts = &mut self.moves.records.get_mut(&version.into()).unwrap().facts;
        for node in facts.receivers() {
            let repair = RepairFacts {
                launched: at(20),
                finished: Some(at(25)),
                errors: 0,
            };
            facts.repairs.insert(node, repair);
        }
        facts.compared = Some(Compared {
            began: at(began),
            at: at(began + 1),
            missing: 0,
            of: 256,
        });
    }
}

#[test]
fn a_move_is_known_by_who_gains_and_who_loses() {
    let mut scene = Scene::new();
    scene.exchange();
    let facts = &scene.moves.records[&MoveKey::from(2)].facts;
    assert_eq!(facts.partitions, Some(256));
    assert_eq!(facts.destinations, [(id(4), 256)].into());
    assert_eq!(facts.sources, [(id(3), 256)].into());
    assert_eq!(
        facts.departures().map(|left| left.id).collect::<Vec<_>>(),
        [id(3)]
    );
    assert_eq!(
        facts.bytes,
        Some(Bytes(256_000)),
        "estimated until somebody counted"
    );
}

#[test]
fn it_is_placed_by_proof_only_and_over_when_the_leaver_is_empty() {
    let mut scene = Scene::new();
    let mut layout = scene.exchange();
    layout.settled = true;
    assert_eq!(scene.see(&layout, 15), [News::Settled(2.into())]);
    assert_eq!(scene.see(&layout, 600), [], "time proves nothing");
    scene.proven(2, 24);
    assert_eq!(
        scene.see(&layout, 601),
        [],
        "it was compared before the repair ended"
    );
    scene.proven(2, 30);
    assert_eq!(scene.see(&layout, 602), [News::Placed(2.into())]);

    let host = scene.hosts[&id(3)].clone();
    scene.moves.censuses.put(&host, at(14), census(0));
    assert_eq!(scene.see(&layout, 603), [], "counted before it settled");
    scene.moves.censuses.put(&host, at(604), census(7));
    assert_eq!(scene.see(&layout, 605), []);
    scene.sound.remove(&id(3));
    scene.moves.censuses.put(&host, at(606), census(0));
    assert_eq!(
        scene.see(&layout, 607),
        [],
        "a disk that is not mounted looks empty"
    );
    scene.sound.insert(id(3));
    assert_eq!(
        scene.see(&layout, 608),
        [News::Emptied(2.into(), id(3)), News::Over(2.into())]
    );
}

/// Node 2 has a new data disk, which is in use.
fn refilled() -> (Scene, LayoutFacts, MoveKey) {
    let mut scene = Scene::new();
    let key = MoveKey {
        version: 1,
        refilled: Some(id(2)),
    };
    let layout = layout(1, &[1, 2, 3], true);
    scene.new_disks.insert(id(2), at(10));
    assert_eq!(scene.see(&layout, 12), [News::Refilled(key), News::Settled(key)]);
    scene.new_disks.clear();
    (scene, layout, key)
}

fn filled(scene: &mut Scene, key: MoveKey, launched: i64, compared: i64) {
    let facts = &mut scene.moves.records.get_mut(&key).unwrap().facts;
    let repair = RepairFacts {
        launched: at(launched),
        finished: Some(at(launched + 1)),
        errors: 0,
    };
    facts.repairs.insert(id(2), repair);
    let tables = |n| {
        (
            id(n),
            RepairFacts {
                launched: at(13),
                finished: Some(at(14)),
                errors: 0,
            },
        )
    };
    if !facts.older_metadata {
        facts.tables = (1..=3).map(tables).collect();
    }
    facts.compared = Some(Compared {
        began: at(compared),
        at: at(compared + 1),
        missing: 0,
        of: 256,
    });
}

#[test]
fn a_new_data_disk_is_a_move_of_all_that_its_node_should_hold() {
    let (mut scene, layout, key) = refilled();
    let facts = scene.moves.records[&key].facts.clone();
    assert_eq!(facts.destinations, [(id(2), 256)].into());
    assert_eq!(facts.receivers(), [id(2)]);
    assert!(facts.only_receives(id(2)));
    assert_eq!(facts.departures().count(), 0);
    let others = [1, 3].map(|n| scene.hosts[&id(n)].clone());
    let counted = scene.moves.counted(&scene.hosts);
    assert!(others.iter().all(|host| counted.contains(host)));
    // Its word may be heard once more before it is dropped.
    scene.new_disks.insert(id(2), at(10));
    assert_eq!(scene.see(&layout, 13), []);
    filled(&mut scene, key, 11, 20);
    assert_eq!(scene.see(&layout, 14), [], "repaired before it was in use");
    filled(&mut scene, key, 15, 15);
    assert_eq!(scene.see(&layout, 17), [], "compared before it was repaired");
    filled(&mut scene, key, 15, 20);
    assert_eq!(scene.see(&layout, 22), [News::Placed(key), News::Over(key)]);
}

#[test]
fn metadata_that_went_back_is_repaired_before_blocks_are_looked_for() {
    let mut scene = Scene::new();
    let key = MoveKey {
        version: 1,
        refilled: Some(id(2)),
    };
    let layout = layout(1, &[1, 2, 3], true);
    scene.older.insert(id(2), at(10));
    assert_eq!(scene.see(&layout, 12), [News::Refilled(key), News::Settled(key)]);
    assert_eq!(scene.see(&layout, 13), [], "it was begun");
    filled(&mut scene, key, 15, 20);
    assert_eq!(scene.see(&layout, 22), [], "no table was repaired");
    let facts = &mut scene.moves.records.get_mut(&key).unwrap().facts;
    let repair = RepairFacts {
        launched: at(23),
        finished: Some(at(24)),
        errors: 0,
    };
    facts.tables = (1..=3).map(|n| (id(n), repair)).collect();
    assert_eq!(
        scene.see(&layout, 25),
        [],
        "its blocks were looked for by what it knew before"
    );
    filled(&mut scene, key, 26, 30);
    assert_eq!(scene.see(&layout, 32), [News::Placed(key), News::Over(key)]);
}

#[test]
fn a_disk_that_is_replaced_once_more_while_it_is_filled_is_begun_anew() {
    let (mut scene, layout, key) = refilled();
    filled(&mut scene, key, 15, 20);
    scene.moves.records.get_mut(&key).unwrap().facts.quickened = [(id(2), at(14))].into();
    scene.new_disks.insert(id(2), at(21));
    assert_eq!(scene.see(&layout, 22), [News::Refilled(key)]);
    let facts = &scene.moves.records[&key].facts;
    assert!(facts.quickened.is_empty() && facts.repairs.is_empty());
    assert_eq!(facts.compared, None);
}

#[test]
fn a_disk_that_is_being_filled_is_remembered_by_its_own_name() {
    let (scene, _, key) = refilled();
    assert_eq!(key.to_string().parse::<MoveKey>().unwrap(), key);
    assert_eq!("7".parse::<MoveKey>().unwrap(), 7.into());
    assert!("7/x".parse::<MoveKey>().is_err());
    let record = &scene.moves.records[&key];
    let text = serde_json::to_string(record).unwrap();
    assert_eq!(&serde_json::from_str::<MoveRecord>(&text).unwrap(), record);
}

#[tokio::test]
async fn a_comparison_for_a_new_disk_is_of_all_holders_and_covers_earlier_moves() {
    let mut scene = Scene::new();
    let mut layout = scene.exchange();
    layout.settled = true;
    scene.see(&layout, 15);
    scene.new_disks.insert(id(4), at(16));
    scene.see(&layout, 17);
    let key = MoveKey {
        version: 2,
        refilled: Some(id(4)),
    };
    let hosts = hosts();
    let mut job = None;
    let began = scene
        .moves
        .compare(key, 2, &hosts, &BTreeSet::new(), at(40), |made, _| {
            job = Some(made);
            tokio::spawn(async {})
        });
    began.unwrap();
    let parties = job.unwrap().partitions.remove(&7).unwrap();
    assert_eq!(
        parties.former,
        [hosts[&id(3)].clone()].into(),
        "the giver of the move before"
    );
    assert_eq!(parties.holders, [1, 2, 4].map(|n| hosts[&id(n)].clone()).into());
}

#[tokio::test]
async fn a_new_disk_is_compared_with_the_other_holders_and_those_not_with_it() {
    let (mut scene, ..) = refilled();
    let key = *scene.moves.records.keys().next().unwrap();
    let hosts = hosts();
    let mut job = None;
    let began = scene
        .moves
        .compare(key, 1, &hosts, &BTreeSet::new(), at(40), |made, _| {
            job = Some(made);
            tokio::spawn(async {})
        });
    began.unwrap();
    let parties = job.unwrap().partitions.remove(&7).unwrap();
    assert_eq!(parties.former, [1, 3].map(|n| hosts[&id(n)].clone()).into());
    assert_eq!(parties.holders, [hosts[&id(2)].clone()].into());
}

#[test]
fn a_leaver_that_is_gone_for_good_is_not_waited_for() {
    let mut scene = Scene::new();
    let mut layout = scene.exchange();
    layout.settled = true;
    scene.see(&layout, 15);
    scene.proven(2, 30);
    scene.gone.insert(id(3));
    assert_eq!(
        scene.see(&layout, 31),
        [News::Placed(2.into()), News::Over(2.into())]
    );
}

#[test]
fn a_version_that_moves_nothing_proves_nothing_of_an_earlier_one() {
    let mut scene = Scene::new();
    let mut second = scene.exchange();
    second.settled = true;
    scene.see(&second, 15);
    scene.moves.maps.insert(3, map([1, 2, 4]));
    let third = layout(3, &[1, 2, 4], true);
    let news = scene.see(&third, 20);
    assert!(news.contains(&News::Placed(3.into())), "{news:?}");
    assert!(!news.contains(&News::Placed(2.into())), "{news:?}");
    scene.proven(2, 30);
    assert_eq!(scene.see(&third, 31), [News::Placed(2.into())]);
}

#[test]
fn a_version_that_heals_a_split_is_placed_once_everybody_was_compared() {
    let mut scene = Scene::new();
    scene.moves.maps.insert(2, map([1, 2, 3]));
    let second = layout(2, &[1, 2, 3, 4], true);
    scene.see_split(&second, true, 10);
    scene.moves.maps.insert(3, map([1, 2, 3]));
    let third = layout(3, &[1, 2, 3, 4], true);
    let news = scene.see(&third, 20);
    assert_eq!(news, [News::Applied(3), News::Settled(3.into())]);
    let facts = &scene.moves.records[&MoveKey::from(3)].facts;
    assert_eq!(facts.receivers(), [1, 2, 3, 4].map(id));
    // Whoever may have been a holder by the other layout is listed too.
    let map = &scene.moves.maps[&3];
    let parties = scene
        .moves
        .parties(3.into(), map, &scene.hosts, &scene.gone)
        .unwrap();
    assert_eq!(parties.len(), 256);
    assert!(
        parties
            .values()
            .all(|parties| parties.former == [scene.hosts[&id(4)].clone()].into())
    );
    scene.proven(3, 30);
    let news = scene.see(&third, 31);
    assert_eq!(news, [News::Placed(3.into()), News::Over(3.into())]);
}

#[test]
fn bytes_that_have_arrived_are_counted_and_never_become_fewer() {
    let mut scene = Scene::new();
    let layout = scene.exchange();
    let host = |n: u8| scene.hosts[&id(n)].clone();
    let (old, new) = (host(3), host(4));
    scene.moves.censuses.put(&old, at(11), census(2000));
    scene.moves.censuses.put(&new, at(11), census(500));
    scene.see(&layout, 12);
    let facts = |scene: &Scene| scene.moves.records[&MoveKey::from(2)].facts.clone();
    assert_eq!(facts(&scene).bytes, Some(Bytes(512_000)));
    assert_eq!(facts(&scene).arrived, Bytes(128_000));
    // Objects are deleted meanwhile.
    scene.moves.censuses.put(&old, at(13), census(100));
    scene.moves.censuses.put(&new, at(13), census(100));
    scene.see(&layout, 14);
    assert_eq!(facts(&scene).bytes, Some(Bytes(512_000)));
    assert_eq!(facts(&scene).arrived, Bytes(128_000));
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let mut scene = Scene::new();
    scene.exchange();
    scene.proven(2, 30);
    let record = &scene.moves.records[&MoveKey::from(2)];
    let text = serde_json::to_string(record).unwrap();
    assert_eq!(&serde_json::from_str::<MoveRecord>(&text).unwrap(), record);
}

#[test]
fn a_version_that_was_made_while_nobody_looked_is_compared_in_full() {
    let mut scene = Scene::new();
    // Versions 2 to 8 passed by; nobody has the maps any more.
    scene.moves.maps = [(9, map([1, 2, 4]))].into();
    scene.see(&layout(9, &[1, 2, 4], true), 100);
    let record = &scene.moves.records[&MoveKey::from(9)];
    assert_eq!(record.facts.partitions, None);
    assert!(record.given_up);
    assert_eq!(record.gained.len(), 3, "anybody may have gained anything");
    assert!(!scene.moves.wants_maps(9));
}

#[test]
fn parties_are_all_who_lost_and_all_who_hold_now() {
    let mut scene = Scene::new();
    let mut layout = scene.exchange();
    layout.settled = true;
    scene.see(&layout, 15);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let mut job = None;
    let hosts = hosts();
    let began = scene
        .moves
        .compare(2.into(), 2, &hosts, &BTreeSet::new(), at(40), |made, _| {
            job = Some(made);
            tokio::spawn(async {})
        });
    began.unwrap();
    let job = job.unwrap();
    assert_eq!(job.partitions.len(), 256);
    let parties = &job.partitions[&7];
    assert_eq!(parties.former, [hosts[&id(3)].clone()].into());
    assert_eq!(parties.holders, [1, 2, 4].map(|n| hosts[&id(n)].clone()).into());
}

/// Two versions that are not placed: node 3 gave to node 4, and node 2 to node 5.
fn two_moves() -> (Scene, LayoutFacts) {
    let mut scene = Scene::new();
    let mut second = scene.exchange();
    second.settled = true;
    scene.see(&second, 15);
    scene.moves.maps.insert(3, map([1, 4, 5]));
    let third = layout(3, &[1, 4, 5], true);
    scene.see(&third, 20);
    (scene, third)
}

/// Begins a comparison whose view the test writes.
fn begin(scene: &mut Scene, version: u64, now: i64) -> watch::Sender<View> {
    let hosts = hosts();
    let mut sender = None;
    let began = scene
        .moves
        .compare(version.into(), 3, &hosts, &BTreeSet::new(), at(now), |_, view| {
            sender = Some(view);
            tokio::spawn(async {})
        });
    began.unwrap();
    sender.unwrap()
}

#[tokio::test]
async fn a_comparison_that_another_takes_the_place_of_is_not_taken_to_run_still() {
    let (mut scene, layout) = two_moves();
    let _third = begin(&mut scene, 3, 40);
    assert_eq!(
        scene.moves.records[&MoveKey::from(3)].facts.comparing,
        Some(at(40))
    );
    let _second = begin(&mut scene, 2, 41);
    scene.see(&layout, 42);
    assert_eq!(scene.moves.records[&MoveKey::from(3)].facts.comparing, None);
    assert_eq!(
        scene.moves.records[&MoveKey::from(2)].facts.comparing,
        Some(at(41))
    );
}

#[tokio::test]
async fn what_the_newest_comparison_found_is_known_of_all_earlier_moves() {
    let (mut scene, layout) = two_moves();
    let view = begin(&mut scene, 3, 40);
    let found = Comparing {
        of: 256,
        missing: 7,
        ..Comparing::new(at(40))
    };
    view.send_replace(View::Done(found));
    assert_eq!(scene.see(&layout, 50), [News::Missing(3.into(), 7)]);
    for version in [2, 3] {
        let facts = &scene.moves.records[&MoveKey::from(version)].facts;
        assert_eq!(facts.compared.map(|compared| compared.missing), Some(7));
        assert_eq!(facts.comparing, None);
    }
}
