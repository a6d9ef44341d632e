//! The HTTP/JSON facade: what existing clients send and read.
//!
//! One request goes through: parser → action → method → token → `id` → parameters → handler →
//! envelope. Whatever fails, fails with an envelope. Nothing is executed before the token is known
//! to be good.

mod actions;
mod answers;
mod call;
pub(crate) mod catalogue;
mod envelope;
mod errors;
mod login;
pub(crate) mod openapi;
mod params;
mod request;
mod schema;
mod table;
mod units;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use stowage_proto::common::{ErrorReason, PrincipalRole};
use tokio::time::Instant;

use call::Call;
pub(crate) use call::{Facade, Roles};
pub(crate) use envelope::json as json_response;
use errors::Failure;
use params::IDEMPOTENCY_KEY;
pub(crate) use request::parse;
use request::{Params, Refusal};
pub(crate) use table::ACTIONS;
use table::{Action, IdMeans};

use crate::identity::Identity;
use crate::json::Object;
use crate::limits::Refused;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/s3/<action>`: the path decides.
    S3(&'a str),
    /// `/s3.php`: the parameter `action` decides.
    S3Php,
    /// `/auth.php`: likewise.
    AuthPhp,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The client's address, behind any trusted proxy.
    pub(crate) address: IpAddr,
    pub(crate) request_id: &'a str,
}

/// A request, read.
pub(crate) struct Incoming<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) params: Params,
    pub(crate) address: IpAddr,
    pub(crate) request_id: &'a str,
    pub(crate) deadline: Instant,
}

impl Facade {
    /// Answers a request, whatever it is.
    pub(crate) async fn answer(
        &self,
        route: Route<'_>,
        request: Request<Body>,
        origin: Origin<'_>,
    ) -> Response {
        let request_id = origin.request_id;
        let work = AssertUnwindSafe(self.run(route, request, origin));
        let (label, result) = match work.catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(request.id = request_id, "the facade panicked");
                ("panic", Err(Failure::internal()))
            }
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(failure) if failure.status == StatusCode::OK => "refused",
            Err(_) => "failed",
        };
        metrics::counter!(
            "stowage_gateway_facade_calls_total", "action" => label, "outcome" => outcome
        )
        .increment(1);
        stowage_trace::set_on_current("stowage.action", label);
        stowage_trace::set_on_current("stowage.outcome", outcome);
        match result {
            Ok(body) => envelope::json(StatusCode::OK, &body),
            Err(failure) => envelope::failure(&failure, request_id),
        }
    }

    async fn run(
        &self,
        route: Route<'_>,
        request: Request<Body>,
        Origin { address, request_id }: Origin<'_>,
    ) -> (&'static str, Result<Object, Failure>) {
        let deadline = Instant::now() + self.config.call_time();
        let (parts, body) = request.into_parts();
        let params = match tokio::time::timeout_at(deadline, self.read(&parts, body)).await {
            Ok(Ok(params)) => params,
            Ok(Err(failure)) => return ("unread", Err(failure)),
            Err(_) => return ("unread", Err(Failure::business("the request came too slowly"))),
        };
        let incoming = Incoming { parts: &parts, params, address, request_id, deadline };
        let named = incoming.params.get("action").unwrap_or_default();
        let name = match route {
            Route::AuthPhp => return self.answer_login(&incoming).await,
            Route::S3(name) => name,
            Route::S3Php if named == "get_user_info" => "get_buckets_rmq",
            Route::S3Php => named,
        };
        let Some(action) = table::find(name) else {
            return ("unknown", Err(unknown_action(name, &parts.method)));
        };
        let result = self.perform(action, &incoming).await;
        (action.name, result.map_err(|failure| errors::reword(action.name, action.writes, failure)))
    }

    async fn read(&self, parts: &Parts, body: Body) -> Result<Params, Failure> {
        let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "request body too large");
        // A client that says its length first is answered before it sends the rest.
        if body.size_hint().lower() > self.config.body_bytes_max as u64 {
            return Err(too_large());
        }
        let bytes = match Limited::new(body, self.config.body_bytes_max).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
            // The client broke off; nobody reads this.
            Err(_) => Bytes::new(),
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        parse(parts.uri.query(), content_type, bytes).await.map_err(|refusal| match refusal {
            Refusal::Malformed(why) => Failure::invalid("body", why),
            Refusal::UnknownType => {
                Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content type")
            }
        })
    }

    async fn perform(
        &self,
        action: &'static Action,
        incoming: &Incoming<'_>,
    ) -> Result<Object, Failure> {
        if !action.takes(&incoming.parts.method) {
            return Err(method_not_allowed(action.allow()));
        }
        let token = self.token(incoming)?;
        let who = self.identify(action, incoming, &token).await?;
        action.validate(&incoming.params)?;
        let call = Call {
            facade: self,
            action,
            params: &incoming.params,
            who,
            request_id: incoming.request_id,
            deadline: incoming.deadline,
            idempotency_key: idempotency_key(action, incoming)?,
        };
        let work = (action.handler)(&call);
        let payload = match tokio::time::timeout_at(incoming.deadline, work).await {
            Ok(payload) => payload?,
            Err(_) => return Err(Failure::unclear()),
        };
        Ok(envelope::success(action.name, payload))
    }

    /// The token sent: as a parameter, else in a header. It is not known to be good, only that it
    /// is not sent too often.
    fn token(&self, incoming: &Incoming<'_>) -> Result<String, Failure> {
        if self.config.refuse_tokens_in_urls && incoming.params.is_in_url("token") {
            return Err(Failure::invalid("token", "tokens are not taken from URLs here"));
        }
        let header = |name: &str| incoming.parts.headers.get(name)?.to_str().ok();
        let token = incoming
            .params
            .get("token")
            .or_else(|| bearer(header("authorization")?))
            .or_else(|| header("x-auth-token"))
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty())
            .ok_or_else(Failure::invalid_token)?;
        self.limits.take_token(&token)?;
        Ok(token)
    }

    /// Who the call acts as, and for whom.
    ///
    /// `id` is an administrator's to use. A customer may name himself; any other id that he names
    /// is a customer that is not there.
    async fn identify(
        &self,
        action: &Action,
        incoming: &Incoming<'_>,
        token: &str,
    ) -> Result<Arc<Identity>, Failure> {
        let who = self.identities.resolve(token, incoming.address, 0).await?;
        let sent = match action.id {
            IdMeans::Customer | IdMeans::Shown => params::customer(&incoming.params),
            IdMeans::Plan => None,
        };
        let Some(id) = sent else { return Ok(who) };
        let id = id.map_err(|why| Failure::invalid(params::ID.name, why))?;
        match who.role {
            PrincipalRole::Administrator | PrincipalRole::Service => {
                let acting = match action.id {
                    IdMeans::Shown => who,
                    _ => self.identities.resolve(token, incoming.address, id.0).await?,
                };
                tracing::info!(
                    action = action.name,
                    customer.id = id.0,
                    request.id = incoming.request_id,
                    "an administrator acts for a customer"
                );
                Ok(acting)
            }
            PrincipalRole::Customer if who.customer_id == id.0 => Ok(who),
            _ => {
                let mut failure = Failure::business(errors::CUSTOMER_NOT_FOUND);
                failure.reason = Some(ErrorReason::CustomerNotFound);
                Err(failure)
            }
        }
    }
}

/// The token in an `Authorization` header.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The key that the client gave a request; empty without one. Reading needs none.
///
/// A header that is there and names nothing is a mistake; so is one that cannot be read: taking it
/// for none would execute a resend twice.
fn idempotency_key(action: &Action, incoming: &Incoming<'_>) -> Result<String, Failure> {
    if !action.writes {
        return Ok(String::new());
    }
    let bad = |why: &str| Failure::invalid(IDEMPOTENCY_KEY.name, why.to_owned());
    let key = match incoming.parts.headers.get("idempotency-key").map(|value| value.to_str()) {
        Some(Ok("")) => return Err(bad("is empty")),
        Some(Ok(key)) => key,
        Some(Err(_)) => return Err(bad(UNPRINTABLE)),
        None => IDEMPOTENCY_KEY.of(&incoming.params).unwrap_or_default(),
    };
    if key.chars().any(char::is_control) {
        return Err(bad(UNPRINTABLE));
    }
    IDEMPOTENCY_KEY.fault(key).map_or_else(|| Ok(key.to_owned()), |why| Err(bad(&why)))
}

const UNPRINTABLE: &str = "has characters that cannot be printed";

/// Whether there is an action of that name.
pub(crate) fn is_action(name: &str) -> bool {
    table::find(name).is_some()
}

/// What is wrong with a request that names no action of ours.
fn unknown_action(name: &str, method: &Method) -> Failure {
    match name {
        _ if !is_get_or_post(method) => method_not_allowed("GET, POST"),
        "" => Failure::business("action required"),
        _ => Failure::business("unknown action"),
    }
}

fn method_not_allowed(allow: &'static str) -> Failure {
    let mut failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    failure.allow = Some(allow);
    failure
}

/// The answer to a request that was not let in.
pub(crate) fn refused(refusal: Refused, request_id: &str) -> Response {
    envelope::failure(&refusal.into(), request_id)
}

/// The answer to a path that is nothing here.
pub(crate) fn path_not_found() -> Response {
    envelope::failure(&Failure::new(StatusCode::NOT_FOUND, "not found"), "")
}

/// Whether a method is one of the two that the facade knows.
pub(crate) fn is_get_or_post(method: &Method) -> bool {
    method == Method::GET || method == Method::POST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(bearer(value), token, "{value:?}");
        }
    }
}
