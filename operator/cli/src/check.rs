//! `hayloft check`: judges a document by itself.

use std::path::PathBuf;

use crate::context::Context;
use crate::document_file;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  hayloft check -f cluster.yaml")]
pub(crate) struct Args {
    /// The document (YAML); `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// Says that the document is sound, or fails with what is wrong.
pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let document = document_file::read(&args.file)?;
    let spec = &document.spec;
    context.say(&format!(
        "{}: the cluster `{}` with {} hosts, replication factor {} and {} caches is sound",
        args.file.display(),
        document.metadata.name,
        spec.hosts.len(),
        spec.garage.replication_factor,
        spec.caches.len()
    ));
    Ok(())
}
