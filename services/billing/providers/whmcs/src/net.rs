//! HTTP and TLS.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stowage_provider::BoxError;
use stowage_runtime::ClientStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::fault::{Fault, GivenUp};

/// Connections that are kept open for the next call.
const IDLE_MAX: usize = 16;
/// How long they are kept: less than web servers before PHP usually wait.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// Longest answer that is read: a page of a hundred invoices is below a hundredth of it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A client whose connections all calls share.
pub(crate) struct Net(Client<Connector, Full<Bytes>>);

impl Net {
    /// Fails early if the authorities cannot be read. No connection is made yet.
    pub(crate) fn new(ca: Option<PathBuf>, timeout: Duration) -> Result<Self, BoxError> {
        let tls = Arc::new(tls(ca.as_deref())?);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE_TIME_MAX);
        builder.pool_timer(TokioTimer::new());
        Ok(Self(builder.build(Connector { tls, timeout })))
    }

    /// Asks, and reads the answer.
    pub(crate) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| {
                // Only then is it certain that no byte of it was sent.
                if error.is_connect() { Fault::away(error) } else { Fault::lost(error) }
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            Ok((status, body.collect().await.map_err(Fault::Lost)?.to_bytes()))
        };
        let in_time = tokio::time::timeout(timeout, exchange).await;
        in_time.unwrap_or_else(|_| Err(Fault::lost(GivenUp)))
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
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
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err("there is no certificate of an authority".into());
            }
        }
        // One that cannot be read is no reason to do without the others.
        None => {
            let certificates = rustls_native_certs::load_native_certs().certs;
            let _ = roots.add_parsable_certificates(certificates);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
