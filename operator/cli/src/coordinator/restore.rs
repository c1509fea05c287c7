//! `hayloft coordinator restore`: the cluster's coordinator on another machine, from a recovery kit.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hayloft_api::join::COORDINATOR_PORT;
use hayloft_coordinator::Store;
use hayloft_coordinator::recovery::{Kit, restore};

use super::USUAL_DIR;
use super::settings::{Settings, everywhere, port_of, with_port};
use crate::context::Context;
use crate::deciding::source::Source;
use crate::recovery::read_key;
use crate::up::{Folder, document_copy, take_folder};

/// `hayloft coordinator restore`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every storage host keeps the newest kit as `recovery.kit` in its folder. Be sure that the former coordinator does not \
                  run any more: hosts follow whichever they promised to, and the other one waits. Hosts find this one by the DNS name that \
                  they know, once that leads here; those that do not are told at their doors where it is. Join tokens are void; make new ones.\n\n\
                  Example:\n  hayloft coordinator restore recovery.kit --key recovery.key --address coordinator.example.org"
)]
pub(super) struct Args {
    /// The kit
    #[arg(value_name = "KIT")]
    kit: PathBuf,
    /// The file with the recovery key; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where hosts find this machine: a DNS name or address, with a port where it is not 7440. May be given more than once
    #[arg(long, value_name = "HOST[:PORT]", required = true)]
    address: Vec<String>,
    /// Where its door listens [default: all addresses, at the port of the first --address]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// The folder that holds everything
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Restores it. Starts nothing.
pub(super) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    if Settings::is_there(&dir) {
        bail!(
            "there is a cluster in {} already; name an empty folder with --dir",
            dir.display()
        );
    }
    let file = std::fs::read(&args.kit).with_context(|| format!("{} cannot be read", args.kit.display()))?;
    let kit = Kit::open(&file, &read_key(&args.key)?)?;
    let locked = take_folder(Folder::at(dir.clone()))?;
    let folder = locked.folder().clone();
    let restored = restore(&kit, &folder.store(), (context.clock)()).await?;
    let store = Store::open(&folder.store(), context.seed()).await?;
    Source::Person.note(&folder)?;
    if let Some(document) = store.document().await? {
        document_copy(&document, &folder)?;
    }
    store.close().await;
    let addresses: Vec<String> = args
        .address
        .iter()
        .map(|address| with_port(address, COORDINATOR_PORT))
        .collect();
    let settings = Settings {
        listen: args.listen.unwrap_or_else(|| everywhere(port_of(&addresses))),
        addresses,
    };
    // Last: it says that all is there.
    settings.write(&dir)?;
    context.say(&format!(
        "Restored {} into {}; {} void. Next: `hayloft agent install --systemd --coordinator`, or `hayloft coordinator run`",
        restored.label,
        dir.display(),
        match restored.voided {
            1 => "1 join token is".to_owned(),
            voided => format!("{voided} join tokens are"),
        }
    ));
    Ok(())
}
