//! What an administrator's own commands use: `client.json` in the coordinator's folder, as `hayloft up` leaves it, renewed whenever
//! another gateway answers, or tokens are signed with another secret.

use std::time::Duration;

use hayloft_api::Document;
use hayloft_api::agent::{GATEWAY_UNIT, GatewayDesired};
use hayloft_coordinator::Links;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::context::Clock;
use crate::up::Folder;
use crate::up::ready::{probe, tell_client, token};

/// How often it is looked which gateway answers.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Goes on until it is dropped.
pub(super) struct Clients(JoinHandle<()>);

impl Drop for Clients {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Clients {
    pub(super) fn start(
        folder: Folder,
        links: watch::Receiver<Links>,
        document: watch::Receiver<Document>,
        clock: Clock,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self(tokio::spawn(async move {
            let mut look = tokio::time::interval(LOOK_EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut served_at = None;
            loop {
                look.tick().await;
                let (links, document) = (links.borrow().clone(), document.borrow().clone());
                let Some((url, told)) = serving(&links, &document) else {
                    continue;
                };
                let now = (url.clone(), told.token_secret.clone());
                if served_at.as_ref() == Some(&now) {
                    continue;
                }
                let found = async {
                    let token = token(&folder, told.token_secret.expose(), clock())?;
                    let (cache, key) = probe(&http, &url, &told, &document, &token).await?;
                    Ok::<_, crate::up::ready::ProbeError>((cache, key, token))
                };
                match found.await {
                    Ok((cache, key, token)) => {
                        tracing::info!(%url, key = key.as_deref().unwrap_or("none"), "Nix clients are served");
                        match tell_client(&folder, &url, cache.as_ref(), &token) {
                            Ok(()) => served_at = Some(now),
                            Err(error) => tracing::error!(%error, "the file for clients cannot be written"),
                        }
                    }
                    // It is asked again, and the status tells of one that does not come up.
                    Err(error) => tracing::debug!(%error, "a gateway does not answer yet"),
                }
            }
        })))
    }
}

/// A gateway that runs: where clients find it, and what it was told. Among several the first by name.
fn serving(links: &Links, document: &Document) -> Option<(String, GatewayDesired)> {
    links.values().find_map(|link| {
        let report = link.report.borrow();
        let told = link.desired.borrow().as_ref()?.gateway.clone()?;
        let address = report.runs(GATEWAY_UNIT).then(|| report.gateway_addr.clone())??;
        let url = document.spec.gateway.public_url.clone();
        Some((url.unwrap_or_else(|| format!("http://{address}")), told))
    })
}
