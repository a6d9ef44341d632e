//! The channel through which a role is called.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _};

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A role, in this process or elsewhere. Generated clients are made over it:
/// `PlanServiceClient::new(channel.clone())`. Cloning is cheap.
#[derive(Clone)]
pub struct RoleChannel(Inner);

impl std::fmt::Debug for RoleChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoleChannel")
    }
}

impl RoleChannel {
    /// Wraps a server, or a `tonic::transport::Channel`.
    pub fn new<S, E>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = E>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self(BoxCloneSyncService::new(service.map_err(Into::into)))
    }

    /// Puts `layer` around this channel: it gets each request and what to pass it on to.
    #[must_use]
    pub fn layered<F, R>(self, layer: F) -> Self
    where
        F: Fn(Request<Body>, Next) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        Self::new(tower::service_fn(move |request| layer(request, Next(self.clone()))))
    }
}

impl Service<Request<Body>> for RoleChannel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

/// The rest of the stack below a layer.
#[derive(Debug)]
pub struct Next(RoleChannel);

impl Next {
    /// Passes the request on.
    ///
    /// # Errors
    /// What the transport says; a server's own errors are answers.
    pub async fn run(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        self.0.oneshot(request).await
    }
}
