//! `hayloft agent move`: this host is reached at another address.

use std::path::{Path, PathBuf};

use anyhow::bail;
use hayloft_agent::membership::Membership;
use hayloft_agent::systemd::SystemdConfig;

use super::USUAL_DIR;
use crate::context::Context;
use crate::join::{systemctl, unit_is_there};

/// `hayloft agent move`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A host that is reached by a DNS name needs no such command: let the name lead to its new address. The host keeps its \
                  identity and its data, and Garage restarts once. Where the document declares its `address`, change it there too.\n\n\
                  Example:\n  hayloft agent move --address 10.0.0.9"
)]
pub(crate) struct Args {
    /// The DNS name or IP address at which other hosts reach this one now
    #[arg(long, value_name = "HOST")]
    address: String,
    /// The host's folder
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Notes it, and restarts the agent where that is a service.
pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let address = args.address.trim();
    if address.is_empty() || address.contains(['/', '@', ' ']) {
        bail!("`{address}` is no DNS name or IP address");
    }
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let record = Membership::at(&dir).relocate(address)?;
    context.say(&format!(
        "{} is reached at {} from now on",
        record.name,
        record.network.at(record.network.door)
    ));
    if SystemdConfig::is_here() && dir == Path::new(USUAL_DIR) && unit_is_there() {
        systemctl("restart").await?;
        context.say("Its agent was restarted, and tells the coordinator");
    } else {
        context.say("Start its agent anew: it tells the coordinator");
    }
    Ok(())
}
