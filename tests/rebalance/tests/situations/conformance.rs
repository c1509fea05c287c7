//! The simulated Garage that planning is tested before, held to the real one: the same script, the same visible behaviour.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hayloft_api::NodeId;
use hayloft_engine::sim::{SimError, SimGarage};
use hayloft_engine::{NodeRole, RoleChange, Staged, VersionStatus};
use hayloft_garage::admin::{self, AdminError, Preview};
use hayloft_rebalance::{Bare, PATIENCE};

use crate::CHILD;

/// What anybody can see. Members are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    version: u64,
    draining: usize,
    trackers: bool,
    settled: bool,
    staged: usize,
    /// Whether a node is up, has a role, and is said to be draining.
    nodes: BTreeMap<usize, (bool, bool, bool)>,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Stages a role for a member.
    Join(usize),
    /// Stages the loss of a role.
    Leave(usize),
    /// Empties the staging area.
    Revert,
    /// Computes the next version.
    Preview,
    /// Applies this version.
    Apply(u64),
    /// Skips those who are down.
    Skip(u64),
    /// Kills a member.
    Kill(usize),
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Impossible,
    WrongVersion,
    NothingToSkip,
}

fn zone(n: usize) -> String {
    format!("zone-{n}")
}

struct Real {
    bare: Bare,
    ids: Vec<NodeId>,
}

impl Real {
    async fn act(&mut self, act: Act) -> Result<Outcome> {
        let admin = self.bare.admin(0)?;
        let done = match act {
            Act::Join(n) => {
                let role = admin::RoleChange::Assign {
                    zone: zone(n),
                    tags: vec![],
                    capacity: Some(1 << 30),
                };
                let at_least = Some(admin::ZoneRedundancy::AtLeast(
                    u8::from(self.ids.len() > 1) * 2 + 1,
                ));
                admin
                    .stage(&[(self.ids[n], role)].into(), at_least)
                    .await
                    .map(drop)
            }
            Act::Leave(n) => {
                let role = admin::RoleChange::Remove { remove: true };
                admin.stage(&[(self.ids[n], role)].into(), None).await.map(drop)
            }
            Act::Revert => admin.revert().await.map(drop),
            Act::Preview => match admin.preview().await? {
                Preview::Impossible { .. } => return Ok(Outcome::Impossible),
                Preview::Possible(_) => Ok(()),
            },
            Act::Apply(version) => admin.apply(version).await.map(drop),
            Act::Skip(version) => admin.skip_dead(version).await.map(drop),
            Act::Kill(n) => {
                self.bare.kill(n).await?;
                Ok(())
            }
        };
        match done {
            Ok(()) => Ok(Outcome::Done),
            Err(AdminError::LayoutVersion { .. }) => Ok(Outcome::WrongVersion),
            Err(AdminError::Refused { status: 400, .. }) => Ok(Outcome::NothingToSkip),
            Err(error) => Err(error.into()),
        }
    }

    async fn seen(&self) -> Result<Seen> {
        let admin = self.bare.admin(0)?;
        let (history, layout, status) = (
            admin.history().await?,
            admin.layout().await?,
            admin.status().await?,
        );
        let place = |id: &NodeId| self.ids.iter().position(|known| known == id);
        let has_role = |id: &NodeId| layout.roles.iter().any(|role| role.id == *id);
        Ok(Seen {
            version: layout.version,
            draining: history
                .versions
                .iter()
                .filter(|version| version.status == admin::VersionStatus::Draining)
                .count(),
            trackers: history.update_trackers.is_some(),
            settled: history.settled(),
            staged: layout.staged_role_changes.len(),
            nodes: status
                .nodes
                .iter()
                .filter_map(|node| Some((place(&node.id)?, (node.is_up, has_role(&node.id), node.draining))))
                .filter(|(_, (up, role, draining))| *up || *role || *draining)
                .collect(),
        })
    }
}

struct Sim {
    garage: SimGarage,
    ids: Vec<NodeId>,
}

impl Sim {
    fn act(&mut self, act: Act) -> Outcome {
        let through = self.ids[0];
        let staged = |id: NodeId, change: RoleChange, zones: Option<u8>| Staged {
            roles: [(id, change)].into(),
            zone_redundancy: zones.map(Some),
        };
        let done = match act {
            Act::Join(n) => {
                let role = NodeRole {
                    zone: zone(n),
                    capacity: Some(1 << 30),
                    tags: vec![],
                };
                let zones = Some(u8::from(self.ids.len() > 1) * 2 + 1);
                self.garage
                    .stage(through, &staged(self.ids[n], RoleChange::Assign(role), zones))
            }
            Act::Leave(n) => self
                .garage
                .stage(through, &staged(self.ids[n], RoleChange::Remove, None)),
            Act::Revert => self.garage.revert(through),
            Act::Preview => self.garage.preview().map(drop),
            Act::Apply(version) => self.garage.apply(through, version),
            Act::Skip(version) => self.garage.skip_dead(through, version, false),
            Act::Kill(n) => {
                self.garage.stop(self.ids[n], true);
                Ok(())
            }
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(SimError::Impossible(_)) => Outcome::Impossible,
            Err(SimError::WrongVersion) => Outcome::WrongVersion,
            Err(SimError::OneVersion) => Outcome::NothingToSkip,
            Err(error @ (SimError::Down | SimError::NoQuorum)) => unreachable!("{error}"),
        }
    }

    fn seen(&self) -> Seen {
        let (layout, status) = (self.garage.layout(), self.garage.status());
        let (versions, trackers) = self.garage.history();
        let place = |id: &NodeId| self.ids.iter().position(|known| known == id);
        Seen {
            version: layout.version,
            draining: versions
                .iter()
                .filter(|version| version.status == VersionStatus::Draining)
                .count(),
            trackers: trackers.is_some(),
            settled: layout.settled,
            staged: layout.staged.roles.len(),
            nodes: status
                .iter()
                .filter_map(|(id, node)| {
                    Some((
                        place(id)?,
                        (node.up, layout.roles.contains_key(id), node.draining),
                    ))
                })
                .filter(|(_, (up, role, draining))| *up || *role || *draining)
                .collect(),
        }
    }
}

/// Does the same to both, and waits after each act until the real one shows what the simulated one comes to.
async fn play(members: u8, copies: u8, script: &[Act]) -> Result<()> {
    let bare = Bare::start(CHILD, members, copies).await?;
    let ids = bare.ids();
    let mut sim = Sim {
        garage: SimGarage::new(copies),
        ids: ids.clone(),
    };
    for id in &ids {
        sim.garage.start(*id);
    }
    let mut real = Real { bare, ids };
    for act in script {
        assert_eq!(real.act(*act).await?, sim.act(*act), "{act:?}");
        sim.garage.advance(30);
        let began = tokio::time::Instant::now();
        let mut same = 0;
        // It must stay so: what is only passed through does not count.
        while same < 4 {
            let seen = real.seen().await?;
            same = if seen == sim.seen() { same + 1 } else { 0 };
            assert!(
                began.elapsed() < PATIENCE,
                "after {act:?} the real one shows {seen:?}, the simulated one {:?}",
                sim.seen()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_garage_shows_what_the_real_one_shows_when_nodes_come_die_and_are_skipped() -> Result<()>
{
    let script = [
        Act::Join(0),
        Act::Join(1),
        Act::Preview,
        Act::Revert,
        Act::Join(0),
        Act::Join(1),
        Act::Join(2),
        Act::Preview,
        Act::Apply(7),
        Act::Apply(1),
        Act::Skip(1),
        Act::Apply(2),
        Act::Join(3),
        Act::Apply(3),
        Act::Leave(3),
        Act::Apply(4),
        Act::Join(3),
        Act::Apply(5),
        Act::Kill(3),
        Act::Leave(3),
        Act::Apply(6),
        Act::Skip(6),
    ];
    play(4, 3, &script).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_simulated_node_never_stops_draining_as_the_real_one() -> Result<()> {
    play(1, 1, &[Act::Join(0), Act::Apply(1), Act::Apply(2)]).await
}
