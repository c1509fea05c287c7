//! The task that keeps units as they shall be: looks, does what differs, looks again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::driver::SystemdConfig;
use super::manager::Manager;
use super::tended::{Outcome, Surroundings, Tended};
use crate::driver::{UnitState, UnitStates};
use crate::unit::{Unit, UnitName};

/// While something starts or stops, it is looked at so often.
const SOON: Duration = Duration::from_millis(250);
/// Else so often: a look is one short command.
const LATER: Duration = Duration::from_secs(2);
/// A unit that cannot be stopped is tried so often before that is told.
const ATTEMPTS: u32 = 3;

/// What the actor is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Exactly these run from now on.
    Converge(Vec<Unit>),
    /// Stop one, and say when it is gone.
    Stop(UnitName, oneshot::Sender<()>),
}

/// What one unit shall be.
#[derive(Debug)]
enum Wish {
    Run(Box<Tended>),
    Gone,
}

/// The task.
pub(super) struct Actor {
    around: Surroundings,
    wishes: BTreeMap<UnitName, Wish>,
    states: watch::Sender<UnitStates>,
}

impl Actor {
    pub(super) fn new(config: SystemdConfig, manager: Manager, states: watch::Sender<UnitStates>) -> Self {
        let random = StdRng::from_seed(config.seed);
        Self {
            around: Surroundings {
                config,
                manager,
                random,
            },
            wishes: BTreeMap::new(),
            states,
        }
    }

    /// Goes on until nobody can tell it anything any more; the units go on after that.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut next = Instant::now() + LATER;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Converge(units)) => self.wish(units),
                    Some(Order::Stop(name, done)) => {
                        self.stop(name).await;
                        let _ = done.send(());
                    }
                },
                () = sleep_until(next) => {}
            }
            next = Instant::now() + if self.round().await { SOON } else { LATER };
        }
    }

    fn wish(&mut self, mut units: Vec<Unit>) {
        for name in UnitName::ALL {
            let unit = units
                .iter()
                .position(|unit| unit.name == name)
                .map(|at| units.swap_remove(at));
            match (self.wishes.get_mut(&name), unit) {
                (Some(Wish::Run(tended)), Some(unit)) => tended.now_as(unit),
                (_, Some(unit)) => {
                    self.wishes.insert(name, Wish::Run(Box::new(Tended::new(unit))));
                }
                (_, None) => {
                    self.wishes.insert(name, Wish::Gone);
                }
            }
        }
    }

    async fn stop(&mut self, name: UnitName) {
        let grace = match self.wishes.remove(&name) {
            Some(Wish::Run(tended)) => tended.grace(),
            Some(Wish::Gone) | None => Duration::ZERO,
        };
        let manager = &self.around.manager;
        for attempt in 1..=ATTEMPTS {
            // It shall not come back by a reboot either, before it is wished again.
            let stopped = match manager.stop(name, grace).await {
                Ok(()) => manager.disable(name).await,
                failed => failed,
            };
            match stopped {
                Ok(()) => break,
                Err(error) => tracing::error!(unit = %name, %error, attempt, "a unit could not be stopped"),
            }
            tokio::time::sleep(SOON).await;
        }
        self.tell(name, UnitState::stopped());
    }

    /// One look at all, and what it asks for; whether something is under way, so that the next look shall come soon.
    async fn round(&mut self) -> bool {
        if self.wishes.is_empty() {
            return false;
        }
        let shown = match self.around.manager.show().await {
            Ok(shown) => shown,
            Err(error) => {
                tracing::warn!(%error, "systemd does not say what the units are doing");
                return false;
            }
        };
        let mut under_way = false;
        let gone: Vec<UnitName> = self
            .wishes
            .iter()
            .rev()
            .filter(|(_, wish)| matches!(wish, Wish::Gone))
            .map(|(name, _)| *name)
            .collect();
        for name in gone {
            match self.around.remove(name).await {
                Ok(()) => {
                    self.wishes.remove(&name);
                    // Of what never was, there is nothing to tell.
                    if self.states.borrow().contains_key(&name) {
                        self.tell(name, UnitState::stopped());
                    }
                }
                Err(error) => tracing::error!(unit = %name, %error, "a unit could not be removed"),
            }
        }
        let mut told = Vec::new();
        for (name, wish) in &mut self.wishes {
            let (Wish::Run(tended), Some(shown)) = (wish, shown.get(name)) else {
                continue;
            };
            let Outcome { state, soon } = tended.tend(shown, &mut self.around).await;
            under_way |= soon;
            told.push((*name, state));
        }
        for (name, state) in told {
            self.tell(name, state);
        }
        under_way
    }

    fn tell(&self, name: UnitName, state: UnitState) {
        self.states.send_if_modified(|states| {
            let changed = states.get(&name) != Some(&state);
            if changed {
                states.insert(name, state);
            }
            changed
        });
    }
}
