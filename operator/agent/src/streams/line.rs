//! One question and one answer over mutual TLS, each a line of JSON: for what is said seldom and is small.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest line, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Dials `address`, asks, and gives the answer, all within `within`. Fails when the other end is not reached, is another one, or
/// says something else.
pub(crate) async fn ask_line<A: DeserializeOwned>(
    tls: ClientConfig,
    name: ServerName<'static>,
    address: &str,
    question: &(impl Serialize + Sync),
    within: Duration,
) -> io::Result<A> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        write(&mut stream, question).await?;
        read(&mut stream).await
    };
    timeout(within, exchange).await?
}

/// Reads a question and answers it, within `within`. Fails when the other end goes away, or asks something else.
pub(super) async fn answer_line<Q: DeserializeOwned, A: Serialize>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    within: Duration,
    answer: impl FnOnce(Q) -> A,
) -> io::Result<()> {
    let exchange = async {
        let question = read(stream).await?;
        write(stream, &answer(question)).await?;
        stream.shutdown().await
    };
    timeout(within, exchange).await?
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST))
        .read_until(b'\n', &mut line)
        .await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_line_is_answered_by_a_line() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let answering = answer_line(&mut there, WITHIN, |asked: Vec<u8>| asked.len());
        let asking = async {
            write(&mut here, &vec![7_u8; 100]).await.unwrap();
            read::<usize>(&mut here).await.unwrap()
        };
        let (answered, got) = tokio::join!(answering, asking);
        answered.unwrap();
        assert_eq!(got, 100);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_read_for_ever() {
        let (mut here, mut there) = tokio::io::duplex(1024);
        let answering = answer_line(&mut there, WITHIN, |asked: Vec<u8>| asked.len());
        let endless = vec![b'1'; 100_000];
        tokio::select! {
            answered = answering => assert!(answered.is_err()),
            // The pipe is narrow, and nobody reads on.
            _ = here.write_all(&endless) => panic!("all of it was read"),
        }
    }
}
