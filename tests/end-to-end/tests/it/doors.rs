//! Every protocol the one port speaks, and garbage at each.

use std::io::Read as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use prost::Message as _;
use stowage_proto::billing::{ListPlansRequest, ListPlansResponse};
use stowage_testkit::{Kit, call_raw, eventually, stream_raw};

/// Set in a grpc-web frame that holds trailers.
const TRAILERS: u8 = 0x80;

#[tokio::test(flavor = "multi_thread")]
async fn list_plans_works_over_grpc_web() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("browser@example.com", "EUR").await;
    let message = ListPlansRequest::default().encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).expect("the message is small"));
    body.put_slice(&message);
    let ask = async |token: &str| {
        let request = Request::post("/stowage.billing.v1.PlanService/ListPlans")
            .header("content-type", "application/grpc-web+proto")
            .header("x-grpc-web", "1")
            .header("authorization", format!("Bearer {token}"))
            .body(body.clone().freeze());
        kit.site.facade.send(request.expect("a path makes a request")).await
    };

    let answer = ask(&customer.token).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/grpc-web+proto");
    let frames = frames(&answer.body);
    let plans = ListPlansResponse::decode(frames[0].1.clone()).expect("the first is the message");
    assert!(plans.plans.iter().any(|plan| plan.title == "Standard S3 Plan"), "{plans:?}");
    let (kind, trailers) = frames.last().expect("there are trailers");
    assert_eq!(*kind, TRAILERS);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"), "{trailers:?}");

    // A refusal comes as grpc-status too, in the headers or in the trailers.
    let refused = ask("0123456789abcdef0123456789abcdef").await;
    let status = refused.headers.get("grpc-status").map(|value| value.as_bytes().to_vec());
    let in_body = String::from_utf8_lossy(&refused.body).contains("grpc-status:16");
    assert!(status.as_deref() == Some(b"16") || in_body, "{refused:?}");
    kit.stop().await;
}

/// The frames of a grpc-web body: flags and content.
fn frames(mut body: &[u8]) -> Vec<(u8, Bytes)> {
    let mut found = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let (content, next) = rest.split_at(usize::try_from(length).expect("a frame is small"));
        found.push((*kind, Bytes::copy_from_slice(content)));
        body = next;
    }
    assert!(body.is_empty(), "the body is whole frames");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_without_a_token() {
    let kit = Kit::start().await;
    let nobody = kit.site.as_nobody();
    let limit = Duration::from_secs(30);
    eventually("grpc.health.v1 says that all serve", limit, async || {
        let health = call_raw(&nobody, "/grpc.health.v1.Health/Check", Bytes::new()).await;
        // `HealthCheckResponse { status: SERVING }`.
        if health.as_ref().is_ok_and(|health| health[..] == [8, 1]) {
            return Ok(());
        }
        Err(format!("{health:?}"))
    })
    .await;

    // `ServerReflectionRequest { list_services: "" }`: field 7, an empty text.
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let answer = stream_raw(&nobody, path, Bytes::from_static(&[0x3a, 0])).await;
    let answer = String::from_utf8_lossy(&answer.expect("reflection answers")).into_owned();
    for method in stowage_proto::METHODS {
        let service = method.path.split('/').nth(1).expect("a path has a service");
        assert!(answer.contains(service), "{service} is in {answer:?}");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_figures_are_served() {
    let kit = Kit::start().await;
    kit.site.customer("someone@example.com", "EUR").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = kit.site.facade.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
    let metrics = kit.site.facade.get("/metrics", &[]).await.text();
    assert!(metrics.contains("stowage_"), "{metrics}");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_any_port_stops_nothing() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("steady@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let account = kit.site.order(&customer.token, plan_id, "steady").await;
    for address in [kit.site.gateway, kit.site.s3] {
        for garbage in garbage() {
            let sent = tokio::task::spawn_blocking(move || send_garbage(address, &garbage));
            sent.await.expect("the client does not panic");
        }
    }
    kit.site.facade.action("list_plans", &customer.token, &[]).await.success();
    account.s3().list_objects_v2().bucket("steady").send().await.expect("S3 answers");
    let ready = kit.site.facade.get("/readyz", &[]).await;
    assert_eq!(ready.status, StatusCode::OK, "{}", ready.text());
    let metrics = kit.site.facade.get("/metrics", &[]).await.text();
    let panics = metrics.lines().find(|line| !line.starts_with('#') && line.contains("panic"));
    assert!(panics.is_none_or(|line| line.ends_with(" 0")), "{panics:?}");
    kit.stop().await;
}

/// Beginnings of no protocol, and of several with nonsense after them.
fn garbage() -> Vec<Vec<u8>> {
    let noise: Vec<u8> =
        (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let request = |line: &str, headers: &[&str], body: &str| {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .into_bytes()
    };
    let rpc = "POST /stowage.billing.v1.PlanService/ListPlans";
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/e";
    vec![
        Vec::new(),
        vec![0; 4096],
        noise.clone(),
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &noise].concat(),
        request("GET /%ff%00/../..", &[], ""),
        request("POST /s3/create_order", &["Content-Length: 99999999999999999999"], ""),
        request("POST /s3/create_order", &["Content-Type: application/json"], "{{{{{"),
        request("POST /auth.php", &["Content-Type: multipart/form-data; boundary="], "--"),
        request(rpc, &["Content-Type: application/grpc-web+proto"], &"\u{7f}".repeat(5)),
        request(rpc, &["Content-Type: application/grpc"], &"\u{7f}".repeat(5)),
        request("PUT /steady/key", &[signed], "x"),
        request("GET /steady?X-Amz-Signature=zz&X-Amz-Expires=-1&X-Amz-Date=never", &[], ""),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes(),
    ]
}

/// Sends bytes and takes what comes back, for a moment.
fn send_garbage(address: SocketAddr, garbage: &[u8]) {
    let moment = Some(Duration::from_millis(200));
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(moment).expect("a socket has timeouts");
    stream.set_write_timeout(moment).expect("a socket has timeouts");
    // The server may well hang up in the middle.
    let _ = stream.write_all(garbage);
    let _ = stream.read(&mut [0; 1024]);
}
