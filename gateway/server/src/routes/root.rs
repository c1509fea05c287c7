//! `GET /`: a small page for people who open the gateway's URL in a browser.

use axum::response::Html;

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Hayloft</title></head>
<body>
<h1>Hayloft</h1>
<p>This is a Nix binary cache. Ask whoever runs it for a cache's name and, if it is private, a token; then
<code>hayloft use CACHE</code> or <code>attic use</code> sets up Nix.</p>
</body>
</html>
";

pub(super) async fn get() -> Html<&'static str> {
    Html(PAGE)
}
