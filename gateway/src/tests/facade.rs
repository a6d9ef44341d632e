//! Every action, and every way to refuse one.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use proptest::prelude::*;
use stowage_proto::common::ErrorReason;
use stowage_runtime::status;
use tonic::Code;

use super::world::{ABSENT, FOREIGN, OURS, World, read};
use crate::Config;
use crate::legacy::ACTIONS;

fn failed(message: &str) -> String {
    format!(r#"{{"code":-1,"message":"{message}","result":-1,"error":"{message}"}}"#)
}

/// Blocks of two lines: an action with its form, and the answer. Sent to both routes.
const GOLDENS: &str = include_str!("goldens.txt");

#[tokio::test]
async fn every_action_answers_as_the_contract_says() {
    let world = World::new();
    let goldens =
        GOLDENS.replace("OURS", OURS).replace("FOREIGN", FOREIGN).replace("ABSENT", ABSENT);
    let mut seen = BTreeSet::new();
    for golden in goldens.trim_end().split("\n\n") {
        let (request, expected) = golden.split_once('\n').unwrap();
        let (action, form) = request.split_once(' ').unwrap();
        seen.insert(action);
        let answer = world.post(&format!("/s3/{action}"), form).await;
        assert_eq!(answer, (200, expected.to_owned()), "{request}");
        let answer = world.post("/s3.php", &format!("{form}&action={action}")).await;
        assert_eq!(answer, (200, expected.to_owned()), "{request}");
    }
    let all: BTreeSet<&str> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!(seen, all, "every action has a golden");
    let orders = &world.state.lock().unwrap().orders;
    assert_eq!((orders[0].plan.as_str(), orders[0].bucket.as_str()), ("plans/1", "photos"));
}

#[tokio::test]
async fn a_foreign_account_and_an_absent_one_answer_the_same_bytes() {
    let world = World::new();
    for (action, rest, message) in [
        ("create_bucket", "bucket=photos", "S3 account not found for this customer"),
        ("delete_bucket", "bucket=photos", "S3 account not found for this customer"),
        ("get_files", "bucket=photos", "S3 account not found for this customer"),
        ("delete_file", "bucket=photos&file=a", "S3 account not found for this customer"),
        ("get_buckets_rmq", "", "S3 account not found for this customer"),
        ("get_buckets", "", "Load bucket error: S3 account not found for this customer"),
        ("delete_account", "", "S3 account not found for this customer"),
        ("delete_payment_account", "", "S3 account not found for this customer"),
        ("cancel_payment_account_deletion", "", "S3 account not found for this customer"),
    ] {
        for s3uid in [FOREIGN, ABSENT, "2", "77", "nonsense", "-1"] {
            let form = format!("token=one&s3uid={s3uid}&{rest}");
            let answer = world.post(&format!("/s3/{action}"), &form).await;
            assert_eq!(answer, (200, failed(message)), "{action} {s3uid}");
        }
    }
}

#[tokio::test]
async fn requests_are_routed_by_path_then_by_parameter() {
    let world = World::new();
    for (path, form, answer) in [
        ("/s3.php", "token=one", (200, failed("action required"))),
        ("/s3/", "token=one", (200, failed("action required"))),
        ("/s3", "", (200, failed("action required"))),
        ("/s3/nothing", "token=one", (200, failed("unknown action"))),
        ("/s3/s3/list_plans", "token=one", (200, failed("unknown action"))),
        ("/s3.php", "action=nothing", (200, failed("unknown action"))),
        ("/s3/create_bucket", "token=one", (200, failed("s3uid required"))),
        ("/s3/create_bucket", "action=list_plans", (401, failed("invalid token"))),
        ("/s3/create_bucket", "token=one&s3uid=1", (200, failed("bucket_name required"))),
        ("/nowhere", "", (404, failed("not found"))),
        ("/s3php", "", (404, failed("not found"))),
    ] {
        assert_eq!(world.post(path, form).await, answer, "{path} {form}");
    }
    let (_, text) = world.post("/s3/create_account", &order("action=create_order")).await;
    assert!(text.starts_with(r#"{"result":"OK","action":"create_account""#), "{text}");
    let (_, text) = world.get("/s3.php?action=get_user_info&token=one").await;
    assert!(text.starts_with(r#"{"result":"OK","action":"get_buckets_rmq""#), "{text}");
}

fn order(more: &str) -> String {
    format!("token=one&plan_id=1&bucket_name=photos&{more}")
}

#[tokio::test]
async fn other_methods_types_and_sizes_are_refused() {
    let world = World::with(Config { body_bytes_max: 100, ..Config::default() });
    for (method, action, allow) in [
        (Method::GET, "create_order", "POST"),
        (Method::PUT, "create_order", "POST"),
        (Method::DELETE, "list_plans", "GET, POST"),
        (Method::OPTIONS, "list_plans", "GET, POST"),
    ] {
        let uri = format!("/s3/{action}?token=one");
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let response = world.send(request).await;
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(read(response).await, (405, failed("method not allowed")), "{action}");
    }
    assert!(world.state.lock().unwrap().calls.is_empty(), "nothing was asked");
    let large = "x".repeat(101);
    assert_eq!(world.post("/s3/list_plans", &large).await, (413, failed("request body too large")));
    let request = Request::post("/s3/list_plans")
        .header("content-type", "text/plain")
        .body(Body::from("token=one"))
        .unwrap();
    let answer = read(world.send(request).await).await;
    assert_eq!(answer, (415, failed("unsupported content type")));
}

#[tokio::test]
async fn a_form_is_read_on_get_and_answers_carry_their_headers() {
    let world = World::new();
    let request = Request::get("/s3/list_plans?token=wrong")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-request-id", "abc-1")
        .body(Body::from("token=one"))
        .unwrap();
    let response = world.send(request).await;
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-request-id", "abc-1"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.status(), 200);
    let ids = world.state.lock().unwrap().request_ids.clone();
    assert_eq!(ids.last().map(String::as_str), Some("abc-1"), "the role knows the id");
    let request = Request::get("/s3/list_plans")
        .header("x-request-id", "x".repeat(200))
        .body(Body::empty())
        .unwrap();
    let response = world.send(request).await;
    assert_eq!(response.headers()["x-request-id"].len(), 36);
}

#[tokio::test]
async fn a_missing_s3uid_is_guessed_when_reading_only() {
    let world = World::new();
    let (_, text) = world.get("/s3/get_buckets_rmq?token=one").await;
    assert!(text.starts_with(r#"{"result":"OK""#), "{text}");
    let (_, text) = world.get("/s3/get_files?token=one&bucket=photos").await;
    assert!(text.starts_with(r#"{"result":"OK""#), "{text}");
    let answer = world.post("/s3/delete_account", "token=one").await;
    assert_eq!(answer, (200, failed("s3uid required")));
    // An administrator has no account.
    let answer = world.get("/s3/get_buckets_rmq?token=admin").await;
    assert_eq!(answer, (200, failed("s3uid required")));
    let answer = world.get("/s3/get_buckets?token=admin").await;
    let message = "Load bucket error: S3 account not found for this customer";
    assert_eq!(answer, (200, failed(message)));
}

#[tokio::test]
async fn failures_of_an_order_are_worded_by_their_action() {
    let world = World::new();
    let bucket = |reason, why: &str| {
        status(Code::FailedPrecondition, reason, "bucket photos is taken").meta("why", why).build()
    };
    let taken = || bucket(ErrorReason::BucketCreationFailed, "the name is taken");
    for (action, failure, answer) in [
        (
            "create_order",
            taken(),
            "S3 account was being created, but a bucket creation error occurred - the name is \
             taken",
        ),
        (
            "create_account",
            taken(),
            "S3 account was being created, however a bucket creation error occurred - the name \
             is taken. Please notify the administrator.",
        ),
        (
            "create_order",
            status(Code::NotFound, ErrorReason::PlanNotFound, "x").build(),
            "S3 plan not found",
        ),
    ] {
        world.state.lock().unwrap().order_failure = Some(failure);
        let path = format!("/s3/{action}");
        assert_eq!(world.post(&path, &order("")).await, (200, failed(answer)), "{action}");
    }
}

#[tokio::test]
async fn a_key_of_the_client_becomes_the_request_id_of_the_order() {
    let world = World::new();
    world.post("/s3/create_order", &order("idempotency_key=k1")).await;
    let request = Request::post("/s3/create_order")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("idempotency-key", "k2")
        .body(Body::from(order("idempotency_key=k1")))
        .unwrap();
    world.send(request).await;
    let keys: Vec<String> =
        world.state.lock().unwrap().orders.iter().map(|o| o.request_id.clone()).collect();
    assert_eq!(keys, ["k1", "k2"]);
    let long = order(&format!("idempotency_key={}", "k".repeat(65)));
    let (_, text) = world.post("/s3/create_order", &long).await;
    assert!(text.contains("idempotency_key invalid"), "{text}");
    let reused = status(Code::AlreadyExists, ErrorReason::RequestIdReused, "reused").build();
    world.state.lock().unwrap().order_failure = Some(reused);
    assert_eq!(world.post("/s3/create_order", &order("idempotency_key=k1")).await.0, 409);
}

#[tokio::test]
async fn a_role_that_is_away_is_503_and_a_fault_is_500() {
    let world = World::new();
    let form = format!("token=one&s3uid={OURS}&bucket=photos");
    let away = status(Code::Unavailable, ErrorReason::EngineUnavailable, "ceph-3 is away").build();
    world.state.lock().unwrap().storage_failure = Some(away);
    let request = Request::post(format!("/s3/create_bucket?{form}")).body(Body::empty()).unwrap();
    let response = world.send(request).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (code, text) = read(response).await;
    assert!(code == 503 && !text.contains("ceph-3"), "{code} {text}");
    // A call that ended without an answer may be sent again if it only reads.
    let late = status(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, "late").build();
    world.state.lock().unwrap().storage_failure = Some(late);
    let (code, text) = world.post("/s3/create_bucket", &form).await;
    assert!(code == 200 && text.contains("may still be completed"), "{text}");
    let fault = tonic::Status::internal("no such table: bucket");
    world.state.lock().unwrap().storage_failure = Some(fault);
    let (code, text) = world.post("/s3/create_bucket", &form).await;
    assert!(code == 500 && text.contains("request_id") && !text.contains("table"), "{text}");
}

#[tokio::test]
async fn secrets_stay_where_they_belong() {
    let world = World::with(Config { hide_secret_in_rmq: true, ..Config::default() });
    let (_, text) = world.get("/s3/get_buckets_rmq?token=one").await;
    assert!(text.contains("access_key") && !text.contains("secret_key"), "{text}");
    let (_, text) = world.get("/s3/get_buckets?token=one").await;
    assert!(text.contains(r#""secret_key":"hush""#), "{text}");
    // Support staff read figures, not secrets.
    let (_, text) = world.get(&format!("/s3/get_buckets?token=staff&s3uid={OURS}")).await;
    assert!(text.contains("access_key") && !text.contains("secret_key"), "{text}");
    let uri = format!("/s3/show_key?token=staff&s3uid={OURS}&s3_key=secret_key");
    assert_eq!(world.get(&uri).await, (200, failed("access denied")));
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        "/s3\\.php|/auth\\.php|/s3|/s3/[a-z_]{0,12}",
        "/s3/(list_plans|create_order|get_files)",
    ]
}

/// Bytes of any kind, and texts that are nearly what each content type promises.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let form = "(token|id|plan_id|params\\[a\\])=[ -~]{0,40}(&[a-z_]{0,9}=[ -~]{0,20}){0,3}";
    let text = "\"[ -!#-\\[\\]-~]{0,20}\"";
    let json =
        format!("\\{{\"(token|id|action)\":([0-9.e]{{1,30}}|{text}|\\[[0-9,]{{0,9}}\\])\\}}");
    let part = "Content-Disposition: form-data; name=\"[a-z]{0,9}\"\r\n\r\n[ -~]{0,40}";
    let multipart = format!("--b\r\n{part}\r\n--b--\r\n");
    let texts = [form, &json, &multipart].map(|regex| {
        prop::string::string_regex(regex)
            .expect("a regular expression")
            .prop_map(String::into_bytes)
    });
    let [form, json, multipart] = texts;
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), form, json, multipart]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_comes_is_answered_with_an_envelope(
        method in "GET|POST|PUT|HEAD",
        path in any_path(),
        query in "[ -~&&[^ #<>\"`{}|\\\\^]]{0,80}",
        content_type in prop_oneof![
            Just("application/x-www-form-urlencoded".to_owned()),
            Just("application/json".to_owned()),
            Just("multipart/form-data; boundary=b".to_owned()),
            Just("application/grpc+proto".to_owned()),
            "[ -~]{0,40}",
        ],
        body in any_body(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let Ok(request) = Request::builder()
                .method(method.as_str())
                .uri(format!("{path}?{query}"))
                .header("content-type", content_type)
                .body(Body::from(body)) else { return };
            let answer = tokio::time::timeout(Duration::from_secs(20), world.send(request)).await;
            let (code, text) = read(answer.expect("an answer in time")).await;
            if method == "HEAD" {
                assert!(text.is_empty(), "{code} {text}");
                return;
            }
            let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(envelope.get("result").is_some(), "{text}");
        });
    }
}
