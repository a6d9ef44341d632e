//! A client of the HTTP facade that shows answers as they are.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const FORM: &str = "application/x-www-form-urlencoded";

/// A client of one server, over HTTP/1.1 with kept connections.
#[derive(Debug, Clone)]
pub struct Facade {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Facade {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address }
    }

    /// Sends a request whose URI is a path, with a query or without.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn try_send(&self, mut request: Request<Bytes>) -> Result<Answer, String> {
        let uri = format!("http://{}{}", self.address, request.uri());
        *request.uri_mut() = uri.parse().map_err(|error| format!("{uri}: {error}"))?;
        let answer = self
            .client
            .request(request.map(Full::new))
            .await
            .map_err(|error| format!("{uri}: {error:?}"))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("{uri}: {error:?}"))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    /// Like [`Self::try_send`].
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.expect("the server answers")
    }

    /// GET with the parameters in the query.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let query = encoded(parameters);
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.send(request(Method::GET, &uri, None, Bytes::new())).await
    }

    /// POST with the parameters as a form.
    pub async fn form(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let body = Bytes::from(encoded(parameters));
        self.send(request(Method::POST, path, Some(FORM), body)).await
    }

    /// POST with the parameters as a JSON object.
    pub async fn json(&self, path: &str, parameters: &Value) -> Answer {
        let body = Bytes::from(parameters.to_string());
        self.send(request(Method::POST, path, Some("application/json"), body)).await
    }

    /// Does an action as existing clients do it: a form to `/s3/<action>`, the token in it.
    pub async fn action(&self, action: &str, token: &str, parameters: &[(&str, &str)]) -> Answer {
        let all = [&[("action", action), ("token", token)], parameters].concat();
        self.form(&format!("/s3/{action}"), &all).await
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    /// The payload of a success.
    ///
    /// # Panics
    /// When it is a failure; the message has the answer.
    pub fn success(&self) -> Value {
        let value = self.value();
        let is_success = self.status == StatusCode::OK && value["result"] == "OK";
        assert!(is_success, "not a success: {}", self.text());
        value
    }

    /// The `message` of a failure of business.
    ///
    /// # Panics
    /// When it is no such failure; the message has the answer.
    pub fn failure(&self) -> String {
        let value = self.value();
        let is_failure = value["code"] == -1 && value["result"] == -1;
        assert!(is_failure, "not a failure: {}", self.text());
        assert_eq!(value["message"], value["error"], "{}", self.text());
        value["message"].as_str().unwrap_or_default().to_owned()
    }
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn request(method: Method, uri: &str, kind: Option<&str>, body: Bytes) -> Request<Bytes> {
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(kind) = kind {
        builder = builder.header(header::CONTENT_TYPE, kind);
    }
    builder.body(body).expect("a path and a content type of ours make a request")
}
