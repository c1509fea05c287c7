//! One supervisor for every unit.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::spawn::Spawner;
use super::supervisor::{self, Supervisor};
use crate::driver::{Driver, UnitStates};
use crate::unit::{Unit, UnitName};

struct Supervised {
    wish: watch::Sender<Option<Unit>>,
    task: JoinHandle<()>,
}

/// Runs units as children of this process. They die with it.
pub struct ChildDriver {
    spawner: Spawner,
    random: StdRng,
    supervised: BTreeMap<UnitName, Supervised>,
    states: watch::Sender<UnitStates>,
}

impl ChildDriver {
    /// A driver with nothing running. `seed` is for the jitter of restarts.
    #[must_use]
    pub fn new(spawner: Spawner, seed: [u8; 32]) -> Self {
        Self {
            spawner,
            random: StdRng::from_seed(seed),
            supervised: BTreeMap::new(),
            states: watch::Sender::new(UnitStates::new()),
        }
    }

    fn wish(&mut self, name: UnitName, unit: Option<Unit>) {
        if let Some(known) = self.supervised.get(&name) {
            known.wish.send_if_modified(|present| {
                let changed = *present != unit;
                *present = unit;
                changed
            });
        } else if let Some(unit) = unit {
            let (wish, wished) = watch::channel(Some(unit));
            let random = StdRng::from_seed(self.random.random());
            let supervisor = Supervisor::new(name, self.spawner.clone(), self.states.clone(), random);
            let task = tokio::spawn(supervisor::run(supervisor, wished));
            self.supervised.insert(name, Supervised { wish, task });
        }
    }
}

impl Driver for ChildDriver {
    async fn converge(&mut self, units: Vec<Unit>) {
        let gone: Vec<_> = self
            .supervised
            .keys()
            .filter(|name| units.iter().all(|unit| unit.name != **name))
            .copied()
            .collect();
        for name in gone {
            self.wish(name, None);
        }
        for unit in units {
            self.wish(unit.name, Some(unit));
        }
    }

    fn states(&self) -> watch::Receiver<UnitStates> {
        self.states.subscribe()
    }

    async fn stop(&mut self, name: UnitName) {
        if let Some(Supervised { wish, task }) = self.supervised.remove(&name) {
            // Without a wish the supervisor stops its process and ends.
            drop(wish);
            let _ = task.await;
        }
    }
}
