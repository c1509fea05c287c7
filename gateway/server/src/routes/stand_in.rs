//! While this gateway opens its index, another one answers its clients; where there is none, they wait for a moment.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::error::Refusal;
use crate::state::Gateway;

pub(super) async fn answer(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    // These speak of this gateway itself.
    let own = matches!(request.uri().path(), "/" | "/healthz");
    match gateway.stand_in().filter(|_| !own) {
        None => {
            if !own {
                gateway.soon_open().await;
            }
            next.run(request).await
        }
        Some(others) => match others.relay(request).await {
            Some(response) => response,
            None => {
                Refusal::Unavailable("The gateway is starting; try again soon.".to_owned()).into_response()
            }
        },
    }
}
