//! A gateway for one test, and what is needed to talk to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hayloft_nixcache::api::{ErrorBody, NAR_INFO_HEADER, VISIBILITY_HEADER};
use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::token::{Claims, Grants, Verifier, mint_hs256};
use hayloft_nixcache::{NarHash, nix32};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::object::memory::MemoryStore;
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;

use crate::config::DeclaredCache;
use crate::depot::{Depot, Effects, NewCache};
use crate::serve::Server;
use crate::{Gateway, router};

/// The secret that tokens are signed with.
const SECRET: &[u8] = b"a secret for tests";
/// What the gateway's clock says, in seconds.
pub(super) const NOW: i64 = 1_800_000_000;

/// All permissions on all caches.
pub(super) fn all() -> String {
    grants(r#"{"*":{"r":1,"w":1,"d":1,"cc":1,"cr":1,"cq":1,"cd":1}}"#)
}

/// A good token with these grants.
pub(super) fn grants(json: &str) -> String {
    token(SECRET, json, NOW + 3600)
}

/// A token that expired an hour ago.
pub(super) fn expired() -> String {
    token(SECRET, r#"{"*":{"r":1,"w":1}}"#, NOW - 3600)
}

/// A token that somebody else signed.
pub(super) fn foreign() -> String {
    token(b"another secret", r#"{"*":{"r":1,"w":1}}"#, NOW + 3600)
}

fn token(secret: &[u8], grants: &str, exp: i64) -> String {
    let grants: Grants = serde_json::from_str(grants).unwrap();
    let claims = Claims {
        sub: Some("tester".to_owned()),
        exp: Some(exp),
        ..Claims::new(grants)
    };
    mint_hs256(secret, &claims).unwrap()
}

/// A gateway that listens on a port of its own. Has the caches `public` and `private`.
pub(super) struct Home {
    pub(super) addr: SocketAddr,
    pub(super) depot: Depot,
    pub(super) server: Option<Server>,
    pub(super) http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Home {
    pub(super) async fn new() -> Self {
        Self::declaring(vec![]).await
    }

    pub(super) async fn declaring(declared: Vec<DeclaredCache>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: crate::depot::Clock = Arc::new(|| Timestamp::from_second(NOW).unwrap());
        let depot = Depot::open_on(
            Arc::new(MemoryStore::default()),
            dir.path(),
            &ClusterKey::from_random([7; 32]),
            16 << 20,
            crate::depot::Upkeep::default(),
            Effects {
                clock: Arc::clone(&clock),
                seed: [3; 32],
            },
        )
        .await
        .unwrap();
        crate::declare::declare(&depot, &declared).await.unwrap();
        for (name, is_public) in [("public", true), ("private", false)] {
            let new = NewCache {
                name: name.parse().unwrap(),
                keypair: None,
                is_public,
                store_dir: "/nix/store".to_owned(),
                priority: 41,
                upstream_cache_key_names: vec!["cache.nixos.org-1".to_owned()],
                retention: None,
            };
            depot.create_cache(new).await.unwrap();
        }
        let gateway = Gateway::new(Verifier::hs256(SECRET), clock, None, declared);
        gateway.open(depot.clone());
        let server = Server::start(([127, 0, 0, 1], 0).into(), router(gateway))
            .await
            .unwrap();
        Self {
            addr: server.addr(),
            depot,
            server: Some(server),
            http: client(),
            _dir: dir,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(super) fn request(&self, method: Method, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match token {
            Some(token) => request.header("authorization", format!("bearer {token}")),
            None => request,
        }
    }

    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> Response {
        self.request(Method::GET, path, token).send().await.unwrap()
    }

    /// Pushes with the metadata in the header and the body in chunks, as attic's client does.
    pub(super) async fn push(&self, cache: &str, sample: &Sample, token: Option<&str>) -> Response {
        self.request(Method::PUT, "/_api/v1/upload-path", token)
            .header(NAR_INFO_HEADER, sample.info(cache).to_string())
            .body(chunked(&sample.nar))
            .send()
            .await
            .unwrap()
    }
}

pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// A body without a length, in pieces of odd sizes.
pub(super) fn chunked(bytes: &[u8]) -> reqwest::Body {
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        bytes.chunks(10_007).map(|piece| Ok(piece.to_vec())).collect();
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

/// A store path and its NAR.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) base_name: String,
    pub(super) references: Vec<String>,
    pub(super) nar: Vec<u8>,
}

impl Sample {
    /// A path whose hash and contents come from `number`; of `size` bytes that do not compress.
    pub(super) fn new(number: u32, size: usize) -> Self {
        let hash = nix32::encode(&NarHash::of(&number.to_le_bytes()).as_bytes()[..20]);
        let base_name = format!("{hash}-sample-{number}");
        let mut state = u64::from(number) + 1;
        let mut contents = vec![0; size];
        for byte in &mut contents {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
        let file = Node::File {
            executable: false,
            contents,
        };
        let tree = Node::Directory(BTreeMap::from([(b"data".to_vec(), file)]));
        let mut bytes = Vec::new();
        nar::write(&tree, &mut bytes).unwrap();
        Self {
            references: vec![base_name.clone()],
            base_name,
            nar: bytes,
        }
    }

    pub(super) fn hash(&self) -> &str {
        &self.base_name[..32]
    }

    pub(super) fn store_path(&self) -> String {
        format!("/nix/store/{}", self.base_name)
    }

    /// The metadata as attic's client sends it.
    pub(super) fn info(&self, cache: &str) -> serde_json::Value {
        json!({
            "cache": cache,
            "store_path_hash": self.hash(),
            "store_path": self.store_path(),
            "references": self.references,
            "system": null,
            "deriver": null,
            "sigs": [],
            "ca": null,
            "nar_hash": NarHash::of(&self.nar).to_string(),
            "nar_size": self.nar.len(),
        })
    }
}

/// The status and the error's name and sentence; checks that the three agree.
pub(super) async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert!(response.headers().get(VISIBILITY_HEADER).is_none());
    let ErrorBody { code, error, message } = response.json().await.unwrap();
    assert_eq!(code, status);
    (status, error, message)
}
