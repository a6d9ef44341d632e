//! Logs, metrics and traces of a process.
//!
//! - The log goes to standard error, as text or JSON; a line that is written in a span of a trace
//!   names it as `trace_id` and `span_id`.
//! - Metrics are recorded once. [`render_metrics`] shows them to Prometheus; with a collector the
//!   same go there by OTLP (`telemetry/metrics.rs`).
//! - Traces go to a collector by OTLP, or are not made at all ([`stowage_trace`]).
//!
//! A collector that is away holds nothing up: spans wait in a bounded queue, those that find it
//! full are counted and lost, and the log says so once a minute at most (`telemetry/otlp.rs`).
//!
//! Rejected for metrics: the crates that bridge `metrics` to OpenTelemetry, which follow two of
//! its releases behind and would bring a second copy of it; and scraping ourselves, which makes of
//! each histogram a text first.

mod log;
mod metrics;
mod otlp;

pub use log::{LogFormat, init_log};
pub use metrics::{render_metrics, upkeep_metrics};
pub use otlp::{Collector, Exporting, Identity, Otlp, Pace, export};
