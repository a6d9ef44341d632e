//! The gateway on its port, and what it wants to hear of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use stowage_bus::{Audience, Handler, Subscription};
use stowage_runtime::{PortRequest, PortSettings, Protocols, ServerTls, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::web::Port;

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

    /// Serves until `stop`, then lets calls in flight end, within a bound; by TLS if there is one.
    #[must_use]
    pub fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerTls>>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let gateway = self.clone();
        Box::pin(gateway.serve_until(listener, stop, tls))
    }

    async fn serve_until(self, listener: TcpListener, stop: CancellationToken, tls: Tls) {
        let shared = Arc::clone(&self.port.shared);
        let config = &shared.facade.config;
        let settings = PortSettings {
            protocols: Protocols::Both,
            connections_max: config.connections_max,
            header_max: Duration::from_millis(config.header_read_ms_max),
            stop_max: Duration::from_millis(config.stop_ms_max),
            tls,
        };
        let (checks, reporter) = (shared.checks.clone(), shared.health.clone());
        checks.announce(&reporter).await;
        let reporting = tokio::spawn(checks.report(reporter, stop.clone()));
        let port = self.port;
        let answer =
            move |request: PortRequest, peer| port.clone().answer(request.map(Body::new), peer);
        serve(listener, settings, stop, answer).await;
        reporting.abort();
    }
}

type Tls = Option<Arc<ServerTls>>;
