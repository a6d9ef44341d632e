//! A small collector of OpenTelemetry, which keeps what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Attributes, each value as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A span that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it is the first of its trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) attributes: Attributes,
    /// Of the process it came from.
    pub(crate) resource: Attributes,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Seen>,
    metrics: BTreeMap<String, Attributes>,
    authorization: Option<String>,
}

/// The collector. It ends with the test.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    addr: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let collector = Self { addr, kept: Arc::default() };
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        collector
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All spans of a trace that have come.
    pub(crate) fn trace(&self, id: &str) -> Vec<Seen> {
        self.with(|kept| kept.spans.iter().filter(|span| span.trace == id).cloned().collect())
    }

    /// All spans that have come.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.with(|kept| kept.spans.clone())
    }

    /// The attributes of the resource that a metric came from, if it came.
    pub(crate) fn metric(&self, name: &str) -> Option<Attributes> {
        self.with(|kept| kept.metrics.get(name).cloned())
    }

    /// The header `authorization` of what came last.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.with(|kept| kept.authorization.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn texts(attributes: &[KeyValue]) -> Attributes {
    let text = |kv: &KeyValue| match kv.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|kv| (kv.key.clone(), text(kv))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seen(span: &Span, resource: &Attributes) -> Seen {
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name.clone(),
        kind: span.kind,
        attributes: texts(&span.attributes),
        resource: resource.clone(),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization").cloned();
        self.with(|kept| {
            kept.authorization =
                authorization.and_then(|value| value.to_str().map(str::to_owned).ok());
            for from in request.into_inner().resource_spans {
                let resource = texts(&from.resource.unwrap_or_default().attributes);
                let spans = from.scope_spans.iter().flat_map(|scope| &scope.spans);
                kept.spans.extend(spans.map(|span| seen(span, &resource)));
            }
        });
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.with(|kept| {
            for from in request.into_inner().resource_metrics {
                let resource = texts(&from.resource.unwrap_or_default().attributes);
                for metric in from.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                    kept.metrics.insert(metric.name.clone(), resource.clone());
                }
            }
        });
        Ok(Response::new(Default::default()))
    }
}
