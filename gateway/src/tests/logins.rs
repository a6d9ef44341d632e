//! Failed logins, and what becomes of the tokens that good ones give.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use stowage_proto::accounts::LoginRequest;
use stowage_proto::common::ErrorReason;
use stowage_runtime::reason_of;
use time::macros::datetime;

use super::limits::{HERE, LOGIN, PROXY, Site, THERE, assert_limited, failed};
use crate::Config;

impl Site {
    /// Logs in with a key: status, and seconds to wait.
    async fn login(&self, from: &str, key: &str) -> (u16, u64) {
        let (status, wait, text) =
            self.get(from, &format!("/auth.php?action=login&key={key}")).await;
        let is_good = text.starts_with(r#"{"result":{"token""#);
        assert!(status == 429 || is_good == key.starts_with("good"), "{key}: {text}");
        (status, wait.map_or(0, |seconds| seconds.parse().unwrap()))
    }
}

#[tokio::test]
async fn failed_logins_with_one_key_wait_longer_and_longer_wherever_they_come_from() {
    let site = Site::new(Config { login_failures_max: 3, ..Config::default() });
    let from = |n: u32| IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]).to_string();
    for (n, wait) in (0..).zip([0, 0, 1, 2, 4, 8, 16, 32, 60, 60]) {
        assert_eq!(site.login(&from(n), "bad").await, (200, 0), "{n}");
        if wait > 0 {
            assert_eq!(site.login(&from(100 + n), "bad").await, (429, wait), "{n}");
            site.clock.advance(Duration::from_secs(wait));
        }
    }
}

#[tokio::test]
async fn the_wait_after_failed_logins_is_the_same_at_both_doors() {
    let site = Site::new(Config { login_failures_max: 3, ..Config::default() });
    let bad = LoginRequest { api_key: "bad".into(), ..LoginRequest::default() };
    assert_eq!(site.login(HERE, "bad").await, (200, 0));
    for _ in 0..2 {
        let refused = site.grpc(THERE, LOGIN, &bad).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(ErrorReason::ApiKeyInvalid));
    }
    let logins = site.count(|s| s.logins);
    for _ in 0..50 {
        assert_eq!(site.login(HERE, "bad").await, (429, 1));
        assert_limited(&site.grpc(HERE, LOGIN, &bad).await.unwrap_err(), 1);
    }
    assert_eq!(site.count(|s| s.logins), logins, "accounts is not asked");
    let text = site.get(HERE, "/auth.php?action=login&key=bad").await.2;
    assert_eq!(text, failed("too many failed logins, try again later"));
    site.clock.advance(Duration::from_secs(1));
    // What was refused prolonged nothing; the next failure doubles the wait.
    assert_eq!(site.login(HERE, "bad").await, (200, 0));
    assert_eq!(site.login(THERE, "bad").await, (429, 2));
}

#[tokio::test]
async fn guessing_keys_slows_the_address_down_and_nobody_else() {
    let site = Site::new(Config { login_address_failures_max: 5, ..Config::default() });
    assert_eq!(site.login(HERE, "good-1").await, (200, 0));
    for n in 0..5 {
        assert_eq!(site.login(HERE, &format!("bad-{n}")).await, (200, 0));
    }
    assert_eq!(site.login(HERE, "bad-5").await, (429, 1));
    assert_eq!(site.login(HERE, "good-2").await, (429, 1), "right and wrong are not told apart");
    assert_eq!(site.login(HERE, "good-1").await, (200, 0), "this one was good from here before");
    assert_eq!(site.login(HERE, "bad-5").await, (429, 1), "its success clears no address");
    assert_eq!(site.login(THERE, "good-2").await, (200, 0));
    assert_eq!(site.login(THERE, "bad-0").await, (200, 0));
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.login(HERE, "good-2").await, (200, 0));
    // Only a key that is not valid is a failed login.
    for _ in 0..20 {
        assert_eq!(site.get("192.0.2.77", "/auth.php?action=login&key=broken").await.0, 500);
    }
}

#[tokio::test]
async fn nobody_is_locked_out_by_failures_elsewhere() {
    let site = Site::new(Config::default());
    for n in 0..100 {
        site.clock.advance(Duration::from_secs(60));
        let key = if n % 2 == 0 { "bad".to_owned() } else { format!("bad-{n}") };
        assert_eq!(site.login(HERE, &key).await, (200, 0));
    }
    assert_eq!(site.login(THERE, "good").await, (200, 0));
    // From the same address it waits for as long as the setting says, at most.
    assert_eq!(site.login(HERE, "good").await, (429, 60));
    site.clock.advance(Duration::from_secs(60));
    assert_eq!(site.login(HERE, "good").await, (200, 0));
}

#[tokio::test]
async fn a_token_tied_to_an_address_is_good_from_there_only() {
    let site = Site::new(Config { trusted_proxies: vec![PROXY.into()], ..Config::default() });
    let (_, _, text) = site.get(HERE, "/auth.php?action=login&key=good&fix_ip=1").await;
    assert!(text.contains("token1"), "{text}");
    assert_eq!(site.state.lock().unwrap().tokens["token1"], HERE);
    let call = async |from: &str, header: &str, value: &str| {
        let request = Request::get("/s3/list_plans?token=token1").header(header, value);
        site.send(from, request.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    for (from, header, value, status) in [
        (HERE, "x-none", "", 200),
        ("::ffff:203.0.113.7", "x-none", "", 200),
        (HERE, "x-forwarded-for", THERE, 200),
        (THERE, "x-none", "", 401),
        (THERE, "x-forwarded-for", HERE, 401),
        (THERE, "forwarded", "for=203.0.113.7", 401),
        (THERE, "x-real-ip", HERE, 401),
        (PROXY, "x-forwarded-for", HERE, 200),
        (PROXY, "x-forwarded-for", "203.0.113.7, 198.51.100.1", 401),
        (PROXY, "x-real-ip", HERE, 401),
        (PROXY, "forwarded", "for=203.0.113.7", 401),
        (HERE, "x-none", "", 200),
    ] {
        assert_eq!(call(from, header, value).await, status, "{from} {header}: {value}");
    }
}

#[tokio::test]
async fn a_logout_counts_at_once_here_and_within_the_cache_time_elsewhere() {
    let here = Site::new(Config::default());
    let there = Site::beside(&here.state, Config::default());
    here.login(HERE, "good").await;
    let info = "/auth.php?action=info&token=token1";
    for site in [&here, &there] {
        assert_eq!(site.status(HERE, info).await, 200);
        assert_eq!(site.status(THERE, info).await, 200, "it is tied to no address");
    }
    assert_eq!(here.status(HERE, "/auth.php?action=logout&token=token1").await, 200);
    assert_eq!(here.status(HERE, info).await, 401);
    assert_eq!(here.status(THERE, info).await, 401);
    // The other gateway heard no event, as when the bus is away.
    assert_eq!(there.status(HERE, info).await, 200);
    there.clock.advance(Duration::from_secs(5));
    assert_eq!(there.status(HERE, info).await, 401);
}

#[tokio::test]
async fn a_token_is_not_remembered_past_its_end() {
    let site = Site::new(Config::default());
    site.state.lock().unwrap().end = Some(datetime!(2026-03-10 12:00:02 UTC));
    site.login(HERE, "good").await;
    let info = "/auth.php?action=info&token=token1";
    let (_, _, text) = site.get(HERE, info).await;
    assert!(text.contains(r#""token_expire":1773144002"#), "{text}");
    site.state.lock().unwrap().tokens.clear();
    site.clock.advance(Duration::from_millis(1_999));
    assert_eq!(site.status(HERE, info).await, 200, "remembered");
    site.clock.advance(Duration::from_millis(1));
    assert_eq!(site.status(HERE, info).await, 401);
}
