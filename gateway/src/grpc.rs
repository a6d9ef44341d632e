//! gRPC and grpc-web, passed through to the roles.
//!
//! The path names the role, so no message is decoded on the way. What is changed is the identity:
//! the caller's token goes out, the assertion of it goes in.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message as _;
use stowage_auth::{ASSERTION_KEY, REQUEST_ID_KEY};
use stowage_proto::accounts::{LoginRequest, LogoutRequest};
use stowage_proto::common::ErrorReason;
use stowage_runtime::status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;

use crate::identity::Identities;
use crate::legacy::catalogue::Catalogue;
use crate::legacy::{Roles, bearer};
use crate::limits::{Attempt, Limits, Refused};
use crate::peer::ClientAddress;

/// Metadata that is ours: whatever a client sends under this prefix does not reach a role.
const INTERNAL_PREFIX: &str = "stowage-";

/// Names the customer an administrator acts for.
const ACT_FOR: &str = "stowage-act-for";

/// Where tokens end; the cache forgets the token that is in the message.
const LOGOUT: &str = "/stowage.accounts.v1.SessionService/Logout";

/// Where keys are tried; failed tries slow down.
const LOGIN: &str = "/stowage.accounts.v1.SessionService/Login";

/// Longest `Login` or `Logout` call that is read for what it names, in bytes.
const SESSION_BYTES_MAX: usize = 64 * 1024;

/// Bytes before a message: whether it is compressed, and its length.
const FRAME_HEAD_BYTES: usize = 5;

/// The gRPC side of the port, without the translation from grpc-web.
#[derive(Clone)]
pub(crate) struct PassThrough {
    inner: Arc<Inner>,
}

/// What a call of the session service names.
enum Named {
    Nothing,
    /// The token that it ends.
    Token(String),
    /// The key that it tries.
    Key(Attempt),
}

struct Inner {
    roles: Roles,
    identities: Arc<Identities>,
    limits: Arc<Limits>,
    catalogue: Arc<Catalogue>,
    /// Health and reflection.
    own: Routes,
}

impl PassThrough {
    pub(crate) fn new(
        roles: Roles,
        identities: Arc<Identities>,
        (limits, catalogue): (Arc<Limits>, Arc<Catalogue>),
        own: Routes,
    ) -> Self {
        Self { inner: Arc::new(Inner { roles, identities, limits, catalogue, own }) }
    }
}

impl Service<Request<Body>> for PassThrough {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.pass(request).await.unwrap_or_else(Status::into_http)) })
    }
}

/// Whether what `list_plans` answered may differ after this call.
fn changes_plans(path: &str) -> bool {
    path.starts_with("/stowage.billing.v1.PlanService/")
        && stowage_proto::method(path).is_some_and(|method| method.mutates)
}

impl Inner {
    async fn pass(&self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        if let Some(refusal) = request.extensions_mut().remove::<Refused>() {
            return Err(refusal.into());
        }
        let channel = match role_of(request.uri().path()) {
            Some("accounts") => &self.roles.accounts,
            Some("storage") => &self.roles.storage,
            Some("billing") => &self.roles.billing,
            Some("metering") => &self.roles.metering,
            _ => {
                let answer = self.own.clone().call(request).await;
                return answer.map_err(|never| match never {});
            }
        };
        let changes_plans = changes_plans(request.uri().path());
        let mut channel = channel.clone();
        let (mut request, named) = self.read_session(request).await?;
        // From grpc-web it may have come over HTTP/1; a connection to a role is HTTP/2.
        *request.version_mut() = Version::HTTP_2;
        self.identify(&mut request).await?;
        let unreachable = |error| {
            // What the transport says names hosts and ports, which are none of the client's.
            let code = Status::from_error(error).code();
            Status::new(code, "the role did not answer")
        };
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(unreachable)?;
        let answer = channel.call(request).await.map_err(unreachable);
        if changes_plans {
            self.catalogue.forget();
        }
        match named {
            Named::Nothing => {}
            Named::Token(token) => self.identities.evict(&token),
            Named::Key(attempt) => self.limits.end_login(attempt, code_of(&answer)),
        }
        answer
    }

    /// If the call is a login or a logout, reads what it names. The call itself goes on unchanged.
    async fn read_session(&self, request: Request<Body>) -> Result<(Request<Body>, Named), Status> {
        let is_login = request.uri().path() == LOGIN;
        if !is_login && request.uri().path() != LOGOUT {
            return Ok((request, Named::Nothing));
        }
        let (parts, body) = request.into_parts();
        let frame = Limited::new(body, SESSION_BYTES_MAX)
            .collect()
            .await
            .map_err(|_| Status::invalid_argument("the message is too long or broke off"))?
            .to_bytes();
        let message = frame.get(FRAME_HEAD_BYTES..).unwrap_or_default();
        let named = if is_login {
            // What cannot be read is no key; accounts will say so.
            let login = LoginRequest::decode(message).unwrap_or_default();
            let address = ClientAddress::of(&parts.extensions);
            Named::Key(self.limits.begin_login(login.api_key.trim(), address)?)
        } else {
            LogoutRequest::decode(message).map_or(Named::Nothing, |m| Named::Token(m.token))
        };
        Ok((Request::from_parts(parts, Body::new(Full::new(frame))), named))
    }

    /// Puts the assertion of the caller's token in the token's place.
    async fn identify(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let address = ClientAddress::of(request.extensions());
        let method = request.uri().path().to_owned();
        let headers = request.headers_mut();
        let act_for = act_for(headers)?;
        let internal: Vec<header::HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with(INTERNAL_PREFIX))
            .cloned()
            .collect();
        for name in internal {
            headers.remove(name);
        }
        let Some(sent) = headers.remove(header::AUTHORIZATION) else { return Ok(()) };
        let token = sent.to_str().ok().and_then(bearer).ok_or_else(no_bearer)?;
        self.limits.take_token(token)?;
        let who = self.identities.resolve(token, address, act_for).await?;
        if act_for > 0 {
            let id = headers.get(REQUEST_ID_KEY).and_then(|id| id.to_str().ok()).unwrap_or("");
            tracing::info!(
                rpc.method = method,
                customer.id = act_for,
                request.id = id,
                "an administrator acts for a customer"
            );
        }
        let assertion = http::HeaderValue::try_from(who.assertion.as_encoded_bytes())
            .map_err(|_| Status::internal("the assertion is not a header"))?;
        headers.insert(ASSERTION_KEY, assertion);
        Ok(())
    }
}

/// `accounts` of `/stowage.accounts.v1.AccountService/GetAccount`.
fn role_of(path: &str) -> Option<&str> {
    let (role, rest) = path.strip_prefix("/stowage.")?.split_once('.')?;
    rest.starts_with("v1.").then_some(role)
}

fn act_for(headers: &HeaderMap) -> Result<i64, Status> {
    let Some(value) = headers.get(ACT_FOR) else { return Ok(0) };
    match value.to_str().map(str::parse) {
        Ok(Ok(id)) if id > 0 => Ok(id),
        _ => Err(Status::new(
            Code::InvalidArgument,
            format!("{ACT_FOR} is not the number of a customer"),
        )),
    }
}

fn no_bearer() -> Status {
    let message = "authorization is not a bearer token";
    status(Code::Unauthenticated, ErrorReason::TokenInvalid, message).build()
}

/// What a role said, as far as its head tells: a failure is told there.
fn code_of(answer: &Result<Response<Body>, Status>) -> Code {
    match answer {
        Ok(response) => Status::from_header_map(response.headers()).map_or(Code::Ok, |s| s.code()),
        Err(status) => status.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_role() {
        for (path, role) in [
            ("/stowage.accounts.v1.AccountService/GetAccount", Some("accounts")),
            ("/stowage.metering.v1.UsageService/RankAccounts", Some("metering")),
            ("/stowage.nobody.v1.X/Y", Some("nobody")),
            ("/stowage.accounts.v2.X/Y", None),
            ("/stowage.accounts", None),
            ("/grpc.health.v1.Health/Check", None),
        ] {
            assert_eq!(role_of(path), role, "{path}");
        }
    }

    #[test]
    fn a_customer_to_act_for_is_a_positive_number() {
        for (value, good) in [("1001", true), ("0", false), ("-1", false), ("x", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(ACT_FOR, value.parse().unwrap());
            assert_eq!(act_for(&headers).is_ok(), good, "{value}");
        }
        assert_eq!(act_for(&HeaderMap::new()).unwrap(), 0);
    }
}
