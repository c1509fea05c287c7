//! `hayloft check`: judges a document by itself.

use std::path::PathBuf;

use hayloft_api::Document;

use crate::context::Context;
use crate::{document_file, words};

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
    context.say(&format!("{}: {}", args.file.display(), verdict(&document)));
    Ok(())
}

fn verdict(document: &Document) -> String {
    let spec = &document.spec;
    format!(
        "the cluster `{}` with {}, replication factor {} and {} is sound",
        document.metadata.name,
        words::count(spec.hosts.len(), "host"),
        spec.garage.replication_factor,
        words::count(spec.caches.len(), "cache")
    )
}

#[cfg(test)]
mod tests {
    use hayloft_api::Bytes;

    use super::*;

    #[test]
    fn one_is_not_many() {
        let mut document = Document::laptop(1, Bytes::gib(1)).unwrap();
        assert_eq!(
            verdict(&document),
            "the cluster `laptop` with 1 host, replication factor 1 and 1 cache is sound"
        );
        document.spec.caches.clear();
        assert!(verdict(&document).ends_with("and 0 caches is sound"));
    }
}
