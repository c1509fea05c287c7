//! `hayloft up`: a whole cache on this machine, in the foreground.

mod answer;
mod document;
mod folder;
mod hosts;
mod instructions;
mod log;
pub(crate) mod metrics;
mod news;
mod progress;
pub(crate) mod ready;
mod restore;
mod retire;
mod run;
mod sockets;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_coordinator::{Coordinator, CoordinatorConfig, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use crate::context::Context;
use crate::control::server as control;
use crate::deciding::Deciding;
use crate::garage_program;
use crate::report;
use crate::signals;
use document::Asked;
use hosts::{Hosts, Outfit};
use run::Running;
use sockets::Sockets;

pub(crate) use document::{copy as document_copy, needs_a_gateway};
pub(crate) use folder::{Folder, take as take_folder};
pub(crate) use sockets::control_socket;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hayloft up\n  hayloft up --dir ./cache --port 9000 --ready-file ./ready.json\n\nCtrl-C stops everything; all data stays in the folder, and the next start goes on with it."
)]
pub(crate) struct Args {
    /// The folder that holds everything [default: ~/.local/share/hayloft]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many hosts a new cache has: 3 and more keep three copies [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9), conflicts_with = "spec")]
    hosts: Option<u8>,
    /// A document (YAML) to follow instead of the built-in one
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The port at which Nix clients are served, on loopback; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// A file that tells programs how to use the cache, written when it is ready. It holds secrets
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Serve metrics for Prometheus at this address, under /metrics [default: only on the control socket]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
}

/// What keeps a cache from starting here.
#[derive(Debug, thiserror::Error)]
enum PreflightError {
    /// No folder was named and there is no default.
    #[error("which folder? Set HOME, or name it with --dir")]
    NoDir,
    /// The port for clients.
    #[error("port {port} is taken by another program; stop that one, or choose another port with --port")]
    PortTaken { port: u16 },
    /// The ready file.
    #[error("the ready file {} cannot be written: {why}; choose another place with --ready-file", path.display())]
    ReadyFile { path: PathBuf, why: std::io::Error },
    /// The port for clients, for another reason.
    #[error("port {port} cannot be used: {why}; choose another with --port")]
    Port { port: u16, why: std::io::Error },
}

/// Runs until it is told to stop.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<ExitCode> {
    let mut interrupts = signals::interrupts().context("signals cannot be taken over")?;
    let dir = args
        .dir
        .clone()
        .or_else(|| context.default_dir())
        .ok_or(PreflightError::NoDir)?;
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let is_default_dir = context.default_dir().as_deref() == Some(&dir);
    let locked = folder::take(Folder::at(dir))?;
    let folder = locked.folder().clone();
    log::init(&folder, context.env.text("RUST_LOG"));
    let gateway = check_port(args.port)?;
    let metrics_listener = match args.metrics_listen {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };
    let ready_file = args.ready_file.as_deref().map(check_ready_file).transpose()?;
    let spawner = Spawner::start(Shim {
        program: context.program.clone(),
        args: vec!["exec-child".into()],
    })
    .context("no thread for children")?;
    let garage = garage_program::provide(context, &spawner).await?;

    let space = folder::free_space(folder.path())?;
    let asked = Asked {
        hosts: args.hosts,
        spec: args.spec.as_deref(),
    };
    let mut random = StdRng::from_seed(context.seed());
    let store = Store::open(&folder.store(), random.random())
        .await
        .context("the cluster's own store cannot be used")?;
    let kept = store
        .document()
        .await
        .context("the cluster's own store cannot be used")?;
    let mut chosen = document::choose(asked, kept.clone(), &folder, space)?;
    let now = (context.clock)();
    if let (Some(replaced), Some(kept)) = (store.replaced_at(&chosen.document, now).await?, kept) {
        store.hold_back(replaced).await?;
        chosen.hold_back(kept, replaced);
    }
    if let Some(source) = chosen.source {
        source.note(&folder)?;
        store.apply(&chosen.document, now).await?;
    }
    document::copy(&chosen.document, &folder)?;
    for notice in &chosen.notices {
        context.note(notice);
    }
    context.note(&format!("Garage {} ({})", garage.version, garage.path.display()));

    let temp = context
        .env
        .get("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let mut sockets = Sockets::place(&folder, &temp, random.random()).context("no folder for sockets")?;
    let control_socket = sockets
        .at(folder.control_socket(), "control.sock")
        .context("no folder for sockets")?;
    let (status, shown) = watch::channel(None);
    let (render, rendered) = watch::channel(None);
    let (server, requests) = control::start(&control_socket, shown, rendered, report::routes(store.clone()))
        .context("the control socket cannot be made")?;

    let outfit = Outfit {
        folder: folder.clone(),
        sockets,
        garage,
        program: context.program.clone(),
        spawner,
        gateway,
        random: StdRng::from_seed(context.seed()),
        clock: hayloft_agent::Clock::from(context.clock.clone()),
    };
    retire::remove_left_over(&folder.hosts());
    let mut hosts = Hosts::new(outfit);
    hosts.start(&chosen.document).await?;
    let (document, followed) = watch::channel(chosen.document);
    let coordinator = Coordinator::start(CoordinatorConfig {
        store: store.clone(),
        links: hosts.links(),
        document: followed,
        clock: context.clock.clone(),
        time_zone: context.time_zone.clone(),
        seed: random.random(),
    })
    .await?;

    let metrics: metrics::Render = coordinator.metrics();
    render.send_replace(Some(metrics.clone()));
    let metrics = metrics_listener
        .map(|listener| metrics::serve(listener, metrics))
        .transpose()
        .context("metrics cannot be served")?;
    if let Some(metrics) = &metrics {
        context.note(&format!("Metrics are at http://{}/metrics", metrics.address()));
    }

    let running = Running {
        is_default_dir,
        ready_file,
        deciding: Deciding {
            folder,
            coordinator,
            store,
            document,
            links: hosts.links(),
            joined: None,
        },
        hosts,
        status,
        requests,
        server,
        unstarted: None,
        _metrics: metrics,
        _locked: locked,
    };
    running.run(context, &mut interrupts).await
}

/// The full path of the ready file. One that is there tells of an earlier start and goes away now.
fn check_ready_file(path: &Path) -> Result<PathBuf, PreflightError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(&path);
    let check = || -> std::io::Result<()> {
        // Written and removed again: that it can be is asked now, not when everything runs.
        let probe = folder.join(format!(".hayloft-ready-{}", std::process::id()));
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    match check() {
        Ok(()) => Ok(path),
        Err(why) => Err(PreflightError::ReadyFile { path, why }),
    }
}

/// The address for clients, if it is free.
fn check_port(port: u16) -> Result<SocketAddr, PreflightError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.local_addr())
        .map_err(|why| match why.kind() {
            std::io::ErrorKind::AddrInUse => PreflightError::PortTaken { port },
            _ => PreflightError::Port { port, why },
        })
}
