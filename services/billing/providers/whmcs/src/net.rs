//! HTTP.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use stowage_provider::BoxError;
use stowage_runtime::HttpClient;

use crate::fault::{Fault, GivenUp};

/// Longest answer that is read: a page of a hundred invoices is below a hundredth of it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A client whose connections all calls share.
#[derive(Debug)]
pub(crate) struct Net(HttpClient);

impl Net {
    /// Fails early if the authorities cannot be read. No connection is made yet.
    pub(crate) fn new(ca: Option<PathBuf>, timeout: Duration) -> Result<Self, BoxError> {
        Ok(Self(HttpClient::new(ca.as_deref(), timeout)?))
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
