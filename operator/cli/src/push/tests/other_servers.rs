//! Pushes to what answers as HTTP does and is no gateway.

use axum::Router;
use axum::http::header;

use super::*;

/// Answers every request with this.
async fn server(status: u16, kind: &'static str, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/", listener.local_addr().expect("is bound"));
    let status = StatusCode::from_u16(status).expect("is a status");
    let router =
        Router::new().fallback(move || async move { (status, [(header::CONTENT_TYPE, kind)], body) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn refused(url: &str, token: Option<&str>) -> String {
    let token = token.map(Token::new);
    let url = url.parse().expect("is a URL");
    let gateway = Gateway::new(url, token.as_ref(), HASTY, 1, Arc::new(|_| ())).expect("makes a client");
    Session::open(gateway, cache(), FakeStore::new().commands(), choices())
        .await
        .err()
        .expect("fails")
        .to_string()
}

#[tokio::test]
async fn what_answers_and_is_no_gateway_is_told_alike_whatever_it_says() {
    const GARAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n\t<Code>AccessDenied</Code>\n\t<Message>Forbidden: Garage does not support anonymous access yet</Message>\n</Error>";
    for (status, kind, body, why) in [
        (403, "application/xml", GARAGE, "it says 403 Forbidden"),
        (401, "text/plain", "log in", "it says 401 Unauthorized"),
        (404, "text/html", "<h1>Not Found</h1>", "it says 404 Not Found"),
        (
            403,
            "application/json",
            r#"{"code":"AccessDenied","message":"no","region":"garage","path":"/"}"#,
            "it says 403 Forbidden",
        ),
        (
            200,
            "text/html",
            "<h1>Welcome</h1>",
            "its answer is not a gateway's JSON",
        ),
        (
            200,
            "application/json",
            r#"{"status":"fine"}"#,
            "its answer is not a cache's configuration",
        ),
    ] {
        let url = server(status, kind, body).await;
        let expected =
            format!("{url} answers, but is not a Hayloft gateway or attic server ({why}): check --server");
        for token in [None, Some(TOKEN)] {
            assert_eq!(refused(&url, token).await, expected);
        }
    }
}

#[tokio::test]
async fn a_gateway_that_wants_a_token_is_told_from_one_that_refuses_it() {
    const ERROR: &str = r#"{"code":401,"error":"Unauthorized","message":"Unauthorized: say who you are."}"#;
    let url = server(401, "application/json", ERROR).await;
    assert_eq!(
        refused(&url, None).await,
        "the gateway wants a token (Unauthorized: say who you are): give --token-file, or set HAYLOFT_TOKEN_FILE"
    );
    assert_eq!(
        refused(&url, Some(TOKEN)).await,
        "the gateway does not take the token: Unauthorized: say who you are"
    );
}
