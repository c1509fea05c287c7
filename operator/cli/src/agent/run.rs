//! `hayloft agent run`: the agent's life on a host that joined.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hayloft_agent::child::ChildDriver;
use hayloft_agent::link::{Ends, Link, LinkConfig, LinkState};
use hayloft_agent::membership::{Membership, Standing};
use hayloft_agent::streams::{Door, Tunnels};
use hayloft_agent::systemd::{SystemdConfig, SystemdDriver};
use hayloft_agent::whereabouts::Whereabouts;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::document::Role;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{USUAL_DIR, places, provide_garage, spawner};
use crate::context::Context;
use crate::recovery::KitsToBucket;
use crate::signals;

/// How Garage and the gateway are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Runner {
    /// As services of systemd, which outlive the agent
    Systemd,
    /// As children of the agent, which end with it
    Children,
}

/// `hayloft agent run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft agent run --dir /srv/hayloft --runner children")]
pub(crate) struct Args {
    /// The host's folder
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
    /// How Garage and the gateway are run [default: by systemd, where it runs this machine and this is root]
    #[arg(long, value_enum)]
    runner: Option<Runner>,
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let mut interrupts = signals::interrupts().context("signals cannot be taken over")?;
    super::log_to_journal(context);
    let dir = std::path::absolute(&args.dir).unwrap_or(args.dir);
    let membership = Membership::at(&dir);
    let Standing {
        record,
        identity,
        trust,
        list,
    } = membership.standing()?;
    let can_systemd = SystemdConfig::is_here() && rustix::process::geteuid().is_root();
    let runner = match args.runner {
        Some(Runner::Systemd) if !can_systemd => {
            bail!("systemd does not run this machine, or this is not root; use --runner children")
        }
        Some(runner) => runner,
        None if can_systemd => Runner::Systemd,
        None => Runner::Children,
    };
    let garage = provide_garage(context).await?;
    let clock = Clock::from(context.clock.clone());
    let mut random = StdRng::from_seed(context.seed());
    let config = AgentConfig {
        host: record.name.clone(),
        places: places(&dir, &record, &garage, context, runner == Runner::Systemd),
        garage_version: garage.version.clone(),
        gateway_addr: record
            .roles
            .contains(&Role::Gateway)
            .then(|| record.network.at(record.network.gateway)),
        node_key_seed: random.random(),
        clock: clock.clone(),
        remembers_promises: true,
        tunnels: Some(Tunnels::new(
            &dir,
            record.cluster.clone(),
            identity.clone(),
            trust.clone(),
        )),
    };
    let admin_socket = config.places.admin_socket.clone();
    let _kits = KitsToBucket::start(config.places.clone());
    let agent: AgentHandle = match runner {
        Runner::Systemd => {
            let machine = SystemdConfig::of_this_machine(context.program.clone(), random.random()).await?;
            Agent::start(config, SystemdDriver::new(machine)).await?
        }
        Runner::Children => {
            Agent::start(config, ChildDriver::new(spawner(context)?, random.random())).await?
        }
    };
    let door = SocketAddr::from((record.network.bind, record.network.door));
    let whereabouts = Whereabouts::new(record.coordinator.clone());
    let _door = Door::open(
        door,
        identity.clone(),
        trust.clone(),
        agent.ports.clone(),
        whereabouts.clone(),
    )
    .await?;
    let link = Link::start(
        LinkConfig {
            whereabouts,
            cluster: record.cluster.clone(),
            identity,
            trust,
            list,
            membership,
            admin_socket,
            clock,
            seed: random.random(),
        },
        Ends::of(&agent),
    );
    context.note(&format!(
        "{} of {} runs; its door is at {door}",
        record.name, record.cluster
    ));
    let mut state = link.state();
    loop {
        tokio::select! {
            () = interrupts.next() => break,
            Ok(()) = state.changed() => match &*state.borrow_and_update() {
                LinkState::Up { address } => context.note(&format!("The coordinator at {address} has this host's report")),
                LinkState::Dialling | LinkState::Down { .. } => {}
            },
        }
    }
    link.stop().await;
    agent.leave().await;
    Ok(())
}
