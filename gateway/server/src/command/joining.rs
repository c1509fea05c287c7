//! What `serve` does when there are other gateways: opens the link to them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tracing::warn;

use super::Outside;
use crate::config::{DeclaredCache, FleetConfig};
use crate::declare::declare;
use crate::depot::{Depot, Fleet, LinkTls, Naming, TlsError};
use crate::error::chain;

/// Between two tries to declare caches: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The others, and what follows the files that speak of them.
pub(super) struct Joined {
    pub(super) fleet: Fleet,
    pub(super) tls: LinkTls,
    pub(super) naming: watch::Sender<Naming>,
}

/// Reads the link's certificate.
pub(super) fn join(config: &FleetConfig, outside: &Outside) -> Result<Joined, TlsError> {
    let tls = LinkTls::load(config.files.clone())?;
    let (naming, named) = watch::channel(config.naming);
    // Another number than any that the depot draws from the same seed would do as well.
    let instance = StdRng::from_seed(outside.seed.map(|byte| !byte)).random();
    let fleet = Fleet::new(config.name.clone(), instance, config.peers.clone(), &tls, named);
    Ok(Joined { fleet, tls, naming })
}

/// Brings the declared caches to what is declared, as soon as there is a committer.
pub(super) async fn declare_by_and_by(depot: Depot, caches: Vec<DeclaredCache>, seed: [u8; 32]) {
    let mut random = StdRng::from_seed(seed);
    let mut pause = FIRST_PAUSE;
    while let Err(error) = declare(&depot, &caches).await {
        // Another gateway that declares the same may have been first.
        warn!("the declared caches are not yet as declared: {}", chain(&error));
        tokio::time::sleep(pause.mul_f64(random.random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
