//! `hayloft apply` and `hayloft plan`: a document for a running cluster.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::context::Context;
use crate::control::Outcome;
use crate::control::client::Control;
use crate::{OutputFormat, document_file};

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
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft plan -f cluster.yaml\n  hayloft plan -f cluster.yaml -o json")]
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
    show(context, &outcome);
    Ok(())
}

/// Shows what applying a document would do.
pub(crate) async fn plan(args: PlanArgs, context: &Context) -> anyhow::Result<()> {
    let document = document_file::read(&args.file)?.to_yaml()?;
    let outcome = Control::find(context, args.dir)?.plan(document).await?;
    match args.output {
        OutputFormat::Text => show(context, &outcome),
        OutputFormat::Json => {
            context.say(&serde_json::to_string_pretty(&outcome).context("the plan cannot be put in words")?);
        }
    }
    Ok(())
}

fn show(context: &Context, outcome: &Outcome) {
    let Outcome {
        changes,
        steps,
        waiting,
        notices,
        applied,
    } = outcome;
    for notice in notices {
        context.note(notice);
    }
    for change in changes {
        context.say(&change.to_string());
    }
    for (title, lines) in [("To be done now:", steps), ("To be done later:", waiting)] {
        if !lines.is_empty() && !changes.is_empty() {
            context.say(title);
            lines.iter().for_each(|line| context.say(&format!("  {line}")));
        }
    }
    context.say(match (changes.is_empty(), applied) {
        (true, _) => "Nothing changes.",
        (false, true) => "Applied; `hayloft status --watch` shows how it goes.",
        (false, false) => "Nothing was changed yet; `hayloft apply` does it.",
    });
}
