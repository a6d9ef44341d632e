//! Accounts: races, limits, and users that are not ours.

use std::sync::Arc;

use stowage_engine::{AccountAccess, AccountSpec, Engine, Error};
use stowage_types::BucketName;

use super::kit::{
    account, bucket, client, engine, engine_with, info, key_pair, options, put, refusal, spec,
};

const TOGETHER: u64 = 8;

#[tokio::test]
async fn parallel_changes_of_one_account_all_succeed() {
    let engine = Arc::new(engine());
    let spec = account(&engine).await;
    let changes: Vec<_> = (1..=TOGETHER)
        .map(|quota| {
            let (engine, mut spec) = (Arc::clone(&engine), spec.clone());
            spec.quota.bytes = Some(quota * 1_000_000);
            spec.keys.push(key_pair());
            tokio::spawn(async move { (engine.ensure_account(&spec).await, spec) })
        })
        .collect();
    let mut specs = Vec::new();
    for change in changes {
        let (changed, spec) = change.await.unwrap();
        changed.unwrap();
        specs.push(spec);
    }
    let info = info(&engine, &spec.uid).await.unwrap();
    // The last of them as a whole, not some of each.
    let last = specs.iter().find(|spec| spec.quota.bytes == info.quota.bytes).unwrap();
    let mut keys: Vec<_> = last.keys.iter().map(|key| key.access_key.clone()).collect();
    keys.sort();
    assert_eq!(info.access_keys, keys);
}

#[tokio::test]
async fn races_between_processes_are_lost_and_run_again() {
    let spec = spec();
    // Each has locks of its own, as processes have.
    let ensure = |change: fn(u64, &mut AccountSpec)| {
        let spec = spec.clone();
        async move {
            let calls: Vec<_> = (0..TOGETHER)
                .map(|number| {
                    let (engine, mut spec) = (engine(), spec.clone());
                    change(number, &mut spec);
                    tokio::spawn(async move { engine.ensure_account(&spec).await })
                })
                .collect();
            let mut ended = Vec::new();
            for call in calls {
                ended.push(call.await.unwrap());
            }
            ended
        }
    };
    for made in ensure(|_, _| {}).await {
        made.unwrap();
    }
    let engine = engine();
    assert_eq!(info(&engine, &spec.uid).await.unwrap().access_keys, [&*spec.keys[0].access_key]);
    // Those who want different things may undo each other for longer than they try.
    for changed in ensure(|number, spec| spec.quota.bytes = Some(number)).await {
        assert!(matches!(changed, Ok(()) | Err(Error::Conflict)), "{changed:?}");
    }
    // The key is gone when the others come to it, which RGW calls a wrong key of the caller's.
    for changed in ensure(|_, spec| spec.keys.clear()).await {
        changed.unwrap();
    }
    let info = info(&engine, &spec.uid).await.unwrap();
    assert_eq!((info.access_keys.len(), info.quota.bytes), (0, None));
}

#[tokio::test]
async fn limits_are_read_back_as_they_were_set() {
    let engine = engine();
    let mut spec = account(&engine).await;
    for (quota_bytes, bucket_max) in [
        (Some(9001), Some(3)),
        (Some(0), Some(0)),
        (Some(1 << 50), None),
        (None, Some(1)),
        (Some(1), Some(u32::MAX)),
        (None, None),
    ] {
        (spec.quota.bytes, spec.bucket_max) = (quota_bytes, bucket_max);
        engine.ensure_account(&spec).await.unwrap();
        let info = info(&engine, &spec.uid).await.unwrap();
        let limits = (info.quota.bytes, info.bucket_max);
        // RGW counts in signed 32 bits, which is no limit anybody meets.
        let bucket_max = bucket_max.map(|max| max.min(i32::MAX.unsigned_abs()));
        assert_eq!(limits, (quota_bytes, bucket_max));
    }
}

#[tokio::test]
async fn no_bucket_may_be_made_where_none_is_allowed() {
    let engine = engine();
    let mut spec = spec();
    spec.bucket_max = Some(0);
    engine.ensure_account(&spec).await.unwrap();
    let made = engine.create_bucket(&spec.uid, &bucket()).await;
    assert!(matches!(made, Err(Error::LimitReached)), "{made:?}");
}

#[tokio::test]
async fn a_secret_that_changes_is_changed() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let old = spec.keys[0].clone();
    spec.keys[0].secret_key = "another-secret-of-the-same-key".to_owned().into();
    engine.ensure_account(&spec).await.unwrap();
    let refused = client(&old).list_buckets().send().await.map_err(refusal).unwrap_err();
    assert!(matches!(refused, Error::Denied), "{refused:?}");
    client(&spec.keys[0]).list_buckets().send().await.unwrap();
}

#[tokio::test]
async fn a_user_that_is_not_ours_is_left_alone() {
    let mut options = options();
    options.marker = "another installation".to_owned();
    let theirs = engine_with(options);
    let spec = account(&theirs).await;
    let (uid, name) = (&spec.uid, bucket());
    theirs.create_bucket(uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1; 10]).await;
    let ours = engine();
    let mut wanted = spec.clone();
    wanted.access = AccountAccess::Suspended;
    let ensured = ours.ensure_account(&wanted).await;
    assert!(matches!(ensured, Err(Error::AlreadyExists)), "{ensured:?}");
    ours.remove_account(uid, true).await.unwrap();
    let made = ours.create_bucket(uid, &bucket()).await;
    assert!(matches!(made, Err(Error::NotFound)), "{made:?}");
    let listed = ours.list_buckets(uid, None, 10).await;
    assert!(matches!(listed, Err(Error::NotFound)), "{listed:?}");
    let deleted = ours.delete_object(uid, &name, "k").await;
    assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}");
    assert_eq!(info(&ours, uid).await, None);
    assert_eq!(info(&theirs, uid).await.unwrap().bucket_count, 1);
    client(&spec.keys[0]).get_object().bucket(name.as_str()).key("k").send().await.unwrap();
    theirs.remove_account(uid, true).await.unwrap();
}

#[tokio::test]
async fn accounts_that_cannot_act_keep_their_buckets_and_lose_them_when_told() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let uid = spec.uid.clone();
    let names: [BucketName; 2] = [bucket(), bucket()];
    for name in &names {
        engine.create_bucket(&uid, name).await.unwrap();
        put(&spec.keys[0], name, "k", vec![1; 10]).await;
    }
    let mut without_keys = spec.clone();
    without_keys.keys.clear();
    spec.access = AccountAccess::Suspended;
    for (shut, name) in [spec, without_keys].iter().zip(&names) {
        engine.ensure_account(shut).await.unwrap();
        let another = bucket();
        match engine.create_bucket(&uid, &another).await {
            // Our own hand makes it for who has no key.
            Ok(()) if shut.access == AccountAccess::Full => {
                assert_eq!(engine.bucket_owner(&another).await.unwrap(), Some(uid.clone()));
                engine.delete_bucket(&uid, &another).await.unwrap();
            }
            Err(Error::Denied) if shut.access == AccountAccess::Suspended => {}
            made => panic!("{made:?}"),
        }
        engine.create_bucket(&uid, name).await.unwrap();
        let full = engine.delete_bucket(&uid, name).await;
        assert!(matches!(full, Err(Error::NotEmpty)), "{full:?}");
        engine.delete_objects(&uid, name, &["k".to_owned()]).await.unwrap();
        engine.delete_bucket(&uid, name).await.unwrap();
    }
    assert!(engine.list_buckets(&uid, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn our_own_wrong_key_is_denied_and_not_taken_for_an_answer() {
    let mut options = options();
    let spec = account(&engine()).await;
    options.secret_key = "wrong".to_owned().into();
    let wrong_secret = engine_with(options.clone());
    options.access_key = "NOBODYHASTHISKEY".to_owned();
    for engine in [wrong_secret, engine_with(options)] {
        let health = engine.health().await;
        assert!(matches!(health, Err(Error::Denied)), "{health:?}");
        let removed = engine.remove_account(&spec.uid, true).await;
        assert!(matches!(removed, Err(Error::Denied)), "{removed:?}");
        let ensured = engine.ensure_account(&spec).await;
        assert!(matches!(ensured, Err(Error::Denied)), "{ensured:?}");
    }
}
