//! The few calls of Garage's admin API that the fixture needs.

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

pub(crate) struct Admin {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Admin {
    pub(crate) fn new(address: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self {
            client,
            base: format!("http://{address}/v2"),
            token: token.to_owned(),
        })
    }

    pub(crate) async fn get(&self, call: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}/{call}", self.base));
        answer(call, request.bearer_auth(&self.token)).await
    }

    pub(crate) async fn post(&self, call: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}/{call}", self.base));
        answer(call, request.bearer_auth(&self.token).json(body)).await
    }
}

async fn answer(call: &str, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{call}: {status}: {text}");
    }
    Ok(if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text)?
    })
}
