//! The S3 endpoint: connections, counting, housekeeping, an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::{Body, s3_error};
use stowage_runtime::{Kept, read_out};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::embedded::Embedded;
use crate::shut::Shuttable;
use crate::traffic::{Counted, Direction, Meter};

/// How often files that nothing needs are unlinked.
const GC_INTERVAL: Duration = Duration::from_secs(2);
/// How often old traffic is forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// How often it is written down when keys were used: what a crash loses at most.
const KEY_USAGE_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after the listener failed, for want of file handles say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Embedded {
    /// Serves S3 on the listener until `stop`, then lets running requests come to their end
    /// within `drain_timeout` and writes the last traffic down. Does the housekeeping meanwhile.
    #[must_use]
    pub fn serve(&self, listener: TcpListener, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let engine = self.clone();
        Box::pin(async move {
            let housekeeping = tokio::spawn(keep_house(engine.clone(), stop.clone()));
            accept(&engine, listener, stop).await;
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

type Answer = Shuttable<Counted<Body>>;

/// Accepts connections, and drains them at the end.
async fn accept(engine: &Embedded, listener: TcpListener, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let connections = Connections { tracker: TaskTracker::new(), cut: CancellationToken::new() };
    let places = Arc::new(Semaphore::new(engine.inner.config.connections_max));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = serve_connection(engine, stream, &graceful);
                connections.spawn(serving, place);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(engine.inner.config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests are cut off at shutdown");
    }
    connections.cut.cancel();
    connections.tracker.close();
    connections.tracker.wait().await;
}

/// The connections that are served.
struct Connections {
    tracker: TaskTracker,
    /// Ends those that outlast the shutdown.
    cut: CancellationToken,
}

impl Connections {
    fn spawn(&self, serving: BoxFuture<'static, ()>, place: OwnedSemaphorePermit) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }
}

fn serve_connection(
    engine: &Embedded,
    stream: TcpStream,
    graceful: &GracefulShutdown,
) -> BoxFuture<'static, ()> {
    // Answers in several small writes would wait for each other otherwise.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(engine.inner.config.header_timeout);
    let handler = engine.clone();
    let service = service_fn(move |request| {
        let engine = handler.clone();
        let answer = read_out(request, async move |request| answer(&engine, request).await);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    Box::pin(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    })
}

/// Answers one request, counting what moves. Ends it, and then its answer, when the key that
/// signed it opens nothing any more.
async fn answer(engine: &Embedded, request: Request<Kept<Incoming>>) -> Response<Answer> {
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
    let shut = {
        let meter = Arc::clone(&meter);
        async move { keys.until_shut(meter.signer(), changes).await }
    };
    // A refusal may go out to its end.
    let is_good = response.status().is_success();
    let mut response = response.map(|body| {
        Shuttable::new(Counted::new(body, meter, Direction::Sent), is_good.then_some(shut))
    });
    if let Ok(id) = HeaderValue::from_str(&engine.inner.index.new_id()) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    response
}

fn is_form(request: &Request<Kept<Incoming>>) -> bool {
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
