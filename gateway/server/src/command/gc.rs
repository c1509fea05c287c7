//! `gc`: collects what nothing keeps.

use std::error::Error;
use std::io::Write;

use super::work::{self, Output};
use super::{ConfigFile, Outside};
use crate::control::{Outcome, Request};

/// What to collect.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Only say what would go and how much that is
    #[arg(long)]
    dry_run: bool,
    /// How the report looks
    #[arg(long, short = 'o', value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) async fn run(args: &Args, outside: &Outside) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = Request::Collect {
        dry_run: args.dry_run,
    };
    if let Outcome::Collected(report) = work::run(&args.config.config, request, outside).await? {
        let text = match args.output {
            Output::Text => report.to_string(),
            Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        };
        write!(std::io::stdout().lock(), "{text}")?;
    }
    Ok(())
}
