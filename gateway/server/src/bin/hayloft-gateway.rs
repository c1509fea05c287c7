//! `hayloft-gateway`: the gateway alone.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hayloft_server::command::{self, Command, Outside};
use jiff::Timestamp;
use rand::TryRng;
use rand::rngs::SysRng;

/// A Nix binary cache in a bucket, that attic's client can push to
#[derive(Debug, Parser)]
#[command(name = "hayloft-gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Buffers of uploads and packs come and go on many threads; glibc's allocator keeps nearly twice what they hold.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Tests say at which step it is to die.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let cli = Cli::parse();
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed)?;
    let outside = Outside {
        clock: Arc::new(now),
        seed,
        log_filter: log_filter(),
        notify_socket: notify_socket(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(command::run(cli.command, outside)))
}

#[expect(clippy::disallowed_methods, reason = "read once, by main")]
fn notify_socket() -> Option<std::ffi::OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program")]
fn now() -> Timestamp {
    let now = Timestamp::now();
    // Tests set it to another time, by so many seconds.
    fail::fail_point!("clock", |by| {
        let by = by.and_then(|by| by.parse().ok()).unwrap_or_default();
        now.saturating_add(jiff::SignedDuration::from_secs(by))
            .unwrap_or(now)
    });
    now
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn log_filter() -> Option<String> {
    std::env::var("RUST_LOG").ok()
}
