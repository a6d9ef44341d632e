//! Messages from outside: passed on as they came, and answered so that their sender knows what to
//! do.

use axum::body::Body;
use axum::response::Response;
use http::Request;
use prost::Message as _;
use serde_json::Value;
use stowage_proto::billing::{TakePaymentRequest, TakeProviderMessageRequest};
use tonic::{Code, Status};

use super::world::{World, read};

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("x-stowage-timestamp", "1767225600")
        .header("x-stowage-signature", "sha256=00")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

async fn json(response: Response) -> (u16, Value) {
    let (status, text) = read(response).await;
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_message_is_passed_on_as_it_came() {
    let world = World::new();
    // Nothing of it is read here, whatever it is.
    let body = b"{\"a\" :\t1}\xff\0".to_vec();
    let (status, answer) = json(world.send(post("/hooks/whmcs/eu-1", body.clone())).await).await;
    assert_eq!((status, answer["result"].as_str()), (200, Some("taken")));
    let (status, answer) = json(world.send(post("/hooks/payments", body.clone())).await).await;
    assert_eq!((status, answer["repeated"].as_bool()), (200, Some(false)));
    let state = world.state.lock().unwrap();
    assert_eq!(
        state.calls,
        ["TakeProviderMessage as services/gateway", "TakePayment as services/gateway"]
    );
    let first = TakeProviderMessageRequest::decode(state.messages[0].as_slice()).unwrap();
    let second = TakePaymentRequest::decode(state.messages[1].as_slice()).unwrap();
    assert_eq!((first.installation.as_str(), second.known_customer_id), ("eu-1", 0));
    for message in [first.message.unwrap(), second.message.unwrap()] {
        assert_eq!(message.timestamp, "1767225600");
        assert_eq!((message.signature.as_str(), &message.body), ("sha256=00", &body));
    }
}

#[tokio::test]
async fn what_is_too_long_or_no_message_reaches_no_role() {
    let world = World::new();
    let long = vec![b' '; 16 * 1024 + 1];
    // Also where its length is not said first.
    let chunks = [Ok::<_, std::io::Error>(long.clone())];
    let streamed = Body::from_stream(futures_util::stream::iter(chunks));
    for body in [Body::from(long), streamed] {
        let (status, answer) = json(world.send(post("/hooks/payments", body)).await).await;
        assert_eq!((status, answer["result"].as_str()), (413, Some("refused")));
    }
    for path in ["/hooks/payments", "/hooks/whmcs/whmcs"] {
        let response = world.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.status(), 405, "{path}");
    }
    for path in ["/hooks", "/hooks/", "/hooks/whmcs", "/hooks/whmcs/", "/hooks/whmcs/a/b"] {
        assert_eq!(world.send(post(path, "{}")).await.status(), 404, "{path}");
    }
    assert_eq!(world.state.lock().unwrap().calls, [""; 0]);
}

#[tokio::test]
async fn headers_that_are_missing_or_no_text_are_billings_to_refuse() {
    let world = World::new();
    let odd = http::HeaderValue::from_bytes(b"\xff").unwrap();
    let request = Request::post("/hooks/payments").header("x-stowage-signature", odd);
    let response = world.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), 200);
    let state = world.state.lock().unwrap();
    let sent = TakePaymentRequest::decode(state.messages[0].as_slice()).unwrap().message.unwrap();
    assert_eq!((sent.timestamp.as_str(), sent.signature.as_str()), ("", ""));
}

#[tokio::test]
async fn a_role_that_is_away_is_to_be_tried_again() {
    let world = World::new();
    let away = Status::new(Code::Unavailable, "db at 10.0.0.1 is away");
    world.state.lock().unwrap().hook_failure = Some(away);
    let response = world.send(post("/hooks/payments", "{}")).await;
    assert_eq!(response.headers()["retry-after"], "5");
    let (status, answer) = json(response).await;
    assert_eq!(status, 503);
    assert!(!answer.to_string().contains("10.0.0.1"), "{answer}");
    assert!(answer["request_id"].is_string(), "{answer}");
}

#[tokio::test]
async fn accounts_is_asked_for_a_customer_whom_billing_has_never_met() {
    let world = World::new();
    for (body, status, known) in [("new customer 1001", 200, 1001), ("new customer 99", 404, 0)] {
        let (found, answer) = json(world.send(post("/hooks/payments", body)).await).await;
        assert_eq!(found, status, "{answer}");
        let mut state = world.state.lock().unwrap();
        let at = state.calls.iter().rposition(|call| call.starts_with("TakePayment")).unwrap();
        let last = TakePaymentRequest::decode(state.messages[at].as_slice()).unwrap();
        assert_eq!(last.known_customer_id, known, "{body}");
        assert!(state.calls.contains(&"GetCustomer as services/gateway".to_owned()));
        state.calls.clear();
        state.messages.clear();
    }
}
