//! What operators do while others do it too.

use super::*;

/// The calls of [`Build`] without a way back.
pub(super) struct OneWay;

impl Saga for OneWay {
    const KIND: &'static str = "test.one_way.v1";
    const FORWARD_ONLY: bool = true;
    type Context = World;
    type State = Key;
    const STEPS: &'static [Step<World, Key>] = &[
        Step {
            name: "left",
            run: Action::Call(|world, state| Box::pin(set_left(world, state))),
            undo: Undo::None { because: "it has no way back" },
        },
        Step {
            name: "right",
            run: Action::Call(|world, state| Box::pin(set_right(world, state))),
            undo: Undo::None { because: "it has no way back" },
        },
    ];
}

pub(super) async fn retry(db: &Db, sagas: &Sagas<World>, id: Uuid) -> Result<Info, Error> {
    let mut tx = db.begin().await?;
    let info = sagas.retry(&mut tx, id).await?;
    tx.commit().await?;
    sagas.nudge(id);
    Ok(info)
}

async fn undo(db: &Db, sagas: &Sagas<World>, id: Uuid) -> Result<Info, Error> {
    let mut tx = db.begin().await?;
    let info = sagas.undo(&mut tx, id, "by a test").await?;
    tx.commit().await?;
    sagas.nudge(id);
    Ok(info)
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn runs(rig: &Rig) -> u32 {
    rig.world.right_runs.load(Ordering::SeqCst)
}

/// Waits until the first attempt of `right` has failed and the long pause after it has begun.
async fn pausing(sagas: &Sagas<World>, id: Uuid) -> Info {
    until(async || sagas.find(id).await.unwrap().attempts == 1).await;
    sagas.find(id).await.unwrap()
}

fn begin(sagas: &Sagas<World>, id: Uuid) -> tokio::task::JoinHandle<Outcome> {
    let sagas = sagas.clone();
    tokio::spawn(async move { sagas.run(id).await.unwrap() })
}

fn slow() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings { backoff_first: hour, backoff_max: hour, ..quick() }
}

fn unclear() -> World {
    World { right_is_unclear: true.into(), ..World::default() }
}

fn assert_by_operator(outcome: &Outcome) {
    let Outcome::Undone(Failure { step, reason, why }) = outcome else { panic!("{outcome:?}") };
    let wanted = ("right", Failure::BY_OPERATOR, "by a test");
    assert_eq!((step.as_str(), reason.as_str(), why.as_str()), wanted);
}

#[tokio::test]
async fn a_saga_turned_back_lets_its_call_end_and_undoes_that_too() {
    let rig = Rig::new(World { gate: Some(Semaphore::new(0)), ..World::default() });
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let id = start(&db, &sagas).await;
    let running = begin(&sagas, id);
    until(async || runs(&rig) == 1).await;
    let info = undo(&db, &sagas, id).await.unwrap();
    assert_eq!((info.direction, info.status), (Direction::Undoing, Status::Running));
    assert_eq!((info.step.as_str(), info.step_number, info.step_count), ("right", 3, 4));
    // The call is still out: nothing is undone under its feet.
    let early = tokio::time::timeout(Duration::from_millis(100), sagas.wait(id)).await;
    assert!(early.is_err() && rig.effects(&db).await.contains(r#"{"k": 1} {}"#));
    rig.world.gate.as_ref().unwrap().add_permits(1);
    assert_by_operator(&within(running).await.unwrap());
    assert_eq!((rig.effects(&db).await.as_str(), runs(&rig)), (NOTHING, 1));
}

#[tokio::test]
async fn a_call_of_another_process_is_given_its_lease_to_end() {
    let rig = Rig::new(World { gate: Some(Semaphore::new(0)), ..World::default() });
    let clock = Arc::new(FakeClock::at(SystemClock.now()));
    let db = rig.open().await;
    let settings = Settings { takeover: false, ..quick() };
    let one = rig.sagas_at(&db, settings.clone(), clock.clone());
    let two = rig.sagas_at(&db, settings.clone(), clock.clone());
    let id = start(&db, &one).await;
    let running = begin(&one, id);
    until(async || runs(&rig) == 1).await;
    undo(&db, &two, id).await.unwrap();
    tokio::spawn(two.resume());
    let early = tokio::time::timeout(Duration::from_millis(100), two.run(id)).await;
    assert!(early.is_err() && rig.effects(&db).await.contains(r#"{"k": 1} {}"#));
    // The first ends its call; what it came to is not stored, and nobody else is in the way.
    rig.world.gate.as_ref().unwrap().add_permits(1);
    until(async || !one.0.drives(id)).await;
    assert!(rig.effects(&db).await.contains(r#"{"k": 1} {"k": 1}"#));
    clock.advance(settings.lease);
    assert_by_operator(&within(running).await.unwrap());
    assert_eq!((rig.effects(&db).await.as_str(), runs(&rig)), (NOTHING, 1));
}

#[tokio::test]
async fn a_driver_that_pauses_looks_whether_it_holds_the_saga_before_it_acts_again() {
    let rig = Rig::new(unclear());
    let clock = Arc::new(FakeClock::at(SystemClock.now()));
    let db = rig.open().await;
    let pause = Duration::from_millis(300);
    let settings =
        Settings { backoff_first: pause, backoff_max: pause, takeover: false, ..quick() };
    let one = rig.sagas_at(&db, settings.clone(), clock.clone());
    let two = rig.sagas_at(&db, settings.clone(), clock.clone());
    let id = start(&db, &one).await;
    let running = begin(&one, id);
    pausing(&one, id).await;
    undo(&db, &two, id).await.unwrap();
    clock.advance(settings.lease);
    assert_by_operator(&within(two.run(id)).await.unwrap());
    until(async || !one.0.drives(id)).await;
    within(running).await.unwrap();
    assert_eq!((rig.effects(&db).await.as_str(), runs(&rig)), (NOTHING, 1));
}

#[tokio::test]
async fn a_saga_that_pauses_is_tried_at_once_here_and_from_elsewhere() {
    for is_elsewhere in [false, true] {
        let rig = Rig::new(unclear());
        let db = rig.open().await;
        let one = rig.sagas(&db, Settings { takeover: false, ..slow() });
        let two = rig.sagas(&db, Settings { takeover: false, ..slow() });
        let id = start(&db, &one).await;
        let running = begin(&one, id);
        let info = pausing(&one, id).await;
        assert!(info.next_attempt_time.unwrap() > SystemClock.now() + Duration::from_secs(60));
        rig.world.right_is_unclear.store(false, Ordering::SeqCst);
        let info = retry(&db, if is_elsewhere { &two } else { &one }, id).await.unwrap();
        assert!(info.next_attempt_time.unwrap() <= SystemClock.now());
        assert_eq!((info.attempts, info.direction), (1, Direction::Forward));
        assert_eq!(within(two.wait(id)).await.unwrap(), Outcome::Completed);
        assert_eq!((rig.effects(&db).await.as_str(), runs(&rig)), (ALL, 2));
        running.abort();
    }
}

#[tokio::test]
async fn a_saga_that_pauses_is_turned_back_at_once() {
    let rig = Rig::new(unclear());
    let db = rig.open().await;
    let sagas = rig.sagas(&db, slow());
    let id = start(&db, &sagas).await;
    let running = begin(&sagas, id);
    pausing(&sagas, id).await;
    undo(&db, &sagas, id).await.unwrap();
    assert_by_operator(&within(running).await.unwrap());
    assert_eq!((rig.effects(&db).await.as_str(), runs(&rig)), (NOTHING, 1));
}

#[tokio::test]
async fn a_stuck_undo_goes_on_whether_it_is_tried_again_or_turned_back() {
    for turn_back in [false, true] {
        let rig = Rig::new(World { undo_is_broken: true.into(), ..unclear() });
        let db = rig.open().await;
        let sagas = rig.sagas(&db, quick());
        let id = start(&db, &sagas).await;
        let stuck = within(sagas.run(id)).await.unwrap();
        assert!(matches!(stuck, Outcome::Stuck(_)), "{stuck:?}");
        rig.world.undo_is_broken.store(false, Ordering::SeqCst);
        let change = async || match turn_back {
            false => retry(&db, &sagas, id).await,
            true => undo(&db, &sagas, id).await,
        };
        // The second operator comes before or after its end; neither does harm.
        let (first, second) = tokio::join!(change(), change());
        for info in [first, second] {
            assert!(matches!(info, Ok(_) | Err(Error::Ended(Status::Undone))), "{info:?}");
        }
        let Outcome::Undone(failure) = within(sagas.wait(id)).await.unwrap() else { panic!() };
        assert_eq!(failure.reason, Failure::EXHAUSTED, "what turned it back is kept");
        assert_eq!(rig.effects(&db).await, NOTHING);
    }
}

#[tokio::test]
async fn what_has_no_way_back_is_only_tried_again() {
    let rig = Rig::new(unclear());
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let mut tx = db.begin().await.unwrap();
    let state = Key { key: "k".into(), was_left: false };
    let id = sagas.start::<OneWay>(&mut tx, &state).await.unwrap();
    tx.commit().await.unwrap();
    let stuck = within(sagas.run(id)).await.unwrap();
    assert!(matches!(&stuck, Outcome::Stuck(failure) if failure.step == "right"), "{stuck:?}");
    let refused = undo(&db, &sagas, id).await.unwrap_err();
    assert!(matches!(refused, Error::ForwardOnly(OneWay::KIND)), "{refused}");
    assert_eq!(sagas.find(id).await.unwrap().status, Status::Stuck);
    rig.world.right_is_unclear.store(false, Ordering::SeqCst);
    retry(&db, &sagas, id).await.unwrap();
    assert_eq!(within(sagas.wait(id)).await.unwrap(), Outcome::Completed);
    let info = sagas.find(id).await.unwrap();
    assert_eq!((info.failure, info.step.as_str(), info.step_number), (None, "right", 2));
}

#[tokio::test]
async fn two_operators_who_want_different_things_leave_all_or_nothing() {
    for round in 0..8 {
        let rig = Rig::new(unclear());
        let db = rig.open().await;
        let sagas = rig.sagas(&db, slow());
        let id = start(&db, &sagas).await;
        let running = begin(&sagas, id);
        pausing(&sagas, id).await;
        rig.world.right_is_unclear.store(false, Ordering::SeqCst);
        let both = async {
            match round % 2 {
                0 => tokio::join!(retry(&db, &sagas, id), undo(&db, &sagas, id)),
                _ => tokio::join!(undo(&db, &sagas, id), retry(&db, &sagas, id)),
            }
        };
        let (first, second) = within(both).await;
        let outcome = within(running).await.unwrap();
        let effects = rig.effects(&db).await;
        match &outcome {
            Outcome::Completed => assert_eq!(effects, ALL, "{first:?} {second:?}"),
            Outcome::Undone(_) => assert_eq!(effects, NOTHING, "{first:?} {second:?}"),
            Outcome::Stuck(failure) => panic!("{failure:?}"),
        }
    }
}

#[tokio::test]
async fn what_has_ended_is_absent_or_unknown_is_refused() {
    let rig = Rig::new(World::default());
    let db = rig.open().await;
    let sagas = rig.sagas(&db, quick());
    let id = start(&db, &sagas).await;
    within(sagas.run(id)).await.unwrap();
    for refused in [retry(&db, &sagas, id).await, undo(&db, &sagas, id).await] {
        assert!(matches!(refused, Err(Error::Ended(Status::Completed))), "{refused:?}");
    }
    let absent = Uuid::nil();
    for refused in [retry(&db, &sagas, absent).await, undo(&db, &sagas, absent).await] {
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    }
    let mut tx = db.begin().await.unwrap();
    let sql = "UPDATE saga SET kind = 'test.newer.v2', status = 'stuck' WHERE id = $1";
    tx.execute(sql, args![id]).await.unwrap();
    tx.commit().await.unwrap();
    for refused in [retry(&db, &sagas, id).await, undo(&db, &sagas, id).await] {
        assert!(matches!(&refused, Err(Error::UnknownKind(k)) if k == "test.newer.v2"));
    }
    let info = sagas.find(id).await.unwrap();
    assert_eq!((info.step.as_str(), info.step_count), ("", 0));
}

#[tokio::test]
async fn sagas_are_listed_newest_first_and_filtered() {
    let rig = Rig::new(World::default());
    let db = rig.open().await;
    let clock = Arc::new(FakeClock::at(SystemClock.now()));
    let sagas = rig.sagas_at(&db, quick(), clock.clone());
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        clock.advance(Duration::from_secs(1));
        let mut tx = db.begin().await.unwrap();
        let state = Key { key: key.into(), was_left: false };
        ids.push(sagas.start::<Build>(&mut tx, &state).await.unwrap());
        tx.commit().await.unwrap();
    }
    within(sagas.run(ids[1])).await.unwrap();
    let list = async |filter: Filter| -> Vec<Uuid> {
        sagas.list(&filter).await.unwrap().into_iter().map(|info| info.id).collect()
    };
    let all = Filter { max: 10, ..Filter::default() };
    assert_eq!(list(all.clone()).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(list(Filter { max: 1, before: Some(ids[2]), ..all.clone() }).await, [ids[1]]);
    let running = Filter { status: Some(Status::Running), ..all.clone() };
    assert_eq!(list(running).await, [ids[2], ids[0]]);
    let stuck = Filter { status: Some(Status::Stuck), ..all.clone() };
    assert!(list(stuck).await.is_empty());
    assert!(list(Filter { kind: Some("other".into()), ..all }).await.is_empty());
}
