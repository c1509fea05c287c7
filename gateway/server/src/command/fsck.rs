//! `fsck`: checks what is stored.

use std::error::Error;
use std::io::Write;

use super::work::{self, Output};
use super::{ConfigFile, Outside};
use crate::config::ByteSize;
use crate::control::{Outcome, Request};
use crate::depot::FsckOptions;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Read everything and check every byte; goes on where one that was cut off had come to
    #[arg(long)]
    verify: bool,
    /// Report what is damaged as missing, so that the next push heals it, and delete what should be gone
    #[arg(long)]
    repair: bool,
    /// How many bytes a second are read, such as 50MB; 0: as many as it can
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = |text: &str| text.parse::<ByteSize>())]
    max_rate: ByteSize,
    /// How the report looks
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Something is wrong with what is stored.
#[derive(Debug, thiserror::Error)]
#[error("something is wrong with what is stored; see above")]
struct Wrong;

pub(super) async fn run(args: &Args, outside: &Outside) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = Request::Check(FsckOptions {
        verify: args.verify,
        repair: args.repair,
        max_rate: args.max_rate.0,
    });
    if let Outcome::Checked(report) = work::run(&args.config.config, request, outside).await? {
        let text = match args.output {
            Output::Text => report.to_string(),
            Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        };
        write!(std::io::stdout().lock(), "{text}")?;
        if !report.is_clean() && !report.repaired {
            return Err(Wrong.into());
        }
    }
    Ok(())
}
