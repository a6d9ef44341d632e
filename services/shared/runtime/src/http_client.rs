//! Calls of servers that are not ours: billing systems, receivers of webhooks.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::channel::BoxError;
use crate::stream::ClientStream;
use crate::tls::read_roots;

/// Connections to a server that are kept open for the next call.
const IDLE_MAX: usize = 16;
/// How long they are kept: less than web servers usually wait.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);

/// A client whose connections all calls share. Follows no redirect.
#[derive(Clone)]
pub struct HttpClient(Client<Connector, Full<Bytes>>);

impl HttpClient {
    /// Trusts the authorities in a file, or those of the system. No connection is made yet.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn new(ca: Option<&Path>, connect_timeout: Duration) -> Result<Self, BoxError> {
        let tls = Arc::new(tls(ca)?);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE_TIME_MAX);
        builder.pool_timer(TokioTimer::new());
        Ok(Self(builder.build(Connector { tls, timeout: connect_timeout })))
    }

    /// Sends a request. The caller bounds its time, and what is read of the answer.
    ///
    /// # Errors
    /// Nobody is there, or the connection broke. Only after one that
    /// [is of the connection](Error::is_connect) it is certain that no byte was sent.
    pub async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        self.0.request(request).await
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// Makes connections.
#[derive(Clone)]
struct Connector {
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Connector {
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
        let stream = TlsConnector::from(self.tls).connect(name, stream).await?;
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

/// TLS with a server whose certificate is of an authority in the file, or of one that the system
/// trusts.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, BoxError> {
    let roots = match ca {
        Some(path) => read_roots(path)?,
        // One that cannot be read is no reason to do without the others.
        None => {
            let mut roots = RootCertStore::empty();
            let certificates = rustls_native_certs::load_native_certs().certs;
            let _ = roots.add_parsable_certificates(certificates);
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
