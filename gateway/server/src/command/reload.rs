//! What a running gateway takes from its configuration anew, at SIGHUP: where and as whom it asks S3, who is named the
//! committer, and how fast it may send. Whatever else changed in the file takes a restart.

use std::path::PathBuf;

use hayloft_store::object::s3::S3Config;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config;
use crate::depot::Naming;
use crate::error::chain;
use crate::uplink::Uplink;

/// Where the parts of a configuration go that are taken anew.
pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) s3: watch::Sender<S3Config>,
    pub(super) uplink: Uplink,
    /// Only where there are other gateways.
    pub(super) naming: Option<watch::Sender<Naming>>,
}

impl Reload {
    /// Reads the file at each SIGHUP. A file that is not sound changes nothing.
    pub(super) async fn at_each(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            self.now();
        }
    }

    fn now(&self) {
        let config = match config::load(&self.file) {
            Ok(config) => config,
            Err(error) => {
                warn!("the configuration is not taken: {}", chain(&error));
                return;
            }
        };
        self.uplink.set(config.uplink);
        let taken = self.s3.send_if_modified(|s3| {
            if config.s3.bucket != s3.bucket {
                warn!("another bucket takes a restart; S3 is asked as before");
                return false;
            }
            let differs = *s3 != config.s3;
            *s3 = config.s3;
            differs
        });
        if let Some(naming) = &self.naming {
            let named = config.fleet.map(|fleet| fleet.naming).unwrap_or_default();
            info!(?named, "read who is named the committer");
            naming.send_replace(named);
        }
        info!(s3 = taken, "the configuration was read anew");
    }
}
