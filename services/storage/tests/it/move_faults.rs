//! Moves of accounts that are killed, and over engines that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use stowage_engine::conformance::Troubled;
use stowage_engine::{
    Around, Call, Engine, Error, NewObject, ObjectMeta, ObjectSource, ObjectStream, Wrapped,
};
use stowage_proto::storage::AccountMoveState as State;
use stowage_types::{BucketName, S3uid};

use crate::kit::until;
use crate::moves::{Stored, Two, put};

/// Stands before the engine of DE: a method fails, and something is done to DE before another.
#[derive(Debug, Default)]
struct Fault {
    method: &'static str,
    /// How often it fails; then it works.
    times: AtomicU32,
    /// For good, and by name.
    is_final: bool,
    is_on: AtomicBool,
}

#[derive(Debug)]
struct Failing(Arc<Fault>);

impl Around for Failing {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: Call<'a, T>,
    ) -> Result<T, Error> {
        let fault = &self.0;
        let is_meant = fault.is_on.load(Ordering::Relaxed) && method == fault.method;
        let left = |times: u32| times.checked_sub(1);
        if is_meant && fault.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
        {
            return match fault.is_final {
                true => Err(Error::Invalid { why: "it likes no such key".to_owned() }),
                false => Err(Error::unavailable("it has failed")),
            };
        }
        call().await
    }
}

async fn behind(fault: &Arc<Fault>) -> Two {
    let around =
        |engine| -> Arc<dyn Engine> { Arc::new(Wrapped::new(engine, Failing(Arc::clone(fault)))) };
    Two::behind(around).await
}

#[tokio::test]
async fn one_that_is_killed_anywhere_is_gone_on_with() {
    let two = Two::start().await;
    let (uid, mut stored) = two.account().await;
    let client = two.client(0, &uid);
    two.start_move(&uid).await.unwrap();
    let (mut last, mut kills) = (State::Copying, 0_u32);
    // Later and later, so that a slow machine gets on, too.
    let polls = |kills: u32, turn: u32| kills % turn + kills / 8;
    while last != State::Confirmed {
        kills += 1;
        assert!(kills < 3000, "it does not come to its end: {:?}", two.get(&uid).await);
        // In the others it waits for its caller.
        if !matches!(last, State::Copied | State::Verified | State::Switching | State::Switched) {
            two.kit
                .run_killed(two.settings.clone(), "storage.account_moves", polls(kills, 61))
                .await;
        }
        last = two.get(&uid).await.state();
        match last {
            State::Copying | State::Copied => {
                let key = format!("live/{}", kills % 7);
                put(&client, &mut stored, ("photos", &key), vec![b'l'; 10]).await;
                if last == State::Copied {
                    two.freeze(&uid).await.unwrap();
                }
            }
            // Killed in the switch, too.
            State::Verified | State::Switching => {
                let _ = crate::kit::killed_after(polls(kills, 41), two.switch(&uid)).await;
            }
            State::Switched => {
                two.assert_has(1, &uid, &stored).await;
                let _ = crate::kit::killed_after(polls(kills, 21), two.confirm(&uid)).await;
            }
            _ => {}
        }
    }
    assert!(kills > 20, "it was killed {kills} times only");
    two.assert_has(1, &uid, &stored).await;
    assert!(two.is_gone(&two.kit.engine, &uid).await);
    two.close().await;
}

#[tokio::test]
async fn one_that_is_killed_while_it_is_cancelled_ends_cancelled() {
    let two = Two::start().await;
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    for polls in [10, 40, 90] {
        two.kit.run_killed(two.settings.clone(), "storage.account_moves", polls).await;
    }
    two.cancel(&uid).await.unwrap();
    for polls in 0.. {
        two.kit.run_killed(two.settings.clone(), "storage.account_moves", polls % 60).await;
        if two.get(&uid).await.state() == State::Cancelled {
            break;
        }
        assert!(polls < 2000, "it does not come to its end");
    }
    assert!(two.is_gone(&two.to, &uid).await);
    two.assert_has(0, &uid, &stored).await;
    assert!(two.is_writable(0, &uid).await);
    two.close().await;
}

#[tokio::test]
async fn a_destination_that_loses_answers_is_filled_all_the_same() {
    let mut two = Two::behind(Troubled::engine).await;
    two.kit.run_tasks();
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    two.assert_has(1, &uid, &stored).await;
    two.close().await;
}

#[tokio::test]
async fn a_destination_that_is_away_is_waited_for() {
    for method in ["write_object", "list_objects", "create_bucket", "list_buckets"] {
        let fault = Arc::new(Fault { method, times: 2.into(), ..Fault::default() });
        let mut two = behind(&fault).await;
        two.kit.run_tasks();
        let (uid, stored) = two.account().await;
        two.start_move(&uid).await.unwrap();
        fault.is_on.store(true, Ordering::Relaxed);
        two.move_on(&uid).await;
        two.assert_has(1, &uid, &stored).await;
        two.close().await;
    }
}

#[tokio::test]
async fn objects_that_cannot_be_moved_are_named_and_the_account_goes_on_where_it_was() {
    let method = "write_object";
    let times = AtomicU32::new(3);
    let fault = Arc::new(Fault { method, times, is_final: true, ..Fault::default() });
    fault.is_on.store(true, Ordering::Relaxed);
    let mut two = behind(&fault).await;
    two.kit.run_tasks();
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    let failed = two.reach(&uid, State::Failed).await;
    assert_eq!(failed.faults.len(), 3, "{failed:?}");
    let is_named = |fault: &String| fault.contains("/key/0") && fault.contains("likes no such key");
    assert!(failed.faults.iter().all(is_named), "{failed:?}");
    assert!(two.is_writable(0, &uid).await);
    // The cause is mended: it goes on from there.
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    two.assert_has(1, &uid, &stored).await;
    assert!(two.get(&uid).await.faults.is_empty());
    two.close().await;
}

struct One;

#[async_trait::async_trait]
impl ObjectSource for One {
    async fn open(&self) -> Result<ObjectStream, Error> {
        Ok(Box::pin(futures_util::stream::iter([Ok(vec![1].into())])))
    }
}

/// Writes an object behind everybody's back.
async fn slip_in(engine: &dyn Engine, uid: &S3uid, key: &str) {
    let (bucket, meta) = (BucketName::new("photos").unwrap(), ObjectMeta::default());
    let new = NewObject { bucket: &bucket, key, size_bytes: 1, meta: &meta, source: &One };
    engine.write_object(uid, &new).await.unwrap();
}

#[tokio::test]
async fn what_does_not_verify_is_named_and_the_account_goes_on_where_it_was() {
    let mut two = Two::start().await;
    let (uid, stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.kit.run_tasks();
    two.reach(&uid, State::Copied).await;
    two.freeze(&uid).await.unwrap();
    // Again and again, so that every comparison finds some of it.
    let slipping = async {
        loop {
            for key in ["a", "key/0005", "z"] {
                // The bucket may be away for a moment.
                slip_in(&*two.to, &uid, key).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let failed = tokio::select! {
        failed = two.reach(&uid, State::Failed) => failed,
        () = slipping => unreachable!("it goes on for ever"),
    };
    assert!(!failed.faults.is_empty() && failed.why.contains("same"), "{failed:?}");
    assert!(failed.faults.iter().all(|fault| fault.starts_with("photos/")), "{failed:?}");
    assert!(two.is_writable(0, &uid).await);
    two.assert_has(0, &uid, &stored).await;
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    two.assert_has(1, &uid, &stored).await;
    two.close().await;
}

#[tokio::test]
async fn what_is_stored_at_the_old_side_last_of_all_is_brought_over_before_it_goes() {
    let mut two = Two::start().await;
    two.kit.run_tasks();
    let (uid, mut stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.move_on(&uid).await;
    // A transfer that the freeze has not cut short ends after the switch.
    for key in ["late", "both"] {
        slip_in(&*two.kit.engine, &uid, key).await;
    }
    let client = two.client(1, &uid);
    put(&client, &mut stored, ("photos", "both"), b"newer".to_vec()).await;
    stored.insert(("photos".to_owned(), "late".to_owned()), vec![1]);
    client.delete_object().bucket("photos").key("key/003").send().await.unwrap();
    stored.remove(&("photos".to_owned(), "key/003".to_owned()));
    let papers: Vec<_> = stored.keys().filter(|at| at.0 == "papers").cloned().collect();
    for at in papers {
        client.delete_object().bucket("papers").key(&at.1).send().await.unwrap();
        stored.remove(&at);
    }
    client.delete_bucket().bucket("papers").send().await.unwrap();
    client.create_bucket().bucket("newer").send().await.unwrap();
    put(&client, &mut stored, ("newer", "k"), vec![2]).await;
    two.confirm(&uid).await.unwrap();
    two.reach(&uid, State::Confirmed).await;
    two.assert_has(1, &uid, &stored).await;
    two.close().await;
}

#[tokio::test]
async fn only_one_process_works_at_moves() {
    let mut two = Two::start().await;
    let (uid, stored): (S3uid, Stored) = two.account().await;
    two.start_move(&uid).await.unwrap();
    two.kit.run_tasks();
    if !two.kit.db().is_exclusive() {
        two.kit.run_twin(two.settings.clone(), "storage.account_moves").await;
        until(async || {
            two.kit.count("SELECT count(*) FROM lease WHERE name = 'storage.account_moves'").await
                == 1
        })
        .await;
    }
    two.move_on(&uid).await;
    two.assert_has(1, &uid, &stored).await;
    two.close().await;
}
