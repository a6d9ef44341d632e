//! Metrics: one recording, for Prometheus and, where there is a collector, for that too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Level, Metadata,
    Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::registry::{Registry, Storage};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{self as otlp, Meter};

/// Bounds of duration buckets, in seconds.
const DURATION_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// How the names of durations end.
const SECONDS: &str = "_seconds";

/// What makes the instruments of the collector; set before the first recording, or never.
static METER: OnceLock<Meter> = OnceLock::new();

/// The process's metrics in the text form of Prometheus. The first call begins to record them.
#[must_use]
pub fn render_metrics() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Begins to record metrics, and folds what was recorded into its buckets; to be called every few
/// seconds, or the raw samples pile up.
pub fn upkeep_metrics() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

/// Records for a collector too, if nothing was recorded before.
pub(super) fn also_by(meter: Meter) {
    let _first_stays = METER.set(meter);
    upkeep_metrics();
}

fn handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(install).as_ref()
}

fn install() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(SECONDS.into()), &DURATION_BUCKETS)
        .ok()?
        .build_recorder();
    let handle = recorder.handle();
    match METER.get() {
        None => metrics::set_global_recorder(recorder).ok()?,
        Some(meter) => metrics::set_global_recorder(Both::new(recorder, meter.clone())).ok()?,
    }
    Some(handle)
}

/// Records everything twice.
struct Both(Registry<Key, Pairs>);

impl Both {
    fn new(prometheus: PrometheusRecorder, meter: Meter) -> Self {
        Self(Registry::new(Pairs { prometheus, meter }))
    }

    fn prometheus(&self) -> &PrometheusRecorder {
        &self.0.storage().prometheus
    }
}

impl Recorder for Both {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.prometheus().describe_counter(key, unit, text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.prometheus().describe_gauge(key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.prometheus().describe_histogram(key, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.get_or_create_counter(key, |pair| Counter::from_arc(Arc::clone(pair)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.get_or_create_gauge(key, |pair| Gauge::from_arc(Arc::clone(pair)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.get_or_create_histogram(key, |pair| Histogram::from_arc(Arc::clone(pair)))
    }
}

/// Makes what records one metric with its labels.
struct Pairs {
    prometheus: PrometheusRecorder,
    meter: Meter,
}

/// Prometheus's recorder has no use for it.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn labels(key: &Key) -> Vec<KeyValue> {
    key.labels().map(|l| KeyValue::new(l.key().to_owned(), l.value().to_owned())).collect()
}

impl Storage<Key> for Pairs {
    type Counter = Arc<Pair<Counter, otlp::Counter<u64>>>;
    type Gauge = Arc<Pair<Gauge, otlp::Gauge<f64>>>;
    type Histogram = Arc<Pair<Histogram, otlp::Histogram<f64>>>;

    fn counter(&self, key: &Key) -> Self::Counter {
        let counter = self.meter.u64_counter(key.name().to_owned()).build();
        Pair::new(self.prometheus.register_counter(key, &METADATA), counter, key)
    }

    fn gauge(&self, key: &Key) -> Self::Gauge {
        let gauge = self.meter.f64_gauge(key.name().to_owned()).build();
        Pair::new(self.prometheus.register_gauge(key, &METADATA), gauge, key)
    }

    fn histogram(&self, key: &Key) -> Self::Histogram {
        let mut histogram = self.meter.f64_histogram(key.name().to_owned());
        if key.name().ends_with(SECONDS) {
            histogram = histogram.with_boundaries(DURATION_BUCKETS.to_vec()).with_unit("s");
        }
        let prometheus = self.prometheus.register_histogram(key, &METADATA);
        Pair::new(prometheus, histogram.build(), key)
    }
}

struct Pair<P, O> {
    prometheus: P,
    otlp: O,
    labels: Vec<KeyValue>,
    /// The last value, where steps have to be made of values or values of steps.
    value: AtomicU64,
}

impl<P, O> Pair<P, O> {
    fn new(prometheus: P, otlp: O, key: &Key) -> Arc<Self> {
        Arc::new(Self { prometheus, otlp, labels: labels(key), value: AtomicU64::new(0) })
    }
}

impl CounterFn for Pair<Counter, otlp::Counter<u64>> {
    fn increment(&self, step: u64) {
        self.prometheus.increment(step);
        self.value.fetch_add(step, Ordering::Relaxed);
        self.otlp.add(step, &self.labels);
    }

    fn absolute(&self, value: u64) {
        self.prometheus.absolute(value);
        let before = self.value.fetch_max(value, Ordering::Relaxed);
        self.otlp.add(value.saturating_sub(before), &self.labels);
    }
}

impl Pair<Gauge, otlp::Gauge<f64>> {
    fn step(&self, step: f64) {
        let stepped = |bits| Some((f64::from_bits(bits) + step).to_bits());
        let before = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stepped);
        let before = before.unwrap_or_else(|bits| bits);
        self.otlp.record(f64::from_bits(before) + step, &self.labels);
    }
}

impl GaugeFn for Pair<Gauge, otlp::Gauge<f64>> {
    fn increment(&self, step: f64) {
        self.prometheus.increment(step);
        self.step(step);
    }

    fn decrement(&self, step: f64) {
        self.prometheus.decrement(step);
        self.step(-step);
    }

    fn set(&self, value: f64) {
        self.prometheus.set(value);
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.otlp.record(value, &self.labels);
    }
}

impl HistogramFn for Pair<Histogram, otlp::Histogram<f64>> {
    fn record(&self, value: f64) {
        self.prometheus.record(value);
        self.otlp.record(value, &self.labels);
    }
}
