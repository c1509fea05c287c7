//! Metrics (Prometheus) and traces (OpenTelemetry).
//!
//! Without `metrics.listen` and `traces.otlp` in the configuration nothing is recorded, and recording costs next to nothing.

pub mod names;
mod ready;
mod running;
mod serve;
mod stage;
mod traces;

pub(crate) use self::ready::watch as watch_readiness;
pub(crate) use self::running::Running;
pub use self::serve::{MetricsError, install};
pub(crate) use self::stage::{span as stage_of, stage, stage_of_request, stage_sync};
pub use self::traces::{TracesError, layer as traces_layer};
