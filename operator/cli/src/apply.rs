//! `hayloft apply` and `hayloft plan`: a document for a running cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::context::Context;
use crate::control::client::Control;
use crate::host::wait::{self, Goal};
use crate::{OutputFormat, document_file, outcome};

/// `hayloft plan` ends with it when there is something to do.
const SOMETHING_TO_DO: u8 = 2;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft apply -f cluster.yaml --dry-run\n  hayloft apply -f cluster.yaml"
)]
pub(crate) struct ApplyArgs {
    /// The folder of the running `hayloft up` [default: ~/.local/share/hayloft]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The document (YAML); `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Return when all is as the document declares and data lies where it shall, and show how it goes until then
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 when nothing is to be done, 2 when something is, 1 when it fails or is refused.\n\n\
                  Example:\n  hayloft plan -f cluster.yaml\n  hayloft plan -f cluster.yaml -o json | jq .preview"
)]
pub(crate) struct PlanArgs {
    /// The folder of the running `hayloft up` [default: ~/.local/share/hayloft]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The document (YAML); `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Applies a document, or with `--dry-run` shows what that would do.
pub(crate) async fn apply(args: ApplyArgs, context: &Context) -> anyhow::Result<()> {
    let document = document_file::read(&args.file)?.to_yaml()?;
    let control = Control::find(context, args.dir)?;
    let outcome = if args.dry_run {
        control.plan(document).await?
    } else {
        control.apply(document).await?
    };
    let asked_at = (context.clock)();
    outcome::show(context, &outcome);
    if args.wait {
        wait::until(context, &control, &Goal::Converged, asked_at).await?;
    }
    Ok(())
}

/// Shows what applying a document would do. The exit code says whether that is anything.
pub(crate) async fn plan(args: PlanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let document = document_file::read(&args.file)?.to_yaml()?;
    let outcome = Control::find(context, args.dir)?.plan(document).await?;
    match args.output {
        OutputFormat::Text => outcome::show(context, &outcome),
        OutputFormat::Json => {
            context.say(&serde_json::to_string_pretty(&outcome).context("the plan cannot be put in words")?);
        }
    }
    Ok(if outcome.is_something() {
        ExitCode::from(SOMETHING_TO_DO)
    } else {
        ExitCode::SUCCESS
    })
}
