//! Tokens: where they come from, whom they act for, how long they are remembered.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use prost::Message as _;
use stowage_bus::{Audience, Event};
use stowage_proto::accounts::TokenRevoked;
use stowage_types::{Clock as _, SystemRandom, new_id};

use super::world::{OURS, World, hash_text, read};
use crate::Config;

fn failed(message: &str) -> String {
    format!(r#"{{"code":-1,"message":"{message}","result":-1,"error":"{message}"}}"#)
}

#[tokio::test]
async fn a_token_is_taken_from_each_of_its_places() {
    let world = World::new();
    for (header, value, query, good) in [
        ("x-other", "", "token=one", true),
        ("authorization", "Bearer one", "", true),
        ("authorization", "bearer one", "", true),
        ("x-auth-token", "one", "", true),
        ("authorization", "Bearer wrong", "token=one", true),
        ("authorization", "Bearer one", "token=wrong", false),
        ("authorization", "Basic one", "", false),
        ("x-other", "", "token=", false),
        ("x-other", "", "", false),
    ] {
        let request = Request::get(format!("/s3/list_plans?{query}"))
            .header(header, value)
            .body(Body::empty())
            .unwrap();
        let (status, text) = read(world.send(request).await).await;
        let expected = if good { 200 } else { 401 };
        assert_eq!(status, expected, "{header}: {value} ?{query}");
        assert!(good || text == failed("invalid token"), "{text}");
    }
}

#[tokio::test]
async fn tokens_in_urls_are_refused_where_the_provider_says_so() {
    let world = World::with(Config { refuse_tokens_in_urls: true, ..Config::default() });
    let (status, text) = world.get("/s3/list_plans?token=one").await;
    assert!(status == 200 && text.contains("token invalid"), "{text}");
    assert!(world.state.lock().unwrap().calls.is_empty());
    assert!(world.post("/s3/list_plans", "token=one").await.1.contains("Plan 1"));
}

#[tokio::test]
async fn an_id_is_an_administrators_to_use() {
    let world = World::new();
    let bucket = format!("s3uid={OURS}&bucket=photos");
    for (token, id, action, form, expected) in [
        ("one", "1001", "create_bucket", &bucket, r#"{"result":"OK""#.to_owned()),
        ("one", "1002", "create_bucket", &bucket, failed("customer not found")),
        ("one", "9999", "create_bucket", &bucket, failed("customer not found")),
        ("staff", "1001", "get_buckets", &bucket, failed("customer not found")),
        ("admin", "1001", "create_bucket", &bucket, r#"{"result":"OK""#.to_owned()),
        ("admin", "9999", "create_bucket", &bucket, failed("customer not found")),
        (
            "admin",
            "1002",
            "create_bucket",
            &bucket,
            failed("S3 account not found for this customer"),
        ),
        ("admin", "", "create_bucket", &bucket, r#"{"result":"OK""#.to_owned()),
        ("one", "1002", "get_users", &bucket, failed("customer not found")),
        ("admin", "9999", "get_users", &bucket, failed("customer not found")),
    ] {
        let form = format!("token={token}&id={id}&{form}");
        let (_, text) = world.post(&format!("/s3/{action}"), &form).await;
        assert!(text.starts_with(&expected), "{token} for {id}: {action} answered {text}");
    }
    let calls = world.state.lock().unwrap().calls.clone();
    let acted = "CreateBucket as administrator for customers/1001".to_owned();
    assert!(calls.contains(&acted), "{calls:?}");
    let answer = world.post("/s3/create_order", "token=admin&plan_id=1&bucket=photos").await;
    assert_eq!(answer, (200, failed("id required")));
}

#[tokio::test]
async fn in_lists_of_plans_and_history_the_id_is_a_plan() {
    let world = World::new();
    let (_, text) = world.get("/s3/list_plans?token=admin").await;
    assert!(text.contains("Plan 1") && text.contains("Plan 2"), "{text}");
    let (_, text) = world.get("/s3/list_plans?token=admin&id=2").await;
    assert!(!text.contains("Plan 1") && text.contains("Plan 2"), "{text}");
    let (_, text) = world.get("/s3/list_plans?token=one&id=2").await;
    assert!(text.contains("Plan 1") && !text.contains("Plan 2"), "{text}");
    let answer = world.get("/s3/list_plans?token=admin&id=3").await;
    assert_eq!(answer, (200, failed("S3 plan not found")));
    let answer = world.get("/s3/history?token=one&id=3").await;
    assert_eq!(answer, (200, failed("S3 plan not found")));
    assert_eq!(world.get("/s3/history?token=one").await, (200, failed("id required")));
}

#[tokio::test]
async fn a_token_is_resolved_once_in_a_while() {
    let world = World::new();
    for _ in 0..3 {
        assert_eq!(world.get("/s3/list_plans?token=one").await.0, 200);
    }
    assert_eq!(world.calls_of("ResolveToken"), 1);
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.get("/s3/list_plans?token=one").await.0, 200);
    assert_eq!(world.calls_of("ResolveToken"), 2);
}

#[tokio::test]
async fn a_revoked_token_is_forgotten_at_once() {
    let world = World::new();
    assert_eq!(world.get("/s3/list_plans?token=one").await.0, 200);
    assert_eq!(world.get("/s3/list_plans?token=two").await.0, 200);
    world.state.lock().unwrap().revoked.push("one".into());
    let revoked = TokenRevoked { token_hashes: vec![hash_text("one"), "not hex".into()] };
    let event = Event {
        id: new_id(world.clock.as_ref(), &SystemRandom),
        source: "stowage/accounts".into(),
        kind: "stowage.accounts.token.revoked.v1".into(),
        subject: String::new(),
        time: world.clock.now(),
        data: revoked.encode_to_vec(),
    };
    world.gateway.token_cache().handle(&event).await.unwrap();
    assert_eq!(world.get("/s3/list_plans?token=one").await.0, 401);
    assert_eq!(world.get("/s3/list_plans?token=two").await.0, 200);
    assert_eq!(world.calls_of("ResolveToken"), 3);
    assert_eq!(world.gateway.subscriptions()[0].kinds, [event.kind]);
}

#[tokio::test]
async fn whoever_may_have_missed_a_revocation_forgets_every_token() {
    let world = World::new();
    assert_eq!(world.get("/s3/list_plans?token=one").await.0, 200);
    assert_eq!(world.get("/s3/list_plans?token=two").await.0, 200);
    world.state.lock().unwrap().revoked.push("one".into());
    for subscription in world.gateway.subscriptions() {
        assert_eq!(subscription.audience, Audience::EveryProcess);
        subscription.handler.missed().await;
    }
    assert_eq!(world.get("/s3/list_plans?token=one").await.0, 401);
    assert_eq!(world.get("/s3/list_plans?token=two").await.0, 200);
    assert_eq!(world.calls_of("ResolveToken"), 4);
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let world = World::with(Config { token_cache_max: 1, ..Config::default() });
    for token in ["one", "two", "one", "two"] {
        assert_eq!(world.get(&format!("/s3/list_plans?token={token}")).await.0, 200);
    }
    assert_eq!(world.calls_of("ResolveToken"), 4);
    let world = World::with(Config { token_cache_ms: 0, ..Config::default() });
    for _ in 0..2 {
        world.get("/s3/list_plans?token=one").await;
    }
    assert_eq!(world.calls_of("ResolveToken"), 2);
}

#[tokio::test]
async fn clients_log_in_ask_who_they_are_and_log_out() {
    let world = World::new();
    let session = |token: &str, end: i64| {
        let whose = r#""role":"Customer","email":"one@example.com","customer_id":1001}"#;
        format!(r#"{{"result":{{"token":"{token}","token_expire":{end},{whose}"#)
    };
    let (status, text) = world.post("/auth.php", "action=login&key=sk_good&fix_ip=1").await;
    let expected = format!(r#"{},"action":"login"}}"#, session("issued", 10_800));
    assert_eq!((status, text), (200, expected));
    let (_, text) = world.get("/auth.php?action=login&key=sk_good&ttl=60").await;
    assert!(text.starts_with(&session("issued", 60)), "{text}");
    assert_eq!(world.state.lock().unwrap().fixed_addresses, ["203.0.113.7", ""]);
    let (_, text) = world.get("/auth.php?action=info&token=issued").await;
    let expected = format!(r#"{},"action":"info"}}"#, session("issued", 1_773_154_800));
    assert_eq!(text, expected);
    let (_, text) = world.post("/auth.php", "action=logout&token=issued").await;
    assert_eq!(text, r#"{"result":"OK","action":"logout"}"#);
    assert_eq!(world.get("/auth.php?action=info&token=issued").await.0, 401);
    assert_eq!(world.get("/s3/list_plans?token=issued").await.0, 401);
}

#[tokio::test]
async fn a_bad_login_is_a_failure_of_business() {
    let world = World::new();
    for (form, message) in [
        ("", "action required"),
        ("action=dance", "unknown action"),
        ("action=login", "key required"),
        ("action=login&key=sk_bad", "invalid key"),
    ] {
        assert_eq!(world.post("/auth.php", form).await, (200, failed(message)), "{form}");
    }
    let (_, text) = world.post("/auth.php", "action=login&key=sk_good&ttl=soon").await;
    assert!(text.contains("ttl invalid"), "{text}");
    let (_, text) = world.post("/auth.php", "action=login&key=sk_good&fix_ip=2").await;
    assert!(text.contains("fix_ip invalid"), "{text}");
    let answer = world.post("/auth.php", "action=logout").await;
    assert_eq!(answer, (401, failed("invalid token")));
}
