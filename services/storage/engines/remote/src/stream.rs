//! Connections, in the clear or by TLS.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use stowage_runtime::ClientStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::authorities::Authorities;
use crate::endpoint::OpenError;

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    authorities: Authorities,
    timeout: Duration,
}

impl Connector {
    /// Fails early if the authorities cannot be read. They are read again with each connection, so
    /// that they can be renewed.
    pub fn new(
        authorities: impl Into<Authorities>,
        endpoints: [&str; 2],
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let authorities = authorities.into();
        if endpoints.iter().any(|endpoint| endpoint.starts_with("https:")) {
            authorities.tls().map_err(|source| OpenError::Authorities { source })?;
        }
        Ok(Self { authorities, timeout })
    }

    async fn connect(self, uri: Uri) -> io::Result<ClientStream> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "not a host");
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or_else(malformed)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(ClientStream::Plain(TokioIo::new(stream)));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| malformed())?;
        let config = self.authorities.tls().map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(ClientStream::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl Service<Uri> for Connector {
    type Response = ClientStream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<ClientStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.clone().connect(uri));
        Box::pin(async { connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) })
    }
}
