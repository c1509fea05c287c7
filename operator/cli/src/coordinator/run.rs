//! `hayloft coordinator run`: the coordinator's life.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hayloft_api::agent::GARAGE_UNIT;
use hayloft_api::join::{Admission, Admitted};
use hayloft_api::status::Status;
use hayloft_api::{Document, HostName};
use hayloft_coordinator::admission::{AdmissionConfig, Admissions, routes, with_admitted};
use hayloft_coordinator::door::{Door, DoorConfig};
use hayloft_coordinator::recovery::{CaughtUp, catch_up};
use hayloft_coordinator::{Coordinator, CoordinatorConfig, Links, Store};
use hayloft_pki::{LiveIdentity, should_renew};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::announce::Announce;
use super::clients::Clients;
use super::kits::{self, Kits};
use super::settings::Settings;
use super::{RunArgs, admissions, leaving};
use crate::context::Context;
use crate::control::server::{self as control, Request, Wanted};
use crate::deciding::source::Source;
use crate::deciding::{Deciding, Joined};
use crate::report;
use crate::signals;
use crate::up::metrics;
use crate::up::{Folder, take_folder};

/// How often it is looked whether the coordinator's own certificate is due.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(600);

/// Runs until it is told to stop. What hosts run goes on then.
pub(super) async fn run(args: RunArgs, context: &mut Context) -> anyhow::Result<()> {
    let mut interrupts = signals::interrupts().context("signals cannot be taken over")?;
    crate::agent::log_to_journal(context);
    let dir = std::path::absolute(&args.dir).unwrap_or(args.dir);
    let settings = Settings::read(&dir)?;
    let locked = take_folder(Folder::at(dir.clone()))?;
    let folder = locked.folder().clone();
    let mut random = StdRng::from_seed(context.seed());
    let clock = context.clock.clone();
    let store = Store::open(&folder.store(), random.random())
        .await
        .context("the cluster's own store cannot be used")?;
    let document = store
        .document()
        .await?
        .context("the cluster has no document; make it anew with `hayloft coordinator init`")?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("the coordinator's door cannot listen at {}", settings.listen))?;
    let metrics_listener = match args.metrics_listen {
        Some(address) => Some(metrics::listen(address).await?),
        None => None,
    };

    // The door makes the links that admission and the coordinator look at.
    let (document, declared) = watch::channel(document);
    let (link_sender, links) = watch::channel(Links::new());
    let admissions = Arc::new(
        Admissions::open(AdmissionConfig {
            store: store.clone(),
            document: declared.clone(),
            links: links.clone(),
            seed: random.random(),
            now: clock(),
        })
        .await?,
    );
    let identity = LiveIdentity::new(admissions.own_identity(clock())?);
    let (status, shown) = watch::channel(None);
    let (render, rendered) = watch::channel(None);
    let (leavers, mut leaving_requests) = mpsc::channel(16);
    let others = routes(admissions.clone(), links.clone(), clock.clone()).merge(leaving::route(
        admissions.trust(),
        leavers,
        shown.clone(),
    ));
    // A store from a kit may have an older list than the hosts.
    let (tell, told) = watch::channel(None);
    let door = Door::open(DoorConfig {
        listener,
        identity: identity.clone(),
        trust: admissions.trust(),
        list: told,
        sockets: Some(sockets(&dir)?),
        others: Some(others),
    })?;
    let _announcer = Announce {
        cluster: document.borrow().metadata.name.clone(),
        addresses: settings.addresses.clone(),
        identity: identity.clone(),
        trust: admissions.trust(),
        list: admissions.list(),
        links: door.links(),
    }
    .start();
    let mut arrived = door.links();
    let caught_up = {
        let mut links = door.links();
        let mut noted = None;
        let catching = catch_up(&store, &admissions, &mut links, clock(), |there, needed| {
            if there < needed && noted != Some(there) {
                noted = Some(there);
                context.note(&format!(
                    "This coordinator comes from a recovery kit: it waits for {needed} hosts to tell what happened since ({there} are there)"
                ));
            }
        });
        tokio::select! {
            caught_up = catching => caught_up?,
            () = interrupts.next() => return Ok(()),
        }
    };
    if let Some(caught_up) = caught_up {
        context.note(&tell_caught_up(&caught_up));
    }
    tell.send_replace(Some(admissions.list().borrow().clone()));
    let joined = admissions.hosts().await?;
    let (hosts, mut belonging) = watch::channel(joined);
    let effective = with_admitted(&document.borrow(), &hosts.borrow());
    let (effective, followed) = watch::channel(effective);
    let coordinator = Coordinator::start(CoordinatorConfig {
        store: store.clone(),
        links: door.links(),
        document: followed,
        clock: clock.clone(),
        time_zone: context.time_zone.clone(),
        seed: random.random(),
    })
    .await?;
    let metrics_render: metrics::Render = coordinator.metrics();
    render.send_replace(Some(metrics_render.clone()));
    let _metrics = metrics_listener
        .map(|listener| metrics::serve(listener, metrics_render))
        .transpose()
        .context("metrics cannot be served")?;
    let (wanted, _) = watch::channel(());
    let source = kits::Source {
        store: store.clone(),
        cluster: document.borrow().metadata.name.clone(),
        links: door.links(),
        clock: clock.clone(),
    };
    let tokens = admissions::routes(admissions.clone(), settings.addresses.clone(), clock.clone())
        .merge(kits::routes(source.clone(), wanted.clone()))
        .merge(report::routes(store.clone()));
    let kits = Kits::start(source, wanted);
    let (_server, mut requests) = control::start(&folder.control_socket(), shown, rendered, tokens)
        .context("the control socket cannot be made")?;
    context.note(&format!(
        "The coordinator of {} listens at {}; hosts find it at {}",
        document.borrow().metadata.name,
        settings.listen,
        settings.addresses.join(" or ")
    ));

    let deciding = Deciding {
        folder,
        coordinator,
        store: store.clone(),
        document,
        links: door.links(),
        joined: Some(Joined {
            admissions: admissions.clone(),
            hosts,
        }),
    };
    let Some(joined) = &deciding.joined else {
        return Ok(());
    };
    let _clients = Clients::start(
        deciding.folder.clone(),
        door.links(),
        declared.clone(),
        clock.clone(),
    )?;
    let mut list = admissions.list();
    let mut declared = declared;
    let mut statuses = deciding.coordinator.status();
    let mut certificate = tokio::time::interval(LOOK_AT_CERTIFICATE);
    certificate.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = interrupts.next() => break,
            Ok(()) = arrived.changed() => {
                let now = arrived.borrow_and_update().clone();
                match admissions.follow_addresses(&now).await {
                    Ok(moved) => for (host, door) in moved {
                        tracing::info!(%host, %door, "the host is reached at another address now");
                    },
                    Err(error) => tracing::error!(%error, "where hosts are reached cannot be kept"),
                }
                link_sender.send_replace(now);
            }
            Ok(()) = list.changed() => {
                let now = list.borrow_and_update().clone();
                // Another authority may sign now.
                renew(&admissions, &identity, context);
                tell.send_replace(Some(now));
                if let Err(error) = joined.renew().await {
                    tracing::error!(%error, "who belongs cannot be read");
                }
            }
            Ok(()) = belonging.changed() => {
                belonging.mark_unchanged();
                kits.soon();
                follow(&deciding, &effective);
            }
            Ok(()) = declared.changed() => {
                declared.mark_unchanged();
                kits.soon();
                follow(&deciding, &effective);
            }
            Ok(()) = statuses.changed() => {
                let now = statuses.borrow_and_update().clone();
                let over = gone(&now, &joined.hosts.borrow(), &deciding.links.borrow());
                for host in over {
                    match deciding.put_out(&host, (context.clock)()).await {
                        Ok(()) => tracing::info!(%host, "the host left, and does not belong any more"),
                        Err(error) => tracing::error!(%host, %error, "a host that left still belongs"),
                    }
                }
                let renewed = status.borrow().as_ref().is_some_and(|before: &Status| before.secrets != now.secrets);
                if renewed {
                    kits.soon();
                }
                status.send_replace(Some(now));
            }
            Some(request) = requests.recv() => answer(&deciding, request, context).await,
            Some(request) = leaving_requests.recv() => answer(&deciding, request, context).await,
            _ = certificate.tick() => renew(&admissions, &identity, context),
        }
    }
    context.note("Stopping; what hosts run goes on");
    deciding.coordinator.stop().await;
    door.close().await;
    store.close().await;
    Ok(())
}

/// Hosts that leave and have nothing left: the coordinator is over with them, and they run nothing, as they say themselves.
fn gone(status: &Status, hosts: &[Admitted], links: &Links) -> Vec<HostName> {
    let is_over = |name: &HostName| {
        let Some(link) = links.get(name) else { return false };
        let told = link
            .desired
            .borrow()
            .as_ref()
            .is_some_and(|told| told.garage.is_none());
        let report = link.report.borrow();
        told && !report.runs(GARAGE_UNIT) && status.hosts.iter().all(|seen| seen.name != *name)
    };
    let leaving = hosts.iter().filter(|host| host.standing == Admission::Leaving);
    let names = leaving.map(|host| &host.facts.name);
    names.filter(|name| is_over(name)).cloned().collect()
}

/// Gives the coordinator the document with all who belong.
fn follow(deciding: &Deciding, effective: &watch::Sender<Document>) {
    // Also when nothing differs: an older document may wait now, or not any more.
    effective.send_replace(deciding.effective(&deciding.document.borrow()));
}

fn tell_caught_up(caught_up: &CaughtUp) -> String {
    let names = |hosts: &[HostName]| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!("Caught up by {}", names(&caught_up.heard));
    if !caught_up.put_out.is_empty() {
        text.push_str(&format!("; put out since: {}", names(&caught_up.put_out)));
    }
    if caught_up.renewed {
        text.push_str("; secrets had been renewed, and are taken over");
    }
    text
}

fn renew(admissions: &Admissions, identity: &LiveIdentity, context: &Context) {
    let now = (context.clock)();
    let shown = identity.now();
    let due = shown
        .chain()
        .facts()
        .is_ok_and(|facts| should_renew(facts.not_before, facts.not_after, now));
    if due || !admissions.trust().now().signs(shown.chain()) {
        match admissions.own_identity(now) {
            Ok(renewed) => identity.replace(renewed),
            Err(error) => tracing::error!(%error, "the coordinator's own certificate could not be renewed"),
        }
    }
}

async fn answer(deciding: &Deciding, request: Request, context: &Context) {
    let Request {
        wanted,
        dry_run,
        answer,
    } = request;
    let outcome = match wanted {
        Wanted::Document(document, older) => {
            let source = (Source::Person, "A document was applied");
            deciding
                .consider(*document, source, older, dry_run, context)
                .await
        }
        Wanted::Host(action) => deciding.about_hosts(action, dry_run, context).await,
    };
    // Whoever asked may have gone.
    let _ = answer.send(outcome.map_err(|error| format!("{error:#}")));
}

/// A folder for the sockets by which hosts' admin APIs are reached: none of an earlier life is left in it.
fn sockets(dir: &Path) -> anyhow::Result<PathBuf> {
    let folder = dir.join("links");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    hayloft_agent::files::private_dir(&folder)?;
    Ok(folder)
}
