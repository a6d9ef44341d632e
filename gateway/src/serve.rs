//! The port: connections in, bounded in number and in idleness; HTTP/1 and HTTP/2 told apart by
//! what the client sends first.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use stowage_bus::{Audience, Handler, Subscription};
use stowage_runtime::read_out;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::web::Port;

/// Most calls at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// Longest list of headers that is taken, in bytes.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Time between two looks whether an HTTP/2 client is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Wait after a failed accept: it fails when the process has too many files open.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Events that make the gateway forget tokens.
const KINDS: &[&str] = &["stowage.accounts.token.revoked.v1"];

/// Events that make the gateway forget plans.
const PLAN_KINDS: &[&str] = &["stowage.billing.plan.changed.v1"];

/// The gateway, ready to serve. Cloning is cheap.
#[derive(Clone)]
pub struct Gateway {
    port: Port,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    pub(crate) fn new(port: Port) -> Self {
        Self { port }
    }

    /// Forgets tokens when accounts says that they are revoked. To be subscribed with the bus; it
    /// keeps no inbox, since forgetting twice does no harm.
    #[must_use]
    pub fn token_cache(&self) -> Arc<dyn Handler> {
        Arc::clone(&self.port.shared.facade.identities) as Arc<dyn Handler>
    }

    /// What the gateway wants to hear of: [`token_cache`](Self::token_cache) with its events, and
    /// changes of plans.
    #[must_use]
    pub fn subscriptions(&self) -> [Subscription; 2] {
        let catalogue = Arc::clone(&self.port.shared.facade.catalogue) as Arc<dyn Handler>;
        let audience = Audience::EveryProcess;
        let tokens = self.token_cache();
        [
            Subscription { consumer: "gateway", kinds: KINDS, audience, handler: tokens },
            Subscription {
                consumer: "gateway.plans",
                kinds: PLAN_KINDS,
                audience,
                handler: catalogue,
            },
        ]
    }

    /// Answers one request as if it had come over a connection from `peer`.
    pub async fn answer(&self, request: Request<Body>, peer: IpAddr) -> Response<Body> {
        self.port.clone().answer(request, peer).await
    }

    /// Serves until `stop`, then lets calls in flight end, within a bound.
    #[must_use]
    pub fn serve(&self, listener: TcpListener, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let gateway = self.clone();
        Box::pin(gateway.accept_until(listener, stop))
    }

    async fn accept_until(self, listener: TcpListener, stop: CancellationToken) {
        let config = &self.port.shared.facade.config;
        let places = Arc::new(Semaphore::new(config.connections_max));
        let graceful = GracefulShutdown::new();
        let server = Arc::new(builder(Duration::from_millis(config.header_read_ms_max)));
        let mut connections = JoinSet::new();
        let (checks, reporter) = (self.port.shared.checks.clone(), self.port.shared.health.clone());
        checks.announce(&reporter).await;
        connections.spawn(checks.report(reporter, stop.clone()));
        while let Some((stream, address, place)) =
            stop.run_until_cancelled(accept(&listener, &places)).await
        {
            while connections.try_join_next().is_some() {}
            let connection = Connection {
                port: self.port.clone(),
                server: Arc::clone(&server),
                peer: address.ip(),
                _place: place,
            };
            connections.spawn(connection.run(stream, graceful.watcher()));
        }
        drop(listener);
        let stop_max = Duration::from_millis(config.stop_ms_max);
        if tokio::time::timeout(stop_max, graceful.shutdown()).await.is_err() {
            tracing::warn!("calls were still running when the gateway stopped");
        }
        connections.shutdown().await;
    }
}

type Server = Builder<TokioExecutor>;

fn builder(idle_max: Duration) -> Server {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY);
    builder
}

/// Waits for a place, then for a connection to give it to.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, place),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// One connection, which gives its place back when it ends.
struct Connection {
    port: Port,
    server: Arc<Server>,
    peer: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, watcher: Watcher) {
        // Answers are written whole; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let idle_max = Duration::from_millis(self.port.shared.facade.config.header_read_ms_max);
        let spoke = Arc::new(AtomicBool::new(false));
        let service = {
            let (port, spoke, peer) = (self.port.clone(), Arc::clone(&spoke), self.peer);
            service_fn(move |request: Request<Incoming>| {
                spoke.store(true, Ordering::Relaxed);
                let port = port.clone();
                let answer =
                    read_out(request, move |request| port.answer(request.map(Body::new), peer));
                async move { Ok::<_, Infallible>(answer.await) }
            })
        };
        let serving = self.server.serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(watcher.watch(serving.into_owned()));
        // Until it is known which protocol a client speaks, no timer of that protocol runs.
        let result = match tokio::time::timeout(idle_max, &mut serving).await {
            Ok(result) => result,
            Err(_) if !spoke.load(Ordering::Relaxed) => return,
            Err(_) => serving.await,
        };
        if let Err(error) = result {
            tracing::debug!(error, "a connection ended badly");
        }
    }
}
