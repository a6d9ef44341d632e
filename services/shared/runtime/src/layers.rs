//! The layers around every role's server, outermost first: request id, trace, metrics, panics,
//! deadline, identity. The order matters: every line of the log names the call, refused calls are
//! counted, a panic is answered and counted, and the deadline covers the check of the caller.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response};
use stowage_auth::{
    ASSERTION_KEY, Principal, PrincipalRole, REQUEST_ID_KEY, RequestContext, RequestId, Verifier,
};
use stowage_proto::common::ErrorReason;
use stowage_trace::{Kind, Span, Trace};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tracing::Instrument as _;

use crate::{BoxError, Next, RoleChannel, about_call, end_call, status};

/// What the layers need to know of a role.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Its name: `accounts`.
    pub role: &'static str,
    /// Checks callers.
    pub verifier: Verifier,
    /// Longest time a call may take, whatever deadline the client sent.
    pub call_timeout: Duration,
}

/// In the extensions of a request: when its caller stops waiting.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

type Answer = Result<Response<Body>, BoxError>;

/// Longest request id that is taken from a caller, in characters.
const REQUEST_ID_CHARS_MAX: usize = 64;

/// Puts the layers around a role's services.
#[must_use]
pub fn role_stack(routes: Routes, stack: StackConfig) -> RoleChannel {
    let StackConfig { role, verifier, call_timeout } = stack;
    RoleChannel::new(routes.prepare())
        .layered(move |request, next| identify(request, next, verifier.clone()))
        .layered(move |request, next| limit_time(request, next, call_timeout))
        .layered(move |request, next| catch_panic(request, next, role))
        .layered(move |request, next| measure(request, next, role))
        .layered(move |request, next| trace(request, next, role))
        .layered(name_request)
}

/// Takes the caller's request id, or makes one.
async fn name_request(mut request: Request<Body>, next: Next) -> Answer {
    let sent = request.headers().get(REQUEST_ID_KEY).and_then(|value| value.to_str().ok());
    let id = match sent {
        Some(id) if (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) => id.to_owned(),
        _ => next_request_id(),
    };
    let echoed = HeaderValue::try_from(&id).ok();
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await?;
    if let Some(id) = echoed {
        response.headers_mut().insert(REQUEST_ID_KEY, id);
    }
    Ok(response)
}

/// Ids made here need to be told apart in one log, no more.
fn next_request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("r{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn trace(request: Request<Body>, next: Next, role: &'static str) -> Answer {
    let method = request.uri().path().to_owned();
    let id = request.extensions().get::<RequestId>().map_or("", |RequestId(id)| id.as_str());
    let line = tracing::info_span!("call", role, rpc.method = %method, request.id = %id);
    let sent = || Trace::of_headers(request.headers());
    let span = Span::incoming(sent, || about_call(Kind::Server, &method));
    let call = async {
        let start = Instant::now();
        let response = next.run(request).await?;
        end_call(&span, &Kind::Server, response.headers());
        log_end(&method, &response, start.elapsed());
        Ok(response)
    };
    span.run(call.instrument(line)).await
}

fn log_end(method: &str, response: &Response<Body>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let Some(status) = Status::from_header_map(response.headers()) else {
        tracing::debug!(duration_ms, "{method} answered");
        return;
    };
    let code = status.code();
    let cause = response.extensions().get::<Status>().and_then(std::error::Error::source);
    match (code, cause) {
        (Code::Ok, _) => tracing::debug!(duration_ms, "{method} answered"),
        (Code::Internal | Code::Unknown | Code::DataLoss, Some(cause)) => {
            tracing::error!(duration_ms, cause = chain(cause), "{method} failed: {code:?}");
        }
        (Code::Internal | Code::Unknown | Code::DataLoss, None) => {
            tracing::error!(duration_ms, "{method} failed: {code:?} {}", status.message());
        }
        (_, Some(cause)) => {
            tracing::info!(duration_ms, cause = chain(cause), "{method} refused: {code:?}");
        }
        (_, None) => tracing::debug!(duration_ms, "{method} refused: {code:?}"),
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

async fn measure(request: Request<Body>, next: Next, role: &'static str) -> Answer {
    // Paths that are not ours are not label values: a scanner would fill the memory with them.
    let method = stowage_proto::method(request.uri().path()).map_or("other", |known| known.path);
    let start = Instant::now();
    let response = next.run(request).await?;
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |s| s.code());
    let code = format!("{code:?}");
    metrics::counter!("stowage_rpc_calls_total", "role" => role, "method" => method, "code" => code)
        .increment(1);
    metrics::histogram!("stowage_rpc_duration_seconds", "role" => role, "method" => method)
        .record(start.elapsed());
    Ok(response)
}

async fn catch_panic(request: Request<Body>, next: Next, role: &'static str) -> Answer {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(role, "a call panicked: {what}");
            metrics::counter!("stowage_rpc_panics_total", "role" => role).increment(1);
            Ok(refuse(Code::Internal, ErrorReason::Internal, "internal error"))
        }
    }
}

/// The deadline is the client's or ours, whichever is sooner. tonic's own layer for it answers
/// `CANCELLED`, hence this one.
async fn limit_time(mut request: Request<Body>, next: Next, longest: Duration) -> Answer {
    let asked = request.headers().get("grpc-timeout").and_then(parse_timeout);
    let deadline = Instant::now() + asked.map_or(longest, |asked| asked.min(longest));
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Ok(refuse(
            Code::DeadlineExceeded,
            ErrorReason::DeadlineExceeded,
            "the call took longer than its deadline; it may still have been executed",
        )),
    }
}

/// Reads `grpc-timeout`: at most eight digits and a unit.
///
/// Source: gRPC over HTTP/2, "Requests", `Timeout`.
fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Verifies the caller's assertion, checks that the method allows his role, and puts the
/// [`RequestContext`] where handlers find it.
async fn identify(mut request: Request<Body>, next: Next, verifier: Verifier) -> Answer {
    let Some(method) = stowage_proto::method(request.uri().path()) else {
        // Not one of ours: the routes answer `UNIMPLEMENTED`.
        return next.run(request).await;
    };
    let principal = match request.headers_mut().remove(ASSERTION_KEY) {
        None => Principal::anonymous(),
        Some(value) => match value.to_str().ok().and_then(|text| verifier.verify(text).ok()) {
            Some(principal) => principal,
            None => return Ok(refuse_token()),
        },
    };
    if !method.allow.contains(&principal.role.into()) {
        return Ok(match principal.role {
            PrincipalRole::Anonymous => refuse_token(),
            _ => refuse(
                Code::PermissionDenied,
                ErrorReason::RoleNotAllowed,
                "your role may not do this",
            ),
        });
    }
    let context = RequestContext {
        principal,
        request_id: request
            .extensions()
            .get::<RequestId>()
            .cloned()
            .map_or_else(String::new, |i| i.0),
        deadline: request.extensions().get::<Deadline>().map(|deadline| deadline.0),
    };
    request.extensions_mut().insert(context);
    next.run(request).await
}

fn refuse_token() -> Response<Body> {
    refuse(Code::Unauthenticated, ErrorReason::TokenInvalid, "invalid token")
}

fn refuse(code: Code, reason: ErrorReason, message: &str) -> Response<Body> {
    status(code, reason, message).build().into_http()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stowage_auth::Signer;
    use stowage_proto::billing::plan_service_server::{PlanService, PlanServiceServer};
    use stowage_proto::billing::{self as pb, plan_service_client::PlanServiceClient};
    use stowage_types::{CustomerId, SystemClock};
    use tonic::Request as TonicRequest;

    use super::*;
    use crate::{calling_as, reason_of};

    /// Shows what the layers do to a call: each method stands for one kind of trouble.
    #[derive(Debug)]
    struct Troubles;

    type Reply<T> = Result<tonic::Response<T>, Status>;

    #[tonic::async_trait]
    impl PlanService for Troubles {
        async fn create_plan(&self, _: TonicRequest<pb::CreatePlanRequest>) -> Reply<pb::Plan> {
            panic!("on purpose")
        }

        async fn get_plan(&self, request: TonicRequest<pb::GetPlanRequest>) -> Reply<pb::Plan> {
            let cx = RequestContext::of(&request)?;
            let title = format!("{} {}", cx.actor(), cx.request_id);
            Ok(tonic::Response::new(pb::Plan { title, ..pb::Plan::default() }))
        }

        async fn list_plans(
            &self,
            _: TonicRequest<pb::ListPlansRequest>,
        ) -> Reply<pb::ListPlansResponse> {
            std::future::pending().await
        }

        async fn update_plan(&self, _: TonicRequest<pb::UpdatePlanRequest>) -> Reply<pb::Plan> {
            Err(Status::not_found("none"))
        }

        async fn archive_plan(&self, _: TonicRequest<pb::ArchivePlanRequest>) -> Reply<pb::Plan> {
            Err(Status::not_found("none"))
        }
    }

    fn signer() -> Signer {
        Signer::from_seed(&[7; 32], "test", Arc::new(SystemClock))
    }

    fn stack() -> RoleChannel {
        let routes = Routes::new(PlanServiceServer::new(Troubles));
        let call_timeout = Duration::from_millis(50);
        role_stack(
            routes,
            StackConfig { role: "billing", verifier: signer().verifier(), call_timeout },
        )
    }

    fn as_service() -> PlanServiceClient<RoleChannel> {
        PlanServiceClient::new(calling_as(stack(), "services/test", signer()))
    }

    #[tokio::test]
    async fn a_handler_knows_its_caller_and_his_request_id() {
        let mut cx = RequestContext::background("id-1");
        cx.principal.acted_for = Some(CustomerId(7));
        let answer = as_service().get_plan(cx.outgoing(pb::GetPlanRequest::default())).await;
        let title = answer.unwrap().into_inner().title;
        assert_eq!(title, "services/test for customers/7 id-1");
    }

    #[tokio::test]
    async fn a_call_without_a_token_is_refused() {
        let mut client = PlanServiceClient::new(stack());
        let error = client.get_plan(pb::GetPlanRequest::default()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
        assert_eq!(reason_of(&error), Some(ErrorReason::TokenInvalid));
    }

    #[tokio::test]
    async fn a_role_that_is_not_allowed_is_refused() {
        let staff = Principal { role: PrincipalRole::Staff, ..Principal::anonymous() };
        let mut request = TonicRequest::new(pb::CreatePlanRequest::default());
        let assertion = signer().sign(&staff).1.parse().unwrap();
        request.metadata_mut().insert(ASSERTION_KEY, assertion);
        let error = PlanServiceClient::new(stack()).create_plan(request).await.unwrap_err();
        assert_eq!(reason_of(&error), Some(ErrorReason::RoleNotAllowed));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_without_internals() {
        let error = as_service().create_plan(pb::CreatePlanRequest::default()).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Internal, "internal error"));
    }

    #[tokio::test]
    async fn a_slow_call_ends_at_its_deadline() {
        let error = as_service().list_plans(pb::ListPlansRequest::default()).await.unwrap_err();
        assert_eq!(reason_of(&error), Some(ErrorReason::DeadlineExceeded));
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        for (text, expected) in [
            ("1H", Some(3_600_000)),
            ("10S", Some(10_000)),
            ("250m", Some(250)),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("1x", None),
            ("-1S", None),
        ] {
            let parsed = parse_timeout(&HeaderValue::from_static(text));
            assert_eq!(parsed, expected.map(Duration::from_millis), "{text}");
        }
    }
}
