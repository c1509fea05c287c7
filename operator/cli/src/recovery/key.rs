//! `hayloft recovery key`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use hayloft_coordinator::recovery::RecoveryKey;

use crate::context::Context;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  hayloft recovery key --out recovery.key\n\nThe file is an age key file: `age -d -i recovery.key` opens what is sealed to it, too. Keep it away from the \
                  coordinator and from the hosts, on paper or on a stick: who has it and a kit is the coordinator."
)]
pub(crate) struct Args {
    /// Where to write it; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes a new key, and tells its public half.
pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let key = RecoveryKey::generate();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| format!("{} cannot be made", args.out.display()))?;
    let text = zeroize::Zeroizing::new(format!(
        "# opens recovery kits of Hayloft\n# public key: {}\n{}\n",
        key.recipient(),
        key.to_text().expose()
    ));
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", args.out.display()))?;
    context.say(&key.recipient().to_string());
    Ok(())
}
