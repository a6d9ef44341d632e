//! The port itself: gRPC, grpc-web, health, reflection, CORS, and what is no request at all.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use prost::Message as _;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{LoginRequest, LogoutRequest};
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{ListPlansRequest, ListPlansResponse};
use stowage_proto::common::ErrorReason;
use stowage_runtime::{RoleChannel, status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::world::{PEER, World};
use crate::Config;

/// A channel to the gateway without a connection.
fn channel(world: &World) -> RoleChannel {
    let gateway = world.gateway.clone();
    RoleChannel::new(tower::service_fn(move |mut request: Request<tonic::body::Body>| {
        let gateway = gateway.clone();
        *request.version_mut() = http::Version::HTTP_2;
        async move {
            let response = gateway.answer(request.map(Body::new), PEER).await;
            Ok::<_, std::convert::Infallible>(response.map(tonic::body::Body::new))
        }
    }))
}

async fn list_plans(world: &World, metadata: &[(&'static str, &str)]) -> Result<usize, Status> {
    let mut request = tonic::Request::new(ListPlansRequest::default());
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    let mut client = PlanServiceClient::new(channel(world));
    Ok(client.list_plans(request).await?.into_inner().plans.len())
}

#[tokio::test]
async fn a_grpc_call_acts_as_the_owner_of_its_token() {
    let world = World::new();
    assert_eq!(list_plans(&world, &[("authorization", "Bearer one")]).await.unwrap(), 1);
    assert_eq!(list_plans(&world, &[("authorization", "Bearer admin")]).await.unwrap(), 2);
    let acting = [("authorization", "Bearer admin"), ("stowage-act-for", "1001")];
    list_plans(&world, &acting).await.unwrap();
    let calls = world.state.lock().unwrap().calls.clone();
    assert_eq!(calls.last().unwrap(), "ListPlans as administrator for customers/1001");
    for (metadata, code) in [
        (&[][..], Code::Unauthenticated),
        (&[("authorization", "Bearer wrong")], Code::Unauthenticated),
        (&[("authorization", "Basic x")], Code::Unauthenticated),
        (&[("authorization", "Bearer admin"), ("stowage-act-for", "x")], Code::InvalidArgument),
    ] {
        let refused = list_plans(&world, metadata).await.unwrap_err();
        assert_eq!(refused.code(), code, "{metadata:?}");
    }
}

#[tokio::test]
async fn an_assertion_that_a_client_sends_reaches_no_role() {
    let world = World::new();
    let forged = world.signer.service_assertion("services/accounts", None);
    let refused = list_plans(&world, &[("stowage-assertion", &forged)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let both = [("stowage-assertion", forged.as_str()), ("authorization", "Bearer one")];
    assert_eq!(list_plans(&world, &both).await.unwrap(), 1, "the token decides");
    let request = Request::get("/s3/list_plans")
        .header("stowage-assertion", forged)
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status(), 401);
}

#[tokio::test]
async fn methods_for_anybody_need_no_token_and_a_logout_is_noticed() {
    let world = World::new();
    let mut sessions = SessionServiceClient::new(channel(&world));
    let login = LoginRequest { api_key: "sk_good".into(), ..LoginRequest::default() };
    let token = sessions.login(login).await.unwrap().into_inner().token;
    let bearer = format!("Bearer {token}");
    assert!(list_plans(&world, &[("authorization", &bearer)]).await.is_ok());
    sessions.logout(LogoutRequest { token }).await.unwrap();
    let refused = list_plans(&world, &[("authorization", &bearer)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_path_that_no_role_has_is_unimplemented() {
    let world = World::new();
    for path in ["/x.Y/Z", "/stowage.nobody.v1.A/B", "/stowage.billing.v1.PlanService/Nothing", "/"]
    {
        let request = Request::post(path)
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        let response = world.send(request).await;
        assert_eq!(response.status(), 200, "{path}");
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn a_browser_speaks_grpc_web() {
    let world = World::with(Config {
        cors_origins: vec!["https://console.example".into()],
        ..Config::default()
    });
    let request = Request::post("/stowage.billing.v1.PlanService/ListPlans")
        .header("content-type", "application/grpc-web+proto")
        .header("authorization", "Bearer one")
        .header("origin", "https://console.example")
        .body(Body::from(vec![0; 5]))
        .unwrap();
    let response = world.send(request).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "https://console.example");
    assert_eq!(response.headers()["content-type"], "application/grpc-web+proto");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let length = usize::try_from(u32::from_be_bytes(bytes[1..5].try_into().unwrap())).unwrap();
    let answer = ListPlansResponse::decode(&bytes[5..5 + length]).unwrap();
    assert_eq!(answer.plans.len(), 1);
    let trailer = String::from_utf8_lossy(&bytes[5 + length..]).into_owned();
    assert!(trailer.contains("grpc-status:0"), "{trailer}");
}

#[tokio::test]
async fn only_configured_origins_are_allowed() {
    let preflight = |origin: &str| {
        Request::builder()
            .method(Method::OPTIONS)
            .uri("/s3/list_plans")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-grpc-web,authorization")
            .body(Body::empty())
            .unwrap()
    };
    let origin = "https://console.example";
    let world = World::with(Config { cors_origins: vec![origin.into()], ..Config::default() });
    let response = world.send(preflight(origin)).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], origin);
    let allowed = &response.headers()["access-control-allow-headers"];
    assert_eq!(allowed, "x-grpc-web,authorization");
    let response = world.send(preflight("https://evil.example")).await;
    assert_eq!(response.status(), 405);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    assert_eq!(response.headers()["vary"], "Origin");
    let response = World::new().send(preflight(origin)).await;
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    assert!(!response.headers().contains_key("vary"), "CORS is off");
}

#[tokio::test]
async fn operators_see_what_lives_and_what_is_ready() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await, (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(world.get("/metrics").await, (200, "up 1\n".to_owned()));
    let ready = r#"{"ready":true,"roles":{"accounts":"ok","storage":"ok"}}"#;
    assert_eq!(world.get("/readyz").await, (200, ready.to_owned()));
    let away = status(Code::Unavailable, ErrorReason::Unavailable, "the engine is away").build();
    world.state.lock().unwrap().storage_failure = Some(away);
    let text = r#"{"ready":false,"roles":{"accounts":"ok","storage":"the engine is away"}}"#;
    assert_eq!(world.get("/readyz").await, (503, text.to_owned()));
}

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(world.gateway.serve(listener, None, stop.clone()));
        Self { address, stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }

    async fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A connection that is cut off is an answer too.
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn garbage_ends_its_own_connection_and_no_other() {
    let world = World::new();
    let served = Served::start(&world).await;
    for bytes in [
        &b""[..],
        b"\0\xff\xfe garbage",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /s3/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all, but many bytes of it",
        b"POST /s3.php HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
        b"POST /s3.php HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        served.talk(bytes).await;
    }
    let answer = served.talk(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    served.end().await;
}

#[tokio::test]
async fn one_port_serves_http_and_grpc_and_stops_gracefully() {
    let world = World::new();
    let served = Served::start(&world).await;
    let endpoint = format!("http://{}", served.address);
    let connection =
        tonic::transport::Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(connection.clone());
    for (service, code) in [("", Code::Ok), ("storage", Code::Ok), ("nobody", Code::NotFound)] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = health.check(request).await;
        assert_eq!(answer.err().map_or(Code::Ok, |status| status.code()), code, "{service}");
    }
    let mut reflection = ServerReflectionClient::new(connection);
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let asked = futures_util::stream::iter([request]);
    let mut answers = reflection.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap());
    assert!(answer.contains("stowage.billing.v1.PlanService"), "{answer}");
    drop((answers, reflection, health));
    let answer = served.talk(b"GET /s3.php HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.contains("action required"), "{answer}");
    let address = served.address;
    served.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}
