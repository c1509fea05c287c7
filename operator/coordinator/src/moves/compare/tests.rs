use std::sync::{Arc, Mutex};

use hayloft_api::agent::{AdminAddress, DataState, HostReport};
use hayloft_api::question::{Answer, Question};
use hayloft_api::{HostName, NodeId};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::AgentLink;

type Disk = Arc<Mutex<BTreeSet<BlockName>>>;

fn name(n: u16) -> BlockName {
    let mut bytes = [0; 32];
    bytes[0] = 7;
    bytes[1..3].copy_from_slice(&n.to_be_bytes());
    BlockName::new(bytes)
}

/// An agent that only lists names, three in a page.
fn agent(host: &HostName, disk: Disk) -> AgentLink {
    let report = HostReport {
        host: host.clone(),
        seq: 0,
        generation: None,
        garage_id: NodeId::from_public_key([1; 32]),
        garage_version: None,
        garage_waiting: None,
        rpc_addr: String::new(),
        s3_addr: String::new(),
        admin: AdminAddress::Url("http://127.0.0.1:1".into()),
        gateway_addr: None,
        link_addr: None,
        units: vec![],
        disk: None,
        layout: None,
        data: DataState::Present,
        blocks: None,
        promise: None,
        rolled_back: Default::default(),
        clock: Timestamp::UNIX_EPOCH,
    };
    let (questions, mut asked) = mpsc::channel::<(Question, oneshot::Sender<_>)>(4);
    tokio::spawn(async move {
        while let Some((question, answer)) = asked.recv().await {
            let Question::Names { partition, after, .. } = question else {
                panic!("{question:?}")
            };
            let disk = disk.lock().unwrap().clone();
            let mut names: Vec<BlockName> = disk
                .into_iter()
                .filter(|name| name.partition() == partition && Some(*name) > after)
                .collect();
            let more = names.len() > 3;
            names.truncate(3);
            answer.send(Ok(Answer::Names { names, more })).unwrap();
        }
    });
    AgentLink {
        desired: watch::Sender::new(None),
        report: watch::Sender::new(report).subscribe(),
        questions,
    }
}

#[derive(Clone)]
struct Needed(Disk);

impl Referred for Needed {
    async fn needed(&self, names: &[BlockName]) -> Result<BTreeSet<BlockName>, String> {
        let needed = self.0.lock().unwrap().clone();
        Ok(names
            .iter()
            .copied()
            .filter(|name| needed.contains(name))
            .collect())
    }
}

fn disk(names: impl IntoIterator<Item = u16>) -> Disk {
    Arc::new(Mutex::new(names.into_iter().map(name).collect()))
}

struct Scene {
    job: Job,
    links: watch::Sender<Links>,
}

fn scene(old: &Disk, new: &Disk) -> Scene {
    let hosts: [HostName; 2] = ["old", "new"].map(|name| name.parse().unwrap());
    let links = [
        (hosts[0].clone(), agent(&hosts[0], old.clone())),
        (hosts[1].clone(), agent(&hosts[1], new.clone())),
    ];
    let parties = Parties {
        former: [hosts[0].clone()].into(),
        holders: [hosts[1].clone()].into(),
    };
    Scene {
        job: Job {
            partitions: [(7, parties)].into(),
            from: Comparing::new(Timestamp::UNIX_EPOCH),
        },
        links: watch::Sender::new(links.into()),
    }
}

async fn run(scene: &Scene, needed: &Disk) -> View {
    let (view, seen) = watch::channel(View::Running(scene.job.from.clone()));
    compare(
        scene.job.clone(),
        scene.links.subscribe(),
        Needed(needed.clone()),
        view,
    )
    .await;
    seen.borrow().clone()
}

#[tokio::test(start_paused = true)]
async fn all_that_the_former_holder_lists_is_found_page_by_page() {
    let (old, new) = (disk(0..10), disk(0..12));
    let View::Done(done) = run(&scene(&old, &new), &old).await else {
        panic!("not done")
    };
    assert_eq!((done.of, done.missing), (12, 0));
    assert!(done.open.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_block_that_never_comes_is_told_and_one_that_nobody_needs_is_not() {
    let (old, new) = (disk([1, 2, 3, 4]), disk([1, 4]));
    let View::Done(done) = run(&scene(&old, &new), &disk([1, 2])).await else {
        panic!("not done")
    };
    assert_eq!(done.missing, 1, "2 is needed, 3 is garbage");
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_on_its_way_is_waited_for() {
    let (old, new) = (disk(0..5), disk([0]));
    let scene = scene(&old, &new);
    let arriving = new.clone();
    tokio::spawn(async move {
        for n in 1..5 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            arriving.lock().unwrap().insert(name(n));
        }
    });
    let View::Done(done) = run(&scene, &old).await else {
        panic!("not done")
    };
    assert_eq!(done.missing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_be_asked_makes_it_fail() {
    let (old, new) = (disk(0..5), disk(0..5));
    let scene = scene(&old, &new);
    scene
        .links
        .send_modify(|links| drop(links.remove(&"new".parse::<HostName>().unwrap())));
    let View::Failed(_, why) = run(&scene, &old).await else {
        panic!("did not fail")
    };
    assert!(why.contains("new"), "{why}");
}
