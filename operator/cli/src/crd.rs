//! `hayloft crd`: prints the custom resource definitions.

use crate::context::Context;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft crd | kubectl apply --server-side -f -")]
pub(crate) struct Args {}

/// Prints both definitions.
pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    context.say(hayloft_kubernetes::crd::yaml()?.trim_end());
    Ok(())
}
