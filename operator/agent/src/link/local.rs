//! Questions that are about this machine and nothing of the agent's own: the admin API of its Garage, and what it can dial.

use std::path::Path;
use std::time::Duration;

use hayloft_api::Secret;
use hayloft_api::link::LONGEST_MESSAGE;
use hayloft_api::question::{Answer, Refusal};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::agent::one_line;

/// How long another host may take to pick up.
const DIAL: Duration = Duration::from_secs(5);
/// A longer answer would not fit a message, once it is written as a JSON string.
const LONGEST: usize = LONGEST_MESSAGE / 4;

/// Passes a request on to Garage's admin API.
pub(super) async fn admin(
    socket: &Path,
    method: &str,
    path: &str,
    authorization: &Secret,
    body: String,
) -> Result<Answer, Refusal> {
    let failed = |error: &dyn std::error::Error| Refusal::Failed {
        why: format!("Garage's admin API cannot be asked: {}", one_line(error)),
    };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| failed(&error))?;
    let (mut sender, carrier) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "garage.invalid")
        .header(CONTENT_TYPE, "application/json");
    if !authorization.expose().is_empty() {
        request = request.header(AUTHORIZATION, authorization.expose());
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Refusal::Senseless {
            why: error.to_string(),
        })?;
    let asking = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| failed(&*error))?.to_bytes();
        Ok(Answer::Admin {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::select! {
        biased;
        answer = asking => answer,
        ended = carrier => Err(match ended {
            Err(error) => failed(&error),
            Ok(()) => Refusal::Failed { why: "Garage closed the connection to its admin API".to_owned() },
        }),
    }
}

/// Tries whether an address can be dialled.
pub(super) async fn dial(address: &str) -> Answer {
    let failed = match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", DIAL.as_secs())),
    };
    Answer::Tried { failed }
}
