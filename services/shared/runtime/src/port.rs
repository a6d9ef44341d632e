//! A port: connections in, bounded in number and in idleness, in the clear or by TLS; HTTP/1 and
//! HTTP/2 told apart by what the client sends first; an orderly end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BoxError;
use crate::linger::Lent;
use crate::tls::ServerTls;
use crate::unread::{Kept, read_out};

/// Most calls at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Longest list of headers that is taken over HTTP/2, in bytes.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Time between two looks whether an HTTP/2 client is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Wait after a failed accept: it fails when the process has too many files open.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Which protocols a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1 alone.
    Http1,
    /// HTTP/1 and HTTP/2.
    Both,
}

/// Bounds of a port.
#[derive(Debug, Clone)]
pub struct PortSettings {
    /// What it speaks.
    pub protocols: Protocols,
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Longest time for a TLS handshake and for the head of a request, which is also how long an
    /// HTTP/1 connection may be idle.
    pub header_max: Duration,
    /// Longest time that calls in flight get when the port is closed.
    pub stop_max: Duration,
    /// Absent: in the clear.
    pub tls: Option<Arc<ServerTls>>,
}

/// A request as it comes over a port.
pub type PortRequest = Request<Kept<Incoming>>;

/// Serves on `listener` until `stop`, then lets calls in flight end, within a bound. What a call
/// leaves of its body is read out ([`read_out`]).
pub async fn serve<F, R, B>(
    listener: TcpListener,
    settings: PortSettings,
    stop: CancellationToken,
    answer: F,
) where
    F: Fn(PortRequest, IpAddr) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let graceful = GracefulShutdown::new();
    let (tracker, cut) = (TaskTracker::new(), CancellationToken::new());
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let stop_max = settings.stop_max;
    let port = Arc::new(Port { builder: builder(&settings), settings, answer });
    while let Some((stream, address, place)) =
        stop.run_until_cancelled(accept(&listener, &places)).await
    {
        // The watcher is made here: one that came later would not hear of the end.
        let serving = Arc::clone(&port).connection(stream, address.ip(), graceful.watcher());
        let cut = cut.clone();
        tracker.spawn(async move {
            let _: Option<()> = cut.run_until_cancelled(serving).await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(stop_max, graceful.shutdown()).await.is_err() {
        tracing::warn!("calls were still running when their port was closed");
    }
    cut.cancel();
    tracker.close();
    tracker.wait().await;
}

struct Port<F> {
    settings: PortSettings,
    builder: Builder<TokioExecutor>,
    answer: F,
}

fn builder(settings: &PortSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY);
    match settings.protocols {
        Protocols::Http1 => builder.http1_only(),
        Protocols::Both => builder,
    }
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

impl<F, R, B> Port<F>
where
    F: Fn(PortRequest, IpAddr) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        // Answers are written whole; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.settings.tls else {
            return self.speak(stream, peer, watcher).await;
        };
        // Boxed, as what follows is, so that connections in the clear have no room for TLS.
        let handshake = Box::pin(tls.accept(stream));
        match tokio::time::timeout(self.settings.header_max, handshake).await {
            Ok(Ok(stream)) => Box::pin(self.speak(stream, peer, watcher)).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        }
    }

    async fn speak<S>(
        &self,
        stream: S,
        peer: IpAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let spoke = Arc::new(AtomicBool::new(false));
        let service = {
            let (answer, spoke) = (self.answer.clone(), Arc::clone(&spoke));
            service_fn(move |request: Request<Incoming>| {
                spoke.store(true, Ordering::Relaxed);
                let answer = answer.clone();
                let answered = read_out(request, move |request| answer(request, peer));
                // A connection has room for one of these as long as it is open.
                Box::pin(async move { Ok::<_, Infallible>(answered.await) })
            })
        };
        let (stream, ended) = Lent::new(stream);
        let serving = self.builder.serve_connection(TokioIo::new(stream), service);
        let result = {
            // Else whoever holds this future has room for each place that it is moved to.
            let mut serving = Box::pin(watcher.watch(serving.into_owned()));
            // Until it is known which protocol a client speaks, no timer of that protocol runs.
            match tokio::time::timeout(self.settings.header_max, &mut serving).await {
                Ok(result) => result,
                Err(_) if !spoke.load(Ordering::Relaxed) => return,
                Err(_) => serving.await,
            }
        };
        match result {
            // Boxed for the same reason: it holds what it reads.
            Ok(()) => Box::pin(ended.linger()).await,
            Err(error) => tracing::debug!(error, "a connection ended badly"),
        }
    }
}
