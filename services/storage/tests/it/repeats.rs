use std::fmt::Debug;

use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_engine::Engine as _;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_types::{BucketName, S3uid, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OTHER, OWNER, assert_reason, killed_after, until};

/// The calls that take a request id, under the same one.
struct Caller<'a> {
    kit: &'a Kit,
    customer: i64,
    uid: S3uid,
    id: &'a str,
}

impl Caller<'_> {
    async fn create(&self, bucket: &str) -> Result<pb::Bucket, Status> {
        let (parent, bucket) = (name::account(&self.uid), bucket.to_owned());
        let request = pb::CreateBucketRequest { parent, bucket, request_id: self.id.to_owned() };
        let request = self.kit.as_customer(self.customer, request);
        Ok(self.kit.buckets().create_bucket(request).await?.into_inner())
    }

    async fn delete(&self, bucket: &str) -> Result<pb::DeleteBucketResponse, Status> {
        let name = format!("accounts/{}/buckets/{bucket}", self.uid);
        let request = pb::DeleteBucketRequest { name, request_id: self.id.to_owned() };
        let request = self.kit.as_customer(self.customer, request);
        Ok(self.kit.buckets().delete_bucket(request).await?.into_inner())
    }

    async fn delete_object(&self, key: &str) -> Result<pb::DeleteObjectResponse, Status> {
        let parent = format!("accounts/{}/buckets/photos", self.uid);
        let (key, request_id) = (key.to_owned(), self.id.to_owned());
        let request = pb::DeleteObjectRequest { parent, key, request_id };
        let request = self.kit.as_customer(self.customer, request);
        Ok(self.kit.objects().delete_object(request).await?.into_inner())
    }

    async fn collect(&self, uid: &S3uid) -> Result<pb::CollectUsageResponse, Status> {
        let (name, request_id) = (name::account(uid), self.id.to_owned());
        let request = pb::CollectUsageRequest { name, request_id };
        let request = self.kit.as_administrator(request);
        Ok(self.kit.usage().collect_usage(request).await?.into_inner())
    }
}

fn assert_reused<T: Debug>(answer: Result<T, Status>) {
    assert_reason(answer, Code::AlreadyExists, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn every_call_that_changes_something_repeats_its_answer_and_refuses_other_content() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let other = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let call = |id| Caller { kit: &kit, customer: OWNER, uid: uid.clone(), id };

    let made = call("create").create("films").await.unwrap();
    assert_eq!(call("create").create("films").await.unwrap(), made);
    assert_reused(call("create").create("music").await);
    // Another method is another request.
    assert_reused(call("create").delete("films").await);

    call("delete").delete("films").await.unwrap();
    call("delete").delete("films").await.unwrap();
    assert_reused(call("delete").delete("photos").await);
    let gone = call("").delete("films").await;
    assert_reason(gone, Code::NotFound, ErrorReason::BucketNotFound);
    // The first answer, although the bucket is gone by now.
    assert_eq!(call("create").create("films").await.unwrap(), made);

    call("object").delete_object("a").await.unwrap();
    call("object").delete_object("a").await.unwrap();
    assert_reused(call("object").delete_object("b").await);

    let collected = call("collect").collect(&uid).await.unwrap();
    assert_eq!(call("collect").collect(&uid).await.unwrap(), collected);
    assert_reused(call("collect").collect(&other).await);
}

#[tokio::test]
async fn a_refusal_is_no_answer_but_binds_the_id_and_ids_of_others_are_theirs() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let call = Caller { kit: &kit, customer: OWNER, uid: uid.clone(), id: "k" };
    let missing = call.delete("photos").await;
    assert_reason(missing, Code::NotFound, ErrorReason::BucketNotFound);
    assert_reused(call.delete("films").await);
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    // Nothing was made under this id: the bucket that is there now is not its work.
    assert_reused(call.create("photos").await);
    call.delete("photos").await.unwrap();
    let stranger = Caller { customer: OTHER, ..call };
    let foreign = stranger.create("photos").await;
    assert_reason(foreign, Code::NotFound, ErrorReason::AccountNotFound);
}

/// The engine has done it, and then the call was cut off: at any point.
#[tokio::test]
async fn a_call_that_was_cut_off_is_ended_by_its_repeat() {
    let kit = Kit::with(Memory::default()).await;
    let uid = kit.account().await;
    let mut cut = 0;
    for polls in 0..60 {
        let bucket = format!("photos-{polls}");
        let (made, deleted) = (format!("create-{polls}"), format!("delete-{polls}"));
        let create = Caller { kit: &kit, customer: OWNER, uid: uid.clone(), id: &made };
        let delete = Caller { kit: &kit, customer: OWNER, uid: uid.clone(), id: &deleted };
        cut += i32::from(killed_after(polls, create.create(&bucket)).await.is_none());
        ended(async || create.create(&bucket).await).await;
        cut += i32::from(killed_after(polls, delete.delete(&bucket)).await.is_none());
        ended(async || delete.delete(&bucket).await).await;
        let name = BucketName::new(&bucket).unwrap();
        assert_eq!(kit.engine.bucket_owner(&name).await.unwrap(), None, "{polls}");
    }
    assert!(cut > 4, "the calls were cut {cut} times only");
    let left = "SELECT count(*) FROM request WHERE answer IS NULL";
    let (left,): (i64,) = kit.db().fetch_one(left, args![]).await.unwrap();
    assert_eq!(left, 0);
    // And history hears of each once, whichever attempt it was that did it.
    let told = "SELECT count(*) FROM outbox WHERE type = 'stowage.storage.content.changed.v1'";
    let (told,): (i64,) = kit.db().fetch_one(told, args![]).await.unwrap();
    assert_eq!(told, 60 * 2);
}

/// Repeats a call until it answers; while what was cut off lets go, it is told to come back.
async fn ended<T: Debug>(call: impl AsyncFn() -> Result<T, Status>) {
    until(async || match call().await {
        Ok(_) => true,
        Err(error) => {
            assert_reason(Err::<T, _>(error), Code::Aborted, ErrorReason::RequestInProgress);
            false
        }
    })
    .await;
}

/// A process died after the engine had done it, and before the answer was stored.
#[tokio::test]
async fn a_successor_ends_what_a_dead_process_left_running() {
    let place = std::sync::Arc::new(Scratch::new().await);
    let engine = std::sync::Arc::new(Memory::default());
    let bus = || crate::kit::metered_bus();
    let kit = Kit::over(engine.clone(), place.clone(), bus()).await;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    let call = Caller { kit: &kit, customer: OWNER, uid: uid.clone(), id: "k" };
    call.delete("photos").await.unwrap();
    let mut tx = kit.db().begin().await.unwrap();
    tx.execute("UPDATE request SET answer = NULL", args![]).await.unwrap();
    tx.commit().await.unwrap();
    let running = call.delete("photos").await;
    assert_reason(running, Code::Aborted, ErrorReason::RequestInProgress);
    assert_reused(call.delete("films").await);
    kit.close().await;
    let kit = Kit::over(engine, place, bus()).await;
    let call = Caller { kit: &kit, customer: OWNER, uid, id: "k" };
    call.delete("photos").await.unwrap();
}
