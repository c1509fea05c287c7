//! Whether the gateway can serve, and what keeps it from more, as numbers.

use std::time::Duration;

use super::names::{LINKS_LOST, LOG_STUCK, READY};
use crate::state::Gateway;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(5);

/// Looks now and then, for ever.
pub(crate) async fn watch(gateway: Gateway) {
    loop {
        let (ready, stuck, lost) = match gateway.depot() {
            Ok(depot) => (
                depot.healthy().await,
                depot.is_stuck(),
                depot.lost_links().await.len(),
            ),
            Err(_) => (false, false, 0),
        };
        metrics::gauge!(READY).set(f64::from(u8::from(ready)));
        metrics::gauge!(LOG_STUCK).set(f64::from(u8::from(stuck)));
        metrics::gauge!(LINKS_LOST).set(f64::from(u32::try_from(lost).unwrap_or(u32::MAX)));
        tokio::time::sleep(EVERY).await;
    }
}
