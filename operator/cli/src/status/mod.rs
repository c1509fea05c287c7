//! `hayloft status`.

pub(crate) mod moves;
pub(crate) mod news;
pub(crate) mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hayloft_api::status::Status;

use crate::OutputFormat;
use crate::context::Context;
use crate::control::client::Control;
use crate::signals;
use news::Shown;

/// `--watch` looks so often.
const EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hayloft status\n  hayloft status --watch\n  hayloft status -o json | jq .layout"
)]
pub(crate) struct Args {
    /// The folder of the running `hayloft up` [default: ~/.local/share/hayloft]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// Go on showing it as it changes, until interrupted: drawn anew on a terminal, elsewhere a line for each news
    #[arg(long)]
    watch: bool,
}

/// Prints the state of a running cluster, once or as it changes.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let control = Control::find(context, args.dir)?;
    let mut interrupts = signals::interrupts()?;
    let mut last = String::new();
    let mut shown = Shown::default();
    loop {
        let status = control.status().await?;
        let text = match args.output {
            OutputFormat::Json => {
                serde_json::to_string_pretty(&status).context("the state cannot be put in words")?
            }
            OutputFormat::Text => table::render(&status, context.terminal.colour, &context.time_zone),
        };
        if text != last {
            let drawn = args.watch && context.terminal.stdout;
            match args.output {
                OutputFormat::Text if drawn => context.say(&format!("\x1b[2J\x1b[H{text}")),
                OutputFormat::Text if args.watch => {
                    let news = shown.news(text.lines(), Instant::now());
                    if last.is_empty() {
                        context.say(&text);
                    } else {
                        let now = (context.clock)().to_zoned(context.time_zone.clone());
                        let at = now.strftime("%H:%M:%S");
                        news.iter().for_each(|line| context.say(&format!("{at}  {line}")));
                    }
                }
                // One document a line is what programs can follow.
                OutputFormat::Json if args.watch => context.say(&compact(&status)?),
                OutputFormat::Text | OutputFormat::Json => context.say(&text),
            }
            last = text;
        }
        if !args.watch {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = interrupts.next() => return Ok(()),
        }
    }
}

fn compact(status: &Status) -> anyhow::Result<String> {
    serde_json::to_string(status).context("the state cannot be put in words")
}
