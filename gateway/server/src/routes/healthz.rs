//! `GET /healthz`: 200 when the gateway can serve and take uploads, 503 otherwise.

use std::fmt::Write as _;

use axum::extract::State;

use crate::error::Refusal;
use crate::state::Gateway;

pub(super) async fn get(State(gateway): State<Gateway>) -> Result<String, Refusal> {
    let depot = gateway.depot()?;
    if depot.healthy().await {
        let mut text = "ok\n".to_owned();
        for name in depot.lost_links().await {
            // It serves; what is pushed to it may have to wait.
            let _ = writeln!(text, "no link to the gateway {name}");
        }
        return Ok(text);
    }
    let said = if depot.is_stuck() {
        "The gateway cannot follow the log: an object in it is not what it should be, and the gateway's own log names it. \
         What was there before is served."
    } else {
        "The gateway cannot take uploads now: the bucket does not answer, or another gateway took over."
    };
    Err(Refusal::Unavailable(said.to_owned()))
}
