//! Accounts, which are users of IAM.

use stowage_engine::{AccountAccess, AccountSpec, Engine as _, Error, Quota};

use super::kit::{
    account, before, bucket, engine, engine_with, get, info, number, options, put, uid,
};

#[tokio::test]
async fn all_of_an_account_is_in_iam() {
    let (engine, name) = (engine(), bucket());
    let mut spec = account(&engine).await;
    spec.quota = Quota { bytes: Some(u64::MAX), objects: Some(3) };
    (spec.bucket_max, spec.access) = (Some(0), AccountAccess::ReadOnly);
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    engine.ensure_account(&spec).await.unwrap();
    // Another process knows as much.
    let told = info(&super::kit::engine(), &spec.uid).await.unwrap();
    assert_eq!((told.quota, told.bucket_max), (spec.quota, spec.bucket_max));
    assert_eq!((told.access, told.bucket_count), (spec.access, 1));
    assert_eq!(told.access_keys, [spec.keys[0].access_key.clone()]);
}

#[tokio::test]
async fn a_user_under_another_path_is_never_touched() {
    let (mut theirs, ours) = (options(), engine());
    theirs.marker = format!("other-{}", number());
    let theirs = engine_with(theirs);
    let spec = account(&theirs).await;
    let uid = &spec.uid;
    let stolen = ours.ensure_account(&AccountSpec::new(uid.clone(), Vec::new())).await;
    assert!(matches!(stolen, Err(Error::AlreadyExists)), "{stolen:?}");
    let absent: [Result<(), Error>; 4] = [
        ours.issue_key(uid).await.map(drop),
        ours.set_access(uid, AccountAccess::Suspended).await,
        ours.create_bucket(uid, &bucket()).await,
        ours.list_buckets(uid, None, 10).await.map(drop),
    ];
    assert!(absent.iter().all(|r| matches!(r, Err(Error::NotFound))), "{absent:?}");
    ours.remove_account(uid, true).await.unwrap();
    assert_eq!(info(&ours, uid).await, None);
    assert_eq!(ours.key_owner(&spec.keys[0].access_key).await.unwrap(), None);
    let told = info(&theirs, uid).await.unwrap();
    assert_eq!(told.access_keys, [spec.keys[0].access_key.clone()]);
}

#[tokio::test]
async fn a_key_is_shut_with_its_account_and_opened_with_it() {
    let (engine, name) = (engine(), bucket());
    let mut spec = account(&engine).await;
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1]).await;
    engine.set_access(&spec.uid, AccountAccess::Suspended).await.unwrap();
    // One that is made meanwhile opens nothing either.
    spec.keys.push(engine.issue_key(&spec.uid).await.unwrap());
    for key in &spec.keys {
        let read = get(key, &name, "k").await;
        assert!(matches!(read, Err(Error::Denied)), "{read:?}");
    }
    engine.ensure_account(&spec).await.unwrap();
    for key in &spec.keys {
        assert_eq!(get(key, &name, "k").await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn accounts_are_listed_a_few_at_a_time() {
    let engine = engine();
    let mut uids = Vec::new();
    for _ in 0..3 {
        uids.push(account(&engine).await.uid);
    }
    uids.sort_unstable();
    for uid in &uids {
        let page = engine.list_accounts(Some(&before(uid)), 1).await.unwrap();
        assert_eq!(page[0].uid, *uid);
    }
    assert!(engine.list_accounts(None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_is_not_there_is_asked_for_in_vain() {
    let (engine, uid) = (engine(), uid());
    for purge in [false, true] {
        engine.remove_account(&uid, purge).await.unwrap();
    }
    let absent: [Result<(), Error>; 3] = [
        engine.key_usage(&uid).await.map(drop),
        engine.issue_key(&uid).await.map(drop),
        engine.set_access(&uid, AccountAccess::Full).await,
    ];
    assert!(absent.iter().all(|r| matches!(r, Err(Error::NotFound))), "{absent:?}");
}

#[tokio::test]
async fn a_wrong_key_of_ours_is_denied() {
    let mut options = options();
    options.secret_key = "another".to_owned().into();
    let engine = engine_with(options);
    let denied: [Result<(), Error>; 4] = [
        engine.health().await,
        engine.bucket_owner(&bucket()).await.map(drop),
        engine.key_owner("AKIA0000000000000000").await.map(drop),
        engine.ensure_account(&AccountSpec::new(uid(), Vec::new())).await,
    ];
    assert!(denied.iter().all(|r| matches!(r, Err(Error::Denied))), "{denied:?}");
}
