//! The gateway's commands: `hayloft-gateway …`, and the same as `hayloft gateway …`.

mod check_config;
mod fsck;
mod gc;
mod joining;
mod log;
mod outside;
mod pin;
mod ready;
mod rebuild;
mod reload;
mod serve;
mod token;
mod work;

pub use log::LogFormat;
pub use outside::Outside;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use self::serve::Door;
use crate::error::chain;

/// What the gateway can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve caches until told to stop
    #[command(after_help = "Example:\n  hayloft-gateway serve --config /etc/hayloft/gateway.yaml")]
    Serve {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
        /// How lines of the log on standard error look
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
        /// Serve at the listening socket that is the standard input, whatever `listen` says: whoever opened it keeps it open from
        /// one process to the next, as systemd does with `StandardInput=socket`
        #[arg(long)]
        listener_on_stdin: bool,
    },
    /// Check a configuration and the files it names, and do nothing else
    #[command(after_help = "Example:\n  hayloft-gateway check-config --config /etc/hayloft/gateway.yaml")]
    CheckConfig {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make a token, as `atticadm make-token` does
    #[command(
        after_help = "Example:\n  hayloft-gateway token --config gateway.yaml --sub ci --validity 1y --pull main --push main"
    )]
    Token(Box<token::Args>),
    /// Collect what nothing keeps
    #[command(after_help = "Example:\n  hayloft-gateway gc --config /etc/hayloft/gateway.yaml --dry-run")]
    Gc(gc::Args),
    /// Check that what is stored is whole
    #[command(
        after_help = "Example:\n  hayloft-gateway fsck --config /etc/hayloft/gateway.yaml --verify --repair"
    )]
    Fsck(fsck::Args),
    /// Keep paths, with all that they refer to, whatever their age
    #[command(
        after_help = "Example:\n  hayloft-gateway pin add --config gateway.yaml main release-1.2 /nix/store/…-system --for 365d"
    )]
    Pin(pin::Args),
    /// Make the index from the bucket; one that was cut off goes on where it was
    #[command(after_help = "Example:\n  hayloft-gateway rebuild --config /etc/hayloft/gateway.yaml")]
    Rebuild {
        /// Where the configuration is
        #[command(flatten)]
        config: ConfigFile,
        /// Use neither the index that is there nor a checkpoint, but the whole log
        #[arg(long)]
        from_log: bool,
        /// How lines of the log on standard error look
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
    },
}

/// What the log shows of commands whose result is what counts.
const QUIET: &str = "warn";

/// `--config FILE`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// The configuration file (YAML)
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs a command to its end. What goes wrong is one line on standard error.
pub async fn run(command: Command, outside: Outside) -> ExitCode {
    let result = match command {
        Command::Serve {
            config,
            log_format,
            listener_on_stdin,
        } => {
            let door = if listener_on_stdin {
                Door::StandardInput
            } else {
                Door::Own
            };
            Box::pin(serve::run(&config.config, log_format, door, &outside)).await
        }
        Command::CheckConfig { config } => check_config::run(&config.config),
        Command::Token(args) => token::run(&args, &outside),
        Command::Gc(args) => {
            log::plain(LogFormat::Text, outside.log_filter.as_deref().or(Some(QUIET)));
            Box::pin(gc::run(&args, &outside)).await
        }
        Command::Fsck(args) => {
            log::plain(LogFormat::Text, outside.log_filter.as_deref().or(Some(QUIET)));
            Box::pin(fsck::run(&args, &outside)).await
        }
        Command::Pin(args) => {
            log::plain(LogFormat::Text, outside.log_filter.as_deref().or(Some(QUIET)));
            Box::pin(pin::run(args, &outside)).await
        }
        Command::Rebuild {
            config,
            from_log,
            log_format,
        } => {
            log::plain(log_format, outside.log_filter.as_deref());
            Box::pin(rebuild::run(&config.config, from_log)).await
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = chain(error.as_ref()).replace('\n', " ");
            let _ = writeln!(std::io::stderr().lock(), "hayloft-gateway: {line}");
            ExitCode::FAILURE
        }
    }
}
