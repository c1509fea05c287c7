//! A path that is pushed to the program and pulled from it.

use std::time::Duration;

use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::{NarHash, NarInfo};
use serde_json::json;

use super::FOR_MAIN;
use super::program::World;

/// A path that can be pushed.
pub(crate) struct Path {
    pub(crate) hash: String,
    nar: Vec<u8>,
}

/// What a pull gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// The NAR, byte for byte.
    Whole,
    /// The gateway says that it does not have it.
    Missing,
    /// No answer, an answer that broke off, or a refusal that is no "not found".
    Failed,
}

impl Path {
    pub(crate) fn new(n: u32) -> Self {
        let mut contents = vec![0; 150_000];
        blake3::Hasher::new()
            .update(&n.to_le_bytes())
            .finalize_xof()
            .fill(&mut contents);
        let mut nar = Vec::new();
        let file = Node::File {
            executable: false,
            contents,
        };
        nar::write(&file, &mut nar).unwrap();
        Self {
            hash: format!("{n:032}"),
            nar,
        }
    }

    /// Pushes it; whether that was acknowledged.
    pub(crate) async fn push(&self, url: &str, token: &str) -> bool {
        self.push_to("main", url, token).await
    }

    pub(crate) async fn push_to(&self, cache: &str, url: &str, token: &str) -> bool {
        self.try_push_to(cache, url, token).await.is_ok()
    }

    /// Pushes it; what the gateway says when it does not acknowledge that: the status, 0 for no answer, and the body.
    pub(crate) async fn try_push_to(&self, cache: &str, url: &str, token: &str) -> Result<(), (u16, String)> {
        let info = json!({
            "cache": cache, "store_path_hash": self.hash, "store_path": format!("/nix/store/{}-sample", self.hash),
            "references": [], "nar_hash": NarHash::of(&self.nar).to_string(), "nar_size": self.nar.len(),
        });
        let answer = client()
            .put(format!("{url}_api/v1/upload-path"))
            .bearer_auth(token)
            .header("X-Attic-Nar-Info", info.to_string())
            .body(self.nar.clone())
            .send()
            .await
            .map_err(|error| (0, format!("{error:?}")))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err((status.as_u16(), answer.text().await.unwrap_or_default()))
    }

    /// Whether the gateway asks for it to be pushed.
    pub(crate) async fn is_wanted(&self, url: &str, token: &str) -> bool {
        let asked = json!({ "cache": "main", "store_path_hashes": [self.hash] });
        let answer = client()
            .post(format!("{url}_api/v1/get-missing-paths"))
            .bearer_auth(token)
            .json(&asked)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["missing_paths"] == json!([self.hash])
    }

    /// Pulls it. Bytes that are not the NAR's must never come with a whole answer.
    pub(crate) async fn pull(&self, url: &str) -> Pulled {
        let narinfo = match get(&format!("{url}main/{}.narinfo", self.hash)).await {
            Ok(text) => text,
            Err(pulled) => return pulled,
        };
        let narinfo: NarInfo = String::from_utf8(narinfo).unwrap().parse().unwrap();
        assert_eq!(narinfo.nar_size, self.nar.len() as u64);
        match get(&format!("{url}main/{}", narinfo.url)).await {
            Ok(body) => {
                let nar = zstd::decode_all(&body[..]).unwrap();
                assert!(nar == self.nar, "{} came back as something else", self.hash);
                Pulled::Whole
            }
            Err(pulled) => pulled,
        }
    }
}

pub(crate) async fn get(url: &str) -> Result<Vec<u8>, Pulled> {
    let answer = client().get(url).send().await.map_err(|_| Pulled::Failed)?;
    match answer.status().as_u16() {
        200 => Ok(answer.bytes().await.map_err(|_| Pulled::Failed)?.to_vec()),
        404 => Err(Pulled::Missing),
        _ => Err(Pulled::Failed),
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

pub(crate) fn token(world: &World) -> String {
    world.token(&FOR_MAIN)
}
