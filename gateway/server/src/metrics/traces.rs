//! Traces: each request and its stages, sent to an OpenTelemetry collector.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// Of how many requests one is traced in full.
const ONE_OF: f64 = 20.0;
/// The target of all spans that are traced.
pub(super) const TARGET: &str = "hayloft_gateway::stage";

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter cannot be made.
    #[error("traces cannot be sent: change \"traces.otlp\" in the configuration")]
    Exporter(#[source] ExporterBuildError),
}

/// A layer that sends spans to the collector at `otlp`, such as `http://127.0.0.1:4318/v1/traces`, in the background
/// and in batches. What a collector does not take is lost; requests never wait for it.
///
/// # Errors
/// When the URL is not one that can be sent to.
pub fn layer<S>(otlp: &Url) -> Result<(impl Layer<S>, SdkTracerProvider), TracesError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(otlp.as_str())
        .build()
        .map_err(TracesError::Exporter)?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            1.0 / ONE_OF,
        ))))
        .with_resource(Resource::builder().with_service_name("hayloft-gateway").build())
        .build();
    let tracer = provider.tracer("hayloft-gateway");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG));
    Ok((layer, provider))
}
