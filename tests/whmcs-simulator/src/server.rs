//! HTTP: who may call, which action it is, and what goes wrong on the way.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Shared;
use crate::actions::{self, Call};
use crate::form::Form;
use crate::trouble::Trouble;

/// Longest body of a call.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Where the remote API is.
const PATH: &str = "/includes/api.php";

/// Serves until it is aborted, connections included.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if let Ok((stream, address)) = listener.accept().await {
            connections.spawn(speak(stream, address.ip(), Arc::clone(&shared)));
        }
    }
}

async fn speak(stream: TcpStream, peer: IpAddr, shared: Arc<Shared>) {
    // Answers are written whole; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(shared, request, peer).await }
    });
    // It ends with an error whenever an answer is dropped on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error cuts the connection without an answer.
async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> io::Result<Response<Full<Bytes>>> {
    if request.uri().path() != PATH {
        return Ok(html(StatusCode::NOT_FOUND, "Not Found"));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    // PHP takes both, and clients in the field put the action into the query.
    let form = Form::read(&[query.as_bytes(), &body]);
    let action = form.text("action").unwrap_or_default().to_lowercase();
    if let Err((status, message)) = admit(&shared, &form, &action, peer) {
        return Ok(refusal(&form, status, &message));
    }
    let trouble = shared.troubles().meet(&action);
    match trouble {
        Some(Trouble::DropCall) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Trouble::BadGateway) => return Ok(html(StatusCode::BAD_GATEWAY, "Bad Gateway")),
        Some(Trouble::Forbid) => {
            return Ok(refusal(&form, StatusCode::FORBIDDEN, &format!("Invalid IP {peer}")));
        }
        _ => {}
    }
    if let Some(Trouble::Late(time)) = trouble {
        // PHP goes on when its client has gone.
        let work = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let answer = carry_out(&shared, &form, &action);
            written(&form, StatusCode::OK, &answer, false)
        });
        return work.await.map_err(io::Error::other);
    }
    let mut answer = carry_out(&shared, &form, &action);
    if trouble == Some(Trouble::Twice) {
        answer = carry_out(&shared, &form, &action);
    }
    match trouble {
        Some(Trouble::DropAnswer) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Trouble::Slow(time)) => {
            tokio::time::sleep(time).await;
            Ok(written(&form, StatusCode::OK, &answer, false))
        }
        Some(Trouble::Garble) => Ok(written(&form, StatusCode::OK, &answer, true)),
        _ => Ok(written(&form, StatusCode::OK, &answer, false)),
    }
}

/// Source: WHMCS developer documentation, "Authentication" and "Access Control"; texts as clients
/// in the field have noted them.
fn admit(
    shared: &Shared,
    form: &Form,
    action: &str,
    peer: IpAddr,
) -> Result<(), (StatusCode, String)> {
    let settings = &shared.settings;
    let has_key =
        settings.access_key.is_some() && form.text("accesskey") == settings.access_key.as_deref();
    let is_allowed = settings.allowed_ips.as_ref().is_none_or(|ips| ips.contains(&peer));
    if !has_key && !is_allowed {
        return Err((StatusCode::FORBIDDEN, format!("Invalid IP {peer}")));
    }
    if action.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "Empty action request".to_owned()));
    }
    // Both pairs of names are taken.
    let identifier = form.text("identifier").or_else(|| form.text("username"));
    let secret = form.text("secret").or_else(|| form.text("password"));
    let (Some(identifier), Some(secret)) = (identifier, secret) else {
        return Err((StatusCode::FORBIDDEN, "Invalid or missing credentials".to_owned()));
    };
    if identifier != settings.identifier || secret != settings.secret {
        return Err((StatusCode::FORBIDDEN, "Authentication Failed".to_owned()));
    }
    let may = settings.actions.as_ref().is_none_or(|all| all.iter().any(|own| own == action));
    if may { Ok(()) } else { Err((StatusCode::FORBIDDEN, "Access Denied".to_owned())) }
}

fn carry_out(shared: &Shared, form: &Form, action: &str) -> Map<String, Value> {
    *shared.troubles().counts.entry(action.to_owned()).or_default() += 1;
    let now = shared.clock.now();
    let mut state = shared.state();
    let mut call = Call { state: &mut state, form, settings: &shared.settings, now };
    match actions::run(action, &mut call) {
        Ok(mut answer) => {
            answer.insert("result".to_owned(), json!("success"));
            answer
        }
        Err(refused) => error(refused.message()),
    }
}

fn error(message: &str) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("result".to_owned(), json!("error"));
    answer.insert("message".to_owned(), json!(message));
    answer
}

fn refusal(form: &Form, status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    written(form, status, &error(message), false)
}

/// In JSON if that is asked for; else as it was before there was JSON.
fn written(
    form: &Form,
    status: StatusCode,
    answer: &Map<String, Value>,
    is_cut: bool,
) -> Response<Full<Bytes>> {
    let (mut text, kind) = match form.text("responsetype") {
        Some("json") => (json!(answer).to_string(), "application/json"),
        Some("xml") => (xml(answer), "application/xml"),
        _ => (pairs(answer), "text/html; charset=utf-8"),
    };
    if is_cut {
        let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(half);
    }
    with_type(status, kind, text)
}

/// `result=success;orderid=1;`: what an answer without `responsetype` may look like.
fn pairs(answer: &Map<String, Value>) -> String {
    answer.iter().map(|(name, value)| format!("{name}={};", plain(value))).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn xml(answer: &Map<String, Value>) -> String {
    let body: String = answer.iter().map(|(name, value)| element(name, value)).collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<whmcsapi>{body}</whmcsapi>")
}

fn element(name: &str, value: &Value) -> String {
    match value {
        Value::Array(rows) => rows.iter().map(|row| element(name, row)).collect(),
        Value::Object(map) => {
            let body: String = map.iter().map(|(name, value)| element(name, value)).collect();
            format!("<{name}>{body}</{name}>")
        }
        other => {
            let text = plain(other).replace('&', "&amp;").replace('<', "&lt;");
            format!("<{name}>{text}</{name}>")
        }
    }
}

fn html(status: StatusCode, title: &str) -> Response<Full<Bytes>> {
    let text = format!("<html><head><title>{title}</title></head><body>{title}</body></html>");
    with_type(status, "text/html", text)
}

fn with_type(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
