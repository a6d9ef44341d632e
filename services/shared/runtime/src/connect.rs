//! Connections to other roles, in the clear or by TLS.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::stream::ClientStream;
use crate::tls::ClientTls;

/// Longest time for a connection and its handshake.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Makes connections.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    tls: Option<Arc<ClientTls>>,
}

impl Connector {
    pub(crate) fn new(tls: Option<Arc<ClientTls>>) -> Self {
        Self { tls }
    }

    async fn connect(self, uri: Uri) -> io::Result<ClientStream> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "not a host and a port");
        let host = uri.host().ok_or_else(malformed)?;
        let port = uri.port_u16().ok_or_else(malformed)?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, port)).await?;
        stream.set_nodelay(true)?;
        match (uri.scheme() == Some(&Scheme::HTTPS), &self.tls) {
            (false, _) => Ok(ClientStream::Plain(TokioIo::new(stream))),
            (true, None) => Err(io::Error::new(io::ErrorKind::Unsupported, "TLS is not set up")),
            (true, Some(tls)) => {
                Ok(ClientStream::Tls(Box::new(TokioIo::new(tls.connect(host, stream).await?))))
            }
        }
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
        let connecting = tokio::time::timeout(CONNECT_MAX, self.clone().connect(uri));
        Box::pin(async { connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) })
    }
}

/// Whether an error says that the server has turned the stream away before it began. RFC 9113, 8.7.
///
/// `GOAWAY` would say so, too, of streams behind the last that it names. But it was seen on calls
/// that had been executed, when their server closed in that moment; so it is not believed.
pub(crate) fn is_http2_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        next = error.source();
    }
    false
}
