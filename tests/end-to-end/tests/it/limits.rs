//! Limits of the real program, set as an operator sets them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use stowage_proto::METHODS;
use stowage_testkit::{Answer, Facade, Process, call_raw, eventually};
use tonic::Code;

const PLANS: &str = "/stowage.billing.v1.PlanService/ListPlans";

/// How long a place or a token may take to be free again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whole seconds that a refused call was told to wait.
fn wait_of(answer: &Answer) -> u64 {
    let wait = answer.headers.get("retry-after").and_then(|value| value.to_str().ok());
    let wait = wait.and_then(|seconds| seconds.parse().ok());
    wait.unwrap_or_else(|| panic!("no Retry-After in {:?}: {}", answer.headers, answer.text()))
}

/// GET as if a proxy had passed it on for `client`.
async fn get_from(facade: &Facade, client: &str, uri: &str) -> Answer {
    let request = Request::get(uri).header("x-forwarded-for", client).body(Bytes::new());
    facade.send(request.expect("a path makes a request")).await
}

async fn login_from(facade: &Facade, client: &str, key: &str) -> Answer {
    get_from(facade, client, &format!("/auth.php?action=login&fix_ip=1&key={key}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_sent_too_often_waits_at_every_door() {
    assert!(METHODS.iter().any(|method| method.path == PLANS), "the method is there");
    let process = Process::start_with(&[
        // Slow enough that none comes back during the test but those that it waits for.
        ("STOWAGE_GATEWAY_TOKEN_CALLS_PER_SECOND", "1"),
        ("STOWAGE_GATEWAY_TOKEN_CALLS_BURST", "30"),
    ])
    .await;
    let site = &process.site;
    let busy = site.customer("busy@example.com", "EUR").await;
    let calm = site.customer("calm@example.com", "EUR").await;
    let mut calls = 0;
    let refused = loop {
        let answer = site.facade.action("list_plans", &busy.token, &[]).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        calls += 1;
        assert!(calls < 10_000, "the limit holds");
    };
    assert!(calls >= 30, "{calls} passed");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    assert_eq!((refused.failure().as_str(), wait_of(&refused)), ("too many requests", 1));

    let limited = eventually("a call over gRPC finds the bucket empty too", PATIENCE, async || {
        let answer = call_raw(&site.with_token(&busy.token), PLANS, Bytes::new()).await;
        answer.err().ok_or_else(|| "it was let through".to_owned())
    })
    .await;
    assert_eq!(limited.code(), Code::ResourceExhausted, "{limited:?}");
    site.facade.action("list_plans", &calm.token, &[]).await.success();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(site.facade.get(path, &[]).await.status, StatusCode::OK, "{path}");
    }
    eventually("a token comes back", PATIENCE, async || {
        let answer = site.facade.action("list_plans", &busy.token, &[]).await;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_slows_down_where_it_comes_from_and_a_right_key_works_elsewhere() {
    let settings = [("STOWAGE_GATEWAY_TRUSTED_PROXIES", "['127.0.0.1', '::1']")];
    let process = Process::start_with(&settings).await;
    let site = &process.site;
    let facade = &site.facade;
    let (_, key) = site.customer_without_token("target@example.com", "EUR").await;
    let (guesser, home) = ("203.0.113.7", "198.51.100.1");
    let mut refused = None;
    for n in 0..100 {
        // A header that he sends himself does not make him anybody else.
        let pretended = format!("192.0.2.{n}, {guesser}");
        let answer = login_from(facade, &pretended, &format!("sk_{n:064x}")).await;
        if answer.status != StatusCode::OK {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.failure(), "invalid key");
    }
    let refused = refused.expect("a hundred guesses are too many");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    assert_eq!(refused.failure(), "too many failed logins, try again later");
    assert!((1..=60).contains(&wait_of(&refused)));

    let answer = login_from(facade, home, &key).await.value();
    let token = answer["result"]["token"].as_str().expect("the customer logs in").to_owned();
    let uri = format!("/s3/list_plans?token={token}");
    get_from(facade, home, &uri).await.success();
    for elsewhere in [guesser, "198.51.100.1, 203.0.113.7", "127.0.0.1", "unknown"] {
        let answer = get_from(facade, elsewhere, &uri).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{elsewhere}: the address is fixed");
    }
}

/// Sends a request whose body never comes.
fn send_head(gateway: SocketAddr) -> TcpStream {
    let mut slow = TcpStream::connect(gateway).expect("the port is open");
    let head = "POST /s3/list_plans HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("a request is sent");
    slow
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_find_no_place_are_sent_away_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("stowage.toml");
    std::fs::write(&path, "[gateway]\ncalls_in_flight_max = 1\n").expect("a file can be written");
    let path = path.to_str().expect("the path is text");
    let process = Process::start_with(&[("STOWAGE_CONFIG", path)]).await;
    let site = &process.site;
    let customer = site.customer("patient@example.com", "EUR").await;
    let mut slow = send_head(site.gateway);
    let refused = eventually("the place is taken", PATIENCE, async || {
        let answer = site.facade.action("list_plans", &customer.token, &[]).await;
        if answer.status != StatusCode::OK {
            return Ok(answer);
        }
        // This call may have held the place when the slow one came: that one was sent away.
        slow = send_head(site.gateway);
        Err(answer.text())
    })
    .await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert_eq!(refused.failure(), "service unavailable, try again later");
    assert_eq!(wait_of(&refused), 1);
    let answer = call_raw(&site.with_token(&customer.token), PLANS, Bytes::new()).await;
    assert_eq!(answer.map_err(|status| status.code()), Err(Code::Unavailable));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(site.facade.get(path, &[]).await.status, StatusCode::OK, "{path}");
    }
    drop(slow);
    eventually("the place is free", PATIENCE, async || {
        let answer = site.facade.action("list_plans", &customer.token, &[]).await;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
