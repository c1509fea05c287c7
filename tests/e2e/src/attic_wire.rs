//! A client that speaks attic's wire exactly: lower-case `bearer`, a chunked body without a length, the upload info in
//! a header, or before the body when it is 4096 bytes or more (github.com/zhaofengli/attic, `client/src/api`).

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;

/// What attic's client sends about a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's own")]
pub struct Upload {
    pub cache: String,
    pub store_path_hash: String,
    pub store_path: String,
    pub references: Vec<String>,
    pub system: Option<String>,
    pub deriver: Option<String>,
    pub sigs: Vec<String>,
    pub ca: Option<String>,
    pub nar_hash: String,
    pub nar_size: u64,
}

/// Where the upload info goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoIn {
    /// As attic's client chooses: the header below 4096 bytes, the preamble from there on.
    AsClient,
    /// Always the preamble (`--force-preamble`).
    Preamble,
}

/// A client of one server with one token.
#[derive(Clone)]
pub struct Attic {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
    asks_for: Option<String>,
}

impl Attic {
    /// A client; `token` may be none, as after `attic login` without one.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(server: &str, token: Option<&str>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent("Attic/attic-client")
            .build()?;
        Ok(Self {
            http,
            server: server.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
            asks_for: None,
        })
    }

    /// The same as a proxy in front of the gateway, which says whom it asks for.
    #[must_use]
    pub fn asking_for(self, client: &str) -> Self {
        Self {
            asks_for: Some(client.to_owned()),
            ..self
        }
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some(client) = &self.asks_for {
            request = request.header("x-forwarded-for", client);
        }
        match &self.token {
            Some(token) => request.header("authorization", format!("bearer {token}")),
            None => request,
        }
    }

    /// GET of any path of the server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.request(reqwest::Method::GET, path).send().await?)
    }

    /// HEAD of any path of the server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn head(&self, path: &str) -> Result<Response> {
        Ok(self.request(reqwest::Method::HEAD, path).send().await?)
    }

    /// Creates a cache as `attic cache create` does.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn create_cache(&self, name: &str, public: bool) -> Result<StatusCode> {
        let body = json!({
            "keypair": "Generate", "is_public": public, "store_dir": "/nix/store", "priority": 41,
            "upstream_cache_key_names": ["cache.nixos.org-1"],
        });
        let path = format!("/_api/v1/cache-config/{name}");
        Ok(self
            .request(reqwest::Method::POST, &path)
            .json(&body)
            .send()
            .await?
            .status())
    }

    /// Which of the hashes the cache does not have.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn missing(&self, cache: &str, hashes: &[String]) -> Result<Vec<String>> {
        let body = json!({ "cache": cache, "store_path_hashes": hashes });
        let answer = self
            .request(reqwest::Method::POST, "/_api/v1/get-missing-paths")
            .json(&body)
            .send()
            .await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        Ok(serde_json::from_value(answer["missing_paths"].clone())?)
    }

    /// Uploads a path, the NAR as a stream of unknown length.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn upload(
        &self,
        upload: &Upload,
        nar: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        place: InfoIn,
    ) -> Result<Response> {
        let info = serde_json::to_string(upload)?;
        let request = self.request(reqwest::Method::PUT, "/_api/v1/upload-path");
        let request = if place == InfoIn::Preamble || info.len() >= 4096 {
            let size = info.len().to_string();
            let preamble = futures::stream::once(async move { Ok(Bytes::from(info)) });
            request
                .header("X-Attic-Nar-Info-Preamble-Size", size)
                .body(reqwest::Body::wrap_stream(preamble.chain(nar)))
        } else {
            request
                .header("X-Attic-Nar-Info", info)
                .body(reqwest::Body::wrap_stream(nar))
        };
        Ok(request.send().await?)
    }

    /// Pulls a NAR by its narinfo, decompresses it and compares hash and size with what the narinfo says.
    ///
    /// # Errors
    /// When anything is missing, cut short, or not what the narinfo says.
    pub async fn pull(&self, cache: &str, hash: &str) -> Result<Pulled> {
        let narinfo = self
            .get(&format!("/{cache}/{hash}.narinfo"))
            .await?
            .error_for_status()?
            .text()
            .await?;
        let field = |name: &str| {
            narinfo
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        let url = field("URL").context("no URL in the narinfo")?;
        ensure!(
            field("Compression").as_deref() == Some("zstd"),
            "not zstd: {narinfo}"
        );
        let answer = self.get(&format!("/{cache}/{url}")).await?.error_for_status()?;
        let length = answer.content_length().context("the NAR has no Content-Length")?;
        let mut decoder = zstd::stream::write::Decoder::new(Hasher::new())?;
        let mut received = 0;
        let mut body = answer.bytes_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            received += bytes.len() as u64;
            decoder.write_all(&bytes)?;
        }
        decoder.flush()?;
        let hasher = decoder.into_inner();
        ensure!(received == length, "{received} bytes of {length}");
        let size: u64 = field("NarSize").context("no NarSize")?.parse()?;
        ensure!(
            hasher.size == size,
            "NarSize {size}, but {} bytes came",
            hasher.size
        );
        Ok(Pulled {
            nar_hash: format!("sha256:{}", hasher.hex()),
            nar_size: size,
            length,
            narinfo,
        })
    }
}

/// What a pull gave.
pub struct Pulled {
    /// `sha256:` and hex, of the bytes that came.
    pub nar_hash: String,
    /// Bytes of NAR.
    pub nar_size: u64,
    /// Bytes on the wire.
    pub length: u64,
    /// The narinfo's text.
    pub narinfo: String,
}

struct Hasher {
    context: digest::Context,
    size: u64,
}

impl Hasher {
    fn new() -> Self {
        Self {
            context: digest::Context::new(&digest::SHA256),
            size: 0,
        }
    }

    fn hex(self) -> String {
        hex::encode(self.context.finish())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.context.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
