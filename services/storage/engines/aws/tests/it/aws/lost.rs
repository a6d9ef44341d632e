//! Answers that are lost after the work was done.
//!
//! All that IAM is asked begins alike, so what is lost is chosen by how many were asked before.

use stowage_engine::{AccountAccess, AccountSpec, Engine, Error};
use stowage_engine_aws::Aws;
use stowage_engine_remote::testing::Proxy;

use super::kit::{
    assert_is, bucket, engine, engine_with, get, info, options, put, twice, uid, url,
};

/// More than any call asks.
const QUESTIONS_MAX: usize = 40;

/// An engine that reaches both through a network that loses answers.
async fn behind_proxy() -> (Aws, Proxy) {
    let proxy = Proxy::start(&url()).await;
    let mut options = options();
    options.iam_endpoint = proxy.url.clone();
    options.s3_endpoint = proxy.url.clone();
    (engine_with(options), proxy)
}

type Change = fn(&mut AccountSpec);

/// Changes of an account; each is cut off after every question in turn.
const STEPS: [Change; 5] = [
    |_| {},
    |spec| spec.quota.bytes = Some(9001),
    |spec| spec.access = AccountAccess::Suspended,
    |spec| spec.access = AccountAccess::Full,
    |spec| drop(spec.keys.pop()),
];

#[tokio::test]
async fn a_lost_answer_leaves_an_account_that_can_be_ensured_again() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    for lost in 0..QUESTIONS_MAX {
        let mut spec = AccountSpec::new(uid(), Vec::new());
        let mut is_over = true;
        for (at, change) in STEPS.iter().enumerate() {
            if at == 1 {
                spec.keys.push(direct.issue_key(&spec.uid).await.unwrap());
            }
            change(&mut spec);
            proxy.lose_after("POST /", lost);
            let first = engine.ensure_account(&spec).await;
            is_over &= proxy.is_waiting();
            proxy.calm();
            assert!(first.is_ok() || matches!(first, Err(Error::Unavailable { .. })), "{first:?}");
            engine.ensure_account(&spec).await.unwrap();
            assert_is(&direct, &spec, &format!("step {at}, question {lost}")).await;
        }
        proxy.lose_after("POST /", lost);
        let _ = engine.remove_account(&spec.uid, false).await;
        proxy.calm();
        engine.remove_account(&spec.uid, false).await.unwrap();
        assert_eq!(info(&direct, &spec.uid).await, None);
        if is_over {
            assert!(lost > 5, "only {lost} questions are asked");
            return;
        }
    }
    panic!("it asks for ever");
}

#[tokio::test]
async fn a_lost_key_is_removed_and_another_one_made() {
    let (engine, proxy) = behind_proxy().await;
    let spec = super::kit::account(&engine).await;
    // The last of three questions makes it.
    proxy.lose_after("POST /", 2);
    let lost = engine.issue_key(&spec.uid).await;
    assert!(matches!(lost, Err(Error::Unavailable { .. })) && !proxy.is_waiting(), "{lost:?}");
    assert_eq!(info(&engine, &spec.uid).await.unwrap().access_keys.len(), 2);
    let third = engine.issue_key(&spec.uid).await;
    assert!(matches!(third, Err(Error::LimitReached)), "{third:?}");
    engine.ensure_account(&spec).await.unwrap();
    let mut spec = spec;
    spec.keys.push(engine.issue_key(&spec.uid).await.unwrap());
    engine.ensure_account(&spec).await.unwrap();
    assert_is(&engine, &spec, "after another one was made").await;
}

#[tokio::test]
async fn a_lost_answer_leaves_a_bucket_that_can_be_made_and_deleted_again() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    let spec = super::kit::account(&direct).await;
    let uid = &spec.uid;
    for beginning in ["PUT /", "GET /", "POST /"] {
        for lost in 0..QUESTIONS_MAX {
            let name = bucket();
            proxy.lose_after(beginning, lost);
            let made = engine.create_bucket(uid, &name).await;
            let is_over = proxy.is_waiting();
            proxy.calm();
            assert!(made.is_ok() || matches!(made, Err(Error::Unavailable { .. })), "{made:?}");
            engine.create_bucket(uid, &name).await.unwrap();
            put(&spec.keys[0], &name, "k", vec![1]).await;
            direct.delete_object(uid, &name, "k").await.unwrap();
            proxy.lose_after(beginning, lost);
            let deleted = engine.delete_bucket(uid, &name).await;
            let is_over = is_over && proxy.is_waiting();
            proxy.calm();
            if deleted.is_err() {
                let again = engine.delete_bucket(uid, &name).await;
                assert!(matches!(again, Ok(()) | Err(Error::NotFound)), "{again:?}");
            }
            assert_eq!(direct.bucket_owner(&name).await.unwrap(), None, "{beginning} {lost}");
            assert_eq!(info(&direct, uid).await.unwrap().bucket_count, 0);
            if is_over {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_an_account_that_can_be_purged_again() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    let spec = super::kit::account(&direct).await;
    let names = [bucket(), bucket()];
    for name in &names {
        direct.create_bucket(&spec.uid, name).await.unwrap();
        put(&spec.keys[0], name, "k", vec![0; 5000]).await;
    }
    twice(&proxy, &format!("DELETE /{}", names[0].as_str()), || {
        engine.remove_account(&spec.uid, true)
    })
    .await;
    for name in &names {
        assert_eq!(direct.bucket_owner(name).await.unwrap(), None);
    }
    assert_eq!(info(&direct, &spec.uid).await, None);
    let read = get(&spec.keys[0], &names[0], "k").await;
    assert!(matches!(read, Err(Error::Denied | Error::NotFound)), "{read:?}");
}

#[tokio::test]
async fn servers_that_are_away_are_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options();
    options.iam_endpoint = format!("http://{}", listener.local_addr().unwrap());
    // One that takes connections and never answers.
    options.call_timeout = std::time::Duration::from_millis(200);
    let silent = engine_with(options.clone()).health().await;
    assert!(matches!(silent, Err(Error::Unavailable { .. })), "{silent:?}");
    drop(listener);
    let closed = engine_with(options).health().await;
    assert!(matches!(closed, Err(Error::Unavailable { .. })), "{closed:?}");
    engine().health().await.unwrap();
}
