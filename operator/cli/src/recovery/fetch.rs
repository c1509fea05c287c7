//! `hayloft recovery fetch`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hayloft_agent::launch::gateway_config_in;

use super::bucket::{bucket_of, newest};
use crate::agent::USUAL_DIR;
use crate::context::Context;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Agents of hosts with a gateway write each new kit into the bucket, one for each day of the week, as recovery/DAY.kit. Every host \
                  keeps the newest one as recovery.kit in its folder, too. Both are of no use without the recovery key.\n\n\
                  Example:\n  hayloft recovery fetch --out commons.kit"
)]
pub(crate) struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The folder of a host with a gateway
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Writes the newest kit of the bucket to a file.
pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let bucket = bucket_of(&gateway_config_in(&args.dir))?;
    let Some((label, kit)) = newest(&bucket).await? else {
        bail!(
            "there is no recovery kit in the bucket; the coordinator makes them once `hayloft recovery use` was called"
        );
    };
    hayloft_agent::files::replace(&args.out, &kit, 0o600)
        .with_context(|| format!("the kit cannot be written to {}", args.out.display()))?;
    context.say(&format!("The kit in {} is of {label}", args.out.display()));
    Ok(())
}
