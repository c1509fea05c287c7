//! `hayloft host`: what a person does about single hosts.

mod ask;
mod list;
pub(crate) mod wait;

use std::path::PathBuf;

use hayloft_api::{HostName, Span};
use jiff::{Timestamp, Unit};

use crate::OutputFormat;
use crate::confirm::Answer;
use crate::context::Context;
use crate::control::HostAction;
use crate::control::client::Control;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the hosts, and what each holds
    List(ListArgs),
    /// Let a host in that asked to join and waits for a person's word
    Approve(ApproveArgs),
    /// Let a host give its data to the others; it stays declared and holds none
    Drain(DrainArgs),
    /// Let a host give its data to the others, and then forget it
    Remove(RemoveArgs),
    /// Say that a host will be away for a while, so that nobody misses it
    Away(AwayArgs),
    /// Put a host out at once, without its help, and change every secret that it knew
    Evict(EvictArgs),
    /// Say that the data disk of a host was replaced by an empty one
    NewDisk(NewDiskArgs),
    /// Put the lost metadata of a host back from the snapshot that another host keeps
    RestoreMetadata(RestoreMetadataArgs),
    /// Give up what only lost hosts had, so that the others can be written again
    AllowMissingData(AllowMissingDataArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// The folder of the running `hayloft up` [default: ~/.local/share/hayloft]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// How it goes about it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct How {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether that is meant
    #[arg(short, long)]
    yes: bool,
    /// Return when it is done, and show how it goes until then
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  hayloft host list\n  hayloft host list -o json | jq '.[].name'")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Where,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Compare the key that `hayloft host list` shows with the one that the joining machine shows.\n\nExample:\n  hayloft host approve lyon-1"
)]
pub(crate) struct ApproveArgs {
    /// The host
    name: HostName,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hayloft host drain host-4 --wait\n  hayloft host drain host-4 --undo     # let it hold data again"
)]
pub(crate) struct DrainArgs {
    /// The host
    name: HostName,
    /// Let a host that was drained hold data again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The host goes on running until its own disk holds no block any more and all others hold what they \
                  should; Garage alone keeps blocks for ten minutes. Only then is it stopped and its folder removed.\n\n\
                  Examples:\n  hayloft host remove host-4 --dry-run\n  hayloft host remove host-4 --wait"
)]
pub(crate) struct RemoveArgs {
    /// The host
    name: HostName,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a host that is lost, or not to be trusted any more. It leaves the layout at once when the copies \
                  that remain suffice; the secrets of the cluster are changed on all other hosts, whose Garage restarts \
                  together. It stays out, also where the document declares it, until it is let in again, \
                  as a new host with empty metadata.\n\n\
                  Examples:\n  hayloft host evict host-4\n  hayloft host evict host-4 --undo"
)]
pub(crate) struct EvictArgs {
    /// The host
    name: HostName,
    /// Let a host that was evicted join again, as a new one
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A host whose data disk comes up empty does not start by itself: the disk may only not be mounted. This \
                  says that it is new, and the host fetches its data from the others.\n\n\
                  Example:\n  hayloft host new-disk host-2 --wait"
)]
pub(crate) struct NewDiskArgs {
    /// The host
    name: HostName,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a host whose database is destroyed, so that its Garage does not start. Other hosts keep a snapshot of \
                  it, made once a day; what it has is set aside. A snapshot that is older than 20 hours is refused: what \
                  was deleted since would come back in the whole cluster. Then rather let the host join as a new one, with \
                  `hayloft host evict` and `hayloft host evict --undo`.\n\n\
                  Examples:\n  hayloft host restore-metadata host-2 --dry-run\n  hayloft host restore-metadata host-2 --from host-3 --wait"
)]
pub(crate) struct RestoreMetadataArgs {
    /// The host
    name: HostName,
    /// The host that keeps the snapshot [default: the one that keeps the newest]
    #[arg(long, value_name = "HOST")]
    from: Option<HostName>,
    /// Also from a snapshot that is older than 20 hours
    #[arg(long)]
    whatever_age: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For the one case in which removing lost hosts does not free the layout: more were lost than the copies \
                  bear. Blocks of which no copy is left stay lost; pushes of the same paths bring them back. It cannot be \
                  undone. The status names the hosts and the version.\n\n\
                  Example:\n  hayloft host allow-missing-data host-4 host-5 --version 7"
)]
pub(crate) struct AllowMissingDataArgs {
    /// The hosts that do not come back
    #[arg(required = true, value_name = "NAME")]
    names: Vec<HostName>,
    /// The version of the layout that waits for them
    #[arg(long, value_name = "N")]
    version: u64,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("when").required(true).args(["until", "for_so_long", "back"]),
    after_help = "Its absence then does not count towards `rebalance.deadAfter`, and nobody is asked to decide. The layout stays as it \
                  is while it is away: hosts that join, and others that leave, wait for it.\n\n\
                  Examples:\n  hayloft host away host-4 --until 2026-12-01T00:00:00Z\n  hayloft host away host-4 --for 2w\n  \
                  hayloft host away host-4 --back"
)]
pub(crate) struct AwayArgs {
    /// The host
    name: HostName,
    /// Until when
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// For how long, from now on
    #[arg(long = "for", value_name = "SPAN")]
    for_so_long: Option<Span>,
    /// It is back
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    place: Where,
}

impl AwayArgs {
    fn until(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let until = match self.for_so_long {
            // People read it, in the document too.
            Some(span) => Some(crate::token::in_so_long(now, span)?.round(Unit::Second)?),
            None => self.until,
        };
        if let Some(until) = until.filter(|until| *until <= now) {
            anyhow::bail!("{until} is over; give a time that is to come, or --back");
        }
        Ok(until)
    }
}

/// Does one of them.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    let (action, how, place) = match command {
        Command::List(args) => {
            let control = Control::find(context, args.place.dir)?;
            let status = control.status().await?;
            context.say(&list::render(&status, args.output, context.terminal.colour)?);
            if args.output == OutputFormat::Text {
                list::tell_waiting(&control, context).await;
            }
            return Ok(());
        }
        Command::Approve(ApproveArgs { name, place }) => {
            let control = Control::find(context, place.dir)?;
            let what = format!("joined/{name}/approve");
            let () = control.ask(reqwest::Method::POST, &what, String::new()).await?;
            context.note(&format!("{name} belongs now"));
            return Ok(());
        }
        Command::Drain(DrainArgs {
            name: host,
            undo,
            how,
            place,
        }) => {
            let action = if undo {
                HostAction::TakeBack { host }
            } else {
                HostAction::Drain { host }
            };
            (action, how, place)
        }
        Command::Remove(args) => (HostAction::Remove { host: args.name }, args.how, args.place),
        Command::Evict(EvictArgs {
            name: host,
            undo,
            how,
            place,
        }) => {
            let action = if undo {
                HostAction::Readmit { host }
            } else {
                HostAction::Evict { host }
            };
            (action, how, place)
        }
        Command::Away(args) => {
            let until = args.until((context.clock)())?;
            let host = args.name;
            (HostAction::Away { host, until }, args.how, args.place)
        }
        Command::NewDisk(args) => (HostAction::NewDisk { host: args.name }, args.how, args.place),
        Command::RestoreMetadata(args) => {
            let action = HostAction::RestoreMetadata {
                host: args.name,
                from: args.from,
                whatever_age: args.whatever_age,
            };
            (action, args.how, args.place)
        }
        Command::AllowMissingData(args) => {
            let action = HostAction::AllowMissingData {
                hosts: args.names,
                version: args.version,
            };
            (action, args.how, args.place)
        }
    };
    let control = Control::find(context, place.dir)?;
    ask::run(context, &control, action, how).await
}

/// What a person must say to it: the name itself where nothing brings back what is lost.
fn wanted(action: &HostAction) -> Answer<'_> {
    match action {
        HostAction::Evict { host }
        | HostAction::RestoreMetadata {
            host,
            whatever_age: true,
            ..
        } => Answer::Words(host.as_str()),
        HostAction::AllowMissingData { .. } => Answer::Words("give up"),
        HostAction::Drain { .. }
        | HostAction::TakeBack { .. }
        | HostAction::Readmit { .. }
        | HostAction::Away { .. }
        | HostAction::Remove { .. }
        | HostAction::Leave { .. }
        | HostAction::RestoreMetadata { .. }
        | HostAction::NewDisk { .. } => Answer::Yes,
    }
}
