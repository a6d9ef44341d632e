//! The S3 endpoint: connections, counting, housekeeping, an orderly end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use s3s::{Body, StdError, s3_error};
use stowage_runtime::{PortRequest, PortSettings, Protocols, ServerTls, serve};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::embedded::Embedded;
use crate::shut::Shuttable;
use crate::trace;
use crate::traffic::{Counted, Direction, Meter};

/// How often files that nothing needs are unlinked.
const GC_INTERVAL: Duration = Duration::from_secs(2);
/// How often old traffic is forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// How often it is written down when keys were used: what a crash loses at most.
const KEY_USAGE_INTERVAL: Duration = Duration::from_secs(60);

impl Embedded {
    /// Serves S3 on the listener until `stop`, then lets running requests come to their end
    /// within `drain_timeout` and writes the last traffic down. Does the housekeeping meanwhile. By
    /// TLS if there is one.
    #[must_use]
    pub fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerTls>>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let engine = self.clone();
        let config = &engine.inner.config;
        let settings = PortSettings {
            protocols: Protocols::Http1,
            connections_max: config.connections_max,
            header_max: config.header_timeout,
            stop_max: config.drain_timeout,
            tls,
        };
        Box::pin(async move {
            let housekeeping = tokio::spawn(keep_house(engine.clone(), stop.clone()));
            let answering = engine.clone();
            let answer = move |request: PortRequest, _| {
                let engine = answering.clone();
                async move {
                    let span = trace::answering(&request);
                    let response = span.run(answer(&engine, request)).await;
                    trace::answered(&span, &response);
                    response
                }
            };
            serve(listener, settings, stop, answer).await;
            if housekeeping.await.is_err() {
                tracing::error!("the housekeeping of the embedded engine panicked");
            }
            if let Err(error) = engine.flush().await {
                tracing::error!(%error, "the last traffic was not written");
            }
            if let Err(error) = engine.save_key_usage().await {
                tracing::error!(%error, "the last uses of keys were not written");
            }
        })
    }
}

pub(crate) type Answer = Shuttable<Counted<Body>>;

/// Answers one request, counting what moves. Ends it, and then its answer, when the key that
/// signed it opens nothing any more.
pub(crate) async fn answer<B>(engine: &Embedded, request: Request<B>) -> Response<Answer>
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    StdError: From<B::Error>,
{
    let keys = Arc::clone(&engine.inner.keys);
    let changes = keys.watch();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let meter = Arc::new(Meter::new(Arc::clone(&engine.inner.traffic), is_read));
    let response = if is_form(&request) {
        // s3s would gather the whole form in memory before it knows who sends it.
        plain(StatusCode::NOT_IMPLEMENTED)
    } else {
        let received = Arc::clone(&meter);
        let mut request =
            request.map(|body| Body::http_body(Counted::new(body, received, Direction::Received)));
        request.extensions_mut().insert(Arc::clone(&meter));
        let failed = |error| {
            tracing::error!(error = ?error, "a request has no answer");
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        };
        tokio::select! {
            answered = engine.inner.service.call(request) => answered.unwrap_or_else(failed),
            () = keys.until_shut(meter.signer(), changes.clone()) => shut_out(),
        }
    };
    meter.answered(response.status());
    let shut = {
        let meter = Arc::clone(&meter);
        async move { keys.until_shut(meter.signer(), changes).await }
    };
    // A refusal may go out to its end.
    let is_good = response.status().is_success();
    let is_part = is_good && response.headers().contains_key(CONTENT_RANGE);
    let id = engine.inner.index.new_id();
    let mut response = response.map(|body| {
        let body = if is_good { body } else { naming_request(body, &id) };
        Shuttable::new(Counted::new(body, meter, Direction::Sent), is_good.then_some(shut))
    });
    if is_part {
        // s3s says so itself for GET, and not for HEAD.
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    response
}

/// Puts the request's id into a refusal's text too: often it is all that a client shows.
fn naming_request(body: Body, id: &str) -> Body {
    const END: &[u8] = b"</Error>";
    let Some(text) = body.bytes() else { return body };
    let Some(start) = text.strip_suffix(END) else { return body };
    Body::from([start, b"<RequestId>", id.as_bytes(), b"</RequestId>", END].concat())
}

fn is_form<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let form = b"multipart/form-data";
    *request.method() == Method::POST
        && kind.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
}

/// What a client gets whose key was shut while its request ran.
fn shut_out() -> Response<Body> {
    let error = s3_error!(AccessDenied, "the account was suspended, or its key taken away");
    error.to_http_response().unwrap_or_else(|_| plain(StatusCode::FORBIDDEN))
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Flushes traffic, unlinks files, forgets what is old.
async fn keep_house(engine: Embedded, stop: CancellationToken) {
    let mut flush = interval(engine.inner.config.flush_interval);
    let mut gc = interval(GC_INTERVAL);
    let mut forget = interval(FORGET_INTERVAL);
    let mut key_usage = interval(KEY_USAGE_INTERVAL);
    for timer in [&mut flush, &mut gc, &mut forget, &mut key_usage] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = flush.tick() => {
                if let Err(error) = engine.flush().await {
                    tracing::warn!(%error, "traffic was not written; it stays in memory");
                }
            }
            _ = key_usage.tick() => {
                if let Err(error) = engine.save_key_usage().await {
                    tracing::warn!(%error, "uses of keys were not written; they stay in memory");
                }
            }
            _ = gc.tick() => {
                if let Err(error) = engine.collect_garbage().await {
                    tracing::warn!(%error, "files were not unlinked; they are tried again");
                }
            }
            _ = forget.tick() => {
                if let Err(error) = engine.inner.index.forget_old().await {
                    tracing::warn!(%error, "old traffic was not forgotten");
                }
            }
        }
    }
}
