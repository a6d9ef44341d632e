//! The port: connections in and out, and an orderly end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use stowage_engine_remote::{Connector, OpenError, endpoint_of};
use stowage_runtime::{PortRequest, PortSettings, Protocols, ServerTls, serve};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::counts::Counts;
use crate::exchange::{LINGERING_MAX, answer};
use crate::options::FrontOptions;
use crate::upload::Upload;

/// Connections to the engine that are kept open for the next request.
const IDLE_MAX: usize = 256;
/// How long they are: engines close theirs after 30 s and more, and a request that meets the end of
/// one would be lost.
const IDLE_FOR: Duration = Duration::from_secs(15);
/// Longest time that the last counts get to be written.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A metering front before the S3 of one location.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: FrontOptions,
    /// The engine's, without a path.
    pub(crate) base: Uri,
    pub(crate) client: Client<Connector, Upload>,
    pub(crate) counts: Arc<Counts>,
    /// Places for requests whose client went away.
    pub(crate) lingering: Arc<Semaphore>,
    /// They are waited for no longer.
    pub(crate) ending: CancellationToken,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.0.counts.location();
        f.debug_struct("Front").field("location", location).finish_non_exhaustive()
    }
}

impl Front {
    /// A front that counts into `counts`. No connection is made yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(options: FrontOptions, counts: Arc<Counts>) -> Result<Self, OpenError> {
        let endpoint = endpoint_of(&options.s3_endpoint)?;
        let ca = options.ca.clone();
        let connector = Connector::new(ca, [&endpoint; 2], options.connect_timeout)?;
        let base = Uri::try_from(&endpoint).map_err(|_| OpenError::Endpoint { endpoint })?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(TokioTimer::new());
        let (client, lingering) = (builder.build(connector), Semaphore::new(LINGERING_MAX));
        let lingering = Arc::new(lingering);
        let ending = CancellationToken::new();
        Ok(Self(Arc::new(Inner { options, base, client, counts, lingering, ending })))
    }

    /// Serves on the listener until `stop`, then lets running requests come to their end, within
    /// `drain_timeout`, and the last counts be written by whoever writes them. By TLS if there is
    /// one.
    #[must_use]
    pub fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerTls>>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let front = Arc::clone(&self.0);
        let settings = PortSettings {
            protocols: Protocols::Http1,
            connections_max: front.options.connections_max,
            header_max: front.options.header_timeout,
            stop_max: front.options.drain_timeout,
            tls,
        };
        Box::pin(async move {
            let answering = Arc::clone(&front);
            let answer = move |request: PortRequest, _| {
                let front = Arc::clone(&answering);
                async move { answer(&front, request).await }
            };
            serve(listener, settings, stop, answer).await;
            front.ending.cancel();
            let all = u32::try_from(LINGERING_MAX).unwrap_or(u32::MAX);
            let _: Result<_, _> = front.lingering.acquire_many(all).await;
            if !front.counts.drain(DRAIN_MAX).await {
                let location = &**front.counts.location();
                tracing::error!(location, "the last traffic was not written, and is lost");
            }
        })
    }
}
