//! Three daemons, and clients of their admin APIs.

use std::future::Future;
use std::time::{Duration, Instant};

use hayloft_api::Secret;
use hayloft_api::agent::AdminAddress;
use hayloft_garage::admin::Client;
use hayloft_garage_fixture::Garage;

const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one node.
pub(crate) fn client(garage: &Garage, index: usize) -> Client {
    let address = AdminAddress::Url(garage.admin(index).unwrap());
    Client::new(&address, Secret::new(garage.admin_token())).unwrap()
}

/// Asks until the answer is what is waited for.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
