//! `DELETE`: destroys a cache with all its paths.

use axum::extract::State;

use super::super::extract::ApiCache;
use crate::auth::Caller;
use crate::error::Refusal;
use crate::state::Gateway;

pub(in super::super) async fn destroy(
    caller: Caller,
    State(gateway): State<Gateway>,
    ApiCache(name): ApiCache,
) -> Result<(), Refusal> {
    let access = caller
        .api(&name)
        .await?
        .require(|permissions| permissions.destroy_cache)?;
    if gateway.declared(&name).is_some() {
        return Err(Refusal::Declared(format!(
            "The cache {name} is declared in the document under \"caches\": remove it there first."
        )));
    }
    access.depot.destroy_cache(&name).await?;
    Ok(())
}
