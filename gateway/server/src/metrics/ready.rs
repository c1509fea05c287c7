//! Whether the gateway can serve, as a number.

use std::time::Duration;

use super::names::READY;
use crate::state::Gateway;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(5);

/// Looks now and then, for ever.
pub(crate) async fn watch(gateway: Gateway) {
    loop {
        let ready = match gateway.depot() {
            Ok(depot) => depot.healthy().await,
            Err(_) => false,
        };
        metrics::gauge!(READY).set(if ready { 1.0 } else { 0.0 });
        tokio::time::sleep(EVERY).await;
    }
}
