//! Accounts whose requests are refused while their data stays.

use stowage_engine::AccountAccess;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::metadata_of;
use stowage_types::{S3uid, name};
use tonic::{Code, Request, Status};

use crate::kit::{Kit, OWNER, assert_reason, wanted};

async fn suspend(kit: &Kit, uid: &S3uid, suspended: bool) {
    let request = pb::EnsureEngineAccountRequest { suspended, ..wanted(uid) };
    kit.ensure(request).await.unwrap();
    assert_eq!(kit.engine.account(uid).unwrap().access == AccountAccess::Suspended, suspended);
}

/// Calls that change what the account holds, as somebody.
async fn changes(kit: &Kit, uid: &S3uid, by: impl Sends) -> Vec<Result<(), Status>> {
    let parent = format!("accounts/{uid}/buckets/photos");
    let make = pb::CreateBucketRequest {
        parent: name::account(uid),
        bucket: "music".to_owned(),
        ..Default::default()
    };
    let file = pb::DeleteObjectRequest {
        parent: parent.clone(),
        key: "a.jpg".to_owned(),
        ..Default::default()
    };
    let bucket = pb::DeleteBucketRequest { name: parent, ..Default::default() };
    vec![
        kit.buckets().create_bucket(by.sends(kit, make)).await.map(drop),
        kit.objects().delete_object(by.sends(kit, file)).await.map(drop),
        kit.buckets().delete_bucket(by.sends(kit, bucket)).await.map(drop),
    ]
}

trait Sends {
    fn sends<M>(&self, kit: &Kit, message: M) -> Request<M>;
}

enum By {
    Customer,
    Administrator,
    Service,
}

impl Sends for By {
    fn sends<M>(&self, kit: &Kit, message: M) -> Request<M> {
        match self {
            Self::Customer => kit.as_customer(OWNER, message),
            Self::Administrator => kit.as_administrator_for(OWNER, message),
            Self::Service => kit.as_service_for(OWNER, message),
        }
    }
}

#[tokio::test]
async fn a_customer_changes_nothing_in_a_suspended_account_and_sees_all_of_it() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.engine.put("photos", "a.jpg", 5);
    suspend(&kit, &uid, true).await;
    for refused in changes(&kit, &uid, By::Customer).await {
        let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
        assert_eq!(metadata_of(&status, "state").as_deref(), Some("SUSPENDED"));
    }
    let listing = pb::ListBucketsRequest { parent: name::account(&uid), ..Default::default() };
    let buckets = kit.buckets().list_buckets(kit.as_customer(OWNER, listing)).await.unwrap();
    assert_eq!(buckets.into_inner().buckets[0].object_count, 1);
    let parent = format!("accounts/{uid}/buckets/photos");
    let listing = pb::ListObjectsRequest { parent, ..Default::default() };
    let objects = kit.objects().list_objects(kit.as_customer(OWNER, listing)).await.unwrap();
    assert_eq!(objects.into_inner().objects.len(), 1);

    suspend(&kit, &uid, false).await;
    for allowed in changes(&kit, &uid, By::Customer).await {
        allowed.unwrap();
    }
}

#[tokio::test]
async fn the_provider_still_changes_and_purges_a_suspended_account() {
    for by in [By::Administrator, By::Service] {
        let kit = Kit::start().await;
        let uid = kit.account().await;
        kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
        kit.engine.put("photos", "a.jpg", 5);
        suspend(&kit, &uid, true).await;
        for allowed in changes(&kit, &uid, by).await {
            allowed.unwrap();
        }
        kit.engine.put("music", "song", 5);
        kit.remove(&uid, true).await.unwrap();
        assert!(kit.engine.account(&uid).is_none());
    }
}
