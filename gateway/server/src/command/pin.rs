//! `pin`: keeps paths, with all that they refer to, whatever their age.

use std::error::Error;
use std::io::Write;

use clap::Subcommand;
use hayloft_nixcache::{CacheName, StorePathHash};

use super::work;
use super::{ConfigFile, Outside};
use crate::config::Span;
use crate::control::{Outcome, Request};

/// What to do with pins.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Keep paths under a name; a pin of that name is replaced
    Add {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
        /// The cache
        cache: CacheName,
        /// The pin's name, such as release-1.2
        name: String,
        /// Store paths, or their hashes
        #[arg(required = true)]
        paths: Vec<String>,
        /// How long they are kept, such as 90d; without it, until the pin is removed
        #[arg(long = "for", value_name = "TIME", value_parser = |text: &str| text.parse::<Span>())]
        span: Option<Span>,
    },
    /// Keep them no longer
    Remove {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
        /// The cache
        cache: CacheName,
        /// The pin's name
        name: String,
    },
    /// Show what is kept
    List {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
        /// The cache
        cache: CacheName,
    },
}

/// Not a path.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no store path: give one such as /nix/store/26xbg1ndr7hbcncrlf9nhx5is2b25d13-hello-2.12.1")]
struct NoPath(String);

pub(super) async fn run(args: Args, outside: &Outside) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (config, request) = match args.what {
        What::Add {
            config,
            cache,
            name,
            paths,
            span,
        } => {
            let until = span.map(|Span(span)| {
                let now = (outside.clock)().as_millisecond();
                now.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
            });
            let paths: Result<Vec<StorePathHash>, NoPath> = paths.into_iter().map(hash_of).collect();
            let request = Request::Pin {
                cache,
                name,
                paths: paths?,
                until,
            };
            (config, request)
        }
        What::Remove { config, cache, name } => (config, Request::Unpin { cache, name }),
        What::List { config, cache } => (config, Request::Pins { cache }),
    };
    if let Outcome::Pins(pins) = work::run(&config.config, request, outside).await? {
        let mut out = std::io::stdout().lock();
        for pin in pins {
            let until = pin
                .until
                .and_then(|until| jiff::Timestamp::from_millisecond(until).ok())
                .map_or_else(|| "for ever".to_owned(), |until| format!("until {until:.0}"));
            writeln!(out, "{} ({} paths, {until})", pin.name, pin.paths.len())?;
            for path in pin.paths {
                writeln!(out, "  {path}")?;
            }
        }
    }
    Ok(())
}

fn hash_of(text: String) -> Result<StorePathHash, NoPath> {
    let name = text.rsplit('/').next().unwrap_or_default();
    let hash = name
        .get(..StorePathHash::LENGTH)
        .and_then(|hash| hash.parse().ok());
    let whole =
        name.len() == StorePathHash::LENGTH || name.as_bytes().get(StorePathHash::LENGTH) == Some(&b'-');
    hash.filter(|_| whole).ok_or(NoPath(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_whole_or_by_its_hash() {
        const HASH: &str = "26xbg1ndr7hbcncrlf9nhx5is2b25d13";
        for text in [
            HASH.to_owned(),
            format!("{HASH}-hello"),
            format!("/nix/store/{HASH}-hello-2.12.1"),
        ] {
            assert_eq!(hash_of(text).unwrap().as_str(), HASH);
        }
        for text in [
            "",
            "hello",
            "/nix/store",
            "/nix/store/26xbg1ndr7hbcncrlf9nhx5is2b25d13x-y",
        ] {
            assert!(hash_of(text.to_owned()).is_err(), "{text}");
        }
    }
}
