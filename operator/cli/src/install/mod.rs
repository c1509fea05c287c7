//! `hayloft agent install` and `uninstall`: our daemons as services of this machine's systemd.

mod layout;
mod systemd;
mod units;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::systemd::{SystemdConfig, service_name, socket_name};
use hayloft_agent::unit::UnitName;

use self::layout::{Garage, Laid, Wanted};
use self::systemd::{systemctl, sysusers};
use self::units::Daemon;
use crate::context::Context;
use crate::garage_program;

/// `hayloft agent install`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hayloft agent install --systemd\n  hayloft agent install --systemd --coordinator\n\nRun it again after an upgrade: it changes what differs, and Garage goes on meanwhile."
)]
pub(crate) struct InstallArgs {
    /// As services of systemd, the one manager there is so far
    #[arg(long, required = true)]
    systemd: bool,
    /// The coordinator's service instead of the agent's
    #[arg(long)]
    coordinator: bool,
    /// Programs are copied into its `bin` and `lib`, unless they are there already
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// The agent's folder
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/hayloft/agent",
        conflicts_with = "coordinator"
    )]
    dir: PathBuf,
    /// Lay it down below this folder, as the root of another system, and start nothing
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// `hayloft agent uninstall`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft agent uninstall\n\nLet the host leave its cluster first, else the others miss its copies."
)]
pub(crate) struct UninstallArgs {
    /// The coordinator's service instead of the agent's
    #[arg(long)]
    coordinator: bool,
    /// The agent's folder, to say where the data are
    #[arg(long, value_name = "DIR", default_value = "/var/lib/hayloft/agent")]
    dir: PathBuf,
}

fn daemon(coordinator: bool) -> Daemon {
    if coordinator {
        Daemon::Coordinator
    } else {
        Daemon::Agent
    }
}

fn must_be_able(what: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can {what} services: run it again with sudo");
    }
    if !SystemdConfig::is_here() {
        bail!("systemd does not run this machine: run `hayloft agent run` under what does");
    }
    Ok(())
}

/// A word of a unit file.
fn plain(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if path.to_str().is_some_and(|text| text.chars().all(fits)) {
        Ok(path)
    } else {
        bail!(
            "{} cannot stand in a unit file: use letters, digits and ._-+@ in it",
            path.display()
        )
    }
}

/// Lays the daemon down and starts it, if it can start.
pub(crate) async fn install(args: InstallArgs, context: &mut Context) -> anyhow::Result<()> {
    let InstallArgs {
        systemd: _,
        coordinator,
        prefix,
        dir,
        root,
    } = args;
    let daemon = daemon(coordinator);
    if root.is_none() {
        must_be_able("install")?;
    }
    let garage = match daemon {
        Daemon::Agent => Some(garage(context).await?),
        Daemon::Coordinator => None,
    };
    let wanted = Wanted {
        daemon,
        prefix: plain(&prefix)?,
        dir: if coordinator {
            daemon.usual_dir()
        } else {
            plain(&dir)?
        },
        program: context.program.clone(),
        garage,
    };
    let mut changed = false;
    for piece in wanted.pieces() {
        let laid = piece
            .lay(root.as_deref().unwrap_or_else(|| Path::new("/")))
            .context("the installation is not complete; run it again")?;
        changed |= laid != Laid::AsItWas;
        let word = match laid {
            Laid::New => "new    ",
            Laid::Changed => "changed",
            Laid::AsItWas => "as it was",
        };
        context.say(&format!("{word:<9}  {}", piece.path().display()));
    }
    if root.is_some() {
        context.say(&format!(
            "Nothing was started. That system needs once: systemd-sysusers; systemctl enable {}",
            daemon.service()
        ));
        return Ok(());
    }
    sysusers(daemon.service()).await?;
    systemctl(&["daemon-reload"]).await?;
    systemctl(&["enable", "--quiet", daemon.service()]).await?;
    start(daemon, &wanted.dir, changed, context).await
}

async fn start(daemon: Daemon, dir: &Path, changed: bool, context: &Context) -> anyhow::Result<()> {
    let service = daemon.service();
    let ready = match daemon {
        Daemon::Agent => daemon.condition(dir).exists(),
        Daemon::Coordinator => dir.read_dir().is_ok_and(|mut inside| inside.next().is_some()),
    };
    if !ready {
        context.say("");
        context.say(match daemon {
            Daemon::Agent => {
                "Next, with a token of the cluster in a file:\n  hayloft join TOKEN-FILE --name NAME --zone ZONE --pledge SIZE --address HOST\n  systemctl start hayloft-agent"
            }
            Daemon::Coordinator => {
                "Next:\n  hayloft coordinator init --name NAME --address HOST:PORT\n  systemctl start hayloft-coordinator"
            }
        });
        return Ok(());
    }
    let runs = systemctl(&["is-active", "--quiet", service]).await.is_ok();
    match (runs, changed) {
        (true, true) => systemctl(&["restart", service]).await?,
        (true, false) => {}
        (false, _) => systemctl(&["start", service]).await?,
    }
    let how = match (runs, changed) {
        (true, true) => "was started anew",
        (true, false) => "runs as before",
        (false, _) => "was started",
    };
    context.say(&format!("\n{service} {how}. Its log: journalctl -u {service} -f"));
    Ok(())
}

async fn garage(context: &Context) -> anyhow::Result<Garage> {
    let shim = Shim {
        program: context.program.clone(),
        args: vec!["exec-child".into()],
    };
    let spawner = Spawner::start(shim).context("no process can be started")?;
    let found = garage_program::provide(context, &spawner).await?;
    Ok(Garage {
        version: found.version.to_string(),
        path: found.path,
    })
}

/// Stops the daemon with what it runs, and takes their units away.
pub(crate) async fn uninstall(args: UninstallArgs, context: &mut Context) -> anyhow::Result<()> {
    must_be_able("uninstall")?;
    let daemon = daemon(args.coordinator);
    let mut units = vec![format!("{}.service", daemon.service())];
    if daemon == Daemon::Agent {
        // The gateway first, so that nobody asks a Garage that is gone.
        for unit in UnitName::ALL.into_iter().rev() {
            units.extend([socket_name(unit), service_name(unit)]);
        }
    }
    for unit in units {
        let there: Vec<PathBuf> = ["/etc/systemd/system", "/run/systemd/system"]
            .iter()
            .map(|folder| Path::new(folder).join(&unit))
            .filter(|path| path.exists())
            .collect();
        if there.is_empty() {
            continue;
        }
        systemctl(&["disable", "--now", "--quiet", &unit]).await?;
        for path in there {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            context.say(&format!("removed  {}", path.display()));
        }
    }
    systemctl(&["daemon-reload"]).await?;
    let dir = match daemon {
        Daemon::Agent => args.dir,
        Daemon::Coordinator => daemon.usual_dir(),
    };
    context.say(&format!(
        "\nData, keys and what was joined stay in {}; so do the users and the programs. `hayloft agent install --systemd{}` takes them up again.",
        dir.display(),
        if args.coordinator { " --coordinator" } else { "" }
    ));
    Ok(())
}
