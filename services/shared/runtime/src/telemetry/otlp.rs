//! Traces and metrics to a collector, by OTLP over gRPC.
//!
//! The SDK reads what is not here from the environment by itself: headers, the sampler, attributes
//! of the resource (`OTEL_*`).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{Context, Key, KeyValue, global};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData,
    SpanExporter as Export, SpanProcessor,
};
use tonic::transport::{Certificate, ClientTlsConfig};

/// Counter of spans that were lost, by `reason`: `queue_full`, or `not_taken` by the collector.
const LOST: &str = "stowage_trace_lost_spans_total";
/// Time between two warnings of one kind.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Names what makes our spans and metrics.
const SCOPE: &str = "stowage";

/// Where a signal goes.
#[derive(Debug, Clone)]
pub struct Collector {
    /// `http://host:4317`, or `https`.
    pub endpoint: String,
    /// Authority that its certificate is checked against, PEM; absent: those of the system.
    pub ca: Option<Vec<u8>>,
    /// By what this process shows who it is.
    pub identity: Option<Identity>,
    /// Longest time that one export may take.
    pub timeout: Duration,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity(tonic::transport::Identity);

impl Identity {
    /// Both as PEM. They are looked at when the exporter is made.
    #[must_use]
    pub fn new(cert: Vec<u8>, key: Vec<u8>) -> Self {
        Self(tonic::transport::Identity::from_pem(cert, key))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// How much is kept, and how often it is sent.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Most spans that wait to be sent.
    pub queue_max: usize,
    /// Most spans of one export.
    pub batch_max: usize,
    /// Longest time that a span waits.
    pub traces_every: Duration,
    /// Between two exports of metrics.
    pub metrics_every: Duration,
}

/// What goes to a collector.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// What the process is called where the environment does not say.
    pub service_name: String,
    /// What it is a version of.
    pub service_version: &'static str,
    /// Tells this process from others that do the same.
    pub service_instance: String,
    /// Absent: no spans are made.
    pub traces: Option<Collector>,
    /// Absent: metrics are for Prometheus alone.
    pub metrics: Option<Collector>,
    /// How much is kept, and how often it is sent.
    pub pace: Pace,
}

/// What is being exported.
#[derive(Debug)]
#[must_use = "what was recorded last is sent by `end`"]
pub struct Exporting {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Begins to export; to be called in a tokio runtime, before the first metric is recorded. What
/// cannot be exported is told in the log, and is no reason not to serve.
pub fn export(otlp: &Otlp) -> Exporting {
    let mut exporting = Exporting { traces: None, metrics: None };
    if let Some(collector) = &otlp.metrics {
        match metrics_to(collector, otlp) {
            Ok(provider) => {
                super::metrics::also_by(provider.meter(SCOPE));
                exporting.metrics = Some(provider);
            }
            Err(error) => tracing::warn!(%error, "metrics are not exported"),
        }
    }
    if let Some(collector) = &otlp.traces {
        match traces_to(collector, otlp) {
            Ok(provider) => {
                global::set_text_map_propagator(TraceContextPropagator::new());
                global::set_tracer_provider(provider.clone());
                stowage_trace::install(global::tracer(SCOPE));
                exporting.traces = Some(provider);
            }
            Err(error) => tracing::warn!(%error, "traces are not exported"),
        }
    }
    exporting
}

impl Exporting {
    /// Sends what was recorded last, and ends. What is not sent within `bound` is lost.
    pub fn end(self, bound: Duration) {
        let (done, all) = mpsc::channel();
        let both: [Option<Box<dyn FnOnce() + Send>>; 2] = [
            self.traces.map(|t| Box::new(move || drop(t.shutdown_with_timeout(bound))) as _),
            self.metrics.map(|m| Box::new(move || drop(m.shutdown_with_timeout(bound))) as _),
        ];
        for end in both.into_iter().flatten() {
            let done = done.clone();
            thread::spawn(move || {
                end();
                drop(done);
            });
        }
        drop(done);
        // Nothing is ever sent: the channel closes when both have ended.
        let _: Result<(), _> = all.recv_timeout(bound);
    }
}

fn traces_to(collector: &Collector, otlp: &Otlp) -> Result<SdkTracerProvider, ExporterBuildError> {
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(&collector.endpoint);
    exporter = exporter.with_timeout(collector.timeout);
    if let Some(tls) = tls(collector) {
        exporter = exporter.with_tls_config(tls);
    }
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = Sender { to: exporter.build()?, waiting: Arc::clone(&waiting), said: Said::new() };
    let Pace { queue_max, batch_max, traces_every, .. } = otlp.pace;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(queue_max)
        .with_max_export_batch_size(batch_max.min(queue_max))
        .with_scheduled_delay(traces_every)
        .build();
    let queue = BatchSpanProcessor::builder(sender).with_batch_config(batches).build();
    let queue = Queue { inner: queue, waiting, waiting_max: queue_max, said: Said::new() };
    let provider = SdkTracerProvider::builder().with_resource(resource(otlp));
    Ok(provider.with_span_processor(queue).build())
}

fn metrics_to(collector: &Collector, otlp: &Otlp) -> Result<SdkMeterProvider, ExporterBuildError> {
    let mut exporter = MetricExporter::builder().with_tonic().with_endpoint(&collector.endpoint);
    exporter = exporter.with_timeout(collector.timeout);
    if let Some(tls) = tls(collector) {
        exporter = exporter.with_tls_config(tls);
    }
    let sender = MetricSender { to: exporter.build()?, said: Said::new() };
    let reader = PeriodicReader::builder(sender).with_interval(otlp.pace.metrics_every).build();
    let provider = SdkMeterProvider::builder().with_resource(resource(otlp));
    Ok(provider.with_reader(reader).build())
}

fn tls(collector: &Collector) -> Option<ClientTlsConfig> {
    let is_tls = collector.endpoint.starts_with("https:");
    is_tls.then(|| {
        let tls = match &collector.ca {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        match &collector.identity {
            Some(Identity(identity)) => tls.identity(identity.clone()),
            None => tls,
        }
    })
}

/// What the process is. What the environment says of it goes before.
fn resource(otlp: &Otlp) -> Resource {
    let said = Resource::builder().build();
    let is_said = |key: &'static str| {
        let value = said.get(&Key::from_static_str(key));
        value.is_some_and(|value| !value.as_str().starts_with("unknown_service"))
    };
    let ours = [
        KeyValue::new("service.name", otlp.service_name.clone()),
        KeyValue::new("service.version", otlp.service_version),
        KeyValue::new("service.instance.id", otlp.service_instance.clone()),
    ];
    let names = ["service.name", "service.version", "service.instance.id"];
    let ours = names.into_iter().zip(ours).filter(|(name, _)| !is_said(name));
    Resource::builder().with_attributes(ours.map(|(_, value)| value)).build()
}

/// When something was said last.
#[derive(Debug)]
struct Said(Mutex<Option<Instant>>);

impl Said {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether it is time to say it again.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// The queue of spans; counts those that it has no room for.
#[derive(Debug)]
struct Queue {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    said: Said,
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.waiting_max {
            return self.inner.on_end(span);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        metrics::counter!(LOST, "reason" => "queue_full").increment(1);
        if self.said.is_due() {
            tracing::warn!(waiting = self.waiting_max, "spans are lost: too many wait to be sent");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends batches of spans; counts those that the collector did not take.
#[derive(Debug)]
struct Sender<E> {
    to: E,
    waiting: Arc<AtomicUsize>,
    said: Said,
}

impl<E: Export> Export for Sender<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let result = self.to.export(batch).await;
        if let Err(error) = &result {
            let lost = u64::try_from(count).unwrap_or(u64::MAX);
            metrics::counter!(LOST, "reason" => "not_taken").increment(lost);
            if self.said.is_due() {
                tracing::warn!(%error, "spans are lost: the collector does not take them");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}

/// Sends metrics; the next time they are complete again, whatever was not taken.
struct MetricSender {
    to: MetricExporter,
    said: Said,
}

impl PushMetricExporter for MetricSender {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.to.export(metrics).await;
        if let Err(error) = &result
            && self.said.is_due()
        {
            tracing::warn!(%error, "the collector does not take metrics");
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.to.temporality()
    }
}
