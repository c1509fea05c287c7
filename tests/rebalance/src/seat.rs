//! A coordinator in a runtime of its own, so that it can be killed in the middle of what it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hayloft_api::Document;
use hayloft_api::agent::HostReport;
use hayloft_api::status::Status;
use hayloft_coordinator::{AgentLink, Coordinator, CoordinatorConfig, Links, Store};
use jiff::tz::TimeZone;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::PATIENCE;
use crate::cluster::clock;
use crate::door::Door;
use crate::host::Host;

struct Life {
    runtime: Runtime,
    coordinator: Coordinator,
    store: Store,
}

/// A coordinator with all it needs for itself.
pub struct Seat {
    number: usize,
    life: Option<Life>,
    statuses: watch::Receiver<Status>,
    links: watch::Sender<Links>,
    /// All that it says to Garage.
    pub door: Door,
}

impl Seat {
    pub(crate) async fn take(
        number: usize,
        store: &Path,
        document: &watch::Sender<Document>,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("coordinator-{number}"))
            .enable_all()
            .build()?;
        let links = watch::Sender::new(Links::new());
        let (followed, heard) = (document.subscribe(), links.subscribe());
        let store: PathBuf = store.to_owned();
        let started = runtime.spawn(async move {
            let store = Store::open(&store, rand::random()).await?;
            let current = followed.borrow().clone();
            store.apply(&current, clock()).await?;
            let coordinator = Coordinator::start(CoordinatorConfig {
                store: store.clone(),
                links: heard,
                document: followed,
                clock: Arc::new(clock),
                time_zone: TimeZone::UTC,
                seed: rand::random(),
            })
            .await?;
            Ok::<_, anyhow::Error>((coordinator, store))
        });
        match started.await.map_err(Into::into).and_then(|started| started) {
            Ok((coordinator, store)) => Ok(Self {
                number,
                statuses: coordinator.status(),
                life: Some(Life {
                    runtime,
                    coordinator,
                    store,
                }),
                links,
                door: Door::default(),
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Tells it who is there. What it says to their Garage goes through its door.
    pub(crate) fn introduce<'a>(&self, hosts: impl Iterator<Item = &'a Host>) {
        let introduced = hosts
            .filter_map(|host| match self.link(host) {
                Ok(link) => Some((host.name().clone(), link)),
                Err(error) => {
                    tracing::error!(host = %host.name(), %error, "a host has no door");
                    None
                }
            })
            .collect();
        self.links.send_replace(introduced);
    }

    fn link(&self, host: &Host) -> Result<AgentLink> {
        let link = host.link();
        let mut report = link.report.clone();
        let first = report.borrow_and_update().clone();
        let socket = host.dir().join(format!("door-{}.sock", self.number));
        let admin = if host.is_alive() {
            self.door.open(socket, &first.admin)?
        } else {
            first.admin.clone()
        };
        let through = move |report: HostReport| HostReport {
            admin: admin.clone(),
            ..report
        };
        let (sender, receiver) = watch::channel(through(first));
        tokio::spawn(async move {
            while report.changed().await.is_ok() {
                let latest = report.borrow_and_update().clone();
                sender.send_replace(through(latest));
            }
        });
        Ok(AgentLink {
            report: receiver,
            ..link
        })
    }

    /// What it says.
    #[must_use]
    pub fn status(&self) -> Status {
        self.statuses.borrow().clone()
    }

    /// What it says, as it changes.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<Status> {
        self.statuses.clone()
    }

    /// The coordinator itself, for what a person asks of it.
    ///
    /// # Errors
    /// When it is dead.
    pub fn coordinator(&self) -> Result<&Coordinator> {
        Ok(&self.life.as_ref().context("it is dead")?.coordinator)
    }

    /// Ends it at once, in the middle of what it does, and gives back when it is gone.
    pub async fn kill(mut self) {
        if let Some(Life {
            runtime,
            coordinator,
            store,
        }) = self.life.take()
        {
            drop((coordinator, store));
            let gone = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
            let _ = gone.await;
        }
    }

    /// Stops it as a person would.
    pub async fn stop(mut self) {
        if let Some(Life {
            runtime,
            coordinator,
            store,
        }) = self.life.take()
        {
            let _ = runtime.spawn(coordinator.stop()).await;
            let _ = runtime.spawn(async move { store.close().await }).await;
            runtime.shutdown_background();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(life) = self.life.take() {
            life.runtime.shutdown_background();
        }
    }
}
