//! `token`: makes a token, with the flags of `atticadm make-token`.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use hayloft_nixcache::token::{CachePattern, Claims, Grants, MintError, Permissions};
use jiff::Timestamp;

use super::{ConfigFile, Outside};
use crate::config::{self, Span, Tokens};

/// What the token says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Whom the token is for; recorded with what is pushed
    #[arg(long, value_name = "NAME")]
    sub: String,
    /// How long it is good, such as 2y, 90d or 12h
    #[arg(long, value_name = "TIME", value_parser = |text: &str| text.parse::<Span>())]
    validity: Span,
    /// Print the claims as JSON instead of a token
    #[arg(long)]
    dump_claims: bool,
    /// May pull from caches of this name; `*` stands for any characters
    #[arg(long = "pull", value_name = "PATTERN")]
    pull: Vec<CachePattern>,
    /// May push to these
    #[arg(long = "push", value_name = "PATTERN")]
    push: Vec<CachePattern>,
    /// May delete paths of these
    #[arg(long = "delete", value_name = "PATTERN")]
    delete: Vec<CachePattern>,
    /// May create caches of these names
    #[arg(long = "create-cache", value_name = "PATTERN")]
    create_cache: Vec<CachePattern>,
    /// May configure these
    #[arg(long = "configure-cache", value_name = "PATTERN")]
    configure_cache: Vec<CachePattern>,
    /// May configure how long these keep their paths
    #[arg(long = "configure-cache-retention", value_name = "PATTERN")]
    configure_cache_retention: Vec<CachePattern>,
    /// May destroy these
    #[arg(long = "destroy-cache", value_name = "PATTERN")]
    destroy_cache: Vec<CachePattern>,
}

pub(super) fn run(args: &Args, outside: &Outside) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tokens = config::load(&args.config.config)?.tokens;
    let claims = claims(args, &tokens, (outside.clock)())?;
    let text = if args.dump_claims {
        serde_json::to_string_pretty(&claims)?
    } else {
        tokens.signer.ok_or(MintError::PublicKeyOnly)?.sign(&claims)?
    };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// The claims, in attic's order: patterns as they come up from pull to destroy-cache. Which comes first decides.
fn claims(args: &Args, tokens: &Tokens, now: Timestamp) -> Result<Claims, Box<dyn Error + Send + Sync>> {
    let mut grants = Grants::new();
    let mut grant = |patterns: &[CachePattern], allow: fn(&mut Permissions)| {
        for pattern in patterns {
            allow(grants.entry(pattern.clone()));
        }
    };
    grant(&args.pull, |permissions| permissions.pull = true);
    grant(&args.push, |permissions| permissions.push = true);
    grant(&args.delete, |permissions| permissions.delete = true);
    grant(&args.create_cache, |permissions| permissions.create_cache = true);
    grant(&args.configure_cache, |permissions| {
        permissions.configure_cache = true;
    });
    grant(&args.configure_cache_retention, |permissions| {
        permissions.configure_cache_retention = true;
    });
    grant(&args.destroy_cache, |permissions| {
        permissions.destroy_cache = true;
    });
    let Span(validity) = args.validity;
    let seconds = i64::try_from(Duration::as_secs(&validity))?;
    Ok(Claims {
        iss: tokens.issuer.clone(),
        aud: tokens.audiences.clone(),
        sub: Some(args.sub.clone()),
        nbf: Some(now.as_second()),
        exp: Some(now.as_second().saturating_add(seconds)),
        ..Claims::new(grants)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use hayloft_nixcache::token::{Signer, Verifier};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn claims_come_out_in_attics_order() {
        let line = "x --config c --sub ci --validity 2y --push a* --pull b --pull a* --destroy-cache b";
        let args = Cli::try_parse_from(line.split(' ')).unwrap().args;
        let tokens = Tokens {
            verifier: Verifier::hs256(b"x"),
            signer: Some(Signer::hs256(b"x")),
            issuer: None,
            audiences: vec![],
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let claims = claims(&args, &tokens, now).unwrap();
        insta::assert_snapshot!(serde_json::to_string(&claims).unwrap());
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let line = "x --config c --sub ci --validity 2y --push a/b";
        assert!(Cli::try_parse_from(line.split(' ')).is_err());
    }
}
