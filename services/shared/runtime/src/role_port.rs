//! A role's own port: gRPC, and what operators ask of a process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::port::PortRequest;
use crate::{ReadyCheck, RoleChannel, status};
use stowage_proto::common::ErrorReason;

/// A role that does not say within this time that it is ready is not.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Longest answer to a question whether a role is ready that is read, in bytes.
const READY_BYTES_MAX: usize = 4096;

/// Renders the metrics of the process.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What answers on a role's port. Cloning is cheap.
#[derive(Clone)]
pub struct RolePort {
    /// Absent: the port is for operators alone.
    channel: Option<RoleChannel>,
    checks: Arc<[(&'static str, ReadyCheck)]>,
    metrics: RenderMetrics,
}

impl std::fmt::Debug for RolePort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RolePort")
    }
}

impl RolePort {
    /// The port of a role, or of operators alone where there is none.
    #[must_use]
    pub fn new(
        channel: Option<RoleChannel>,
        checks: Vec<(&'static str, ReadyCheck)>,
        metrics: RenderMetrics,
    ) -> Self {
        Self { channel, checks: checks.into(), metrics }
    }

    /// Answers a request.
    pub async fn answer(self, request: PortRequest, _: IpAddr) -> Response<Body> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match &self.channel {
            Some(channel) if is_grpc => call(channel.clone(), request.map(Body::new)).await,
            _ => self.ask(request.method(), request.uri().path()).await,
        }
    }

    async fn ask(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "ask by GET\n".to_owned());
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready().await,
            "/metrics" => text(StatusCode::OK, (self.metrics)()),
            _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    /// A line for each check: its name, and `ok` or what is wrong.
    async fn ready(&self) -> Response<Body> {
        let mut lines = String::new();
        let mut status = StatusCode::OK;
        for (name, check) in self.checks.iter() {
            let result = tokio::time::timeout(CHECK_MAX, check()).await;
            let result = result.unwrap_or_else(|_| Err("does not answer".to_owned()));
            if result.is_err() {
                status = StatusCode::SERVICE_UNAVAILABLE;
            }
            let line = result.err().unwrap_or_else(|| "ok".to_owned());
            lines.push_str(&format!("{name}: {line}\n"));
        }
        text(status, lines)
    }
}

/// Whether a role elsewhere says that it is ready.
#[must_use]
pub fn remote_ready(channel: RoleChannel) -> ReadyCheck {
    Arc::new(move || {
        let channel = channel.clone();
        Box::pin(async move {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = Uri::from_static("/readyz");
            let answer = channel.oneshot(request).await.map_err(|error| error.to_string())?;
            // What cannot be reached is answered as gRPC answers.
            let is_text = answer.headers().get("grpc-status").is_none();
            let status = answer.status();
            if status.is_success() && is_text {
                return Ok(());
            }
            let text = Limited::new(answer.into_body(), READY_BYTES_MAX).collect().await;
            let text = text.map(|body| body.to_bytes()).unwrap_or_default();
            match String::from_utf8_lossy(&text).trim() {
                "" => Err("is not reachable".to_owned()),
                why => Err(why.to_owned()),
            }
        })
    })
}

async fn call(channel: RoleChannel, request: Request<Body>) -> Response<Body> {
    channel.oneshot(request).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a role did not answer");
        status(Code::Internal, ErrorReason::Internal, "internal error").build().into_http()
    })
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
