//! The log on standard error, and traces for a collector.

use clap::ValueEnum;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};
use url::Url;

use crate::metrics::{TracesError, traces_layer};

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log, and to send traces if a collector is named. `filter` is what `RUST_LOG` says; without one, everything
/// from `info` on.
///
/// # Errors
/// When nothing can be sent to that collector.
pub(super) fn init(
    format: LogFormat,
    filter: Option<&str>,
    otlp: Option<&Url>,
) -> Result<Option<SdkTracerProvider>, TracesError> {
    let filter = filter
        .and_then(|filter| EnvFilter::try_new(filter).ok())
        .unwrap_or_else(|| EnvFilter::new("info,aws=warn,hyper=warn,sqlx=warn"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let (traces, provider) = match otlp {
        Some(otlp) => {
            let (layer, provider) = traces_layer::<Registry>(otlp)?;
            (Some(layer), Some(provider))
        }
        None => (None, None),
    };
    // A subscriber that stands already is as good.
    let _ = tracing_subscriber::registry().with(traces).with(lines).try_init();
    Ok(provider)
}

/// Begins to log.
pub(super) fn plain(format: LogFormat, filter: Option<&str>) {
    // Without a collector nothing can be wrong with it.
    let _ = init(format, filter, None);
}
