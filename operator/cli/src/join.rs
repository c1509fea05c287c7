//! `hayloft join`: this machine becomes a host of a cluster.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hayloft_agent::Clock;
use hayloft_agent::join::{Joining, Lends, News, facts, join};
use hayloft_agent::membership::{Membership, Record};
use hayloft_agent::reach::Network;
use hayloft_agent::systemd::SystemdConfig;
use hayloft_api::document::Role;
use hayloft_api::join::{AGENT_PORT, LINK_PORT, RPC_PORT};
use hayloft_api::{Bytes, HostName, OwnerName, Rate, Secret, ZoneName};
use hayloft_pki::JoinToken;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use zeroize::Zeroizing;

use crate::agent::{USUAL_DIR, places, provide_garage};
use crate::context::Context;

/// A longer file is no token.
const LONGEST_TOKEN: u64 = 16 * 1024;
/// Starting a service takes a moment.
const START_WITHIN: Duration = Duration::from_secs(60);

/// `hayloft join`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token is read from a file or from standard input, so that no other user of this machine sees it. Where a step \
                  fails, run the same again: the token is spent once. Garage and the agent then run as services, if \
                  `hayloft agent install --systemd` was run before; else run `hayloft agent run`.\n\n\
                  Examples:\n  hayloft join token --pledge 500Gi --address lyon-1.example.org\n  \
                  ssh coordinator hayloft token create | hayloft join - --roles gateway --address 10.0.0.7"
)]
pub(crate) struct Args {
    /// The file with the join token; `-` is standard input
    #[arg(value_name = "TOKEN-FILE")]
    token: PathBuf,
    /// The DNS name or IP address at which other hosts reach this one
    #[arg(long, value_name = "HOST")]
    address: String,
    /// This host's name in the cluster [default: the machine's]
    #[arg(long)]
    name: Option<HostName>,
    /// What fails together with it: a household, a site [default: its name]
    #[arg(long)]
    zone: Option<ZoneName>,
    /// Who owns it
    #[arg(long)]
    owner: Option<OwnerName>,
    /// What it does: hold data, answer Nix clients, or both
    #[arg(long, value_delimiter = ',', value_parser = crate::token::role, default_value = "storage")]
    roles: Vec<Role>,
    /// How much of its disk it lends; needed for storage
    #[arg(long, value_name = "BYTES")]
    pledge: Option<Bytes>,
    /// How much it may send in a second, to clients and other hosts, such as 2MB/s [default: no limit]
    #[arg(long, value_name = "RATE")]
    uplink: Option<Rate>,
    /// The port of its agent's door
    #[arg(long, value_name = "PORT", default_value_t = AGENT_PORT)]
    door_port: u16,
    /// The port at which Garage's members reach each other
    #[arg(long, value_name = "PORT", default_value_t = RPC_PORT)]
    rpc_port: u16,
    /// The port at which its gateway serves Nix clients
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    gateway_port: u16,
    /// The port at which other gateways reach its gateway
    #[arg(long, value_name = "PORT", default_value_t = LINK_PORT)]
    link_port: u16,
    /// The host's folder, with all its data
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Joins.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let token = read_token(&args.token)?;
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let name = match args.name {
        Some(name) => name,
        None => of_machine()?,
    };
    if args.roles.contains(&Role::Storage) && args.pledge.is_none() {
        bail!("how much does this host lend? Give --pledge, such as --pledge 500Gi, or --roles gateway");
    }
    let membership = Membership::at(&dir);
    if membership.is_there() {
        let before = membership.record()?;
        if (&before.cluster, &before.name) != (&token.cluster, &name) {
            bail!(
                "this machine is {} of the cluster {} already; `hayloft leave` ends that, or join with another --dir",
                before.name,
                before.cluster
            );
        }
    }
    let garage = provide_garage(context).await?;
    let record = Record {
        cluster: token.cluster.clone(),
        zone: match args.zone {
            Some(zone) => zone,
            None => name
                .as_str()
                .parse()
                .context("the name is no zone; give --zone")?,
        },
        owner: args.owner,
        roles: args.roles,
        pledge: args.pledge,
        uplink: args.uplink,
        coordinator: token.addresses.clone(),
        network: Network {
            bind: Network::bind_for(&args.address),
            address: args.address,
            door: args.door_port,
            rpc: args.rpc_port,
            gateway: args.gateway_port,
            link: args.link_port,
        },
        name,
    };
    let mut random = StdRng::from_seed(context.seed());
    let clock = context.clock.clone();
    let as_service = SystemdConfig::is_here() && dir == Path::new(USUAL_DIR);
    let places = places(&dir, &record, &garage, context, as_service);
    // Members dial its ports, which an agent from before holds.
    if as_service && unit_is_there() {
        systemctl("stop").await?;
    }
    let lends = Lends {
        garage_version: garage.version.clone(),
        node_key_seed: random.random(),
    };
    let facts = facts(&places, &record, &lends, clock())?;
    let mut waiting = None;
    let host = record.name.clone();
    let joining = Joining {
        token: &token,
        places: &places,
        record,
        facts,
        clock: Clock::from(clock),
        seed: random.random(),
    };
    join(joining, |news| {
        let line = match news {
            News::Dialling(members) => format!(
                "Trying whether {} are reached from here, and reach this host",
                members.join(" and ")
            ),
            News::Waiting(why) => why,
        };
        if waiting.as_ref() != Some(&line) {
            context.note(&line);
            waiting = Some(line);
        }
    })
    .await?;
    context.say(&format!("{host} belongs to the cluster {}", token.cluster));
    if as_service && unit_is_there() {
        systemctl("start").await?;
        context.say("Its agent runs as hayloft-agent.service");
    } else {
        context.say(&format!(
            "Next: `hayloft agent run --dir {}`, or `hayloft agent install --systemd`",
            dir.display()
        ));
    }
    Ok(())
}

pub(crate) fn unit_is_there() -> bool {
    Path::new("/etc/systemd/system/hayloft-agent.service").exists()
        || Path::new("/run/systemd/system/hayloft-agent.service").exists()
}

pub(crate) async fn systemctl(verb: &str) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new("systemctl");
    command
        .args([verb, "hayloft-agent.service"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(START_WITHIN, command.output())
        .await
        .with_context(|| format!("`systemctl {verb} hayloft-agent` does not end"))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`systemctl {verb} hayloft-agent` failed: {}", said.trim());
    }
    Ok(())
}

fn read_token(path: &Path) -> anyhow::Result<JoinToken> {
    let mut text = Zeroizing::new(String::new());
    if path == Path::new("-") {
        std::io::stdin()
            .take(LONGEST_TOKEN)
            .read_to_string(&mut text)
            .context("no token can be read")?;
    } else {
        let mut file = match fs::File::open(path) {
            Err(_) if path.to_string_lossy().starts_with("hlj") => {
                bail!(
                    "a token is not given in the command line, where every user of this machine sees it: put it into a file of mode 0600, or give `-` and pipe it in"
                )
            }
            file => file
                .with_context(|| format!("cannot read {}", path.display()))?
                .take(LONGEST_TOKEN),
        };
        file.read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    let token = Secret::new(text.trim().to_owned());
    Ok(token.expose().parse::<JoinToken>()?)
}

fn of_machine() -> anyhow::Result<HostName> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or(&name).to_lowercase();
    short
        .parse()
        .with_context(|| format!("this machine's name, `{short}`, is none for a host; give --name"))
}
