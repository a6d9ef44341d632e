//! Accounts whose requests are refused while their data stays.

use stowage_engine::AccountAccess;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::metadata_of;
use stowage_types::{S3uid, name};
use tonic::{Code, Request, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, assert_reason, wanted};

async fn suspend(kit: &Kit, uid: &S3uid, suspended: bool) {
    let request = pb::EnsureEngineAccountRequest { suspended, ..wanted(uid) };
    kit.ensure(request).await.unwrap();
    assert_eq!(kit.engine.account(uid).unwrap().access == AccountAccess::Suspended, suspended);
}

/// An engine that keeps accounts to reading, or knows no such thing.
async fn kit_that_keeps_reading(read_only: bool) -> Kit {
    let mut engine = Memory::default();
    engine.capabilities.read_only = read_only;
    Kit::with(engine).await
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

#[tokio::test]
async fn a_customer_changes_nothing_in_a_read_only_account_whatever_its_engine_keeps() {
    for is_kept in [true, false] {
        let kit = kit_that_keeps_reading(is_kept).await;
        let uid = kit.account().await;
        kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
        kit.engine.put("photos", "a.jpg", 5);
        let read_only = pb::EnsureEngineAccountRequest { read_only: true, ..wanted(&uid) };
        kit.ensure(read_only.clone()).await.unwrap();
        // An engine that cannot keep it leaves the keys as they are: nothing shuts them early.
        let access = if is_kept { AccountAccess::ReadOnly } else { AccountAccess::Full };
        assert_eq!(kit.engine.account(&uid).unwrap().access, access);
        for refused in changes(&kit, &uid, By::Customer).await {
            let status =
                assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
            assert_eq!(metadata_of(&status, "state").as_deref(), Some("READ_ONLY"));
        }
        // Who reconciles finds nothing that differs, where nothing can.
        let list = pb::ListEngineAccountsRequest {
            parent: "locations/NL".to_owned(),
            ..Default::default()
        };
        let list = kit.as_administrator(list);
        let views = kit.accounts().list_engine_accounts(list).await.unwrap().into_inner().accounts;
        let (on_engine, in_storage) = (views[0].on_engine.clone(), views[0].in_storage.clone());
        let (on_engine, in_storage) = (on_engine.unwrap(), in_storage.unwrap());
        assert!(on_engine.read_only && in_storage.read_only, "{on_engine:?} {in_storage:?}");
        assert!(!on_engine.suspended && !in_storage.suspended);
        // Suspended is the stronger, and comes everywhere.
        let suspended = pb::EnsureEngineAccountRequest { suspended: true, ..read_only };
        kit.ensure(suspended).await.unwrap();
        assert_eq!(kit.engine.account(&uid).unwrap().access, AccountAccess::Suspended);
        kit.ensure(wanted(&uid)).await.unwrap();
        assert_eq!(kit.engine.account(&uid).unwrap().access, AccountAccess::Full);
        for allowed in changes(&kit, &uid, By::Customer).await {
            allowed.unwrap();
        }
    }
}

#[tokio::test]
async fn who_stores_too_much_deletes_and_makes_nothing() {
    let kit = kit_that_keeps_reading(true).await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    kit.engine.put("photos", "a.jpg", 5);
    let capped =
        pb::EnsureEngineAccountRequest { read_only: true, may_delete: true, ..wanted(&uid) };
    kit.ensure(capped.clone()).await.unwrap();
    let [made, file, bucket]: [_; 3] =
        changes(&kit, &uid, By::Customer).await.try_into().expect("three changes");
    assert_reason(made, Code::FailedPrecondition, ErrorReason::AccountState);
    file.unwrap();
    bucket.unwrap();
    // What holds it for another cause holds it whole.
    kit.ensure(pb::EnsureEngineAccountRequest { suspended: true, ..capped }).await.unwrap();
    for refused in changes(&kit, &uid, By::Customer).await {
        assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    }
}
