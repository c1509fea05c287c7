//! Making members see each other.

use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::agent::Peer;
use hayloft_garage::admin::{AdminError, Client};

use super::{ActError, Actor};

/// Garage dials all peers side by side, and gives each 10 s. One that hangs must not hold a round for so long: it is dialled
/// again in the next, and by Garage itself every minute.
const WITHIN: Duration = Duration::from_secs(3);

impl Actor<'_> {
    pub(super) async fn connect(&mut self, through: &HostName, peers: &[Peer]) -> Result<(), ActError> {
        let client = self.client(through)?;
        let unreached = self.at(through, dial(&client, peers, WITHIN).await)?;
        if unreached.is_empty() {
            return Ok(());
        }
        Err(ActError::Unconnected {
            host: through.clone(),
            peers: unreached.join(", "),
        })
    }
}

/// Lets a member dial peers, for so long at the most; those that it did not reach, and why. Who was reached by then stays
/// connected.
async fn dial(client: &Client, peers: &[Peer], within: Duration) -> Result<Vec<String>, AdminError> {
    let Ok(outcomes) = tokio::time::timeout(within, client.connect(peers)).await else {
        let addresses: Vec<&str> = peers.iter().map(|peer| peer.addr.as_str()).collect();
        return Ok(vec![format!(
            "all of {} within {} s",
            addresses.join(", "),
            within.as_secs_f32()
        )]);
    };
    let failed = peers
        .iter()
        .zip(outcomes?)
        .filter(|(_, outcome)| !outcome.success);
    Ok(failed
        .map(|(peer, outcome)| format!("{} ({})", peer.addr, outcome.error.unwrap_or_default()))
        .collect())
}

#[cfg(test)]
mod tests {
    use hayloft_api::agent::AdminAddress;
    use hayloft_api::{NodeId, Secret};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn peers() -> Vec<Peer> {
        let peer = |n: u8| Peer {
            id: NodeId::from_public_key([n; 32]),
            addr: format!("198.51.100.{n}:3901"),
        };
        vec![peer(1), peer(2)]
    }

    async fn member(listener: &TcpListener) -> Client {
        let address = listener.local_addr().unwrap();
        Client::new(&AdminAddress::Url(format!("http://{address}")), Secret::new("0")).unwrap()
    }

    #[tokio::test]
    async fn a_peer_that_hangs_holds_nobody_for_longer_than_its_bound() {
        // It takes the call and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = member(&listener).await;
        let unreached = dial(&client, &peers(), Duration::from_millis(50)).await.unwrap();
        assert_eq!(
            unreached,
            ["all of 198.51.100.1:3901, 198.51.100.2:3901 within 0.05 s"]
        );
    }

    #[tokio::test]
    async fn who_is_not_reached_is_named_and_who_is_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = member(&listener).await;
        let answers = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await.unwrap();
            let body = r#"[{"success":true,"error":null},{"success":false,"error":"refused"}]"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            socket
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
            // Kept open until it was read.
            let _ = socket.read(&mut asked).await;
        };
        let peers = peers();
        let dialled = dial(&client, &peers, Duration::from_secs(30));
        let ((), unreached) = tokio::join!(answers, dialled);
        assert_eq!(unreached.unwrap(), ["198.51.100.2:3901 (refused)"]);
    }
}
