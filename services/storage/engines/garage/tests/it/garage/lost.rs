//! Answers that are lost after the work was done, and requests that come twice.

use stowage_engine::{AccountAccess, AccountSpec, Engine, Error, KeyPair};
use stowage_engine_garage::Garage;

use super::kit::{
    admin_url, assert_is, bucket, engine, engine_with, info, key_pair, options, spec, twice,
};
use stowage_engine_remote::testing::Proxy;

/// An engine that reaches Garage's administration through a network that loses answers.
async fn behind_proxy() -> (Garage, Proxy) {
    let proxy = Proxy::start(&admin_url()).await;
    let mut options = options();
    options.admin_endpoint = proxy.url.clone();
    (engine_with(options), proxy)
}

type Change = fn(&mut AccountSpec, &KeyPair);

/// Changes of an account, each with the beginning of a request that makes it.
const STEPS: [(&str, Change); 6] = [
    ("POST /v2/ImportKey", |_, _| {}),
    ("POST /v2/ImportKey", |spec, key| spec.keys.push(key.clone())),
    ("POST /v2/UpdateKey?id=stowage-", |spec, _| spec.quota.bytes = Some(9001)),
    ("POST /v2/UpdateKey?id=GARAGE", |spec, _| spec.access = AccountAccess::Suspended),
    ("POST /v2/UpdateKey?id=GARAGE", |spec, _| spec.access = AccountAccess::Full),
    ("POST /v2/DeleteKey", |spec, _| drop(spec.keys.pop())),
];

#[tokio::test]
async fn a_lost_answer_leaves_an_account_that_can_be_ensured_again() {
    let (engine, proxy) = behind_proxy().await;
    let (direct, second, mut spec) = (super::kit::engine(), key_pair(), spec());
    for (beginning, change) in STEPS {
        change(&mut spec, &second);
        twice(&proxy, beginning, || engine.ensure_account(&spec)).await;
        assert_is(&direct, &spec, beginning).await;
    }
    let record = "POST /v2/UpdateKey?id=stowage-";
    twice(&proxy, record, || engine.remove_account(&spec.uid, false)).await;
    assert_eq!(info(&direct, &spec.uid).await, None);
}

#[tokio::test]
async fn a_request_that_comes_twice_is_done_once() {
    let (engine, proxy) = behind_proxy().await;
    let (direct, second, mut spec) = (super::kit::engine(), key_pair(), spec());
    for (beginning, change) in STEPS {
        change(&mut spec, &second);
        proxy.double(beginning);
        // Garage says of the second that the key exists, or that there is none.
        engine.ensure_account(&spec).await.unwrap();
        assert!(!proxy.is_waiting(), "{beginning} was not asked");
        assert_is(&direct, &spec, beginning).await;
    }
    let name = bucket();
    for beginning in ["POST /v2/CreateBucket", "POST /v2/AddBucketAlias"] {
        proxy.double(beginning);
        engine.create_bucket(&spec.uid, &bucket()).await.unwrap();
        assert!(!proxy.is_waiting(), "{beginning} was not asked");
    }
    // Whether it was made, a look tells.
    proxy.lose("POST /v2/CreateBucket");
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    assert!(!proxy.is_waiting(), "no bucket was made");
    assert_eq!(direct.list_buckets(&spec.uid, None, 10).await.unwrap().len(), 3);
    twice(&proxy, "POST /v2/DeleteBucket", || engine.remove_account(&spec.uid, true)).await;
    assert_eq!(info(&direct, &spec.uid).await, None);
}

#[tokio::test]
async fn a_garage_that_is_away_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options();
    options.admin_endpoint = format!("http://{}", listener.local_addr().unwrap());
    // One that takes connections and never answers.
    options.call_timeout = std::time::Duration::from_millis(200);
    let silent = engine_with(options.clone()).health().await;
    assert!(matches!(silent, Err(Error::Unavailable { .. })), "{silent:?}");
    drop(listener);
    let closed = engine_with(options).health().await;
    assert!(matches!(closed, Err(Error::Unavailable { .. })), "{closed:?}");
    engine().health().await.unwrap();
}
