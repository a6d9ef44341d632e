//! Buckets deleted with all that is in them.

use std::sync::Arc;

use prost::Message as _;
use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_engine::Engine as _;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::BucketDeletionState as State;
use stowage_runtime::metadata_of;
use stowage_types::{BucketName, S3uid, name};
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OTHER, OWNER, assert_reason, killed_after, metered_bus, until, wanted};

const TASK: &str = "storage.bucket_deletion";

type Answer = Result<pb::BucketDeletion, Status>;

/// Deletions as a customer sees them.
struct Caller<'a>(&'a Kit, i64);

impl Caller<'_> {
    async fn start_as(&self, uid: &S3uid, bucket: &str, request_id: &str) -> Answer {
        let bucket = format!("accounts/{uid}/buckets/{bucket}");
        let request = pb::StartBucketDeletionRequest { bucket, request_id: request_id.to_owned() };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().start_bucket_deletion(request).await?.into_inner())
    }

    async fn start(&self, uid: &S3uid, bucket: &str) -> Answer {
        self.start_as(uid, bucket, "").await
    }

    async fn get(&self, name: &str) -> Answer {
        let request = pb::GetBucketDeletionRequest { name: name.to_owned() };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().get_bucket_deletion(request).await?.into_inner())
    }

    async fn pause(&self, name: &str) -> Answer {
        let request =
            pb::PauseBucketDeletionRequest { name: name.to_owned(), ..Default::default() };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().pause_bucket_deletion(request).await?.into_inner())
    }

    async fn resume(&self, name: &str) -> Answer {
        let request =
            pb::ResumeBucketDeletionRequest { name: name.to_owned(), ..Default::default() };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().resume_bucket_deletion(request).await?.into_inner())
    }

    async fn cancel(&self, name: &str) -> Answer {
        let request =
            pb::CancelBucketDeletionRequest { name: name.to_owned(), ..Default::default() };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().cancel_bucket_deletion(request).await?.into_inner())
    }

    async fn list(&self, uid: &S3uid, bucket: &str, page: (i32, &str)) -> Vec<pb::BucketDeletion> {
        self.page(uid, bucket, page).await.unwrap().deletions
    }

    async fn page(
        &self,
        uid: &S3uid,
        bucket: &str,
        (page_size, page_token): (i32, &str),
    ) -> Result<pb::ListBucketDeletionsResponse, Status> {
        let request = pb::ListBucketDeletionsRequest {
            parent: name::account(uid),
            bucket: bucket.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let request = self.0.as_customer(self.1, request);
        Ok(self.0.deletions().list_bucket_deletions(request).await?.into_inner())
    }

    /// Waits for the state.
    async fn is(&self, name: &str, state: State) -> pb::BucketDeletion {
        until(async || self.get(name).await.unwrap().state() == state).await;
        self.get(name).await.unwrap()
    }
}

/// A bucket of so many objects of ten bytes.
async fn fill(kit: &Kit, uid: &S3uid, bucket: &str, count: usize) {
    kit.create_bucket(OWNER, uid, bucket).await.unwrap();
    kit.engine.put_all(bucket, (0..count).map(|number| format!("k/{number:05}")), 10);
}

async fn is_there(kit: &Kit, bucket: &str) -> bool {
    kit.engine.bucket_owner(&BucketName::new(bucket).unwrap()).await.unwrap().is_some()
}

fn deleted(deletion: &pb::BucketDeletion) -> (i64, i64) {
    (deletion.deleted_object_count, deletion.deleted_bytes)
}

/// What waits to be told to history: event, actor, bucket.
async fn told(kit: &Kit) -> Vec<(String, String, String)> {
    let rows: Vec<(Vec<u8>,)> = kit
        .db()
        .fetch_all(
            "SELECT data FROM outbox WHERE type = 'stowage.storage.content.changed.v1' \
             ORDER BY position",
            args![],
        )
        .await
        .unwrap();
    let read = |(data,): (Vec<u8>,)| pb::ContentChanged::decode(data.as_slice()).unwrap();
    let told = rows.into_iter().map(read);
    let told = told.filter(|told| told.event != "bucket.created");
    told.map(|told| (told.event, told.actor, told.bucket)).collect()
}

#[tokio::test]
async fn a_bucket_goes_with_all_that_is_in_it_and_progress_and_history_say_so() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    fill(&kit, &uid, "photos", 12).await;
    fill(&kit, &uid, "stays", 3).await;
    let started = Caller(&kit, OWNER).start_as(&uid, "photos", "once").await.unwrap();
    assert!(started.name.starts_with(&format!("accounts/{uid}/bucketDeletions/")));
    assert_eq!((started.bucket.as_str(), started.state()), ("photos", State::Running));
    assert_eq!((started.start_object_count, started.start_bytes), (12, 120));
    assert_eq!(deleted(&started), (0, 0));
    let twin = Caller(&kit, OWNER).start(&uid, "photos").await.unwrap();
    assert_eq!(twin.name, started.name, "the one that runs is answered");
    kit.run_tasks_of(TASK);
    let caller = Caller(&kit, OWNER);
    let done = caller.is(&started.name, State::Done).await;
    assert_eq!((deleted(&done), done.why.as_str()), ((12, 120), ""));
    assert!(done.end_time.is_some() && done.end_time == done.update_time);
    assert!(!is_there(&kit, "photos").await && is_there(&kit, "stays").await);
    // The first answer, although it is over by now.
    assert_eq!(caller.start_as(&uid, "photos", "once").await.unwrap(), started);
    let gone = caller.start(&uid, "photos").await;
    assert_reason(gone, Code::NotFound, ErrorReason::BucketNotFound);
    let his = |event: &str| (event.to_owned(), "customers/1001".to_owned(), "photos".to_owned());
    assert_eq!(told(&kit).await, [his("bucket.deletion_started"), his("bucket.deleted")]);
    for ended in [caller.pause(&done.name).await, caller.cancel(&done.name).await] {
        let status =
            assert_reason(ended, Code::FailedPrecondition, ErrorReason::BucketDeletionState);
        assert_eq!(metadata_of(&status, "state").as_deref(), Some("DONE"));
    }
    // An empty bucket goes as well, and its name can be used again.
    fill(&kit, &uid, "photos", 0).await;
    let caller = Caller(&kit, OWNER);
    let again = caller.start(&uid, "photos").await.unwrap();
    assert_ne!(again.name, started.name);
    caller.is(&again.name, State::Done).await;
    kit.close().await;
}

#[tokio::test]
async fn a_deletion_is_halted_resumed_and_given_up() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    for bucket in ["first", "second", "third"] {
        fill(&kit, &uid, bucket, 7).await;
    }
    let caller = Caller(&kit, OWNER);
    let first = caller.start(&uid, "first").await.unwrap().name;
    for _ in 0..2 {
        assert_eq!(caller.pause(&first).await.unwrap().state(), State::Paused);
    }
    let twin = caller.start(&uid, "first").await.unwrap();
    assert_eq!((twin.name.as_str(), twin.state()), (first.as_str(), State::Paused));
    let second = caller.start(&uid, "second").await.unwrap().name;
    for _ in 0..2 {
        let cancelled = caller.cancel(&second).await.unwrap();
        assert_eq!(cancelled.state(), State::Cancelled);
        assert!(cancelled.end_time.is_some());
    }
    let third = caller.start(&uid, "third").await.unwrap().name;
    kit.run_tasks_of(TASK);
    let caller = Caller(&kit, OWNER);
    caller.is(&third, State::Done).await;
    // It came last, and those before it have not moved.
    for (name, state, bucket) in
        [(&first, State::Paused, "first"), (&second, State::Cancelled, "second")]
    {
        let halted = caller.get(name).await.unwrap();
        assert_eq!((halted.state(), deleted(&halted)), (state, (0, 0)));
        assert!(is_there(&kit, bucket).await);
    }
    let resumed = caller.resume(&second).await;
    let status = assert_reason(resumed, Code::FailedPrecondition, ErrorReason::BucketDeletionState);
    assert_eq!(metadata_of(&status, "state").as_deref(), Some("CANCELLED"));
    assert_eq!(caller.resume(&first).await.unwrap().state(), State::Running);
    assert_eq!(deleted(&caller.is(&first, State::Done).await), (7, 70));
    let events: Vec<_> = told(&kit).await.into_iter().map(|told| told.0).collect();
    let of = |what: &str| events.iter().filter(|event| *event == what).count();
    assert_eq!(of("bucket.deletion_started"), 3);
    assert_eq!((of("bucket.deletion_cancelled"), of("bucket.deleted")), (1, 2));
    kit.close().await;
}

#[tokio::test]
async fn what_a_failing_engine_has_deleted_is_counted_once() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    fill(&kit, &uid, "photos", 12).await;
    kit.engine.set_down(true);
    let away = Caller(&kit, OWNER).start(&uid, "photos").await;
    assert_reason(away, Code::Unavailable, ErrorReason::EngineUnavailable);
    kit.engine.set_down(false);
    let name = Caller(&kit, OWNER).start(&uid, "photos").await.unwrap().name;
    kit.engine.cut_off_deletes_after(3);
    kit.run_tasks_of(TASK);
    let caller = Caller(&kit, OWNER);
    until(async || !caller.get(&name).await.unwrap().why.is_empty()).await;
    let held_up = caller.get(&name).await.unwrap();
    assert_eq!(held_up.state(), State::Running);
    assert_eq!(held_up.why, "the storage engine is unavailable");
    let done = caller.is(&name, State::Done).await;
    assert_eq!((deleted(&done), done.why.as_str()), ((12, 120), ""));
    kit.close().await;
}

/// A batch that was cut off is counted, although the deletion is given up before anybody looks.
#[tokio::test]
async fn what_was_deleted_before_a_cancellation_is_counted_and_the_rest_stays() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    fill(&kit, &uid, "photos", 12).await;
    let name = Caller(&kit, OWNER).start(&uid, "photos").await.unwrap().name;
    kit.engine.cut_off_deletes_after(3);
    kit.run_tasks_of(TASK);
    let caller = Caller(&kit, OWNER);
    until(async || !caller.get(&name).await.unwrap().why.is_empty()).await;
    caller.cancel(&name).await.unwrap();
    until(async || deleted(&caller.get(&name).await.unwrap()) != (0, 0)).await;
    let cancelled = caller.get(&name).await.unwrap();
    assert_eq!((cancelled.state(), deleted(&cancelled)), (State::Cancelled, (3, 30)));
    let buckets = kit.engine.list_buckets(&uid, None, 10).await.unwrap();
    assert_eq!(buckets[0].object_count, 9);
    kit.close().await;
}

#[tokio::test]
async fn a_kill_at_any_point_neither_loses_nor_doubles() {
    let place = Arc::new(Scratch::new().await);
    let engine = Arc::new(Memory::default());
    let mut kit = Kit::over(engine.clone(), place.clone(), metered_bus()).await;
    let uid = kit.account().await;
    let (mut cut, mut counts) = (0, std::collections::BTreeSet::new());
    for polls in (0..140).step_by(2) {
        let bucket = format!("photos-{polls}");
        fill(&kit, &uid, &bucket, 12).await;
        let name = Caller(&kit, OWNER).start(&uid, &bucket).await.unwrap().name;
        let task = kit.role.tasks.iter().position(|task| task.name == TASK).unwrap();
        let task = kit.role.tasks.swap_remove(task);
        let caller = Caller(&kit, OWNER);
        // Its own polls: those of who looks on come as often as the machine is slow.
        cut += tokio::select! {
            killed = killed_after(polls, task.future) => u32::from(killed.is_none()),
            _ = caller.is(&name, State::Done) => 0,
        };
        counts.insert(Caller(&kit, OWNER).get(&name).await.unwrap().deleted_object_count);
        kit.close().await;
        kit = Kit::over(engine.clone(), place.clone(), metered_bus()).await;
        kit.run_tasks_of(TASK);
        let done = Caller(&kit, OWNER).is(&name, State::Done).await;
        assert_eq!(deleted(&done), (12, 120), "after {polls} polls");
        assert!(!is_there(&kit, &bucket).await, "after {polls} polls");
        let of_it = told(&kit).await.into_iter().filter(|told| told.2 == bucket);
        let events: Vec<_> = of_it.map(|told| told.0).collect();
        assert_eq!(events, ["bucket.deletion_started", "bucket.deleted"], "after {polls} polls");
        kit.close().await;
        kit = Kit::over(engine.clone(), place.clone(), metered_bus()).await;
    }
    assert!(cut > 10 && counts.len() >= 3, "it was cut {cut} times, at {counts:?}");
}

#[tokio::test]
async fn a_bucket_made_anew_under_the_name_is_let_alone() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    fill(&kit, &uid, "photos", 3).await;
    let name = Caller(&kit, OWNER).start(&uid, "photos").await.unwrap().name;
    let bucket = BucketName::new("photos").unwrap();
    for number in 0..3 {
        kit.engine.delete_object(&uid, &bucket, &format!("k/{number:05}")).await.unwrap();
    }
    kit.engine.delete_bucket(&uid, &bucket).await.unwrap();
    kit.engine.pass_a_day();
    fill(&kit, &uid, "photos", 4).await;
    kit.run_tasks_of(TASK);
    let done = Caller(&kit, OWNER).is(&name, State::Done).await;
    assert_eq!(deleted(&done), (0, 0));
    let buckets = kit.engine.list_buckets(&uid, None, 10).await.unwrap();
    assert_eq!(buckets[0].object_count, 4);
    kit.close().await;
}

#[tokio::test]
async fn what_a_customer_started_waits_while_his_account_is_suspended() {
    let mut kit = Kit::start().await;
    let uid = kit.account().await;
    for bucket in ["his", "ours"] {
        fill(&kit, &uid, bucket, 3).await;
    }
    let his = Caller(&kit, OWNER).start(&uid, "his").await.unwrap().name;
    let suspended = |suspended| pb::EnsureEngineAccountRequest { suspended, ..wanted(&uid) };
    kit.ensure(suspended(true)).await.unwrap();
    let refused = Caller(&kit, OWNER).start(&uid, "ours").await;
    let status = assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    assert_eq!(metadata_of(&status, "state").as_deref(), Some("SUSPENDED"));
    let bucket = format!("accounts/{uid}/buckets/ours");
    let request = pb::StartBucketDeletionRequest { bucket, ..Default::default() };
    let request = kit.as_administrator(request);
    let ours = kit.deletions().start_bucket_deletion(request).await.unwrap().into_inner().name;
    kit.run_tasks_of(TASK);
    let caller = Caller(&kit, OWNER);
    caller.is(&ours, State::Done).await;
    let waiting = caller.is(&his, State::Paused).await;
    assert_eq!((waiting.why.as_str(), deleted(&waiting)), ("the account is suspended", (0, 0)));
    let refused = caller.resume(&his).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    let read_only = pb::EnsureEngineAccountRequest { read_only: true, ..wanted(&uid) };
    kit.ensure(read_only).await.unwrap();
    let refused = caller.resume(&his).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::AccountState);
    kit.ensure(suspended(false)).await.unwrap();
    caller.resume(&his).await.unwrap();
    assert_eq!(deleted(&caller.is(&his, State::Done).await), (3, 30));
    kit.close().await;
}

#[tokio::test]
async fn deletions_are_listed_newest_first_and_hidden_from_others() {
    let kit = Kit::start().await;
    let uid = kit.account().await;
    let caller = Caller(&kit, OWNER);
    let mut names = Vec::new();
    for bucket in ["aaa", "bbb", "aaa"] {
        fill(&kit, &uid, bucket, 1).await;
        let started = caller.start(&uid, bucket).await.unwrap();
        caller.cancel(&started.name).await.unwrap();
        names.insert(0, started.name);
    }
    let seen = |page: Vec<pb::BucketDeletion>| -> Vec<String> {
        page.into_iter().map(|deletion| deletion.name).collect()
    };
    assert_eq!(seen(caller.list(&uid, "", (0, "")).await), names);
    let of_one = [names[0].clone(), names[2].clone()];
    assert_eq!(seen(caller.list(&uid, "aaa", (0, "")).await), of_one);
    let first = caller.page(&uid, "", (2, "")).await.unwrap();
    let second = caller.page(&uid, "", (2, &first.next_page_token)).await.unwrap();
    assert!(second.next_page_token.is_empty());
    assert_eq!(seen([first.deletions, second.deletions].concat()), names);
    let other = caller.page(&uid, "aaa", (2, &first.next_page_token)).await;
    assert_reason(other, Code::InvalidArgument, ErrorReason::PageTokenInvalid);

    let stranger = Caller(&kit, OTHER);
    for refused in [
        stranger.start(&uid, "aaa").await,
        stranger.get(&names[0]).await,
        stranger.pause(&names[0]).await,
        stranger.resume(&names[0]).await,
        stranger.cancel(&names[0]).await,
        stranger.page(&uid, "", (0, "")).await.map(|_| pb::BucketDeletion::default()),
    ] {
        assert_reason(refused, Code::NotFound, ErrorReason::AccountNotFound);
    }
    // A name of another account is not found in his own.
    let another = kit.account().await;
    let moved = names[0].replace(uid.as_str(), another.as_str());
    let absent = caller.get(&moved).await;
    assert_reason(absent, Code::NotFound, ErrorReason::BucketDeletionNotFound);
    for bad in ["", "accounts/x", "accounts/x/bucketDeletions/y"] {
        assert_reason(caller.get(bad).await, Code::InvalidArgument, ErrorReason::InvalidField);
    }
}
