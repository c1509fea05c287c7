//! An agent that no coordinator tells anything: it desires by itself that Garage runs. For tests of the systemd driver on hosts that
//! have not joined anything.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::systemd::{SystemdConfig, SystemdDriver, admin_socket};
use hayloft_agent::{Agent, AgentConfig, Clock, files};
use hayloft_api::agent::{GarageDesired, HostDesired};
use hayloft_api::{Generation, Secret};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Args {
    /// The agent's folder.
    #[arg(long)]
    dir: PathBuf,
    /// The program.
    #[arg(long)]
    garage: PathBuf,
    /// Of what is desired.
    #[arg(long)]
    generation: u64,
    /// Garage's region: another one takes a restart.
    #[arg(long, default_value = "garage")]
    region: String,
    /// Where the report is written whenever it changes.
    #[arg(long)]
    report: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let host: hayloft_api::HostName = "h1".parse()?;
    let garage = args.garage.to_string_lossy().into_owned();
    let config = AgentConfig {
        host: host.clone(),
        places: Places {
            dir: args.dir,
            admin_socket: admin_socket(),
            garage: args.garage,
            gateway: Program {
                path: "/usr/bin/false".into(),
                args: vec![],
            },
            reach: Reach::Loopback,
        },
        garage_version: "2.5.0".parse()?,
        gateway_addr: None,
        node_key_seed: [7; 32],
        clock: Clock::new(now),
        remembers_promises: true,
        tunnels: None,
    };
    let desired = HostDesired {
        garage: Some(GarageDesired {
            replication_factor: 1,
            fsync: false,
            rpc_secret: Secret::new("ab".repeat(32)),
            admin_token: Secret::new("cd".repeat(32)),
            s3_region: args.region,
            zone: "z".parse()?,
            rpc_public: None,
            program: Some(garage),
            bootstrap_peers: vec![],
        }),
        ..HostDesired::nothing(
            Generation {
                epoch: 1,
                instance: "test".into(),
                n: args.generation,
            },
            host,
        )
    };
    let driver = SystemdDriver::new(SystemdConfig::of_this_machine("/nowhere".into(), [1; 32]).await?);
    let mut end = signal(SignalKind::terminate())?;
    let agent = Agent::start(config, driver).await?;
    agent.desired.send_replace(Some(desired));
    let mut reports = agent.report.clone();
    loop {
        let report = serde_json::to_vec(&*reports.borrow_and_update())?;
        files::replace(&args.report, &report, 0o600).context("the report")?;
        tokio::select! {
            changed = reports.changed() => changed.context("the agent ended")?,
            _ = end.recv() => break,
        }
    }
    agent.leave().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
