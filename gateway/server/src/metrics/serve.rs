//! `/metrics`, on an address of its own: it is for whoever watches, not for clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::names::{ALL, Kind};
use crate::serve::Server;

/// How often what came in is worked into the distributions, so that they take no memory in between.
const UPKEEP: Duration = Duration::from_secs(5);
/// Upper bounds of seconds.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// Upper bounds of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder cannot be made.
    #[error("metrics cannot be recorded")]
    Recorder(#[source] BuildError),
    /// The address is taken.
    #[error("cannot listen on {addr} for metrics: change \"metrics.listen\" in the configuration")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Records metrics from now on, and serves them at `http://<addr>/metrics`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn install(addr: SocketAddr) -> Result<Server, MetricsError> {
    let handle = record()?;
    let (render, upkeep) = (handle.clone(), handle);
    let router = Router::new().route(
        "/metrics",
        get(async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], render.render())),
    );
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Server::start(addr, router)
        .await
        .map_err(|source| MetricsError::Bind { addr, source })
}

fn record() -> Result<PrometheusHandle, MetricsError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        let bounds = match metric.kind {
            Kind::Seconds => SECONDS,
            Kind::Count => COUNTS,
            Kind::Counter | Kind::Gauge => continue,
        };
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
            .map_err(MetricsError::Recorder)?;
    }
    let handle = builder.install_recorder().map_err(MetricsError::Recorder)?;
    for metric in ALL {
        begin(metric.name, metric.kind, metric.help, metric.label);
    }
    Ok(handle)
}

/// Makes a metric show from the start: what appears only with its first event cannot be watched.
fn begin(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    (label, values): (&'static str, &'static [&'static str]),
) {
    let labels: Vec<Vec<(&'static str, &'static str)>> = if values.is_empty() {
        vec![Vec::new()]
    } else {
        values.iter().map(|value| vec![(label, *value)]).collect()
    };
    match kind {
        Kind::Counter => metrics::describe_counter!(name, help),
        Kind::Gauge => metrics::describe_gauge!(name, help),
        Kind::Seconds | Kind::Count => metrics::describe_histogram!(name, help),
    }
    for labels in &labels {
        match kind {
            Kind::Counter => metrics::counter!(name, labels).increment(0),
            Kind::Gauge => metrics::gauge!(name, labels).increment(0.0),
            // A distribution shows with its first value only; it is worth its name from then on.
            Kind::Seconds | Kind::Count => drop(metrics::histogram!(name, labels)),
        }
    }
}
