//! `hayloft coordinator init`: a new cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hayloft_api::document::Role;
use hayloft_api::join::{COORDINATOR_PORT, TokenLimits};
use hayloft_api::{Bytes, ClusterName, Document, Span};
use hayloft_coordinator::Store;
use hayloft_coordinator::admission::{AdmissionConfig, Admissions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use super::USUAL_DIR;
use super::settings::{Settings, everywhere, port_of, with_port};
use crate::context::Context;
use crate::deciding::source::Source;
use crate::document_file;
use crate::token::in_so_long;
use crate::up::{Folder, document_copy, take_folder};

/// `hayloft coordinator init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It prints the first join token on standard output and nothing else there; the token is shown this once.\n\n\
                  Examples:\n  hayloft coordinator init --name commons --address coordinator.example.org\n  \
                  hayloft coordinator init --spec commons.yaml --address 10.0.0.1:7440 > token"
)]
pub(crate) struct Args {
    /// The cluster's name, which never changes
    #[arg(long, required_unless_present = "spec", conflicts_with = "spec")]
    name: Option<ClusterName>,
    /// Where hosts find this machine: a DNS name or address, with a port where it is not 7440. May be given more than once
    #[arg(long, value_name = "HOST[:PORT]", required = true)]
    address: Vec<String>,
    /// A document (YAML) to follow instead of a small one of its own
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Copies of everything: 1, 3 or 5; never changes
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "spec")]
    replication_factor: u8,
    /// Where its door listens [default: all addresses, at the port of the first --address]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// How many hosts the first join token lets in [default: the replication factor]
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
    /// How long it does
    #[arg(long, value_name = "TIME", default_value = "24h")]
    ttl: Span,
    /// The folder that holds everything
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
}

/// Makes it.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    if Settings::is_there(&dir) {
        bail!(
            "there is a cluster in {} already; `hayloft coordinator run --dir {}` goes on with it, `hayloft token create` makes \
             join tokens",
            dir.display(),
            dir.display()
        );
    }
    let (document, source) = match (&args.spec, args.name) {
        (Some(path), _) => (document_file::read(path)?, Source::Person),
        (None, Some(name)) => (small(name, args.replication_factor)?, Source::BuiltIn),
        (None, None) => bail!("which name? Give --name, or --spec"),
    };
    let locked = take_folder(Folder::at(dir.clone()))?;
    let folder = locked.folder().clone();
    let addresses: Vec<String> = args
        .address
        .iter()
        .map(|address| with_port(address, COORDINATOR_PORT))
        .collect();
    let settings = Settings {
        listen: args.listen.unwrap_or_else(|| everywhere(port_of(&addresses))),
        addresses,
    };
    let mut random = StdRng::from_seed(context.seed());
    let now = (context.clock)();
    let store = Store::open(&folder.store(), random.random())
        .await
        .context("the cluster's own store cannot be made")?;
    source.note(&folder)?;
    store.apply(&document, now).await?;
    document_copy(&document, &folder)?;
    let (_document, followed) = watch::channel(document.clone());
    let (_links, links) = watch::channel(BTreeMap::new());
    let admissions = Admissions::open(AdmissionConfig {
        store: store.clone(),
        document: followed,
        links,
        seed: random.random(),
        now,
    })
    .await?;
    let uses = args
        .uses
        .unwrap_or_else(|| u32::from(document.spec.garage.replication_factor));
    let limits = TokenLimits {
        uses,
        expires: in_so_long(now, args.ttl)?,
        roles: vec![Role::Storage, Role::Gateway],
        zone: None,
        max_pledge: document.spec.admission.max_pledge,
        name: None,
    };
    let (id, token) = admissions
        .create_token(settings.addresses.clone(), &limits, now)
        .await?;
    // Last: it says that all is there.
    settings.write(&dir)?;
    store.close().await;
    context.note(&format!(
        "The cluster {} is made in {}. Its document is {}.",
        document.metadata.name,
        dir.display(),
        folder.document().display()
    ));
    context.note(&format!(
        "The join token {id} lets {uses} hosts in until {}. It is shown this once; hand it on like a password.",
        limits.expires.strftime("%Y-%m-%d %H:%MZ")
    ));
    context.note("Next: `hayloft agent install --systemd --coordinator` here, then on each host: `hayloft join TOKEN-FILE --pledge 500Gi --address HOST`.");
    context.say(token.expose());
    Ok(())
}

/// A document that declares nothing but a cache: hosts come by token.
fn small(name: ClusterName, replication_factor: u8) -> anyhow::Result<Document> {
    let mut document = Document::laptop(1, Bytes::gib(1))?;
    document.metadata.name = name;
    let spec = &mut document.spec;
    spec.hosts.clear();
    spec.garage.replication_factor = replication_factor;
    spec.garage.zone_redundancy = None;
    spec.garage.fsync = true;
    spec.rebalance = hayloft_api::document::RebalanceSpec::default();
    hayloft_api::rules::check(&document)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_declares_no_host_and_keeps_three_copies_in_three_zones() {
        let document = small("commons".parse().unwrap(), 3).unwrap();
        insta::assert_snapshot!(document.to_yaml().unwrap());
        assert!(small("commons".parse().unwrap(), 2).is_err());
    }
}
