//! Connections, in the clear or by TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stowage_engine::BoxError;
use stowage_runtime::ClientStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::endpoint::OpenError;

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    ca: Option<Arc<PathBuf>>,
    timeout: Duration,
}

impl Connector {
    /// Fails early if the authorities cannot be read. They are read again with each connection, so
    /// that they can be renewed.
    pub fn new(
        ca: Option<PathBuf>,
        endpoints: [&str; 2],
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        if endpoints.iter().any(|endpoint| endpoint.starts_with("https:")) {
            tls_config(ca.as_deref()).map_err(|source| OpenError::Authorities { source })?;
        }
        Ok(Self { ca: ca.map(Arc::new), timeout })
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
        let config = tls_config(self.ca.as_deref().map(PathBuf::as_path));
        let config = config.map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(ClientStream::Tls(Box::new(TokioIo::new(stream))))
    }
}

fn tls_config(ca: Option<&Path>) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
        }
        // One that cannot be read is no reason to do without the others.
        None => {
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no certificate of an authority".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
