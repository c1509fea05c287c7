//! `hayloft recovery drill`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use hayloft_coordinator::recovery::{Drilled, Kit, drill};
use jiff::{SpanRound, Timestamp, Unit};

use super::KeyFile;
use crate::context::Context;
use crate::words;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft recovery drill recovery.kit --key recovery.key\n\nNothing is asked of the cluster, and nothing is left on the disk: it is safe at any time, on any machine."
)]
pub(crate) struct Args {
    /// The kit: any storage host keeps one
    #[arg(value_name = "KIT")]
    kit: PathBuf,
    #[command(flatten)]
    key: KeyFile,
}

/// Rehearses a restore, and tells what it would bring back.
pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let file = fs::read(&args.kit).with_context(|| format!("{} cannot be read", args.kit.display()))?;
    let key = super::read_key(&args.key.key)?;
    let kit = Kit::open(&file, &key)?;
    // In memory where there is such a place, for it holds every secret of the cluster for a moment.
    let shm = PathBuf::from("/dev/shm");
    let temp = context
        .env
        .get("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let scratch = tempfile::Builder::new()
        .prefix("hayloft-drill-")
        .tempdir_in(if shm.is_dir() { shm } else { temp })
        .context("no folder for the drill")?;
    let now = (context.clock)();
    let drilled = drill(&kit, scratch.path(), now).await;
    scratch.close().context("what the drill made cannot be removed")?;
    context.say(&tell(&drilled?, now));
    Ok(())
}

fn tell(drilled: &Drilled, now: Timestamp) -> String {
    let Drilled {
        label,
        declared,
        admitted,
        authority,
        voided,
    } = drilled;
    let whole = SpanRound::new()
        .largest(Unit::Day)
        .smallest(Unit::Minute)
        .days_are_24_hours();
    let age = label.made.until(now).and_then(|span| span.round(whole));
    let age = age.map_or_else(|_| "of unknown age".to_owned(), |age| format!("{age:#} old"));
    let mut lines = vec![format!("The kit opens: {label} ({age}).")];
    lines.push(match declared {
        Some((hosts, caches)) => format!(
            "It brings back a document with {} and {}, and every secret of the cluster.",
            words::count(*hosts, "host"),
            words::count(*caches, "cache")
        ),
        None => {
            "It brings back every secret of the cluster, and no document: none was applied yet.".to_owned()
        }
    });
    if let Some(pin) = authority {
        lines.push(format!(
            "{} joined by token; the authority that they trust is {pin}.",
            words::count(*admitted, "host")
        ));
    }
    if *voided > 0 {
        lines.push(format!("{} would be void.", words::count(*voided, "join token")));
    }
    lines.push("Nothing was changed, and nothing is left of this drill.".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use hayloft_coordinator::recovery::KitLabel;

    use super::*;

    #[test]
    fn a_drill_says_how_old_the_kit_is_and_what_comes_back() {
        let drilled = Drilled {
            label: KitLabel {
                cluster: "commons".parse().unwrap(),
                epoch: 7,
                made: "2026-01-02T03:04:05Z".parse().unwrap(),
            },
            declared: Some((4, 1)),
            admitted: 3,
            authority: None,
            voided: 1,
        };
        let text = tell(&drilled, "2026-01-04T05:04:05Z".parse().unwrap());
        insta::assert_snapshot!(text, @r"
        The kit opens: commons, of 2026-01-02T03:04:05Z, term 7 (2d 2h old).
        It brings back a document with 4 hosts and 1 cache, and every secret of the cluster.
        1 join token would be void.
        Nothing was changed, and nothing is left of this drill.
        ");
    }
}
