//! `hayloft recovery`: keys, and a rehearsal of the day on which the coordinator's machine is lost.

mod bucket;
mod drill;
mod fetch;
mod key;

pub(crate) use bucket::KitsToBucket;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayloft_coordinator::recovery::RecoveryKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::control::client::Control;

/// Longer ones are no keys.
const LONGEST_KEY_FILE: u64 = 64 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key that opens recovery kits
    Key(key::Args),
    /// Have kits sealed to a key from now on
    Use(UseArgs),
    /// Make a kit now, and write it to a file
    Kit(KitArgs),
    /// Get the newest kit from the bucket, on a host with a gateway
    Fetch(fetch::Args),
    /// Restore a kit into a folder that goes away, and tell what a restore would bring back
    Drill(drill::Args),
}

pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Key(args) => key::run(&args, context),
        Command::Use(UseArgs { public, dir }) => {
            let control = Control::find(context, dir)?;
            let () = control.send_json("recovery/recipient", &public).await?;
            context.note("Kits are sealed to this key from now on; every host gets a new one soon");
            Ok(())
        }
        Command::Kit(KitArgs { out, dir }) => {
            let control = Control::find(context, dir)?;
            let Sealed { kit } = control
                .ask(reqwest::Method::GET, "recovery/kit", String::new())
                .await?;
            let kit = STANDARD
                .decode(kit)
                .context("the coordinator is of another version")?;
            hayloft_agent::files::replace(&out, &kit, 0o600)?;
            context.say(&format!("The kit is in {}", out.display()));
            Ok(())
        }
        Command::Fetch(args) => fetch::run(&args, context).await,
        Command::Drill(args) => drill::run(&args, context).await,
    }
}

/// A kit on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// In base64.
    pub(crate) kit: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft recovery use age1qqv9x6w2cyvqyy3lrm9mtp36c3kk57k4tn2yh4gt3jgd4edvyyxsl0wz8j"
)]
pub(crate) struct UseArgs {
    /// The public half, as `hayloft recovery key` prints it
    #[arg(value_name = "PUBLIC")]
    public: String,
    /// The folder of the coordinator [default: /var/lib/hayloft/coordinator]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft recovery kit --out /mnt/usb/commons.kit\n\nStorage hosts keep the newest one anyway."
)]
pub(crate) struct KitArgs {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The folder of the coordinator [default: /var/lib/hayloft/coordinator]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Reads a recovery key; `-` is standard input.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<RecoveryKey> {
    let mut text = Zeroizing::new(String::new());
    let (read, name) = if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        (
            stdin.take(LONGEST_KEY_FILE).read_to_string(&mut text),
            "standard input".to_owned(),
        )
    } else {
        let read =
            fs::File::open(path).and_then(|file| file.take(LONGEST_KEY_FILE).read_to_string(&mut text));
        (read, path.display().to_string())
    };
    read.with_context(|| format!("the recovery key cannot be read from {name}"))?;
    text.parse().with_context(|| name)
}

/// A key file, as commands take it.
#[derive(Debug, clap::Args)]
struct KeyFile {
    /// The file with the recovery key; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}
