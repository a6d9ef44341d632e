//! The client's key of a request, whatever the action.

use axum::body::Body;
use axum::extract::Request;
use http::HeaderValue;
use stowage_proto::METHODS;

use super::world::{OURS, World, read};
use crate::legacy::ACTIONS;

/// Every parameter that any action requires, and a token that may do everything.
fn form(action: &str) -> String {
    let token = if action == "update_traffic_info" { "admin" } else { "one" };
    format!("token={token}&s3uid={OURS}&bucket_name=photos&filename=a.txt&plan_id=1")
}

/// From the table of actions, so that none can be forgotten.
#[tokio::test]
async fn the_key_of_every_action_that_changes_something_reaches_its_role() {
    let world = World::new();
    let mut writing = 0;
    for action in ACTIONS {
        let key = format!("the-key-of-{}", action.name);
        let form = format!("{}&idempotency_key={key}", form(action.name));
        world.post(&format!("/s3/{}", action.name), &form).await;
        let state = world.state.lock().unwrap();
        let is_sent = |message: &Vec<u8>| message.windows(key.len()).any(|at| at == key.as_bytes());
        let sent = state.messages.iter().filter(|message| is_sent(message)).count();
        let calls = state.calls.iter().filter(|call| call.starts_with("BindRequest")).count();
        let elsewhere = ["create_bucket", "delete_bucket", "delete_file", "update_traffic_info"];
        // Where another role than accounts executes it, accounts is asked first.
        assert_eq!(calls, usize::from(elsewhere.contains(&action.name)), "{}", action.name);
        let at_metering = usize::from(action.name == "update_traffic_info");
        assert_eq!(sent, usize::from(action.writes) + calls + at_metering, "{}", action.name);
        // What it calls says whether it changes anything, not only what the table says of it.
        let changes = |call: &String| {
            let name = call.split(' ').next().unwrap_or_default();
            METHODS.iter().any(|known| known.mutates && known.path.ends_with(&format!("/{name}")))
        };
        assert_eq!(state.calls.iter().any(changes), action.writes, "{}", action.name);
        drop(state);
        let mut state = world.state.lock().unwrap();
        state.calls.clear();
        state.messages.clear();
        writing += usize::from(action.writes);
    }
    assert_eq!(writing, 9);
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_before_anything_is_asked() {
    let long = "k".repeat(65);
    let headers: [&[u8]; 4] = [b"", b"a\tb", b"caf\xe9", long.as_bytes()];
    let send = async |world: &World, header: Option<&[u8]>, extra: &str| {
        let mut request = Request::post("/s3/create_bucket")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(value) = header {
            request = request.header("idempotency-key", HeaderValue::from_bytes(value).unwrap());
        }
        let body = Body::from(form("create_bucket") + extra);
        read(world.send(request.body(body).unwrap()).await).await
    };
    let world = World::new();
    for header in headers {
        let (code, text) = send(&world, Some(header), "&idempotency_key=good").await;
        assert!(code == 200 && text.contains("\"idempotency_key invalid\""), "{header:?} {text}");
    }
    for value in ["%0a", &long, "%00"] {
        let (code, text) = send(&world, None, &format!("&idempotency_key=a{value}")).await;
        assert!(code == 200 && text.contains("\"idempotency_key invalid\""), "{value} {text}");
    }
    assert_eq!(world.calls_of("CreateBucket"), 0);
    for extra in ["", "&idempotency_key=", "&idempotency_key=order%20%c3%bc"] {
        let (_, text) = send(&world, None, extra).await;
        assert!(text.contains("\"result\":\"OK\""), "{extra} {text}");
    }
    // Reading needs no key, and looks at none.
    let form = format!("{}&idempotency_key={long}", form("get_buckets"));
    let (_, text) = world.post("/s3/get_buckets", &form).await;
    assert!(text.contains("\"result\":\"OK\""), "{text}");
}
