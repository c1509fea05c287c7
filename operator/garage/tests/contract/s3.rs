//! Just enough of S3 to put and delete an object: requests signed with AWS's signature, version 4.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use hayloft_garage_fixture::{BUCKET, Garage, REGION};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

#[expect(clippy::disallowed_methods, reason = "this test is its own main")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Sends one request about an object to the first node.
pub(crate) async fn send(garage: &Garage, method: Method, key: &str, body: Vec<u8>) -> StatusCode {
    let endpoint = garage.endpoints().remove(0);
    let host = endpoint.trim_start_matches("http://");
    let time = now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{}/{REGION}/s3/aws4_request", &time[..8]);
    let headers = "host;x-amz-content-sha256;x-amz-date";
    let request = format!(
        "{method}\n/{BUCKET}/{key}\n\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{time}\n\n{headers}\nUNSIGNED-PAYLOAD"
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex::encode(digest(&SHA256, request.as_bytes()))
    );
    let secret = format!("AWS4{}", garage.secret_access_key());
    let signing = scope
        .split('/')
        .fold(secret.into_bytes(), |key, part| mac(&key, part));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={headers}, Signature={}",
        garage.access_key_id(),
        hex::encode(mac(&signing, &text))
    );
    reqwest::Client::new()
        .request(method, format!("{endpoint}/{BUCKET}/{key}"))
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header("x-amz-date", time)
        .header("authorization", authorization)
        .body(body)
        .send()
        .await
        .unwrap()
        .status()
}
