//! Spans of calls, by the semantic conventions for RPC.

use http::HeaderMap;
use stowage_trace::{About, KeyValue, Kind, Span};
use tonic::{Code, Status};

/// A span of a call at `path`. One that is no method of ours is not named: it would be a scanner's
/// words.
#[must_use]
pub fn about_call(kind: Kind, path: &str) -> About {
    let system = KeyValue::new("rpc.system", "grpc");
    let Some(method) = stowage_proto::method(path) else {
        return About::new(kind, "grpc", [system]);
    };
    let name = method.path.trim_start_matches('/');
    let (service, short) = name.split_once('/').unwrap_or((name, ""));
    let called = [
        system,
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", short.to_owned()),
    ];
    About::new(kind, name, called)
}

/// Says in the span how the call ended, as far as the head of its answer tells: a failure is told
/// there.
pub fn end_call(span: &Span, kind: &Kind, head: &HeaderMap) {
    if span.is_none() {
        return;
    }
    let code = Status::from_header_map(head).map_or(Code::Ok, |status| status.code());
    span.set("rpc.grpc.status_code", i64::from(i32::from(code)));
    if is_error(kind, code) {
        span.fail(format!("{code:?}"));
    }
}

/// A server's span is an error where the server is at fault; a caller's whenever it is refused.
///
/// Source: OpenTelemetry semantic conventions for gRPC, "gRPC status".
fn is_error(kind: &Kind, code: Code) -> bool {
    match code {
        Code::Ok => false,
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        _ => *kind == Kind::Client,
    }
}
