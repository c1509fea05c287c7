//! Leaving a cluster: the host says so at the coordinator's door, and asks how far it is.

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::join::Member;
use hayloft_pki::{client_config, server_name};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::agent::one_line;
use crate::membership::Standing;

/// How long the coordinator may take to pick up, and to answer.
const WITHIN: Duration = Duration::from_secs(20);
/// A longer answer is none.
const LONGEST: usize = 64 * 1024;

/// The coordinator was not reached.
#[derive(Debug, thiserror::Error)]
#[error("no coordinator was reached at {}: {why}", .addresses.join(" or "))]
pub struct UnreachedError {
    /// Where it was looked for.
    pub addresses: Vec<String>,
    /// What went wrong last.
    pub why: String,
}

/// What the coordinator's door answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// With 200.
    Yes(Vec<u8>),
    /// This host does not belong (any more): the handshake or the request was refused for that.
    Stranger,
    /// With another status.
    No(u16, Vec<u8>),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Posts an empty message, as this host, to a path of the coordinator's door.
///
/// # Errors
/// When no coordinator is reached.
pub async fn say(standing: &Standing, path: &str) -> Result<Said, UnreachedError> {
    let addresses = &standing.record.coordinator;
    let mut why = "no address of it is known".to_owned();
    for address in addresses {
        match tokio::time::timeout(WITHIN, once(standing, address, path)).await {
            Ok(Ok(said)) => return Ok(said),
            Ok(Err(error)) => why = one_line(&*error),
            Err(_) => why = "it does not answer".to_owned(),
        }
        // A door that does not know the key ends the connection with an alert.
        if why.contains("CertificateRevoked") {
            return Ok(Said::Stranger);
        }
    }
    Err(UnreachedError {
        addresses: addresses.clone(),
        why,
    })
}

async fn once(standing: &Standing, address: &str, path: &str) -> Result<Said, Failure> {
    let tls = client_config(Arc::clone(&standing.identity), Arc::clone(&standing.trust))?;
    let name = server_name(&Member::Coordinator, &standing.record.cluster)?;
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
    let (mut sender, carrier) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(path)
        .header(HOST, Member::Coordinator.dns_name(&standing.record.cluster))
        .body(Empty::<Bytes>::new())?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST)
            .collect()
            .await?
            .to_bytes()
            .to_vec();
        Ok::<_, Failure>(match status {
            StatusCode::OK => Said::Yes(body),
            StatusCode::FORBIDDEN => Said::Stranger,
            other => Said::No(other.as_u16(), body),
        })
    };
    tokio::select! {
        biased;
        said = asking => said,
        ended = carrier => Err(match ended {
            Err(error) => error.into(),
            Ok(()) => "it closed the connection".into(),
        }),
    }
}
