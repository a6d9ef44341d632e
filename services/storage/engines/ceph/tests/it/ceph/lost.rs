//! Answers that are lost after the work was done, and requests that come twice.

use stowage_engine::{AccountAccess, AccountSpec, Engine, Error, KeyPair};
use stowage_engine_ceph::Ceph;
use stowage_types::BucketName;

use super::kit::{
    assert_is, bucket, engine, engine_with, info, key_pair, options, spec, twice, url,
};
use stowage_engine_remote::testing::Proxy;

/// An engine that reaches RGW through a network that loses answers.
async fn behind_proxy() -> (Ceph, Proxy) {
    let proxy = Proxy::start(&url()).await;
    let mut options = options();
    options.admin_endpoint = proxy.url.clone();
    options.s3_endpoint = proxy.url.clone();
    (engine_with(options), proxy)
}

type Change = fn(&mut AccountSpec, &KeyPair);

/// Changes of an account, each with the beginning of the request that makes it.
const STEPS: [(&str, Change); 6] = [
    ("PUT /admin/user?uid=", |_, _| {}),
    ("PUT /admin/user?key=", |spec, key| spec.keys.push(key.clone())),
    ("PUT /admin/user?quota=", |spec, _| spec.quota.bytes = Some(9001)),
    ("POST /admin/user?", |spec, _| spec.access = AccountAccess::Suspended),
    ("POST /admin/user?", |spec, _| spec.access = AccountAccess::Full),
    ("DELETE /admin/user?key=", |spec, _| drop(spec.keys.pop())),
];

#[tokio::test]
async fn a_lost_answer_leaves_an_account_that_can_be_ensured_again() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    let second = key_pair();
    let mut spec = spec();
    for (beginning, change) in STEPS {
        change(&mut spec, &second);
        twice(&proxy, beginning, || engine.ensure_account(&spec)).await;
        assert_is(&direct, &spec, beginning).await;
    }
    twice(&proxy, "DELETE /admin/user?uid=", || engine.remove_account(&spec.uid, false)).await;
    assert_eq!(info(&direct, &spec.uid).await, None);
}

#[tokio::test]
async fn a_request_that_comes_twice_is_done_once() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    let (mut spec, second) = (spec(), key_pair());
    for (beginning, change) in STEPS {
        change(&mut spec, &second);
        proxy.double(beginning);
        // RGW says of the second that the user exists, or that the key is wrong.
        engine.ensure_account(&spec).await.unwrap();
        assert!(!proxy.is_waiting(), "{beginning} was not asked");
        assert_is(&direct, &spec, beginning).await;
    }
    let name = bucket();
    proxy.double(&format!("PUT /{name}"));
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    proxy.double("DELETE /admin/bucket?");
    engine.remove_account(&spec.uid, true).await.unwrap();
    assert!(!proxy.is_waiting(), "no bucket was purged");
    engine.ensure_account(&spec).await.unwrap();
    proxy.double("DELETE /admin/user?uid=");
    engine.remove_account(&spec.uid, false).await.unwrap();
    assert!(!proxy.is_waiting(), "no user was deleted");
    assert_eq!(info(&direct, &spec.uid).await, None);
}

#[tokio::test]
async fn a_lost_answer_leaves_a_bucket_that_can_be_made_and_purged_again() {
    let (engine, proxy) = behind_proxy().await;
    let direct = super::kit::engine();
    let spec = super::kit::account(&direct).await;
    let (uid, name) = (&spec.uid, bucket());
    let put = format!("PUT /{name}");
    twice(&proxy, &put, || engine.create_bucket(uid, &name)).await;
    assert_eq!(direct.bucket_owner(&name).await.unwrap().as_ref(), Some(uid));
    // What was deleted is not found any more, and that is the truth.
    proxy.lose(&format!("DELETE /{name}"));
    let first = engine.delete_bucket(uid, &name).await;
    assert!(matches!(first, Err(Error::Unavailable { .. })), "{first:?}");
    let second = engine.delete_bucket(uid, &name).await;
    assert!(matches!(second, Err(Error::NotFound)), "{second:?}");
    let full: [BucketName; 2] = [bucket(), bucket()];
    for name in &full {
        direct.create_bucket(uid, name).await.unwrap();
        super::kit::put(&spec.keys[0], name, "k", vec![0; 5000]).await;
    }
    twice(&proxy, "DELETE /admin/bucket?", || engine.remove_account(uid, true)).await;
    assert_eq!(engine.bucket_owner(&full[0]).await.unwrap(), None);
    assert_eq!(engine.bucket_owner(&full[1]).await.unwrap(), None);
    assert_eq!(info(&direct, uid).await, None);
}

#[tokio::test]
async fn an_rgw_that_is_away_is_unavailable() {
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
