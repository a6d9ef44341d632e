mod operate;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use stowage_db::testing::Scratch;
use stowage_db::{Db, Tx, args};
use stowage_types::{Clock, FakeClock, SystemClock, SystemRandom};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::matrix::{Faults, cases};

static MIGRATOR: Migrator = sqlx::migrate!("./tests/migrations");

/// Two outside systems; they outlive a crash of the process.
#[derive(Default)]
struct World {
    left: Mutex<BTreeMap<String, u32>>,
    right: Mutex<BTreeMap<String, u32>>,
    undo_is_broken: AtomicBool,
    right_is_unclear: AtomicBool,
    right_runs: AtomicU32,
    gate: Option<Semaphore>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    key: String,
    was_left: bool,
}

struct Build;

impl Saga for Build {
    const KIND: &'static str = "test.build.v1";
    type Context = World;
    type State = Key;
    const STEPS: &'static [Step<World, Key>] = &[
        Step {
            name: "note",
            run: Action::Write(|_, state, tx| Box::pin(note(state, tx))),
            undo: Undo::Write(|_, state, tx| Box::pin(erase(state, tx))),
        },
        Step {
            name: "left",
            run: Action::Call(|world, state| Box::pin(set_left(world, state))),
            undo: Undo::Call(|world, state| Box::pin(unset(&world.left, state))),
        },
        Step {
            name: "right",
            run: Action::Call(|world, state| Box::pin(set_right(world, state))),
            undo: Undo::Call(|world, state| Box::pin(unset_right(world, state))),
        },
        Step {
            name: "close",
            run: Action::Write(|_, state, tx| Box::pin(close(state, tx))),
            undo: Undo::None { because: "nothing comes after it" },
        },
    ];
}

async fn note(state: &mut Key, tx: &mut Tx) -> StepResult {
    const SQL: &str = "INSERT INTO effect (key, is_closed) VALUES ($1, false)";
    tx.execute(SQL, args![&state.key]).await?;
    Ok(())
}

async fn erase(state: &mut Key, tx: &mut Tx) -> StepResult {
    tx.execute("DELETE FROM effect WHERE key = $1", args![&state.key]).await?;
    Ok(())
}

async fn set_left(world: &World, state: &mut Key) -> StepResult {
    world.left.lock().unwrap().insert(state.key.clone(), 1);
    state.was_left = true;
    Ok(())
}

async fn set_right(world: &World, state: &mut Key) -> StepResult {
    world.right_runs.fetch_add(1, Ordering::SeqCst);
    if let Some(gate) = &world.gate {
        gate.acquire().await.unwrap().forget();
    }
    assert!(state.was_left, "the outcome of the step before is here");
    world.right.lock().unwrap().insert(state.key.clone(), 1);
    if world.right_is_unclear.load(Ordering::SeqCst) {
        return Err(StepError::retry("no answer"));
    }
    Ok(())
}

async fn unset_right(world: &World, state: &mut Key) -> StepResult {
    if world.undo_is_broken.load(Ordering::SeqCst) {
        return Err(StepError::fail("BROKEN", "cannot be undone"));
    }
    unset(&world.right, state).await
}

async fn unset(system: &Mutex<BTreeMap<String, u32>>, state: &mut Key) -> StepResult {
    system.lock().unwrap().remove(&state.key);
    Ok(())
}

async fn close(state: &mut Key, tx: &mut Tx) -> StepResult {
    tx.execute("UPDATE effect SET is_closed = true WHERE key = $1", args![&state.key]).await?;
    Ok(())
}

struct Rig {
    place: tokio::sync::OnceCell<Scratch>,
    world: Arc<World>,
}

impl Rig {
    fn new(world: World) -> Self {
        Self { place: tokio::sync::OnceCell::new(), world: Arc::new(world) }
    }

    async fn open(&self) -> Db {
        let place = self.place.get_or_init(Scratch::new).await;
        place.open("sagas", &MIGRATOR).await.unwrap()
    }

    fn sagas(&self, db: &Db, settings: Settings) -> Sagas<World> {
        self.sagas_at(db, settings, Arc::new(SystemClock))
    }

    fn sagas_at(&self, db: &Db, settings: Settings, clock: Arc<dyn Clock>) -> Sagas<World> {
        Builder::new(db.clone(), Arc::clone(&self.world), clock, Arc::new(SystemRandom))
            .kind::<Build>()
            .kind::<operate::OneWay>()
            .settings(settings)
            .build()
    }

    /// The state of every system, as text.
    async fn effects(&self, db: &Db) -> String {
        let rows: Vec<(String, bool)> =
            db.fetch_all("SELECT key, is_closed FROM effect", args![]).await.unwrap();
        let (left, right) = (self.world.left.lock().unwrap(), self.world.right.lock().unwrap());
        format!("{rows:?} {left:?} {right:?}")
    }
}

const ALL: &str = r#"[("k", true)] {"k": 1} {"k": 1}"#;
const NOTHING: &str = "[] {} {}";

fn quick() -> Settings {
    let step = Duration::from_millis(1);
    Settings {
        attempts: 3,
        undo_attempts: 4,
        backoff_first: step,
        backoff_max: step,
        resume_every: Duration::from_millis(20),
        takeover: true,
        ..Settings::default()
    }
}

async fn start(db: &Db, sagas: &Sagas<World>) -> Uuid {
    let mut tx = db.begin().await.unwrap();
    let state = Key { key: "k".into(), was_left: false };
    let id = sagas.start::<Build>(&mut tx, &state).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it ends in time")
}

#[test]
fn the_migration_of_the_tests_is_the_documented_table() {
    assert!(include_str!("../tests/migrations/0001_first.sql").starts_with(SCHEMA));
    assert_eq!(include_str!("../tests/migrations/0002_stuck.sql"), SCHEMA_STUCK);
    assert_eq!(include_str!("../tests/migrations/0003_error.sql"), SCHEMA_ERROR);
    assert_eq!(include_str!("../tests/migrations/0004_trace.sql"), SCHEMA_TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_every_step_and_undo_ends_in_all_or_nothing() {
    let cases = cases::<Build>();
    // After the first write: two calls and a write. Of the undos there are three.
    assert_eq!(cases.len(), 3 * 6 + 3 + 2 * 3 + 3 * 6 + 2);
    for case in cases {
        let rig = Rig::new(World::default());
        let faults = Arc::new(Faults::new(case.faults.clone()));
        let settings = Settings { faults: Some(Arc::clone(&faults)), ..quick() };
        let db = rig.open().await;
        let sagas = rig.sagas(&db, settings.clone());
        let id = start(&db, &sagas).await;
        let resume = tokio::spawn(sagas.resume());
        let first = within(async {
            tokio::select! {
                outcome = sagas.run(id) => Some(outcome.unwrap()),
                () = faults.crashed() => None,
            }
        })
        .await;
        // A crash: the process forgets everything, and the file is opened again.
        resume.abort();
        drop(sagas);
        db.close().await;
        let db = rig.open().await;
        let sagas = rig.sagas(&db, settings);
        tokio::spawn(sagas.resume());
        let outcome = match first {
            Some(outcome) => outcome,
            None => within(sagas.wait(id)).await.unwrap(),
        };
        assert_eq!(matches!(outcome, Outcome::Undone(_)), case.is_undone, "{case:?}");
        let expected = if case.is_undone { NOTHING } else { ALL };
        assert_eq!(rig.effects(&db).await, expected, "{case:?}");
        assert!(faults.is_used_up(), "{case:?}");
    }
}

#[tokio::test]
async fn an_unclear_step_is_tried_a_bounded_number_of_times_and_then_undone() {
    let rig = Rig::new(World { right_is_unclear: true.into(), ..World::default() });
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let outcome = within(async { sagas.run(start(&db, &sagas).await).await.unwrap() }).await;
    let Outcome::Undone(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.step.as_str(), failure.reason.as_str()), ("right", Failure::EXHAUSTED));
    assert_eq!(failure.why, "no answer");
    assert_eq!(rig.world.right_runs.load(Ordering::SeqCst), 3);
    assert_eq!(rig.effects(&db).await, NOTHING);
}

#[tokio::test]
async fn an_undo_that_keeps_failing_gets_stuck_and_can_be_tried_again() {
    let rig = Rig::new(World {
        right_is_unclear: true.into(),
        undo_is_broken: true.into(),
        ..World::default()
    });
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let id = start(&db, &sagas).await;
    let outcome = within(sagas.run(id)).await.unwrap();
    assert!(matches!(&outcome, Outcome::Stuck(why) if why.step == "right"), "{outcome:?}");
    // It is kept, whatever is purged.
    let later = SystemClock.now() + Duration::from_secs(3600);
    assert_eq!(sagas.purge(later, 100).await.unwrap(), 0);

    rig.world.undo_is_broken.store(false, Ordering::SeqCst);
    operate::retry(&db, &sagas, id).await.unwrap();
    assert!(matches!(within(sagas.wait(id)).await.unwrap(), Outcome::Undone(_)));
    assert_eq!(rig.effects(&db).await, NOTHING);
    assert!(matches!(operate::retry(&db, &sagas, id).await, Err(Error::Ended(Status::Undone))));
    assert_eq!(sagas.purge(later, 100).await.unwrap(), 1);
    assert!(matches!(sagas.wait(id).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_caller_that_gives_up_stops_nothing_and_a_twin_waits() {
    let rig = Rig::new(World { gate: Some(Semaphore::new(0)), ..World::default() });
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let id = start(&db, &sagas).await;
    let gave_up = tokio::time::timeout(Duration::from_millis(20), sagas.run(id)).await;
    assert!(gave_up.is_err());
    let twin = tokio::spawn({
        let sagas = sagas.clone();
        async move { sagas.run(id).await }
    });
    rig.world.gate.as_ref().unwrap().add_permits(1);
    assert_eq!(within(twin).await.unwrap().unwrap(), Outcome::Completed);
    assert_eq!(within(sagas.wait(id)).await.unwrap(), Outcome::Completed);
    assert_eq!(rig.world.right_runs.load(Ordering::SeqCst), 1, "one driver only");
}

#[tokio::test]
async fn a_lease_is_respected_until_it_ends_and_its_old_holder_is_fenced_off() {
    let rig = Rig::new(World { gate: Some(Semaphore::new(0)), ..World::default() });
    let clock = Arc::new(FakeClock::at(SystemClock.now()));
    let db = rig.open().await;
    let settings = Settings { takeover: false, ..quick() };
    let one = rig.sagas_at(&db, settings.clone(), clock.clone());
    let two = rig.sagas_at(&db, settings, clock.clone());
    let id = start(&db, &one).await;
    let slow = tokio::spawn({
        let one = one.clone();
        async move { one.run(id).await }
    });
    let runs = || rig.world.right_runs.load(Ordering::SeqCst);
    within(async {
        while runs() < 1 {
            tokio::task::yield_now().await
        }
    })
    .await;

    tokio::spawn(two.resume());
    let early = tokio::time::timeout(Duration::from_millis(100), two.run(id)).await;
    assert!(early.is_err() && runs() == 1, "the other holds it");

    clock.advance(Duration::from_secs(60));
    within(async {
        while runs() < 2 {
            tokio::task::yield_now().await
        }
    })
    .await;
    rig.world.gate.as_ref().unwrap().add_permits(2);
    assert_eq!(within(two.wait(id)).await.unwrap(), Outcome::Completed);
    assert_eq!(within(slow).await.unwrap().unwrap(), Outcome::Completed);
    assert_eq!(rig.effects(&db).await, ALL);
}

#[tokio::test]
async fn a_first_write_that_fails_leaves_nothing() {
    let rig = Rig::new(World::default());
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    within(sagas.run(start(&db, &sagas).await)).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let state = Key { key: "k".into(), was_left: false };
    let error = sagas.start::<Build>(&mut tx, &state).await.unwrap_err();
    assert!(matches!(error, Error::FirstStep(_)), "{error}");
    drop(tx);
    let (count,): (i64,) = db.fetch_one("SELECT count(*) FROM saga", args![]).await.unwrap();
    assert_eq!(count, 1);
}
