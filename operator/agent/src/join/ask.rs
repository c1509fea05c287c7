//! One question to the coordinator, by one who has no certificate: its door is known by the pin in the token.

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::join::{Dialled, JOIN, JoinAnswer, JoinAsk, Member};
use hayloft_pki::{JoinToken, joining_config, server_name};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::JoinError;
use crate::agent::one_line;

/// How long the coordinator may take to pick up and to show who it is.
const DIAL: Duration = Duration::from_secs(10);
/// How long it may take to judge: it has members dial this host meanwhile.
const JUDGE: Duration = Duration::from_secs(45);
/// How long a member may take to pick up.
const MEMBER: Duration = Duration::from_secs(5);
/// A longer answer is none.
const LONGEST: usize = 4 * 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks at each of the token's addresses until one answers.
pub(super) async fn ask(token: &JoinToken, ask: &JoinAsk) -> Result<JoinAnswer, JoinError> {
    let name = server_name(&Member::Coordinator, &token.cluster)?;
    let connector = TlsConnector::from(Arc::new(joining_config(token.pin)?));
    let mut why = String::new();
    for address in &token.addresses {
        let asking = async {
            let connecting = async {
                let stream = TcpStream::connect(address).await?;
                connector.connect(name.clone(), stream).await
            };
            let stream = tokio::time::timeout(DIAL, connecting).await??;
            post(stream, ask, &Member::Coordinator.dns_name(&token.cluster)).await
        };
        match tokio::time::timeout(DIAL + JUDGE, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => why = one_line(&*error),
            Err(_) => why = "it takes too long".to_owned(),
        }
    }
    Err(JoinError::Unreached {
        addresses: token.addresses.clone(),
        why,
    })
}

async fn post(
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    ask: &JoinAsk,
    host: &str,
) -> Result<JoinAnswer, Failure> {
    let (mut sender, carrier) = http1::handshake(TokioIo::new(stream)).await?;
    let text = Zeroizing::new(serde_json::to_vec(ask)?);
    let request = Request::post(JOIN)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::copy_from_slice(&text)))?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST)
            .collect()
            .await?
            .to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body)
                .chars()
                .take(200)
                .collect::<String>();
            return Err(format!("it answered {status} {said}").into());
        }
        Ok::<_, Failure>(serde_json::from_slice(&body)?)
    };
    tokio::select! {
        biased;
        answer = asking => answer,
        ended = carrier => Err(match ended {
            Err(error) => error.into(),
            Ok(()) => "it closed the connection".into(),
        }),
    }
}

/// Dials members, all at once.
pub(super) async fn dial(members: Vec<(HostName, String)>) -> Vec<Dialled> {
    let mut dialling = tokio::task::JoinSet::new();
    for (member, address) in members {
        dialling.spawn(async move {
            let failed = match tokio::time::timeout(MEMBER, TcpStream::connect(&address)).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", MEMBER.as_secs())),
            };
            Dialled {
                member,
                address,
                failed,
            }
        });
    }
    dialling.join_all().await
}
