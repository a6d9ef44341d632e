//! Too many calls, and too many at once; and whose address a call is from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, Version};
use prost::Message;
use stowage_auth::{RequestContext, Signer};
use stowage_proto::accounts::*;
use stowage_proto::billing::{ListPlansRequest, ListPlansResponse};
use stowage_proto::common::{ErrorReason, PrincipalRole};
use stowage_runtime::{RoleChannel, reason_of};
use stowage_types::{FakeClock, SystemRandom, timestamp};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tower::{Service as _, ServiceExt as _};

use super::double::Double;
use super::world::{fail, principal, read};
use crate::{Config, Deps, Gateway, build};

pub(crate) const HERE: &str = "203.0.113.7";
pub(crate) const THERE: &str = "198.51.100.1";
pub(crate) const PROXY: &str = "10.0.0.1";
const PLANS: &str = "/stowage.billing.v1.PlanService/ListPlans";
pub(crate) const LOGIN: &str = "/stowage.accounts.v1.SessionService/Login";

/// What the roles know and saw.
#[derive(Default)]
pub(crate) struct State {
    /// Tokens given out, with the address that each is tied to, if any.
    pub(crate) tokens: HashMap<String, String>,
    /// When they end, if they do.
    pub(crate) end: Option<OffsetDateTime>,
    pub(crate) logins: usize,
    pub(crate) resolved: usize,
    pub(crate) listed: usize,
}

pub(crate) type Shared = Arc<Mutex<State>>;

pub(crate) struct Site {
    pub(crate) state: Shared,
    pub(crate) clock: Arc<FakeClock>,
    gateway: Gateway,
    /// Calls to billing that may go through; without bound unless a test takes them away.
    gate: Arc<Semaphore>,
}

impl Site {
    pub(crate) fn new(config: Config) -> Self {
        Self::beside(&Shared::default(), config)
    }

    /// A gateway before the same roles, which hears nothing of the other one.
    pub(crate) fn beside(state: &Shared, config: Config) -> Self {
        assert_eq!(config.check(), Vec::<String>::new());
        let clock = Arc::new(FakeClock::at(datetime!(2026-03-10 12:00 UTC)));
        let signer = Signer::from_seed(&[7; 32], "test", clock.clone());
        let verifier = signer.verifier();
        let gate = Arc::new(Semaphore::new(1_000));
        let plans = noted(state, |_, _: ListPlansRequest, state| {
            state.listed += 1;
            Ok(ListPlansResponse::default())
        });
        let billing = Double::default().on("billing", "PlanService/ListPlans", plans);
        let deps = Deps {
            accounts: sessions(state, &signer).channel("accounts", verifier.clone()),
            storage: Double::default().channel("storage", verifier.clone()),
            billing: gated(billing.channel("billing", verifier.clone()), &gate),
            metering: Double::default().channel("metering", verifier),
            signer,
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            ready: Vec::new(),
            metrics: Arc::new(String::new),
        };
        Self { state: Arc::clone(state), clock, gateway: build(config, deps), gate }
    }

    pub(crate) async fn send(&self, from: &str, request: Request<Body>) -> Response {
        self.gateway.answer(request, from.parse().unwrap()).await
    }

    /// Status, `Retry-After` and body of a GET.
    pub(crate) async fn get(&self, from: &str, uri: &str) -> (u16, Option<String>, String) {
        let response = self.send(from, Request::get(uri).body(Body::empty()).unwrap()).await;
        let wait = response.headers().get("retry-after");
        let wait = wait.map(|value| value.to_str().unwrap().to_owned());
        let (status, text) = read(response).await;
        (status, wait, text)
    }

    /// Just the status of a GET.
    pub(crate) async fn status(&self, from: &str, uri: &str) -> u16 {
        self.get(from, uri).await.0
    }

    pub(crate) async fn grpc(
        &self,
        from: &str,
        path: &str,
        message: &impl Message,
    ) -> Result<(), Status> {
        let response = self.send(from, grpc(path, message)).await;
        match Status::from_header_map(response.headers()) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }

    pub(crate) fn count(&self, of: impl Fn(&State) -> usize) -> usize {
        of(&self.state.lock().unwrap())
    }
}

fn grpc(path: &str, message: &impl Message) -> Request<Body> {
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    Request::post(path)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("authorization", "Bearer one")
        .body(Body::from(frame))
        .unwrap()
}

fn noted<Q, A>(
    state: &Shared,
    answer: impl Fn(&RequestContext, Q, &mut State) -> Result<A, Status> + Send + Sync + 'static,
) -> impl Fn(&RequestContext, Q) -> Result<A, Status> + Send + Sync + 'static {
    let state = Arc::clone(state);
    move |cx, message| answer(cx, message, &mut state.lock().unwrap())
}

/// Accounts, as far as tokens go.
fn sessions(state: &Shared, signer: &Signer) -> Double {
    let signer = signer.clone();
    let resolve = move |_: &RequestContext, q: ResolveTokenRequest, state: &mut State| {
        state.resolved += 1;
        let fixed = state.tokens.get(&q.token);
        let is_elsewhere = fixed.is_some_and(|fixed| !fixed.is_empty() && *fixed != q.address);
        let who = if fixed.is_some() { principal("one") } else { principal(&q.token) };
        let Some(who) = who.filter(|_| !is_elsewhere) else {
            return fail(Code::Unauthenticated, ErrorReason::TokenInvalid, "token is not valid");
        };
        let (claims, assertion) = signer.sign(&who);
        let claims = Some(claims);
        let token_expire_time = state.end.map(timestamp);
        Ok(ResolveTokenResponse { claims, assertion, token_expire_time, ..Default::default() })
    };
    let login = |_: &RequestContext, q: LoginRequest, state: &mut State| {
        state.logins += 1;
        if q.api_key == "broken" {
            return fail(Code::Internal, ErrorReason::Internal, "a fault of ours");
        }
        if !q.api_key.starts_with("good") {
            return fail(Code::Unauthenticated, ErrorReason::ApiKeyInvalid, "bad key");
        }
        let token = format!("token{}", state.logins);
        state.tokens.insert(token.clone(), q.fixed_address);
        let mut answer = LoginResponse { token, ..LoginResponse::default() };
        answer.claims.get_or_insert_default().set_role(PrincipalRole::Customer);
        Ok(answer)
    };
    let logout = |_: &RequestContext, q: LogoutRequest, state: &mut State| {
        state.tokens.remove(&q.token);
        Ok(LogoutResponse {})
    };
    Double::default()
        .on("accounts", "SessionService/ResolveToken", noted(state, resolve))
        .on("accounts", "SessionService/Login", noted(state, login))
        .on("accounts", "SessionService/Logout", noted(state, logout))
}

/// A role whose calls wait for a permit of `gate` each.
fn gated(role: RoleChannel, gate: &Arc<Semaphore>) -> RoleChannel {
    let gate = Arc::clone(gate);
    RoleChannel::new(tower::service_fn(move |request| {
        let (mut role, gate) = (role.clone(), Arc::clone(&gate));
        async move {
            gate.acquire().await.unwrap().forget();
            role.ready().await.unwrap().call(request).await
        }
    }))
}

pub(crate) fn failed(message: &str) -> String {
    format!(r#"{{"code":-1,"message":"{message}","result":-1,"error":"{message}"}}"#)
}

pub(crate) fn assert_limited(status: &Status, seconds: u64) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason_of(status), Some(ErrorReason::RateLimited), "{status:?}");
    assert_eq!(retry_seconds(status), Some(seconds), "{status:?}");
}

/// `google.rpc.RetryInfo` of a status.
fn retry_seconds(status: &Status) -> Option<u64> {
    tonic_types::StatusExt::get_details_retry_info(status)?.retry_delay.map(|d| d.as_secs())
}

fn tight_tokens() -> Config {
    Config { token_calls_per_second: 1, token_calls_burst: 3, ..Config::default() }
}

fn tight_addresses() -> Config {
    Config { address_calls_per_second: 1, address_calls_burst: 3, ..Config::default() }
}

#[tokio::test]
async fn a_token_that_is_sent_too_often_is_told_when_to_come_again() {
    let site = Site::new(tight_tokens());
    assert_eq!(site.status(HERE, "/s3/list_plans?token=one").await, 200);
    assert_eq!(site.status(THERE, "/auth.php?action=info&token=one").await, 200);
    site.grpc(HERE, PLANS, &ListPlansRequest::default()).await.unwrap();
    let (resolved, listed) = (site.count(|s| s.resolved), site.count(|s| s.listed));
    // From wherever, by whatever door: it is the same bucket.
    for uri in ["/s3/list_plans?token=one", "/auth.php?action=info&token=one"] {
        let refused = (429, Some("1".to_owned()), failed("too many requests"));
        assert_eq!(site.get("192.0.2.55", uri).await, refused, "{uri}");
    }
    let refused = site.grpc(HERE, PLANS, &ListPlansRequest::default()).await.unwrap_err();
    assert_limited(&refused, 1);
    let asked = (site.count(|s| s.resolved), site.count(|s| s.listed));
    assert_eq!(asked, (resolved, listed), "no role was called");
    assert_eq!(site.status(HERE, "/s3/list_plans?token=two").await, 200);
    assert_eq!(site.status(HERE, "/s3/list_plans?token=unknown").await, 401);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.status(HERE, "/s3/list_plans?token=one").await, 200);
    assert_eq!(site.status(HERE, "/s3/list_plans?token=one").await, 429);
}

#[tokio::test]
async fn an_address_that_calls_too_often_is_refused_at_every_door_but_health() {
    let site = Site::new(tight_addresses());
    for uri in ["/s3/list_plans?token=one", "/nothing", "/s3.php"] {
        assert_ne!(site.status(HERE, uri).await, 429, "{uri}");
    }
    let called = site.count(|s| s.resolved + s.listed);
    for uri in [
        "/s3/list_plans?token=two",
        "/s3.php?action=list_plans&token=one",
        "/auth.php?action=login&key=good",
        "/nothing",
    ] {
        let refused = (429, Some("1".to_owned()), failed("too many requests"));
        assert_eq!(site.get(HERE, uri).await, refused, "{uri}");
    }
    let plans = ListPlansRequest::default();
    assert_limited(&site.grpc(HERE, PLANS, &plans).await.unwrap_err(), 1);
    assert_limited(&site.grpc(HERE, LOGIN, &LoginRequest::default()).await.unwrap_err(), 1);
    assert_eq!(site.count(|s| s.resolved + s.listed + s.logins), called, "no role was called");
    for uri in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..5 {
            assert_eq!(site.status(HERE, uri).await, 200, "{uri}");
        }
    }
    site.grpc(HERE, "/grpc.health.v1.Health/Check", &String::new()).await.unwrap();
    assert_eq!(site.status(THERE, "/s3/list_plans?token=one").await, 200);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.status(HERE, "/s3/list_plans?token=one").await, 200);
}

#[tokio::test]
async fn a_browser_is_told_in_grpc_web() {
    let origin = "https://console.example";
    let config = Config { cors_origins: vec![origin.into()], ..tight_addresses() };
    let site = Site::new(config);
    for _ in 0..3 {
        site.status(HERE, "/nothing").await;
    }
    let request = Request::post(PLANS)
        .header("content-type", "application/grpc-web+proto")
        .header("origin", origin)
        .body(Body::from(vec![0; 5]))
        .unwrap();
    let response = site.send(HERE, request).await;
    let headers = response.headers();
    assert_eq!(headers["access-control-allow-origin"], origin);
    assert_eq!(headers["content-type"], "application/grpc-web+proto");
    assert!(headers.contains_key("x-request-id"));
    assert_limited(&Status::from_header_map(headers).unwrap(), 1);
}

#[tokio::test]
async fn behind_a_proxy_each_caller_has_his_own_bucket_and_cannot_take_anothers() {
    let site =
        Site::new(Config { trusted_proxies: vec!["10.0.0.0/8".into()], ..tight_addresses() });
    let call = async |from: &str, header: &str| {
        let request = Request::get("/nothing").header("x-forwarded-for", header);
        site.send(from, request.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    for n in 0..3 {
        // Whatever is sent before what the proxy wrote changes nothing.
        assert_eq!(call(PROXY, &format!("192.0.2.{n}, {HERE}")).await, 404);
    }
    assert_eq!(call(PROXY, &format!("192.0.2.9, {HERE}")).await, 429);
    assert_eq!(call(PROXY, &format!("{HERE}, {THERE}")).await, 404, "another caller");
    // Nor does a header from someone who is no proxy.
    assert_eq!(call(HERE, THERE).await, 429);
}

#[tokio::test]
async fn without_rates_nothing_is_refused() {
    let site = Site::new(Config {
        token_calls_per_second: 0,
        address_calls_per_second: 0,
        ..Config::default()
    });
    for _ in 0..200 {
        assert_eq!(site.status(HERE, "/s3/list_plans?token=one").await, 200);
    }
}

#[tokio::test]
async fn more_calls_at_once_than_there_is_room_for_are_refused_at_once() {
    let site = Arc::new(Site::new(Config { calls_in_flight_max: 1, ..Config::default() }));
    site.gate.forget_permits(1_000);
    let first = {
        let site = Arc::clone(&site);
        tokio::spawn(async move { site.status(HERE, "/s3/list_plans?token=one").await })
    };
    // In this one thread the first call runs until it waits at the gate.
    while site.count(|s| s.resolved) == 0 {
        tokio::task::yield_now().await;
    }
    let (status, wait, text) = site.get(THERE, "/s3/list_plans?token=two").await;
    assert_eq!((status, wait.as_deref()), (503, Some("1")));
    let message = r#""message":"service unavailable, try again later""#;
    assert!(text.contains(message) && text.contains("request_id"), "{text}");
    let refused = site.grpc(THERE, PLANS, &ListPlansRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), retry_seconds(&refused)), (Code::Unavailable, Some(1)));
    assert_eq!(reason_of(&refused), Some(ErrorReason::Unavailable));
    for uri in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(site.status(THERE, uri).await, 200, "{uri}");
    }
    site.grpc(THERE, "/grpc.health.v1.Health/Check", &String::new()).await.unwrap();
    site.gate.add_permits(1_000);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(site.status(THERE, "/s3/list_plans?token=two").await, 200);
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_place() {
    let site = Site::new(Config { calls_in_flight_max: 1, ..Config::default() });
    let unread = site.send(HERE, grpc(PLANS, &ListPlansRequest::default())).await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let endless = site.send(HERE, grpc(reflection, &String::new())).await;
    assert_eq!(site.status(THERE, "/s3/list_plans?token=one").await, 200);
    drop((unread, endless));
}

#[tokio::test]
async fn one_address_does_not_sit_on_every_place() {
    let config = Config { address_calls_in_flight_max: 1, ..Config::default() };
    let site = Arc::new(Site::new(config));
    site.gate.forget_permits(1_000);
    let first = {
        let site = Arc::clone(&site);
        tokio::spawn(async move { site.grpc(HERE, PLANS, &ListPlansRequest::default()).await })
    };
    while site.count(|s| s.resolved) == 0 {
        tokio::task::yield_now().await;
    }
    let refused = (429, Some("1".to_owned()), failed("too many requests"));
    assert_eq!(site.get(HERE, "/s3/list_plans?token=two").await, refused);
    assert_eq!(site.status(THERE, "/nothing").await, 404);
    site.gate.add_permits(1_000);
    first.await.unwrap().unwrap();
    assert_eq!(site.status(HERE, "/s3/list_plans?token=two").await, 200);
}
