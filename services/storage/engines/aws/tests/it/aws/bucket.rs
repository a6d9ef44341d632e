//! Buckets, whose they are, and what their accounts may do with them.

use aws_sdk_s3::types::{Tag, Tagging};
use stowage_engine::conformance::ObjectClient as _;
use stowage_engine::{AccountAccess, Engine as _, Error, UsageCursor};
use stowage_types::BucketName;

use super::kit::{
    account, administrator, bucket, client, engine, get, info, put, refusal, s3, uid,
};

async fn make_by_hand(name: &BucketName, owner: Option<&str>) {
    let hand = administrator();
    let region = aws_sdk_s3::types::BucketLocationConstraint::EuCentral1;
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder();
    let place = place.location_constraint(region).build();
    let make = hand.create_bucket().bucket(name.as_str()).create_bucket_configuration(place);
    make.send().await.unwrap();
    if let Some(owner) = owner {
        let tag = Tag::builder().key("stowage-uid").value(owner).build().unwrap();
        let tags = Tagging::builder().tag_set(tag).build().unwrap();
        hand.put_bucket_tagging().bucket(name.as_str()).tagging(tags).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_of_the_aws_account_is_nobodys_and_stays_so() {
    let (engine, name) = (engine(), bucket());
    let spec = account(&engine).await;
    make_by_hand(&name, None).await;
    assert_eq!(engine.bucket_owner(&name).await.unwrap(), None);
    let taken = engine.create_bucket(&spec.uid, &name).await;
    assert!(matches!(taken, Err(Error::AlreadyExists)), "{taken:?}");
    let gone = engine.delete_bucket(&spec.uid, &name).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    engine.remove_account(&spec.uid, true).await.unwrap();
    administrator().head_bucket().bucket(name.as_str()).send().await.unwrap();
}

#[tokio::test]
async fn customers_do_in_their_buckets_what_costs_nobody_else() {
    let (engine, [own, other]) = (engine(), [bucket(), bucket()]);
    let [spec, foreign] = [account(&engine).await, account(&engine).await];
    engine.create_bucket(&spec.uid, &own).await.unwrap();
    engine.create_bucket(&foreign.uid, &other).await.unwrap();
    put(&foreign.keys[0], &other, "k", vec![1]).await;
    let hand = client(&spec.keys[0]);
    put(&spec.keys[0], &own, "k", vec![1]).await;
    hand.list_objects_v2().bucket(own.as_str()).send().await.unwrap();
    hand.delete_object().bucket(own.as_str()).key("k").send().await.unwrap();
    let name = own.as_str();
    let tags = Tagging::builder().set_tag_set(Some(Vec::new())).build().unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let refused = [
        hand.delete_bucket().bucket(name).send().await.map(drop).map_err(refusal),
        hand.list_buckets().send().await.map(drop).map_err(refusal),
        hand.put_bucket_tagging()
            .bucket(name)
            .tagging(tags)
            .send()
            .await
            .map_err(refusal)
            .map(drop),
        hand.get_bucket_tagging().bucket(name).send().await.map(drop).map_err(refusal),
        hand.put_bucket_policy()
            .bucket(name)
            .policy(policy)
            .send()
            .await
            .map(drop)
            .map_err(refusal),
        hand.list_objects().bucket(other.as_str()).send().await.map(drop).map_err(refusal),
        get(&spec.keys[0], &other, "k").await.map(drop),
    ];
    assert!(refused.iter().all(|r| matches!(r, Err(Error::Denied))), "{refused:?}");
}

#[tokio::test]
async fn a_name_that_went_to_another_account_opens_nothing_to_the_first() {
    let (engine, name) = (engine(), bucket());
    let [first, second] = [account(&engine).await, account(&engine).await];
    for _ in 0..2 {
        engine.create_bucket(&first.uid, &name).await.unwrap();
        engine.delete_bucket(&first.uid, &name).await.unwrap();
    }
    engine.create_bucket(&second.uid, &name).await.unwrap();
    put(&second.keys[0], &name, "k", vec![1]).await;
    let read = get(&first.keys[0], &name, "k").await;
    assert!(matches!(read, Err(Error::Denied)), "{read:?}");
    engine.remove_account(&first.uid, true).await.unwrap();
    assert_eq!(get(&second.keys[0], &name, "k").await.unwrap(), [1]);
}

#[tokio::test]
async fn a_bucket_that_was_deleted_behind_our_back_can_be_made_again() {
    let (engine, name) = (engine(), bucket());
    let spec = account(&engine).await;
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    administrator().delete_bucket().bucket(name.as_str()).send().await.unwrap();
    assert!(engine.list_buckets(&spec.uid, None, 10).await.unwrap().is_empty());
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    put(&spec.keys[0], &name, "k", vec![1]).await;
    engine.delete_object(&spec.uid, &name, "k").await.unwrap();
    administrator().delete_bucket().bucket(name.as_str()).send().await.unwrap();
    let gone = engine.delete_bucket(&spec.uid, &name).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    assert_eq!(info(&engine, &spec.uid).await.unwrap().bucket_count, 0);
}

#[tokio::test]
async fn a_bucket_that_a_record_has_lost_is_opened_again_by_a_sweep() {
    let (engine, name) = (engine(), bucket());
    let spec = account(&engine).await;
    make_by_hand(&name, Some(spec.uid.as_str())).await;
    let read = s3().put(&spec.keys[0], &name, "k", vec![1]).await;
    assert!(matches!(read, Err(Error::Denied)), "{read:?}");
    let (mut cursor, mut more) = (UsageCursor::default(), true);
    while more {
        let batch = engine.collect_usage(&cursor, 100).await.unwrap();
        (cursor, more) = (batch.next, batch.more);
    }
    put(&spec.keys[0], &name, "k", vec![1]).await;
    assert_eq!(info(&engine, &spec.uid).await.unwrap().bucket_count, 1);
}

#[tokio::test]
async fn an_account_has_as_many_buckets_as_its_policy_has_room_for() {
    let engine = engine();
    let mut spec = account(&engine).await;
    let long = |number: usize| {
        let name = format!("{:x<50}-{number:012}", bucket().as_str());
        BucketName::new(&name).unwrap()
    };
    let mut names = Vec::new();
    let refused = loop {
        let name = long(names.len());
        match engine.create_bucket(&spec.uid, &name).await {
            Ok(()) => names.push(name),
            Err(error) => break (name, error),
        }
    };
    assert!(matches!(refused.1, Error::LimitReached), "{refused:?}");
    assert!(names.len() >= 10, "{}", names.len());
    assert_eq!(engine.bucket_owner(&refused.0).await.unwrap(), None);
    // All that is done with the account goes on.
    for access in [AccountAccess::Suspended, AccountAccess::ReadOnly, AccountAccess::Full] {
        spec.access = access;
        engine.ensure_account(&spec).await.unwrap();
    }
    put(&spec.keys[0], &names[0], "k", vec![1]).await;
    engine.delete_bucket(&spec.uid, &names[1]).await.unwrap();
    engine.create_bucket(&spec.uid, &names[1]).await.unwrap();
    engine.remove_account(&spec.uid, true).await.unwrap();
    assert_eq!(engine.bucket_owner(&names[0]).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_nobodys_account_is_nobodys_bucket() {
    let (engine, name) = (engine(), bucket());
    let none = engine.create_bucket(&uid(), &name).await;
    assert!(matches!(none, Err(Error::NotFound)), "{none:?}");
    assert_eq!(engine.bucket_owner(&name).await.unwrap(), None);
}
