//! The gateway put together: what comes to the port goes to the facade, to a role, or to the
//! pages for operators.
//!
//! gRPC is told by its content type before any path is looked at, so that no HTTP route can shadow
//! a method. Ids of requests and CORS are the same for all.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use stowage_auth::{REQUEST_ID_KEY, Signer};
use stowage_runtime::{ReadyCheck, RoleChannel, calling_as};
use stowage_types::{Clock, Random, new_id};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service};

use crate::grpc::PassThrough;
use crate::health::Checks;
use crate::hooks::{Hook, Hooks};
use crate::identity::Identities;
use crate::legacy::catalogue::Catalogue;
use crate::legacy::{Facade, Origin, Roles, Route, path_not_found, refused};
use crate::limits::Limits;
use crate::peer::{ClientAddress, Trust, client_address};
use crate::{Config, Gateway, docs, ops, trace};

/// Longest request id that is taken from a client, as roles take it.
const REQUEST_ID_CHARS_MAX: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_KEY);

/// What the gateway calls itself when it asks accounts whose a token is.
const SUBJECT: &str = "services/gateway";

/// What the gateway needs.
pub struct Deps {
    /// The four roles, as bare channels: they must add no identity of their own, or a call without
    /// a token would get it.
    pub accounts: RoleChannel,
    /// See `accounts`.
    pub storage: RoleChannel,
    /// See `accounts`.
    pub billing: RoleChannel,
    /// See `accounts`.
    pub metering: RoleChannel,
    /// Signs the gateway's own question to accounts.
    pub signer: Signer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids of requests.
    pub random: Arc<dyn Random>,
    /// Each role's name and whether it can serve.
    pub ready: Vec<(&'static str, ReadyCheck)>,
    /// Renders the metrics of the process in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps").finish_non_exhaustive()
    }
}

/// What every request of the port shares.
pub(crate) struct Shared {
    pub(crate) facade: Facade,
    hooks: Hooks,
    pub(crate) checks: Checks,
    pub(crate) health: HealthReporter,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    cors_origins: Vec<HeaderValue>,
    trust: Trust,
    limits: Arc<Limits>,
}

/// Puts the gateway together.
///
/// # Panics
/// Never on a configuration: [`Config::check`] says beforehand what is wrong with one.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Gateway {
    let roles = Roles {
        accounts: deps.accounts,
        storage: deps.storage,
        billing: deps.billing,
        metering: deps.metering,
    };
    let hooks = Hooks {
        accounts: calling_as(roles.accounts.clone(), SUBJECT, deps.signer.clone()),
        billing: calling_as(roles.billing.clone(), SUBJECT, deps.signer.clone()),
        time_max: config.call_time(),
    };
    let identities = Arc::new(Identities::new(
        calling_as(roles.accounts.clone(), SUBJECT, deps.signer),
        Arc::clone(&deps.clock),
        Duration::from_millis(config.token_cache_ms),
        config.token_cache_max,
    ));
    let (health, health_server) = tonic_health::server::health_reporter();
    let mut own = Routes::new(health_server);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(stowage_proto::DESCRIPTORS)
        .build_v1()
        .expect("the descriptor set is ours and was encoded by the compiler");
    own = own.add_service(reflection);
    let limits = Arc::new(Limits::new(&config, Arc::clone(&deps.clock)));
    let catalogue = Arc::new(Catalogue::default());
    let grpc = PassThrough::new(
        roles.clone(),
        Arc::clone(&identities),
        (Arc::clone(&limits), Arc::clone(&catalogue)),
        own.prepare(),
    );
    let cors_origins = allowed_origins(&config);
    let shared = Arc::new(Shared {
        trust: config.trust(),
        limits: Arc::clone(&limits),
        facade: Facade {
            config,
            roles,
            identities,
            limits,
            catalogue,
            clock: deps.clock,
            random: deps.random,
        },
        hooks,
        checks: Checks::new(deps.ready),
        health,
        metrics: deps.metrics,
        cors_origins,
    });
    let web = Router::new()
        .route("/s3", any(facade))
        .route("/s3/", any(facade))
        .route("/s3/{*action}", any(facade))
        .route("/s3.php", any(facade))
        .route("/auth.php", any(facade))
        .route("/hooks/whmcs/{installation}", any(whmcs_hook))
        .route("/hooks/payments", any(payment_hook))
        .route("/openapi.json", any(async || docs::openapi_json()))
        .route("/docs", any(async || docs::page()))
        .route("/healthz", any(async || ops::healthz()))
        .route("/readyz", any(readyz))
        .route("/metrics", any(metrics))
        .fallback(async || path_not_found())
        .with_state(Arc::clone(&shared));
    Gateway::new(Port { shared, web, grpc: GrpcWebLayer::new().layer(grpc) })
}

fn allowed_origins(config: &Config) -> Vec<HeaderValue> {
    let origins = config.cors_origins.iter();
    origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect()
}

/// The id of a request, in its extensions.
#[derive(Clone)]
struct RequestId(String);

async fn facade(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let route = match path.as_str() {
        "/s3.php" => Route::S3Php,
        "/auth.php" => Route::AuthPhp,
        other => Route::S3(other.strip_prefix("/s3").unwrap_or_default().trim_matches('/')),
    };
    let id = request.extensions().get::<RequestId>().cloned();
    let origin = Origin {
        address: ClientAddress::of(request.extensions()),
        request_id: id.as_ref().map_or("", |RequestId(id)| id.as_str()),
    };
    shared.facade.answer(route, request, origin).await
}

async fn whmcs_hook(
    State(shared): State<Arc<Shared>>,
    Path(installation): Path<String>,
    request: Request,
) -> Response {
    let id = request_id_of(&request).to_owned();
    shared.hooks.answer(Hook::Whmcs(installation), request, &id).await
}

async fn payment_hook(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = request_id_of(&request).to_owned();
    shared.hooks.answer(Hook::Payments, request, &id).await
}

fn request_id_of(request: &Request) -> &str {
    request.extensions().get::<RequestId>().map_or("", |RequestId(id)| id.as_str())
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    ops::readyz(&shared.checks).await
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ops::metrics((shared.metrics)())
}

/// All that answers on the port.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    web: Router,
    grpc: GrpcWebService<PassThrough>,
}

impl Port {
    /// Answers a request that came from `peer`.
    pub(crate) async fn answer(mut self, mut request: Request, peer: IpAddr) -> Response {
        let address = client_address(peer, request.headers(), &self.shared.trust);
        let id = self.request_id(request.headers());
        let id_value = HeaderValue::from_str(&id).ok();
        if let Some(value) = &id_value {
            request.headers_mut().insert(REQUEST_ID, value.clone());
        }
        request.extensions_mut().insert(ClientAddress(address));
        request.extensions_mut().insert(RequestId(id));
        let origin = self.allowed_origin(request.headers());
        let mut response = if origin.is_some() && is_preflight(&request) {
            preflight(request.headers())
        } else {
            let is_grpc = is_grpc(&request);
            let span = trace::answering(&request, is_grpc);
            let response = span.run(self.dispatch(request, address)).await;
            trace::answered(&span, &response, is_grpc);
            response
        };
        if let Some(value) = id_value {
            response.headers_mut().entry(REQUEST_ID).or_insert(value);
        }
        if !self.shared.cors_origins.is_empty() {
            allow_origin(response.headers_mut(), origin);
        }
        response
    }

    /// Answers a request unless there are too many. Its place is free again when its answer is
    /// made: a client that does not read it, or a stream that does not end, has none.
    async fn dispatch(&mut self, mut request: Request, address: IpAddr) -> Response {
        let entered = self.shared.limits.enter(request.uri().path(), address);
        if is_grpc(&request) {
            if let Err(refused) = entered {
                // Told behind the translation to grpc-web, whose clients need that too.
                request.extensions_mut().insert(refused);
            }
            return ready(self.grpc.call(request.map(tonic::body::Body::new)).await).map(Body::new);
        }
        match entered {
            Ok(_place) => ready(self.web.call(request).await),
            Err(refusal) => refused(refusal, request_id_of(&request)),
        }
    }

    /// The id that the client sent, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match sent {
            Some(id) if (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) => id.to_owned(),
            _ => {
                let facade = &self.shared.facade;
                new_id(facade.clock.as_ref(), facade.random.as_ref()).to_string()
            }
        }
    }

    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.shared.cors_origins.contains(origin).then(|| origin.clone())
    }
}

fn ready<T>(answer: Result<T, Infallible>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// Whether a request is gRPC or grpc-web: `application/grpc`, `application/grpc-web+proto` … At
/// the facade's paths that is a body of unknown type like any other.
fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    !trace::is_facade(request.uri().path())
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Allows an origin's script what it asks to send: the origin was chosen by the provider.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// What an origin's script may read, beyond what is always readable.
const EXPOSED: &str =
    "grpc-status, grpc-message, grpc-status-details-bin, x-request-id, retry-after";

fn allow_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}
