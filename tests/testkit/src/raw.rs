//! gRPC calls by path and bytes, for tests that walk over all methods.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::stream;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::Caller;

/// Headers of a call, by name.
pub type Headers = [(&'static str, String)];

/// A port that speaks gRPC, called with headers of the test's own.
#[derive(Debug, Clone)]
pub struct Door(Channel);

impl Door {
    /// The port at this address. Nothing is sent before the first call.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        Self(endpoint.expect("a socket address makes a URL").connect_lazy())
    }

    /// Calls the method at `path` with an encoded message, and returns the encoded answer.
    ///
    /// # Errors
    /// What the method answers.
    ///
    /// # Panics
    /// When the port cannot be reached, or a header's value is not one.
    pub async fn call(
        &self,
        headers: &Headers,
        path: &str,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.expect("the port can be reached");
        let mut request = Request::new(message);
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().expect("a header's value"));
        }
        Ok(grpc.unary(request, path_of(path), Raw).await?.into_inner())
    }
}

/// Passes messages on as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls the method at `path` with an encoded message, and returns the encoded answer.
///
/// # Errors
/// What the method answers.
///
/// # Panics
/// When the server cannot be reached.
pub async fn call_raw(caller: &Caller, path: &str, message: Bytes) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(caller.clone());
    grpc.ready().await.expect("the server can be reached");
    let answer = grpc.unary(Request::new(message), path_of(path), Raw).await?;
    Ok(answer.into_inner())
}

/// Calls a method that streams both ways with one message, and returns the first answer.
///
/// # Errors
/// What the method answers.
///
/// # Panics
/// When the server cannot be reached.
pub async fn stream_raw(caller: &Caller, path: &str, message: Bytes) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(caller.clone());
    grpc.ready().await.expect("the server can be reached");
    let messages = Request::new(stream::iter([message]));
    let mut answers = grpc.streaming(messages, path_of(path), Raw).await?.into_inner();
    let first = answers.message().await?;
    first.ok_or_else(|| Status::unknown("the stream ended without an answer"))
}

fn path_of(path: &str) -> PathAndQuery {
    path.parse().expect("a method's path is a path")
}

/// Why the access layer turned a call away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `UNAUTHENTICATED` / `TOKEN_INVALID`.
    TokenInvalid,
    /// `PERMISSION_DENIED` / `ROLE_NOT_ALLOWED`.
    RoleNotAllowed,
}

impl Refusal {
    /// Whether `status` is a refusal of the access layer; an API key that is not valid is none.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        match (status.code(), reason) {
            (tonic::Code::Unauthenticated, Some("API_KEY_INVALID")) => None,
            (tonic::Code::Unauthenticated, _) => Some(Self::TokenInvalid),
            (tonic::Code::PermissionDenied, _) => Some(Self::RoleNotAllowed),
            _ => None,
        }
    }
}
