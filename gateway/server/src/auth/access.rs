//! The caller of a request, and what it may do with a cache.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use hayloft_nixcache::CacheName;
use hayloft_nixcache::token::{Claims, Permissions};

use super::header::{self, Credentials};
use crate::depot::{Cache, Depot};
use crate::error::Refusal;
use crate::state::Gateway;

/// What a caller without any token is told on the API.
const NO_TOKEN: &str = "Unauthorized. Send a token that gives a permission on this cache.";
/// What a caller is told whose token says nothing about the cache.
const OTHER_TOKEN: &str = "Unauthorized. The token gives no permission on this cache.";

/// Who calls: the only way to data. Extracting it never fails; asking it for access does.
pub(crate) struct Caller {
    gateway: Gateway,
    identity: Identity,
}

enum Identity {
    /// Sent no token.
    Anonymous,
    /// Sent a good one.
    Known(Claims),
    /// Sent something else; the sentence says what is wrong with it.
    Refused(String),
}

/// A cache that the caller may know of, and what it may do with it.
pub(crate) struct CacheAccess {
    /// The cache.
    pub(crate) cache: Cache,
    /// The data.
    pub(crate) depot: Depot,
    permissions: Permissions,
}

impl CacheAccess {
    /// Goes on only when the caller has the permission that `bit` picks.
    ///
    /// # Errors
    /// 403 otherwise.
    pub(crate) fn require(self, bit: impl FnOnce(&Permissions) -> bool) -> Result<Self, Refusal> {
        if bit(&self.permissions) {
            Ok(self)
        } else {
            Err(Refusal::AccessError)
        }
    }

    /// What the caller may do.
    #[must_use]
    pub(crate) const fn permissions(&self) -> Permissions {
        self.permissions
    }
}

impl Caller {
    /// Whom the token was made for.
    #[must_use]
    pub(crate) fn subject(&self) -> Option<String> {
        match &self.identity {
            Identity::Known(claims) => claims.sub.clone(),
            Identity::Anonymous | Identity::Refused(_) => None,
        }
    }

    /// Whether the caller showed a good token, whatever it allows.
    #[must_use]
    pub(crate) const fn is_known(&self) -> bool {
        matches!(self.identity, Identity::Known(_))
    }

    /// The caller, unless it sent a token that is not good: on the API, that is always said.
    ///
    /// # Errors
    /// 401 with what is wrong with the token.
    pub(crate) fn honest(self) -> Result<Self, Refusal> {
        match self.identity {
            Identity::Refused(reason) => Err(Refusal::Unauthorized(reason)),
            Identity::Anonymous | Identity::Known(_) => Ok(self),
        }
    }

    /// A cache, for an endpoint of the API.
    ///
    /// # Errors
    /// 401 when the token is bad, or gives nothing on this cache (whether it exists or not); 404 when it does not exist and
    /// the caller may know.
    pub(crate) async fn api(&self, name: &CacheName) -> Result<CacheAccess, Refusal> {
        if let Identity::Refused(reason) = &self.identity {
            return Err(Refusal::Unauthorized(reason.clone()));
        }
        self.find(name).await?.map_err(|unseen| match unseen {
            Unseen::Missing => Refusal::NoSuchCache,
            Unseen::Hidden => Refusal::Unauthorized(self.why_unauthorized().to_owned()),
        })
    }

    /// A cache, for a Nix client that wants to pull. Never 401, which new Nix takes as a failure of the build.
    ///
    /// # Errors
    /// 403 when the caller may not pull, with the same words whether the cache exists or not; 404 when it does not exist and
    /// the caller may know.
    pub(crate) async fn nix(&self, name: &CacheName) -> Result<CacheAccess, Refusal> {
        let found = self.find(name).await?.map_err(|unseen| match (unseen, &self.identity) {
            (Unseen::Missing, _) => Refusal::NoSuchCache,
            (Unseen::Hidden, Identity::Refused(reason)) => Refusal::Hidden(reason.clone()),
            (Unseen::Hidden, _) => Refusal::Hidden(
                "There is no such cache, or it is private: put a token for it in your netrc as the password for this host."
                    .to_owned(),
            ),
        })?;
        found.require(|permissions| permissions.pull)
    }

    /// Whether the caller may create a cache of that name; the data to do so.
    ///
    /// # Errors
    /// 401 when the token is bad or says nothing about the name, 403 when it does not allow this.
    pub(crate) fn creator(&self, name: &CacheName) -> Result<&Depot, Refusal> {
        if let Identity::Refused(reason) = &self.identity {
            return Err(Refusal::Unauthorized(reason.clone()));
        }
        let permissions = self.permissions(name);
        if !permissions.can_discover() {
            return Err(Refusal::Unauthorized(self.why_unauthorized().to_owned()));
        }
        if !permissions.create_cache {
            return Err(Refusal::AccessError);
        }
        self.gateway.depot()
    }

    async fn find(&self, name: &CacheName) -> Result<Result<CacheAccess, Unseen>, Refusal> {
        let mut permissions = self.permissions(name);
        let depot = self.gateway.depot()?.clone();
        let cache = depot.cache(name).await?;
        permissions.pull |= cache.as_ref().is_some_and(|cache| cache.is_public);
        Ok(match cache {
            _ if !permissions.can_discover() => Err(Unseen::Hidden),
            None => Err(Unseen::Missing),
            Some(cache) => Ok(CacheAccess {
                cache,
                depot,
                permissions,
            }),
        })
    }

    fn permissions(&self, name: &CacheName) -> Permissions {
        match &self.identity {
            Identity::Known(claims) => claims.permissions_for(name),
            Identity::Anonymous | Identity::Refused(_) => Permissions::default(),
        }
    }

    const fn why_unauthorized(&self) -> &'static str {
        match self.identity {
            Identity::Known(_) => OTHER_TOKEN,
            Identity::Anonymous | Identity::Refused(_) => NO_TOKEN,
        }
    }
}

/// Why a cache is not shown.
enum Unseen {
    /// It does not exist, and the caller may know.
    Missing,
    /// The caller may not know whether it exists.
    Hidden,
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Infallible> {
        let identity = match parts.headers.get(AUTHORIZATION).map(|value| value.to_str()) {
            None => Identity::Anonymous,
            Some(Ok(value)) => identify(header::parse(value), gateway),
            Some(Err(_)) => unusable(),
        };
        Ok(Self {
            gateway: gateway.clone(),
            identity,
        })
    }
}

fn identify(credentials: Credentials, gateway: &Gateway) -> Identity {
    match credentials {
        Credentials::Unusable => unusable(),
        // A netrc without a password, and attic's client without a token, send an empty one.
        Credentials::Token(token) if token.is_empty() => Identity::Anonymous,
        Credentials::Token(token) => match gateway.verify(&token) {
            Ok(claims) => Identity::Known(claims),
            Err(error) => Identity::Refused(format!("Unauthorized: {error}.")),
        },
    }
}

fn unusable() -> Identity {
    Identity::Refused(
        "Unauthorized: the Authorization header must be \"Bearer <token>\", or \"Basic\" with the token as the password."
            .to_owned(),
    )
}
