//! The half that is S3, on a real RGW. Users cannot be made there by IAM's protocol (16.2 knows
//! policies of users and no users), so these are a double's, which asks nobody who he is, and RGW
//! knows nothing of them: what customers may do is not tried here. The name of this folder is in
//! the name of each test, and by it they are chosen.

use std::sync::Arc;
use std::time::Duration;

use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{
    AccountSpec, Engine as _, Error, KeyPair, ListQuery, StorageFigures, UsageCursor,
};
use stowage_engine_aws::{Aws, AwsOptions};
use stowage_engine_remote::testing::{Place, bucket, setting};
use stowage_types::{S3uid, SystemClock, SystemRandom};

const REGION: &str = "us-east-1";

fn need(name: &str) -> String {
    setting(name, "a Ceph RADOS Gateway and a double of IAM: run `cargo xtask test --only ceph`")
}

fn our_keys() -> KeyPair {
    KeyPair {
        access_key: need("STOWAGE_TEST_CEPH_ACCESS_KEY"),
        secret_key: need("STOWAGE_TEST_CEPH_SECRET_KEY").into(),
    }
}

fn options() -> AwsOptions {
    let KeyPair { access_key, secret_key } = our_keys();
    let url = need("STOWAGE_TEST_CEPH_URL");
    let mut options = AwsOptions::new(&url, REGION, &access_key, secret_key);
    options.iam_endpoint = need("STOWAGE_TEST_AWS_IAM_URL");
    options.stored_every = Duration::ZERO;
    options
}

fn engine_with(options: AwsOptions) -> Aws {
    Aws::new(options, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap()
}

/// RGW by our own hand, since no customer's reaches it.
fn s3() -> Place {
    Place { url: need("STOWAGE_TEST_CEPH_URL"), region: REGION }
}

async fn account(engine: &Aws) -> S3uid {
    let spec = AccountSpec::new(S3uid::generate(&SystemRandom), Vec::new());
    engine.ensure_account(&spec).await.unwrap();
    spec.uid
}

#[tokio::test]
async fn buckets_are_made_told_apart_and_deleted() {
    let (engine, name) = (engine_with(options()), bucket());
    let (first, second) = (account(&engine).await, account(&engine).await);
    for _ in 0..2 {
        engine.create_bucket(&first, &name).await.unwrap();
    }
    assert_eq!(engine.bucket_owner(&name).await.unwrap().as_ref(), Some(&first));
    let taken = engine.create_bucket(&second, &name).await;
    assert!(matches!(taken, Err(Error::AlreadyExists)), "{taken:?}");
    s3().put(&our_keys(), &name, "a/b", vec![0; 100]).await.unwrap();
    let listed = engine.list_buckets(&first, None, 10).await.unwrap();
    let of = (listed[0].object_count, listed[0].stored_bytes);
    assert_eq!((listed.len(), of), (1, (1, 100)));
    let full = engine.delete_bucket(&first, &name).await;
    assert!(matches!(full, Err(Error::NotEmpty)), "{full:?}");
    let foreign = engine.list_objects(&second, &name, &ListQuery::default()).await;
    assert!(matches!(foreign, Err(Error::NotFound)), "{foreign:?}");
    engine.delete_objects(&first, &name, &["a/b".to_owned()]).await.unwrap();
    engine.delete_bucket(&first, &name).await.unwrap();
    assert_eq!(engine.bucket_owner(&name).await.unwrap(), None);
    engine.create_bucket(&second, &name).await.unwrap();
    engine.remove_account(&second, true).await.unwrap();
}

#[tokio::test]
async fn an_account_is_purged_with_what_is_half_uploaded() {
    let (engine, name) = (engine_with(options()), bucket());
    let uid = account(&engine).await;
    engine.create_bucket(&uid, &name).await.unwrap();
    for number in 0..3 {
        s3().put(&our_keys(), &name, &format!("{number}"), vec![1; 10]).await.unwrap();
    }
    s3().begin_upload(&our_keys(), &name, "u", vec![7; 5000]).await.unwrap();
    assert_eq!(engine.list_uploads(&uid, &name, None, 10).await.unwrap().len(), 1);
    let kept = engine.remove_account(&uid, false).await;
    assert!(matches!(kept, Err(Error::NotEmpty)), "{kept:?}");
    engine.remove_account(&uid, true).await.unwrap();
    assert_eq!(engine.bucket_owner(&name).await.unwrap(), None);
    assert!(matches!(engine.account_usage(&uid).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_sweep_counts_what_is_stored() {
    let (engine, name) = (engine_with(options()), bucket());
    let uid = account(&engine).await;
    engine.create_bucket(&uid, &name).await.unwrap();
    s3().put(&our_keys(), &name, "k", vec![1; 1234]).await.unwrap();
    let (mut rows, mut cursor) = (Vec::<StorageFigures>::new(), UsageCursor::default());
    loop {
        let batch = engine.collect_usage(&cursor, 100).await.unwrap();
        rows.extend(batch.storage.into_iter().filter(|row| row.uid == uid));
        cursor = batch.next;
        if !batch.more {
            break;
        }
    }
    let told: Vec<_> = rows.iter().map(|row| (row.stored_bytes, row.object_count)).collect();
    assert_eq!(told, [(1234, 1)]);
    engine.remove_account(&uid, true).await.unwrap();
}

#[tokio::test]
async fn an_rgw_that_is_asked_for_users_says_that_it_knows_no_such_question() {
    let mut options = options();
    options.iam_endpoint = options.s3_endpoint.clone();
    let asked = engine_with(options).health().await;
    assert!(
        matches!(&asked, Err(Error::Invalid { why }) if why == "MethodNotAllowed"),
        "{asked:?}"
    );
}
