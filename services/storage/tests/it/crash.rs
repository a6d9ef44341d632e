//! Every fault in every step of every saga of the role, the death of the process included.

use std::sync::Arc;
use std::time::Duration;

use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_engine::Engine as _;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::reason_of;
use stowage_saga::matrix::{Case, Fault, Faults};
use stowage_storage::{Config, matrix};
use stowage_types::{BucketName, S3uid, name};
use tonic::Status;

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, Settings, deps_of, metered_bus, until};

const TASK: &str = "storage.sagas";
const OPEN: &str = "SELECT count(*) FROM saga WHERE status = 'running'";
const CHANGING: &str = "SELECT count(*) FROM bucket_change";
const ANSWERED: &str = "SELECT count(*) FROM request WHERE answer IS NOT NULL";
const TOLD: &str = "SELECT count(*) FROM outbox WHERE type = 'stowage.storage.content.changed.v1'";

/// An installation whose process can die and come back.
struct World {
    kit: Kit,
    engine: Arc<Memory>,
    folder: Arc<Scratch>,
    faults: Arc<Faults>,
    uid: S3uid,
}

fn settings(faults: &Arc<Faults>) -> Settings {
    let mut settings = Settings::default();
    settings.config.sagas = stowage_saga::Settings {
        attempts: 3,
        backoff_first: Duration::from_millis(1),
        resume_every: Duration::from_millis(5),
        faults: Some(Arc::clone(faults)),
        ..Default::default()
    };
    settings
}

impl World {
    async fn start() -> Self {
        let faults = Arc::new(Faults::new(Vec::new()));
        let folder = Arc::new(Scratch::new().await);
        let engine = Arc::new(Memory::default());
        let (given, bus) = (settings(&faults), metered_bus());
        let mut kit = Kit::set(engine.clone(), folder.clone(), bus, given).await;
        kit.run_tasks_of(TASK);
        let uid = kit.account().await;
        Self { kit, engine, folder, faults, uid }
    }

    /// Another process takes over, and ends what it finds.
    async fn restart(self) -> Self {
        let Self { kit, engine, folder, faults, uid } = self;
        kit.close().await;
        let (given, bus) = (settings(&faults), metered_bus());
        let mut kit = Kit::set(engine.clone(), folder.clone(), bus, given).await;
        kit.run_tasks_of(TASK);
        until(async || kit.count(OPEN).await == 0).await;
        Self { kit, engine, folder, faults, uid }
    }

    async fn create(&self) -> Result<pb::Bucket, Status> {
        let (parent, bucket) = (name::account(&self.uid), "photos".to_owned());
        let request = pb::CreateBucketRequest { parent, bucket, request_id: "r".to_owned() };
        let request = self.kit.as_customer(OWNER, request);
        Ok(self.kit.buckets().create_bucket(request).await?.into_inner())
    }

    async fn delete(&self) -> Result<pb::DeleteBucketResponse, Status> {
        let name = format!("accounts/{}/buckets/photos", self.uid);
        let request = pb::DeleteBucketRequest { name, request_id: "d".to_owned() };
        let request = self.kit.as_customer(OWNER, request);
        Ok(self.kit.buckets().delete_bucket(request).await?.into_inner())
    }

    async fn is_there(&self) -> bool {
        let bucket = BucketName::new("photos").unwrap();
        self.engine.bucket_owner(&bucket).await.unwrap().is_some()
    }

    /// How often history was told, how many requests are answered, whether the bucket is there.
    async fn found(&self) -> (i64, i64, bool) {
        assert_eq!(self.kit.count(CHANGING).await, 0);
        (self.kit.count(TOLD).await, self.kit.count(ANSWERED).await, self.is_there().await)
    }
}

async fn outlive_creation(case: Case) {
    let world = World::start().await;
    world.faults.add(case.faults.clone());
    let answer = tokio::select! {
        answer = world.create() => Some(answer),
        () = world.faults.crashed() => None,
    };
    let world = world.restart().await;
    let is_done = i64::from(!case.is_undone);
    assert_eq!(world.found().await, (is_done, is_done, !case.is_undone), "{case:?}");
    assert!(world.faults.is_used_up(), "{case:?}");
    if let Some(Err(error)) = &answer {
        let wanted = match case.faults[0].fault {
            Fault::Away => ErrorReason::EngineUnavailable,
            _ => ErrorReason::ChangeFailed,
        };
        assert_eq!((reason_of(error), case.is_undone), (Some(wanted), true), "{case:?}");
    }
    world.faults.clear();
    let again = world.create().await.unwrap();
    if let Some(Ok(first)) = answer {
        assert_eq!((first, case.is_undone), (again, false), "{case:?}");
    }
    assert_eq!(world.found().await, (1, 1, true), "{case:?}");
    world.kit.close().await;
}

async fn outlive_deletion(case: Case) {
    let world = World::start().await;
    world.create().await.unwrap();
    world.faults.add(case.faults.clone());
    tokio::select! {
        answer = world.delete() => { answer.unwrap(); }
        () = world.faults.crashed() => {}
    }
    let world = world.restart().await;
    assert_eq!(world.found().await, (2, 2, false), "{case:?}");
    assert!(world.faults.is_used_up(), "{case:?}");
    world.faults.clear();
    world.delete().await.unwrap();
    assert_eq!(world.found().await, (2, 2, false), "{case:?}");
    world.kit.close().await;
}

/// Walks over what the role registers: a kind that is not named here fails.
#[tokio::test(flavor = "multi_thread")]
async fn every_registered_kind_of_saga_outlives_every_fault() {
    let kit = Kit::start().await;
    let (bus, _) = metered_bus();
    let Settings { clock, .. } = Settings::default();
    let stop = tokio_util::sync::CancellationToken::new();
    let deps = deps_of(kit.db(), &bus, Vec::new(), (&stop, clock));
    for (kind, cases) in matrix::of_role(Config::default(), &deps) {
        match kind {
            // After the first write a call and a write, each with 6 faults that are made once and
            // an operator; the call is away at 2 moments and has another operator; 2 undos have 6
            // faults; one runs twice for nothing.
            "storage.create_bucket.v1" => {
                assert_eq!(cases.len(), 2 * 6 + 2 + 3 + 2 * 6 + 1);
                for case in cases {
                    outlive_creation(case).await;
                }
            }
            // It has no way back.
            "storage.delete_bucket.v1" => {
                assert_eq!(cases.len(), 2 * 6);
                for case in cases {
                    outlive_deletion(case).await;
                }
            }
            other => panic!("no test lets every fault happen to sagas of kind {other}: add one"),
        }
    }
}

/// Two at once under ids of their own: one makes it and tells, the other finds it.
#[tokio::test]
async fn those_who_change_a_bucket_at_once_come_one_after_the_other() {
    let world = World::start().await;
    let call = |request_id: &str| {
        let (parent, bucket) = (name::account(&world.uid), "photos".to_owned());
        let request = pb::CreateBucketRequest { parent, bucket, request_id: request_id.to_owned() };
        let request = world.kit.as_customer(OWNER, request);
        let mut buckets = world.kit.buckets();
        async move { buckets.create_bucket(request).await.unwrap().into_inner() }
    };
    let (one, two, three) = tokio::join!(call("1"), call("2"), call(""));
    assert_eq!((&one, &one), (&two, &three));
    assert_eq!(world.found().await, (1, 2, true));
    world.kit.close().await;
}

/// What a client has put into a bucket that is turned back stays, and so does the bucket.
#[tokio::test]
async fn a_bucket_that_is_not_empty_is_neither_turned_back_nor_deleted() {
    let world = World::start().await;
    world.create().await.unwrap();
    world.engine.put("photos", "a.jpg", 5);
    let error = world.delete().await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::BucketNotEmpty));
    assert_eq!(world.found().await, (1, 1, true));
    let mut tx = world.kit.db().begin().await.unwrap();
    let sql = "UPDATE saga SET status = 'running', direction = 'undoing', step = 1, \
        lease_owner = '', lease_until = create_time";
    tx.execute(sql, args![]).await.unwrap();
    tx.commit().await.unwrap();
    until(async || world.kit.count(OPEN).await == 0).await;
    assert!(world.is_there().await);
    world.kit.close().await;
}

/// Who looked before another had made the bucket, and begins when that has ended, finds it there.
#[tokio::test]
async fn a_bucket_that_another_has_made_is_told_once_and_not_taken_away() {
    let world = World::start().await;
    world.create().await.unwrap();
    for direction in ["forward", "undoing"] {
        let mut tx = world.kit.db().begin().await.unwrap();
        let sql = format!(
            "UPDATE saga SET status = 'running', direction = '{direction}', step = 1, \
             lease_owner = '', lease_until = create_time"
        );
        tx.execute_built(sql, args![]).await.unwrap();
        tx.commit().await.unwrap();
        until(async || world.kit.count(OPEN).await == 0).await;
        assert!(world.is_there().await, "{direction}");
        assert_eq!(world.kit.count(TOLD).await, 1, "{direction}");
    }
    world.kit.close().await;
}

/// An engine whose figures lag is asked, and its no is an answer: nothing is stuck or told.
#[tokio::test]
async fn an_engine_that_keeps_a_bucket_is_not_asked_for_ever() {
    let faults = Arc::new(Faults::new(Vec::new()));
    let mut engine = Memory::default();
    engine.capabilities.immediate_figures = false;
    let (engine, folder) = (Arc::new(engine), Arc::new(Scratch::new().await));
    let kit = Kit::set(engine.clone(), folder.clone(), metered_bus(), settings(&faults)).await;
    let uid = kit.account().await;
    let world = World { kit, engine, folder, faults, uid };
    world.create().await.unwrap();
    world.engine.put("photos", "a.jpg", 5);
    for _ in 0..2 {
        let error = world.delete().await.unwrap_err();
        assert_eq!(reason_of(&error), Some(ErrorReason::BucketNotEmpty));
        assert_eq!(world.found().await, (1, 1, true));
    }
    let bucket = BucketName::new("photos").unwrap();
    world.engine.delete_object(&world.uid, &bucket, "a.jpg").await.unwrap();
    world.delete().await.unwrap();
    assert_eq!(world.found().await, (2, 2, false));
    world.kit.close().await;
}
