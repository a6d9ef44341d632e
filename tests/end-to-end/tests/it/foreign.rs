//! Another customer's account is not there: byte for byte.

use bytes::Bytes;
use prost::Message as _;
use stowage_proto::{accounts, metering, storage};
use stowage_testkit::{Caller, Kit, call_raw};

/// An s3uid that nobody has.
const MISSING: &str = "00000000000000000000000000000000";

/// Actions that name an account, with what else they need.
const ACTIONS: &[(&str, &[(&str, &str)])] = &[
    ("create_bucket", &[("bucket_name", "intruder")]),
    ("delete_bucket", &[("bucket_name", "private")]),
    ("get_files", &[("bucket_name", "private")]),
    ("delete_file", &[("bucket_name", "private"), ("filename", "diary")]),
    ("get_buckets_rmq", &[]),
    ("get_buckets", &[]),
    ("show_key", &[("s3_key", "secret_key")]),
    ("show_key", &[("s3_key", "access_key")]),
    ("get_users", &[]),
    ("delete_payment_account", &[]),
    ("cancel_payment_account_deletion", &[]),
    ("delete_account", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_account_and_a_missing_one_look_the_same_at_the_facade() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let owner = kit.site.customer("owner@example.com", "EUR").await;
    let account = kit.site.order(&owner.token, plan_id, "private").await;
    let put = account.s3().put_object().bucket("private").key("diary");
    put.body(Bytes::from_static(b"dear diary").into()).send().await.expect("an object is stored");
    let number = kit.site.accounts(&owner.token).await[0].account_id.to_string();
    let intruder = kit.site.customer("intruder@example.com", "EUR").await;

    for (action, parameters) in ACTIONS {
        for (field, foreign, missing) in
            [("s3uid", account.s3uid.as_str(), MISSING), ("account_id", &number, "999999999")]
        {
            let ask = async |id: &str| {
                let all = [&[(field, id)], *parameters].concat();
                kit.site.facade.action(action, &intruder.token, &all).await
            };
            let (foreign, missing) = (ask(foreign).await, ask(missing).await);
            assert_eq!(foreign.text(), missing.text(), "{action} by {field}");
            if *action != "get_users" {
                assert!(!foreign.failure().is_empty(), "{action} by {field}");
            }
        }
    }
    // And nothing of it has happened.
    let object = account.s3().get_object().bucket("private").key("diary").send().await;
    let body = object.expect("the object is there").body.collect().await;
    assert_eq!(body.expect("it can be read").into_bytes(), "dear diary");
    kit.stop().await;
}

/// Calls of gRPC that name an account.
fn calls(s3uid: &str) -> Vec<(&'static str, Bytes)> {
    let name = format!("accounts/{s3uid}");
    let bucket = format!("{name}/buckets/private");
    let get = accounts::GetAccountRequest { name: name.clone() };
    let keys = accounts::ListAccessKeysRequest {
        parent: name.clone(),
        with_secrets: true,
        ..Default::default()
    };
    let delete = accounts::DeleteAccountRequest { name: name.clone(), ..Default::default() };
    let cancel = accounts::ScheduleCancellationRequest { name: name.clone(), ..Default::default() };
    let withdraw =
        accounts::WithdrawCancellationRequest { name: name.clone(), ..Default::default() };
    let buckets = storage::ListBucketsRequest { parent: name.clone(), ..Default::default() };
    let drop_bucket = storage::DeleteBucketRequest { name: bucket.clone(), ..Default::default() };
    let objects = storage::ListObjectsRequest { parent: bucket.clone(), ..Default::default() };
    let drop_object = storage::DeleteObjectRequest {
        parent: bucket,
        key: "diary".to_owned(),
        ..Default::default()
    };
    let usage = metering::GetAccountUsageRequest { s3uid: s3uid.to_owned(), ..Default::default() };
    vec![
        ("/stowage.accounts.v1.AccountService/GetAccount", get.encode_to_vec().into()),
        ("/stowage.accounts.v1.AccountService/ListAccessKeys", keys.encode_to_vec().into()),
        ("/stowage.accounts.v1.AccountService/DeleteAccount", delete.encode_to_vec().into()),
        ("/stowage.accounts.v1.AccountService/ScheduleCancellation", cancel.encode_to_vec().into()),
        (
            "/stowage.accounts.v1.AccountService/WithdrawCancellation",
            withdraw.encode_to_vec().into(),
        ),
        ("/stowage.storage.v1.BucketService/ListBuckets", buckets.encode_to_vec().into()),
        ("/stowage.storage.v1.BucketService/DeleteBucket", drop_bucket.encode_to_vec().into()),
        ("/stowage.storage.v1.ObjectService/ListObjects", objects.encode_to_vec().into()),
        ("/stowage.storage.v1.ObjectService/DeleteObject", drop_object.encode_to_vec().into()),
        ("/stowage.metering.v1.UsageService/GetAccountUsage", usage.encode_to_vec().into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_account_and_a_missing_one_look_the_same_over_grpc() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let owner = kit.site.customer("owner@example.com", "EUR").await;
    let account = kit.site.order(&owner.token, plan_id, "private").await;
    let intruder = kit.site.customer("intruder@example.com", "EUR").await;
    let caller = kit.site.with_token(&intruder.token);

    for ((path, foreign), (_, missing)) in calls(&account.s3uid).into_iter().zip(calls(MISSING)) {
        let foreign = refusal(&caller, path, foreign).await;
        assert_eq!(foreign.0, tonic::Code::NotFound, "{path}: {foreign:?}");
        assert!(!foreign.1.contains(&account.s3uid), "{path}: {foreign:?}");
        assert_eq!(foreign, refusal(&caller, path, missing).await, "{path}");
    }
    assert_eq!(kit.site.accounts(&owner.token).await.len(), 1);
    assert_eq!(kit.site.accounts(&intruder.token).await.len(), 0);
    kit.stop().await;
}

/// Code, message and details of a call that fails.
async fn refusal(caller: &Caller, path: &str, message: Bytes) -> (tonic::Code, String, Bytes) {
    let error = call_raw(caller, path, message).await.expect_err("it is refused");
    let details = Bytes::copy_from_slice(error.details());
    (error.code(), error.message().to_owned(), details)
}
