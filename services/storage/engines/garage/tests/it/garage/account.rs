//! Accounts: what Garage has none of, and what it cannot do with keys.

use stowage_engine::{AccountAccess, Engine, Error};

use super::kit::{
    account, bucket, client, engine, engine_with, info, key_pair, options, put, refusal, spec,
};

const TOGETHER: usize = 4;

#[tokio::test]
async fn an_account_is_made_once_by_many_processes_at_once() {
    let spec = spec();
    // Each has locks of its own, as processes have.
    let calls: Vec<_> = (0..TOGETHER)
        .map(|_| {
            let (engine, spec) = (engine(), spec.clone());
            tokio::spawn(async move { engine.ensure_account(&spec).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let info = info(&engine(), &spec.uid).await.unwrap();
    assert_eq!(info.access_keys, [spec.keys[0].access_key.clone()]);
    client(&spec.keys[0]).list_buckets().send().await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_deleted_is_refused_and_the_account_stays_as_it_is() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let kept = spec.clone();
    let name = bucket();
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    let burnt = key_pair();
    spec.keys.push(burnt.clone());
    engine.ensure_account(&spec).await.unwrap();
    engine.ensure_account(&kept).await.unwrap();
    let again = engine.ensure_account(&spec).await;
    assert!(matches!(again, Err(Error::Invalid { .. })), "{again:?}");
    put(&kept.keys[0], &name, "k", vec![1]).await;
    let refused = client(&burnt).list_buckets().send().await.map_err(refusal).unwrap_err();
    assert!(matches!(refused, Error::Denied), "{refused:?}");
}

#[tokio::test]
async fn a_secret_is_not_changed_and_that_is_said() {
    let engine = engine();
    let spec = account(&engine).await;
    let mut other = spec.clone();
    other.keys[0].secret_key = "another-secret-of-the-same-key".to_owned().into();
    other.access = AccountAccess::Suspended;
    let refused = engine.ensure_account(&other).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    client(&spec.keys[0]).list_buckets().send().await.unwrap();
}

#[tokio::test]
async fn a_steward_that_is_not_ours_is_left_alone() {
    let mut options = options();
    options.marker = "another installation".to_owned();
    let theirs = engine_with(options);
    let spec = account(&theirs).await;
    let (uid, name) = (&spec.uid, bucket());
    theirs.create_bucket(uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 10]).await;
    let ours = engine();
    let mut wanted = spec.clone();
    wanted.keys = vec![key_pair()];
    let ensured = ours.ensure_account(&wanted).await;
    assert!(matches!(ensured, Err(Error::AlreadyExists)), "{ensured:?}");
    ours.remove_account(uid, true).await.unwrap();
    let made = ours.create_bucket(uid, &bucket()).await;
    assert!(matches!(made, Err(Error::NotFound)), "{made:?}");
    let deleted = ours.delete_object(uid, &name, "k").await;
    assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}");
    assert_eq!(ours.bucket_owner(&name).await.unwrap(), None);
    assert_eq!(info(&theirs, uid).await.unwrap().bucket_count, 1);
    client(&spec.keys[0]).get_object().bucket(name.as_str()).key("k").send().await.unwrap();
}

#[tokio::test]
async fn a_removed_account_begins_anew_with_other_keys() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let name = bucket();
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 10]).await;
    engine.remove_account(&spec.uid, true).await.unwrap();
    assert_eq!(info(&engine, &spec.uid).await, None);
    spec.keys = vec![key_pair()];
    engine.ensure_account(&spec).await.unwrap();
    assert_eq!(info(&engine, &spec.uid).await.unwrap().bucket_count, 0);
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 10]).await;
}

#[tokio::test]
async fn our_own_wrong_token_is_denied_and_not_taken_for_an_answer() {
    let mut options = options();
    let spec = account(&engine()).await;
    options.admin_token = "wrong".to_owned().into();
    let engine = engine_with(options);
    let health = engine.health().await;
    assert!(matches!(health, Err(Error::Denied)), "{health:?}");
    let removed = engine.remove_account(&spec.uid, true).await;
    assert!(matches!(removed, Err(Error::Denied)), "{removed:?}");
    let usage = engine.account_usage(&spec.uid).await;
    assert!(matches!(usage, Err(Error::Denied)), "{usage:?}");
}
