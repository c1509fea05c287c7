//! `hayloft apply` and `hayloft plan`: a document for a running cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::confirm::{self, Answer};
use crate::context::Context;
use crate::control::Older;
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
    /// Follow it also when it was in force before and was replaced by another
    #[arg(long, conflicts_with = "dry_run")]
    older: bool,
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

/// An older document waits for a person's word.
#[derive(Debug, thiserror::Error)]
#[error(
    "an older document came back, and the newer one stays in force; `hayloft apply -f {} --older` says that it is meant",
    file.display()
)]
struct HeldBack {
    file: PathBuf,
}

/// Applies a document, or with `--dry-run` shows what that would do.
pub(crate) async fn apply(args: ApplyArgs, context: &Context) -> anyhow::Result<()> {
    let document = document_file::read(&args.file)?.to_yaml()?;
    let control = Control::find(context, args.dir)?;
    if args.dry_run {
        let outcome = control.plan(document).await?;
        outcome::show(context, &outcome);
        return Ok(());
    }
    let older = match (args.older, confirm::can_ask(context)) {
        (true, _) => Older::Follow,
        (false, true) => Older::Ask,
        (false, false) => Older::Hold,
    };
    let outcome = control.apply(document.clone(), older).await?;
    let asked_at = (context.clock)();
    outcome::show(context, &outcome);
    match (outcome.replaced, older) {
        (None, _) => {}
        (Some(_), Older::Ask) => {
            let question = "Shall the older document be followed again?";
            confirm::ask(context, question, Answer::Yes, "--older").await?;
            let outcome = control.apply(document, Older::Follow).await?;
            outcome::tell_end(context, &outcome);
        }
        (Some(_), Older::Hold | Older::Follow) => {
            return Err(HeldBack {
                file: args.file.clone(),
            }
            .into());
        }
    }
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
