//! A role at the edge of these tests: real layers, real gRPC, and a closure for each method.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use stowage_auth::{RequestContext, Verifier};
use stowage_runtime::{RoleChannel, StackConfig, role_stack};
use tonic::service::Routes;
use tonic::{Code, Status};

type Method = Arc<dyn Fn(&RequestContext, Bytes) -> Result<Vec<u8>, Status> + Send + Sync>;

/// A role being put together.
#[derive(Default)]
pub(crate) struct Double {
    methods: HashMap<String, Method>,
}

impl Double {
    /// Answers `AccountService/GetAccount`.
    pub(crate) fn on<Q, A>(
        mut self,
        role: &str,
        method: &str,
        answer: impl Fn(&RequestContext, Q) -> Result<A, Status> + Send + Sync + 'static,
    ) -> Self
    where
        Q: Message + Default,
        A: Message,
    {
        let path = format!("/stowage.{role}.v1.{method}");
        assert!(stowage_proto::method(&path).is_some(), "{path} is not in the contracts");
        let method = move |cx: &RequestContext, bytes: Bytes| {
            let message = Q::decode(bytes).map_err(|e| Status::internal(e.to_string()))?;
            Ok(answer(cx, message)?.encode_to_vec())
        };
        self.methods.insert(path, Arc::new(method));
        self
    }

    /// The role behind its layers.
    pub(crate) fn channel(self, role: &'static str, verifier: Verifier) -> RoleChannel {
        let methods = Arc::new(self.methods);
        let router = Router::new().fallback(move |request: Request| {
            let methods = Arc::clone(&methods);
            async move { serve(&methods, request).await.unwrap_or_else(Status::into_http) }
        });
        let stack = StackConfig { role, verifier, call_timeout: Duration::from_secs(30) };
        role_stack(Routes::from(router), stack)
    }
}

async fn serve(methods: &HashMap<String, Method>, request: Request) -> Result<Response, Status> {
    let method = methods
        .get(request.uri().path())
        .ok_or_else(|| Status::unimplemented("the double has no such method"))?;
    let cx = request
        .extensions()
        .get::<RequestContext>()
        .cloned()
        .ok_or_else(|| Status::internal("no context"))?;
    let frame = request.into_body().collect().await.map_err(|_| Status::internal("body"))?;
    let frame = frame.to_bytes();
    if frame.len() < 5 {
        return Err(Status::new(Code::InvalidArgument, "no message"));
    }
    let answer = method(&cx, frame.slice(5..))?;
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(answer.len()).unwrap());
    out.put_slice(&answer);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(out.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}
