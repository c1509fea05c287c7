//! Admin tokens that Garage itself keeps. They work on members with a role only, and not before the first layout.

use hayloft_api::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AdminError, Client};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its id; `None` for one that stands in a configuration file.
    pub id: Option<String>,
    /// Its name; names are not unique.
    pub name: String,
    /// When it ends.
    pub expiration: Option<Timestamp>,
    /// Whether it has ended.
    pub expired: bool,
    /// The calls that it may make; `*` for all.
    pub scope: Vec<String>,
}

/// A token just made. Its secret is told only this once.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is.
    pub info: TokenInfo,
    /// What is sent with calls.
    pub secret: Secret,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Timestamp>,
    never_expires: bool,
    scope: &'a [&'a str],
}

impl<'a> Body<'a> {
    fn new(name: &'a str, expiration: Option<Timestamp>, scope: &'a [&'a str]) -> Self {
        Self {
            name,
            expiration,
            never_expires: expiration.is_none(),
            scope,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    secret_token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

impl Client {
    /// All tokens, those of configuration files included.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, AdminError> {
        self.get("ListAdminTokens", &[]).await
    }

    /// The token that this client itself uses.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn own_token(&self) -> Result<TokenInfo, AdminError> {
        self.get("GetCurrentAdminTokenInfo", &[]).await
    }

    /// Makes a token that may make these calls. One that may make or change tokens may do everything.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn create_token(
        &self,
        name: &str,
        expiration: Option<Timestamp>,
        scope: &[&str],
    ) -> Result<NewToken, AdminError> {
        let Created { secret_token, info } = self
            .tell("CreateAdminToken", &Body::new(name, expiration, scope))
            .await?;
        Ok(NewToken {
            info,
            secret: Secret::new(secret_token),
        })
    }

    /// Gives a token another name, end and scope.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none; or when the member does not answer, or refuses.
    pub async fn update_token(
        &self,
        id: &str,
        name: &str,
        expiration: Option<Timestamp>,
        scope: &[&str],
    ) -> Result<TokenInfo, AdminError> {
        let body = Body::new(name, expiration, scope);
        self.tell_of("UpdateAdminToken", id, Some(&body)).await
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none; or when the member does not answer, or refuses.
    pub async fn delete_token(&self, id: &str) -> Result<(), AdminError> {
        let _: serde_json::Value = self.tell_of("DeleteAdminToken", id, None::<&()>).await?;
        Ok(())
    }
}
