//! Sentences and lines to paste.

use std::fmt::Write as _;
use std::path::Path;

use hayloft_nixcache::CacheName;
use hayloft_nixcache::token::{CachePattern, Claims, Permissions};

use super::netrc::LOGIN;
use crate::client::token::powers;

/// What Nix has to know of a cache.
#[derive(Debug, Clone)]
pub(super) struct CacheLines {
    /// Where it is.
    pub(super) url: String,
    /// The key it signs with.
    pub(super) key: String,
    /// Whether it wants a token.
    pub(super) private: bool,
}

/// Said when Nix does not tell whether it trusts this user.
pub(super) const MAYBE_UNTRUSTED: &str = "If Nix says that it ignores these settings, you are not among its trusted-users: have them put into /etc/nix/nix.conf.";

/// What to put where, for people who do it themselves.
pub(super) fn to_paste(lines: &CacheLines, nix_conf: &Path, cache: &CacheName) -> String {
    let mut text = format!(
        "# {} (or /etc/nix/nix.conf, for everybody on this machine)\n{}",
        nix_conf.display(),
        conf_lines(lines)
    );
    if lines.private {
        let host = host_of(&lines.url);
        let _ = write!(
            text,
            "\n# and, as {cache} is private, a netrc file that nix.conf names with `netrc-file = PATH` (readable by you alone):\n\
             machine {host}\nlogin {LOGIN}\npassword TOKEN\n\
             # A netrc file has one password for a host: the token must be good for all its private caches that you use.\n"
        );
    }
    text.push_str("\n# With this too, Nix builds what it cannot fetch while the cache is away, instead of giving up:\nfallback = true\n");
    let _ = write!(text, "\n# or, on NixOS:\n{}", nixos_lines(lines));
    let _ = write!(
        text,
        "\n# `hayloft use {cache} --write` makes the first change for you."
    );
    text
}

/// Said when the daemon does not trust this user.
pub(super) fn untrusted(lines: &CacheLines) -> String {
    format!(
        "Nix ignores these settings of yours, as you are not among its trusted-users. Have this put into /etc/nix/nix.conf:\n{}or, on NixOS:\n{}",
        conf_lines(lines),
        nixos_lines(lines).trim_end()
    )
}

fn conf_lines(lines: &CacheLines) -> String {
    format!(
        "extra-substituters = {}\nextra-trusted-public-keys = {}\n",
        lines.url, lines.key
    )
}

fn nixos_lines(lines: &CacheLines) -> String {
    let netrc = if lines.private {
        "  netrc-file = \"/etc/nix/netrc\";\n"
    } else {
        ""
    };
    format!(
        "nix.settings = {{\n  extra-substituters = [ \"{}\" ];\n  extra-trusted-public-keys = [ \"{}\" ];\n{netrc}}};\n",
        lines.url, lines.key
    )
}

fn host_of(url: &str) -> String {
    url::Url::parse(url)
        .ok()
        .and_then(|url| {
            url.host_str()
                .map(|host| host.trim_matches(['[', ']']).to_owned())
        })
        .unwrap_or_default()
}

/// Whether the token allows more on the cache than a machine that only pulls needs.
pub(super) fn does_more_than_pull(claims: &Claims, cache: &CacheName) -> bool {
    let Permissions {
        pull: _,
        push,
        delete,
        create_cache,
        configure_cache,
        configure_cache_retention,
        destroy_cache,
    } = claims.permissions_for(cache);
    push || delete || create_cache || configure_cache || configure_cache_retention || destroy_cache
}

/// A sentence about caches that the token before allowed to pull from and the one after does not, if there are any.
pub(super) fn lost_by(before: &str, after: &str, host: &str) -> Option<String> {
    let (before, after) = (powers(before)?, powers(after)?);
    let lost: Vec<&str> = before
        .grants
        .iter()
        .filter(|(_, permissions)| permissions.pull)
        .map(|(pattern, _)| pattern)
        .filter(|pattern| {
            !after
                .grants
                .iter()
                .any(|(other, now)| now.pull && (other == *pattern || other.as_str() == "*"))
        })
        .map(CachePattern::as_str)
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "the token before was good for {} as well: Nix has one token for all caches at {host}, so have one made for all of them",
            lost.join(", ")
        )
    })
}
