//! How deletions of buckets end when nothing goes well: by attempts that are used up, by a lease,
//! by the time that has passed.

use std::sync::Arc;
use std::time::Duration;

use stowage_db::testing::Scratch;
use stowage_proto::storage as pb;
use stowage_proto::storage::BucketDeletionState as State;
use stowage_types::{Clock as _, FakeClock, S3uid, SystemClock};
use tokio::sync::Semaphore;

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, Settings, metered_bus, until};

const TASK: &str = "storage.bucket_deletion";
const DAY: Duration = Duration::from_secs(86_400);

/// A role with a clock that stands still.
async fn start(takes_over: bool) -> (Kit, Arc<FakeClock>, Settings) {
    let clock = Arc::new(FakeClock::at(SystemClock.now()));
    let mut settings = Settings { clock: clock.clone(), ..Settings::default() };
    settings.config.takes_over = takes_over;
    let folder = Arc::new(Scratch::new().await);
    let engine = Arc::new(Memory::default());
    (Kit::set(engine, folder, metered_bus(), settings.clone()).await, clock, settings)
}

/// Starts the deletion of a bucket of so many objects; answers its name.
async fn delete(kit: &Kit, uid: &S3uid, bucket: &str, count: usize) -> String {
    kit.create_bucket(OWNER, uid, bucket).await.unwrap();
    kit.engine.put_all(bucket, (0..count).map(|number| format!("k/{number:05}")), 10);
    let bucket = format!("accounts/{uid}/buckets/{bucket}");
    let request = pb::StartBucketDeletionRequest { bucket, ..Default::default() };
    let request = kit.as_customer(OWNER, request);
    kit.deletions().start_bucket_deletion(request).await.unwrap().into_inner().name
}

async fn get(kit: &Kit, name: &str) -> pb::BucketDeletion {
    let request = pb::GetBucketDeletionRequest { name: name.to_owned() };
    let request = kit.as_customer(OWNER, request);
    kit.deletions().get_bucket_deletion(request).await.unwrap().into_inner()
}

async fn is(kit: &Kit, name: &str, state: State) -> pb::BucketDeletion {
    until(async || get(kit, name).await.state() == state).await;
    get(kit, name).await
}

/// Lets who works on deletions look again: resuming one that runs changes nothing else.
async fn nudge(kit: &Kit, name: &str) {
    let request = pb::ResumeBucketDeletionRequest { name: name.to_owned(), ..Default::default() };
    let request = kit.as_customer(OWNER, request);
    kit.deletions().resume_bucket_deletion(request).await.unwrap();
}

async fn attempts(kit: &Kit) -> i64 {
    kit.count("SELECT CAST(sum(attempts) AS bigint) FROM bucket_deletion").await
}

#[tokio::test]
async fn a_deletion_that_makes_no_progress_fails_after_thirty_attempts_and_not_before() {
    let (mut kit, clock, _) = start(true).await;
    let uid = kit.account().await;
    let name = delete(&kit, &uid, "photos", 12).await;
    kit.engine.cut_off_deletes_after(3);
    kit.run_tasks_of(TASK);
    until(async || attempts(&kit).await == 1).await;
    // What the first attempt has deleted is progress: it begins to count anew.
    kit.engine.cut_off_deletes_after(0);
    clock.advance(Duration::from_secs(1));
    nudge(&kit, &name).await;
    until(async || {
        let deletion = get(&kit, &name).await;
        deletion.deleted_object_count == 3 && attempts(&kit).await == 1
    })
    .await;
    kit.engine.set_down(true);
    for attempt in 2..=30 {
        assert_eq!(get(&kit, &name).await.state(), State::Running, "attempt {attempt}");
        // The pauses grow to a minute and no further.
        clock.advance(Duration::from_secs(60));
        nudge(&kit, &name).await;
        until(async || attempts(&kit).await == attempt).await;
    }
    let failed = is(&kit, &name, State::Failed).await;
    assert_eq!(failed.why, "the storage engine is unavailable");
    assert_eq!((failed.deleted_object_count, failed.end_time.is_some()), (3, true));
    // It can be started again, and that is another one.
    kit.engine.set_down(false);
    let bucket = format!("accounts/{uid}/buckets/photos");
    let request = pb::StartBucketDeletionRequest { bucket, ..Default::default() };
    let request = kit.as_customer(OWNER, request);
    let again = kit.deletions().start_bucket_deletion(request).await.unwrap().into_inner();
    assert_ne!(again.name, name);
    assert_eq!(is(&kit, &again.name, State::Done).await.deleted_object_count, 9);
    kit.close().await;
}

/// Two processes share the database, and neither may take the other for dead.
#[tokio::test]
async fn who_waits_for_a_living_process_gets_its_deletion_once_the_lease_is_over() {
    let (mut kit, clock, settings) = start(false).await;
    let uid = kit.account().await;
    let gate = Arc::new(Semaphore::new(0));
    kit.engine.hold_up_deletes(&gate);
    let name = delete(&kit, &uid, "photos", 12).await;
    kit.run_tasks_of(TASK);
    let batches = "SELECT count(*) FROM bucket_deletion WHERE batch_last IS NOT NULL";
    until(async || kit.count(batches).await == 1).await;
    kit.run_twin(settings.clone(), TASK).await;
    // While the lease lasts the twin works on others only.
    clock.advance(Duration::from_secs(149));
    let other = delete(&kit, &uid, "films", 7).await;
    is(&kit, &other, State::Done).await;
    let held = get(&kit, &name).await;
    assert_eq!((held.state(), held.deleted_object_count), (State::Running, 0));
    clock.advance(Duration::from_secs(1));
    let done = is(&kit, &name, State::Done).await;
    assert_eq!((done.deleted_object_count, done.deleted_bytes), (12, 120));
    // The first one wakes up, finds the bucket gone and its lease lost, and says nothing.
    gate.add_permits(1);
    let third = delete(&kit, &uid, "music", 3).await;
    is(&kit, &third, State::Done).await;
    assert_eq!(get(&kit, &name).await, done);
    let told = "SELECT count(*) FROM outbox WHERE type = 'stowage.storage.content.changed.v1'";
    assert_eq!(kit.count(told).await, 3 * 3, "each was created, begun and deleted");
    kit.close().await;
}

#[tokio::test]
async fn deletions_are_forgotten_after_ninety_days_and_sagas_after_thirty() {
    let (mut kit, clock, settings) = start(true).await;
    let uid = kit.account().await;
    kit.run_tasks_of(TASK);
    let old = delete(&kit, &uid, "photos", 3).await;
    is(&kit, &old, State::Done).await;
    clock.advance(DAY * 61);
    let young = delete(&kit, &uid, "films", 3).await;
    is(&kit, &young, State::Done).await;
    let (all, sagas) = ("SELECT count(*) FROM bucket_deletion", "SELECT count(*) FROM saga");
    // A round forgets sagas last: once they are gone, it has passed the deletions.
    clock.advance(DAY * 29);
    kit.run_twin(settings.clone(), "storage.forget").await;
    until(async || kit.count(sagas).await == 1).await;
    assert_eq!(kit.count(all).await, 2, "the older one is 90 days old, and not more");
    clock.advance(DAY * 2);
    kit.run_twin(settings, "storage.forget").await;
    until(async || kit.count(sagas).await == 0).await;
    assert_eq!(kit.count(all).await, 1);
    assert_eq!(get(&kit, &young).await.state(), State::Done);
    kit.close().await;
}
