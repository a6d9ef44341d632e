//! Buckets.

use stowage_engine::BucketNamespace;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::{field_violations, metadata_of};
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OTHER, OWNER, assert_reason};

async fn list(kit: &Kit, uid: &S3uid, page_size: i32, page_token: &str) -> pb::ListBucketsResponse {
    let request = pb::ListBucketsRequest {
        parent: name::account(uid),
        page_size,
        page_token: page_token.to_owned(),
    };
    kit.buckets().list_buckets(kit.as_customer(OWNER, request)).await.unwrap().into_inner()
}

async fn delete(kit: &Kit, customer: i64, uid: &S3uid, bucket: &str) -> Result<(), Status> {
    let request = pb::DeleteBucketRequest {
        name: format!("accounts/{uid}/buckets/{bucket}"),
        ..Default::default()
    };
    kit.buckets().delete_bucket(kit.as_customer(customer, request)).await?;
    Ok(())
}

async fn check(kit: &Kit, location: &str, bucket: &str) -> Result<String, Status> {
    let (location, bucket) = (format!("locations/{location}"), bucket.to_owned());
    let request = pb::CheckBucketNameRequest { location, bucket };
    let answer = kit.buckets().check_bucket_name(kit.as_customer(OWNER, request)).await?;
    Ok(answer.into_inner().endpoint)
}

#[tokio::test]
async fn a_bucket_is_created_once_listed_and_deleted() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let made = kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    assert_eq!(made.name, format!("accounts/{uid}/buckets/photos"));
    assert_eq!((made.bucket.as_str(), made.object_count), ("photos", 0));
    assert!(made.create_time.is_some());
    kit.engine.put("photos", "a.jpg", 5);
    let again = kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    assert_eq!((again.object_count, again.stored_bytes), (1, 5), "the one it has is answered");

    let full = delete(&kit, OWNER, &uid, "photos").await;
    assert_reason(full, Code::FailedPrecondition, ErrorReason::BucketNotEmpty);
    let request = pb::DeleteObjectRequest {
        parent: format!("accounts/{uid}/buckets/photos"),
        key: "a.jpg".to_owned(),
        ..Default::default()
    };
    kit.objects().delete_object(kit.as_customer(OWNER, request)).await.unwrap();
    delete(&kit, OWNER, &uid, "photos").await.unwrap();
    let gone = delete(&kit, OWNER, &uid, "photos").await;
    assert_reason(gone, Code::NotFound, ErrorReason::BucketNotFound);
    assert!(list(&kit, &uid, 0, "").await.buckets.is_empty());
}

#[tokio::test]
async fn a_created_bucket_is_found_among_its_neighbours() {
    let mut engine = Memory::default();
    engine.capabilities.bucket_limit = true;
    let kit = Kit::with(engine).await;
    let uid = S3uid::generate(&SystemRandom);
    let request = pb::EnsureEngineAccountRequest { bucket_max: 0, ..crate::kit::wanted(&uid) };
    kit.ensure(request).await.unwrap();
    for number in 0..150 {
        kit.create_bucket(OWNER, &uid, &format!("abc{number:03}")).await.unwrap();
    }
    for bucket in ["abd", "abc", "abczz", "zzz", "abc149x"] {
        assert_eq!(kit.create_bucket(OWNER, &uid, bucket).await.unwrap().bucket, bucket);
        kit.engine.put(bucket, "one", 1);
        let found = kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
        assert_eq!((found.bucket.as_str(), found.object_count), (bucket, 1));
    }
}

#[tokio::test]
async fn a_foreign_account_and_an_absent_one_are_one_answer() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let absent = S3uid::generate(&SystemRandom);
    for bad in [&uid, &absent] {
        let parent = name::account(bad);
        let bucket = format!("{parent}/buckets/photos");
        let listing = pb::ListBucketsRequest { parent, ..Default::default() };
        let objects = pb::ListObjectsRequest { parent: bucket.clone(), ..Default::default() };
        let deletion =
            pb::DeleteObjectRequest { parent: bucket, key: "a".to_owned(), ..Default::default() };
        let refused = [
            kit.create_bucket(OTHER, bad, "mine").await.map(|_| ()),
            delete(&kit, OTHER, bad, "photos").await,
            kit.buckets().list_buckets(kit.as_customer(OTHER, listing)).await.map(|_| ()),
            kit.objects().list_objects(kit.as_customer(OTHER, objects)).await.map(|_| ()),
            kit.objects().delete_object(kit.as_customer(OTHER, deletion)).await.map(|_| ()),
        ];
        for result in refused {
            let status = assert_reason(result, Code::NotFound, ErrorReason::AccountNotFound);
            assert_eq!(status.message(), "S3 account not found for this customer");
        }
    }
}

#[tokio::test]
async fn bucket_names_follow_the_rules_and_have_one_owner() {
    let kit = Kit::start().await;
    let (first, second) = (kit.account().await, kit.account().await);
    for bad in ["ab", "Photos", "192.168.5.4", "../x", ""] {
        let refused = kit.create_bucket(OWNER, &first, bad).await;
        let status = assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
        assert_eq!(field_violations(&status)[0].0, "bucket", "{bad}");
    }
    kit.create_bucket(OWNER, &first, "photos").await.unwrap();
    let taken = kit.create_bucket(OWNER, &second, "photos").await;
    let status = assert_reason(taken, Code::AlreadyExists, ErrorReason::BucketNameTaken);
    assert_eq!(metadata_of(&status, "bucket").as_deref(), Some("photos"));
    let foreign = delete(&kit, OWNER, &second, "photos").await;
    assert_reason(foreign, Code::NotFound, ErrorReason::BucketNotFound);
}

#[tokio::test]
async fn the_bound_of_buckets_holds_whether_the_engine_keeps_it_or_not() {
    for bucket_limit in [true, false] {
        let mut engine = Memory::default();
        engine.capabilities.bucket_limit = bucket_limit;
        let kit = Kit::with(engine).await;
        let uid = kit.account().await;
        for bucket in ["one", "two", "three", "two"] {
            kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
        }
        let more = kit.create_bucket(OWNER, &uid, "four").await;
        assert_reason(more, Code::ResourceExhausted, ErrorReason::BucketLimit);
    }
}

#[tokio::test]
async fn buckets_are_paged_and_tokens_belong_to_their_account() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    for bucket in ["ccc", "aaa", "bbb"] {
        kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
    }
    let first = list(&kit, &uid, 2, "").await;
    let names = |page: &pb::ListBucketsResponse| -> Vec<String> {
        page.buckets.iter().map(|found| found.bucket.clone()).collect()
    };
    assert_eq!(names(&first), ["aaa", "bbb"]);
    let second = list(&kit, &uid, 2, &first.next_page_token).await;
    assert_eq!(names(&second), ["ccc"]);
    assert!(second.next_page_token.is_empty());
    assert!(list(&kit, &uid, 3, "").await.next_page_token.is_empty(), "a full last page ends");

    let another = kit.account().await;
    let request = pb::ListBucketsRequest {
        parent: name::account(&another),
        page_size: 2,
        page_token: first.next_page_token,
    };
    let refused = kit.buckets().list_buckets(kit.as_customer(OWNER, request)).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
}

#[tokio::test]
async fn a_bucket_name_is_checked_before_an_order() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    assert_eq!(check(&kit, "NL", "music").await.unwrap(), "http://127.0.0.1:9000");
    for (location, bucket, code, reason) in [
        ("NL", "photos", Code::AlreadyExists, ErrorReason::BucketNameTaken),
        ("NL", "ab", Code::InvalidArgument, ErrorReason::InvalidField),
        ("nl", "music", Code::InvalidArgument, ErrorReason::InvalidField),
        ("XX", "music", Code::NotFound, ErrorReason::LocationNotFound),
        ("FAR", "music", Code::FailedPrecondition, ErrorReason::LocationClosed),
    ] {
        assert_reason(check(&kit, location, bucket).await, code, reason);
    }
    let mut engine = Memory::default();
    engine.capabilities.namespace = BucketNamespace::Account;
    let kit = Kit::with(engine).await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    check(&kit, "NL", "photos").await.expect("another account may have the same name there");
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_to_be() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.engine.set_down(true);
    let away = [
        kit.create_bucket(OWNER, &uid, "photos").await.map(|_| ()),
        delete(&kit, OWNER, &uid, "photos").await,
        check(&kit, "NL", "photos").await.map(|_| ()),
    ];
    for result in away {
        let status = assert_reason(result, Code::Unavailable, ErrorReason::EngineUnavailable);
        assert_eq!(status.message(), "the storage engine is unavailable");
    }
}
