//! `hayloft leave`: this host gives its data to the others, and then does not belong any more.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hayloft_agent::leave::{Said, say};
use hayloft_agent::membership::Membership;

use crate::agent::USUAL_DIR;
use crate::confirm::{self, Answer};
use crate::context::Context;
use crate::control::Refusal;
use crate::coordinator::leaving::{LEAVE, Leaving};
use crate::signals;

/// It is asked so often how far it is.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// A coordinator that is away for so long is not waited for any more; what was begun goes on when it is back.
const PATIENCE: u32 = 40;

/// `hayloft leave`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Garage keeps blocks for ten minutes after they have other places, so it takes that long at least. It can be \
                  interrupted and run again; the host goes on serving until it is done.\n\nExample:\n  hayloft leave"
)]
pub(crate) struct Args {
    /// Do not ask whether that is meant
    #[arg(short, long)]
    yes: bool,
    /// The host's folder
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Leaves.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut interrupts = signals::interrupts().context("signals cannot be taken over")?;
    let dir = std::path::absolute(&args.dir).unwrap_or(args.dir);
    let membership = Membership::at(&dir);
    let standing = membership.standing()?;
    let (name, cluster) = (standing.record.name.clone(), standing.record.cluster.clone());
    if !args.yes {
        let question = format!("Shall {name} leave the cluster {cluster}?");
        confirm::ask(context, &question, Answer::Yes, "--yes").await?;
    }
    let mut told = String::new();
    let mut unreached = 0;
    loop {
        match say(&standing, LEAVE).await {
            Ok(Said::Stranger) => break,
            Ok(Said::Yes(body)) => {
                unreached = 0;
                let leaving: Leaving =
                    serde_json::from_slice(&body).context("the coordinator is of another version")?;
                if leaving.left {
                    break;
                }
                if leaving.what != told {
                    context.note(&leaving.what);
                    told = leaving.what;
                }
            }
            Ok(Said::No(status, body)) => match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => bail!("{}", refusal.error),
                Err(_) => bail!("the coordinator answered {status}"),
            },
            Err(error) => {
                unreached += 1;
                if unreached > PATIENCE {
                    return Err(error.into());
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_EVERY) => {}
            () = interrupts.next() => {
                bail!("{name} goes on leaving; run `hayloft leave` again to see how far it is, or `hayloft host drain {name} --undo` at the coordinator to keep it")
            }
        }
    }
    stop_service(context).await;
    membership
        .forget()
        .context("what shows that this host belonged cannot be removed")?;
    context.say(&format!(
        "{name} has left the cluster {cluster}; {} may be removed",
        dir.display()
    ));
    Ok(())
}

/// The agent has nothing left to do.
async fn stop_service(context: &Context) {
    let mut command = tokio::process::Command::new("systemctl");
    command
        .args(["disable", "--now", "--quiet", "hayloft-agent.service"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let stopped = tokio::time::timeout(Duration::from_secs(60), command.status()).await;
    if !matches!(stopped, Ok(Ok(status)) if status.success()) {
        context.note("If its agent runs in the foreground, stop it now");
    }
}
