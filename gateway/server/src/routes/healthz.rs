//! `GET /healthz`: 200 when the gateway can serve and take uploads, 503 otherwise.

use axum::extract::State;

use crate::error::Refusal;
use crate::state::Gateway;

pub(super) async fn get(State(gateway): State<Gateway>) -> Result<&'static str, Refusal> {
    if gateway.depot()?.healthy().await {
        Ok("ok\n")
    } else {
        Err(Refusal::Unavailable(
            "The gateway cannot take uploads now: the bucket does not answer, or another gateway took over."
                .to_owned(),
        ))
    }
}
