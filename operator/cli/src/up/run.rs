//! The life of a started cache: until it is ready, while it runs, until it is gone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hayloft_api::Secret;
use hayloft_api::status::Status;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::folder::LockedFolder;
use super::hosts::{Hosts, Reports};
use super::progress::{self, Progress};
use super::ready::{self, Ready};
use super::{instructions, metrics, news};
use crate::context::Context;
use crate::control::server::{Request, Server};
use crate::deciding::Deciding;
use crate::signals::Interrupts;
use crate::words;

/// A start that takes longer hangs; what holds it up is told.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// From being ready on, what the coordinator sees may lag behind for so long: it asks Garage every now and then.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// Before it is ready, and after a change, the gateway is asked so often.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Hosts that could not start are tried again, and those that retired are cleaned up, so often.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// A stop that takes longer leaves the rest to the kernel, which kills our children when we go.
const STOPPED_WITHIN: Duration = Duration::from_millis(9500);

/// A started cache.
pub(super) struct Running {
    pub(super) is_default_dir: bool,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) hosts: Hosts,
    pub(super) deciding: Deciding,
    pub(super) status: watch::Sender<Option<Status>>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) server: Server,
    /// Why an agent could not start, as it was last told.
    pub(super) unstarted: Option<String>,
    pub(super) _metrics: Option<metrics::Server>,
    pub(super) _locked: LockedFolder,
}

/// What the main loop knows between two turns.
struct View {
    began: Instant,
    reports: Reports,
    status: Option<Status>,
    ready: Option<Ready>,
    http: reqwest::Client,
    last_problem: Option<String>,
    /// Where clients were served when they last could be.
    served_at: Option<String>,
    /// The secret that signs clients' tokens.
    tokens_by: Option<Secret>,
    /// What was seen of conditions since it was ready, and when that was.
    known: news::Known,
    ready_at: Option<Instant>,
}

/// The start did not get ready in time.
#[derive(Debug, thiserror::Error)]
#[error("not ready after {within}: {stuck}; logs are in {logs}/*/logs")]
struct NotReady {
    within: String,
    stuck: String,
    logs: String,
}

impl Running {
    /// Goes on until it is told to stop, or cannot get ready.
    pub(super) async fn run(
        mut self,
        context: &Context,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<ExitCode> {
        let mut reports = self.hosts.reports();
        let mut status = self.deciding.coordinator.status();
        let mut ask = tokio::time::interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Some(Progress::new(context));
        let mut view = View {
            began: Instant::now(),
            reports: reports.borrow_and_update().clone(),
            status: None,
            ready: None,
            http: reqwest::Client::builder().no_proxy().build()?,
            last_problem: None,
            served_at: None,
            tokens_by: None,
            known: news::Known::default(),
            ready_at: None,
        };
        let result = loop {
            tokio::select! {
                () = interrupts.next() => break Ok(()),
                Ok(()) = reports.changed() => {
                    let now = reports.borrow_and_update().clone();
                    if progress.is_none() {
                        for line in news::of_hosts(&view.reports, &now) {
                            context.note(&line);
                        }
                    }
                    view.reports = now;
                    self.renew(&mut view, context);
                }
                Ok(()) = status.changed() => {
                    let now = status.borrow_and_update().clone();
                    self.see_status(&mut view, now, context);
                }
                Some(request) = self.requests.recv() => {
                    if self.answer(request, context).await {
                        // The first cache may be another one.
                        view.ready = None;
                    }
                }
                _ = tidy.tick() => {
                    for line in self.tidy().await {
                        context.note(&line);
                    }
                }
                _ = ask.tick(), if view.ready.is_none() => self.probe(&mut view, context).await,
            }
            if let Some(showing) = &mut progress {
                if let Some(ready) = &view.ready {
                    let took = words::duration(view.began.elapsed());
                    let text =
                        instructions::render(ready, self.deciding.folder.path(), self.is_default_dir, &took);
                    if let Some(progress) = progress.take() {
                        progress.finish();
                    }
                    context.say(&text);
                    view.ready_at = Some(Instant::now());
                } else if view.began.elapsed() > READY_WITHIN {
                    break Err(self.not_ready(&view));
                } else {
                    showing.show(context, progress::stage(&view.reports, view.status.as_ref()));
                }
            }
        };
        drop(progress);
        self.stop(context, interrupts).await;
        result.map(|()| ExitCode::SUCCESS).map_err(Into::into)
    }

    fn not_ready(&self, view: &View) -> NotReady {
        let mut stuck = progress::what_is_stuck(&view.reports, view.status.as_ref());
        if let Some(problem) = &view.last_problem {
            stuck.push_str("; ");
            stuck.push_str(problem);
        }
        NotReady {
            within: words::duration(READY_WITHIN),
            stuck,
            logs: self.deciding.folder.hosts().display().to_string(),
        }
    }

    fn see_status(&self, view: &mut View, now: Status, context: &Context) {
        if let Some(ready_at) = view.ready_at {
            let settling = ready_at.elapsed() < SETTLED_WITHIN;
            for line in news::of_status(&mut view.known, &now, settling) {
                context.note(&line);
            }
        }
        self.status.send_replace(Some(now.clone()));
        view.status = Some(now);
    }

    /// Asks the gateway, once it runs, whether a client can use it; then tells programs and people.
    async fn probe(&self, view: &mut View, context: &Context) {
        let Some((url, told)) = ready::running_gateway(&self.hosts, &view.reports) else {
            return;
        };
        let document = self.deciding.document.borrow().clone();
        let found = async {
            let token = ready::token(
                &self.deciding.folder,
                told.token_secret.expose(),
                (context.clock)(),
            )?;
            let found = ready::probe(&view.http, &url, &told, &document, &token).await?;
            Ok::<_, ready::ProbeError>((found, token))
        };
        match found.await {
            Ok((found, token)) => {
                let ready = ready::compose(url, &told, found, token, &self.hosts, &view.reports);
                if view
                    .served_at
                    .as_ref()
                    .is_some_and(|before| *before != ready.gateway)
                {
                    context.note(&format!("Nix clients are served at {} now", ready.gateway));
                }
                view.served_at = Some(ready.gateway.clone());
                view.tokens_by = Some(told.token_secret.clone());
                view.ready = Some(ready);
                view.last_problem = None;
                self.tell(view, context);
            }
            Err(problem) => view.last_problem = Some(format!("{:#}", anyhow::Error::from(problem))),
        }
    }

    /// Starts agents that could not start before, and ends those of hosts that have nothing left. Gives what is news.
    pub(super) async fn tidy(&mut self) -> Vec<String> {
        let document = self.deciding.document.borrow().clone();
        let status = self.status.borrow().clone();
        let mut news = match status {
            Some(status) => self.hosts.retire(&document, &status).await,
            None => Vec::new(),
        };
        let failed = self
            .hosts
            .start(&document)
            .await
            .err()
            .map(|error| format!("{:#}", anyhow::Error::from(error)));
        if failed != self.unstarted {
            news.extend(failed.clone());
            self.unstarted = failed;
        }
        news
    }

    /// Brings the files for programs up to date when processes are others now.
    fn renew(&self, view: &mut View, context: &Context) {
        if let (Some(ready), Some((url, told))) =
            (&view.ready, ready::running_gateway(&self.hosts, &view.reports))
            && (ready.gateway != url || view.tokens_by.as_ref() != Some(&told.token_secret))
        {
            // Another host serves now, or tokens are signed anew: ask it first.
            view.ready = None;
        }
        let Some(ready) = &mut view.ready else { return };
        let hosts = ready::with_pids(&self.hosts, &view.reports);
        if ready.hosts != hosts {
            ready.hosts = hosts;
            self.tell(view, context);
        }
    }

    fn tell(&self, view: &View, context: &Context) {
        if let Some(ready) = &view.ready
            && let Err(error) = ready::tell(ready, &self.deciding.folder, self.ready_file.as_deref())
        {
            context.note(&format!("{:#}", anyhow::Error::from(error)));
        }
    }

    /// Stops all: what serves clients first, then the daemons together.
    async fn stop(self, context: &Context, interrupts: &mut Interrupts) {
        let Self {
            hosts,
            deciding:
                Deciding {
                    folder,
                    coordinator,
                    store,
                    ..
                },
            server,
            _locked,
            ..
        } = self;
        context.note("Stopping: first the gateway, then Garage (Ctrl-C again kills at once)");
        let began = Instant::now();
        drop(server);
        // Not one after the other: the coordinator may be at a step that hangs.
        let stopping = async {
            let deciding = async {
                coordinator.stop().await;
                store.close().await;
            };
            tokio::join!(deciding, hosts.stop());
        };
        tokio::select! {
            () = stopping => context.note(&format!("Stopped in {}; all data stays in {}",
                words::duration(began.elapsed()), folder.path().display())),
            () = tokio::time::sleep(STOPPED_WITHIN) => context.note("What has not stopped by now is killed"),
            () = interrupts.next() => context.note("Killed at once"),
        }
    }
}
