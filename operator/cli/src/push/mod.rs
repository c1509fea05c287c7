//! `hayloft push`: store paths of this machine, and all that they need, into a cache.
//!
//! The gateway is spoken to as attic's client does, so this works with attic's server too.

mod nix;
mod plan;
mod progress;
mod schedule;
mod session;
mod summary;
mod watch;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use hayloft_nixcache::{StoreDir, StorePath};

use crate::client;
use crate::client::backoff::Policy;
use crate::client::gateway::{Gateway, Notice};
use crate::client::settings::{self, ServerArgs};
use crate::context::Context;
use crate::signals::interrupts;
use nix::LocalStore;
use nix::resolve::resolve;
use progress::{Progress, Sink};
use session::{Choices, Session};
use watch::Watch;

#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["paths", "stdin", "watch_store"])),
    after_help = "Examples:\n  hayloft push ./result\n  nix build --print-out-paths | hayloft push --stdin\n  hayloft push --server https://cache.example.org --cache main --token-file ~/token --watch-store\n\nA token is never taken from the command line, where others could see it: use --token-file, HAYLOFT_TOKEN_FILE or HAYLOFT_TOKEN."
)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The cache to push to [env: HAYLOFT_CACHE]
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
    /// Uploads at the same time
    #[arg(long, short, value_name = "N", default_value_t = DEFAULT_JOBS, value_parser = parse_jobs)]
    jobs: NonZeroUsize,
    /// Push the paths alone, without what they refer to
    #[arg(long)]
    no_closure: bool,
    /// Push also what an upstream cache signed
    #[arg(long)]
    ignore_upstream: bool,
    /// Say only what went wrong
    #[arg(long, short)]
    quiet: bool,
    /// Read paths from standard input, one a line
    #[arg(long)]
    stdin: bool,
    /// Push what gets built on this machine from now on, until interrupted
    #[arg(long)]
    watch_store: bool,
    /// Store paths, or links to them such as ./result
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

const DEFAULT_JOBS: NonZeroUsize = match NonZeroUsize::new(5) {
    Some(jobs) => jobs,
    None => NonZeroUsize::MIN,
};
/// Each job holds a megabyte of a NAR and a connection.
const MAX_JOBS: usize = 64;

fn parse_jobs(text: &str) -> Result<NonZeroUsize, String> {
    let jobs: NonZeroUsize = text
        .parse()
        .map_err(|_| format!("a number from 1 to {MAX_JOBS}"))?;
    if jobs.get() <= MAX_JOBS {
        Ok(jobs)
    } else {
        Err(format!("at most {MAX_JOBS} uploads at the same time"))
    }
}

/// Pushes, and fails when a path is not in the cache afterwards.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let mut interrupts = interrupts().context("cannot listen for Ctrl-C")?;
    let environment = settings::Environment::of(context);
    let target = settings::resolve(&args.server, args.cache.as_deref(), &environment)?;
    let cache = target
        .cache
        .context("which cache? Give --cache NAME or set HAYLOFT_CACHE")?;

    let server = target.server;

    let sink: Sink = Arc::new(Mutex::new(io::stderr()));
    let progress = match (args.quiet, context.terminal.stderr && !args.watch_store) {
        (true, _) => Progress::quiet(sink),
        (false, true) => Progress::bars(sink),
        (false, false) => Progress::lines(sink),
    };
    let teller = progress.clone();
    let notice: Notice = Arc::new(move |line| teller.note(line));
    let gateway = Gateway::new(
        server.clone(),
        target.token.as_ref(),
        Policy::PATIENT,
        client::seed(context),
        notice,
    )?;
    let store = LocalStore::in_path(StoreDir::nix_store());
    let choices = Choices {
        jobs: args.jobs,
        closure: !args.no_closure,
        ignore_upstream: args.ignore_upstream,
    };

    if args.watch_store {
        let token = || {
            let found = settings::resolve(&args.server, args.cache.as_deref(), &environment).ok()?;
            found.token.filter(|_| found.server == server)
        };
        let began = (context.clock)().into();
        let watch = Watch {
            gateway,
            cache,
            store,
            choices,
            began,
            token: &token,
        };
        return watch::run(watch, &progress, &mut interrupts).await;
    }
    let work = async {
        let session = Session::open(gateway, cache, store, choices).await?;
        let given = if args.stdin {
            from_stdin().await?
        } else {
            args.paths
        };
        let roots = roots(&given, &session.store().store_dir)?;
        let summary = session.push(&roots, &progress).await?;
        anyhow::Ok((summary, session))
    };
    let (summary, session) = tokio::select! {
        done = work => done?,
        () = interrupts.next() => anyhow::bail!("interrupted: what was pushed stays, and the same command goes on from there"),
    };
    if !args.quiet {
        context.say(&summary.line(session.cache().as_str()));
    }
    match summary.complaint() {
        Some(complaint) => Err(anyhow::Error::msg(complaint)),
        None => Ok(()),
    }
}

fn roots(given: &[PathBuf], store_dir: &StoreDir) -> anyhow::Result<BTreeSet<StorePath>> {
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    given
        .iter()
        .map(|path| Ok(resolve(path, &here, store_dir)?))
        .collect()
}

/// Reads on a thread of its own, which does not keep the program from ending when nothing comes any more.
async fn from_stdin() -> anyhow::Result<Vec<PathBuf>> {
    let (send, read) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let lines: io::Result<Vec<String>> = io::stdin().lines().collect();
        let _ = send.send(lines);
    });
    let lines = read.await?.context("cannot read standard input")?;
    Ok(lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .map(PathBuf::from)
        .collect())
}

#[cfg(test)]
mod tests;
