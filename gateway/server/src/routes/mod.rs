//! All URLs of the gateway. One file per endpoint.

mod attic_cache_info;
mod cache_config;
mod extract;
mod healthz;
mod missing_paths;
mod nar;
mod narinfo;
mod nix_cache_info;
mod root;
mod stand_in;
mod upload_path;
mod visibility;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use crate::error::Refusal;
use crate::layers;
use crate::state::Gateway;
use crate::uplink;

/// The router, with everything that lies around every endpoint.
pub fn router(gateway: Gateway) -> Router {
    let endpoints = Router::new()
        .route("/", get(root::get))
        .route("/healthz", get(healthz::get))
        .route("/{cache}/nix-cache-info", get(nix_cache_info::get))
        .route("/{cache}/attic-cache-info", get(attic_cache_info::get))
        .route("/{cache}/{file}", get(narinfo::get))
        .route(
            "/{cache}/nar/{file}",
            get(nar::get).layer(from_fn_with_state(gateway.uplink(), uplink::hold)),
        )
        .route(
            "/_api/v1/cache-config/{cache}",
            get(cache_config::get)
                .post(cache_config::create)
                .patch(cache_config::configure)
                .delete(cache_config::destroy),
        )
        .route("/_api/v1/get-missing-paths", post(missing_paths::post))
        .route("/_api/v1/upload-path", put(upload_path::put))
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .layer(from_fn_with_state(gateway.clone(), stand_in::answer))
        .with_state(gateway);
    layers::around(endpoints)
}
