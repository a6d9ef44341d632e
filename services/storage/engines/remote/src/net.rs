//! HTTP, for a server's administration and for the S3 library alike.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::authorities::Authorities;
use crate::endpoint::endpoint_of;
use crate::fault::Fault;
use crate::stream::Connector;

/// Connections that are kept open for the next call.
const IDLE_MAX: usize = 16;
/// More than any server says to who asks for nothing.
const GREETING_BYTES_MAX: usize = 64 * 1024;

/// Asks a server for its first page as nobody. Whatever it answers, there is one that speaks HTTP,
/// and its certificate is of an authority that is trusted.
///
/// # Errors
/// [`Fault::Failed`]: there was no answer in time.
pub async fn check_answers(
    endpoint: &str,
    authorities: Authorities,
    timeout: Duration,
) -> Result<(), Fault> {
    let endpoint = endpoint_of(endpoint).map_err(Fault::failed)?;
    let connector = Connector::new(authorities, [&endpoint; 2], timeout).map_err(Fault::failed)?;
    let request = Request::get(format!("{endpoint}/")).body(SdkBody::empty());
    let request = request.map_err(Fault::failed)?;
    Net::new(connector).ask(request, timeout, GREETING_BYTES_MAX).await.map(drop)
}

/// A client whose connections all calls share.
#[derive(Clone)]
pub struct Net(Client<Connector, SdkBody>);

impl Net {
    /// No connection is made yet.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_MAX).pool_timer(TokioTimer::new());
        Self(builder.build(connector))
    }

    /// The same, as the S3 library wants it. Timeouts are those of its operations.
    #[must_use]
    pub fn for_sdk(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// Asks, and reads an answer of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`Fault::Failed`]: there was none in time, or it is longer.
    pub async fn ask(
        &self,
        request: Request<SdkBody>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(Fault::failed)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), bytes_max);
            Ok((status, body.collect().await.map_err(Fault::Failed)?.to_bytes()))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(Fault::failed("the call takes too long")))
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()));
        let answered = self.0.request(request?).await;
        let answer = answered.map_err(|error| ConnectorError::io(error.into()))?;
        let answer = HttpResponse::try_from(answer.map(SdkBody::from_body_1_x));
        answer.map_err(|error| ConnectorError::other(error.into(), None))
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

impl HttpConnector for Net {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}
