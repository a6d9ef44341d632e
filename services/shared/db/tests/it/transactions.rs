//! Group commit under stress: nothing acknowledged is lost, nothing dropped is kept.

use crate::{Kit, OLD};
use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use stowage_db::{Db, Error, Tx, args, next_id, next_ids};
use tempfile::TempDir;
use tokio::sync::Notify;

const TASKS: i64 = 16;
const ADD: &str = "UPDATE purse SET cents = cents + $1 WHERE id = $2";

async fn sum(db: &Db) -> i64 {
    let (sum,): (i64,) =
        db.fetch_one("SELECT coalesce(sum(cents), 0) FROM purse", args![]).await.unwrap();
    sum
}

async fn with_purses(cents: i64) -> Kit {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    for id in 0..TASKS {
        tx.execute("INSERT INTO purse (id, cents) VALUES ($1, $2)", args![id, cents])
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    kit
}

/// A small generator, so that a failure can be repeated.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

async fn move_one(tx: &mut Tx, from: i64, to: i64) -> Result<(), Error> {
    tx.execute(ADD, args![-1, from]).await?;
    tx.execute(ADD, args![1, to]).await?;
    Ok(())
}

/// One random deed: a transfer that is committed, dropped, cancelled in the middle, refused by a
/// check, or ended by a panic. Returns by how much purse 0 was meant to change.
async fn deed(db: &Db, seed: &mut u64) -> i64 {
    let (from, to) = ((next(seed) % 16).cast_signed(), (next(seed) % 16).cast_signed());
    match next(seed) % 8 {
        0 => {
            let mut tx = db.begin().await.unwrap();
            tx.execute(ADD, args![1_000, to]).await.unwrap();
            drop(tx);
        }
        1 => {
            // Cancelled wherever the clock strikes: waiting, in a statement, or between two.
            let work = async {
                let mut tx = db.begin().await.unwrap();
                loop {
                    tx.execute(ADD, args![7, to]).await.unwrap();
                }
            };
            let limit = Duration::from_micros(next(seed) % 900);
            assert!(tokio::time::timeout(limit, work).await.is_err());
        }
        2 => {
            let mut tx = db.begin().await.unwrap();
            tx.execute(ADD, args![3, to]).await.unwrap();
            tx.execute(ADD, args![-1_000_000, from]).await.unwrap_err();
        }
        3 => {
            let db = db.clone();
            let panics = tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.execute(ADD, args![11, to]).await.unwrap();
                std::panic::resume_unwind(Box::new("a careless caller"));
            });
            assert!(panics.await.is_err());
        }
        _ => {
            let mut tx = db.begin().await.unwrap();
            if move_one(&mut tx, from, to).await.is_ok() {
                tx.commit().await.unwrap();
                return i64::from(to == 0) - i64::from(from == 0);
            }
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_commits_drops_cancels_and_panics_keep_the_sum() {
    let kit = with_purses(100).await;
    let first = Arc::new(AtomicI64::new(100));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (db, first) = (kit.db.clone(), first.clone());
            tokio::spawn(async move {
                let mut seed = task.cast_unsigned() + 1;
                for _ in 0..60 {
                    let change = deed(&db, &mut seed).await;
                    first.fetch_add(change, Ordering::SeqCst);
                    assert_eq!(sum(&db).await, TASKS * 100, "task {task}, seed {seed}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (cents,): (i64,) =
        kit.db.fetch_one("SELECT cents FROM purse WHERE id = 0", args![]).await.unwrap();
    assert_eq!(cents, first.load(Ordering::SeqCst), "every acknowledged transfer, and no other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_on_disk() {
    let kit = with_purses(0).await;
    for round in 1..=5 {
        let callers = (0..TASKS).map(|id| {
            let db = kit.db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.execute(ADD, args![1, id]).await.unwrap();
                tx.commit().await.unwrap();
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        // What a crash would leave: the files as they are, with a transaction under way.
        let mut open = kit.db.begin().await.unwrap();
        open.execute(ADD, args![1_000, 1]).await.unwrap();
        let crashed = TempDir::new().unwrap();
        for name in ["role.db", "role.db-wal"] {
            fs::copy(kit.folder.path().join(name), crashed.path().join(name)).unwrap();
        }
        drop(open);
        let reopened = Db::open(&crashed.path().join("role.db"), &OLD).await.unwrap();
        assert_eq!(sum(&reopened).await, round * TASKS);
    }
}

#[tokio::test]
async fn a_notice_comes_after_the_commit_and_never_after_a_rollback() {
    let kit = with_purses(0).await;
    let (kept, undone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(ADD, args![1, 1]).await.unwrap();
    tx.notify_after_commit(undone.clone());
    drop(tx);
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(ADD, args![2, 1]).await.unwrap();
    tx.notify_after_commit(kept.clone());
    let watch = tokio::spawn({
        let db = kit.db.clone();
        async move {
            kept.notified().await;
            sum(&db).await
        }
    });
    tx.commit().await.unwrap();
    assert_eq!(watch.await.unwrap(), 2);
    assert!(poll_once(&mut Box::pin(undone.notified())).await.is_none());
}

#[tokio::test]
async fn deferred_writes_run_in_order_with_the_next_statement_or_the_commit() {
    let kit = with_purses(0).await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.defer(ADD, args![5, 1]);
    tx.defer("UPDATE purse SET cents = cents * $2 WHERE id = $1", args![1, 3]);
    // What the last statement changed is told, not what ran ahead of it.
    assert_eq!(tx.execute(ADD, args![1, 99]).await.unwrap(), 0);
    let cents = "SELECT cents FROM purse WHERE id = $1";
    tx.defer(ADD, args![100, 2]);
    let rows: Vec<(i64,)> = tx.fetch_all(cents, args![1]).await.unwrap();
    assert_eq!(rows, [(15,)]);
    tx.defer(ADD, args![7, 3]);
    tx.commit().await.unwrap();
    assert_eq!(sum(&kit.db).await, 122);

    // A failure is the next statement's, or the commit's, and keeps nothing.
    for commits in [false, true] {
        let mut tx = kit.db.begin().await.unwrap();
        tx.execute(ADD, args![1, 4]).await.unwrap();
        tx.defer("INSERT INTO purse (id, cents) VALUES ($1, 0)", args![1]);
        let failed = if commits {
            tx.commit().await.unwrap_err()
        } else {
            tx.execute(ADD, args![1, 5]).await.unwrap_err()
        };
        assert!(failed.is_unique("purse.id"), "{failed}");
    }
    let mut tx = kit.db.begin().await.unwrap();
    tx.defer(ADD, args![1, 6]);
    drop(tx);
    assert_eq!(sum(&kit.db).await, 122);
}

/// The first statement of a transaction also opens it. Wherever it is cancelled, those before it in
/// the batch are kept and those after it work.
#[tokio::test]
async fn one_that_is_cancelled_in_its_first_statement_harms_nobody() {
    const ROUNDS: usize = 100;
    let kit = with_purses(0).await;
    for round in 0..ROUNDS {
        let first = kit.db.begin().await.unwrap();
        // All of one batch: every other one is cancelled.
        let mut waiting: Vec<_> = (0..6).map(|_| Box::pin(kit.db.begin())).collect();
        for waits in &mut waiting {
            assert!(poll_once(waits).await.is_none());
        }
        let mut commits = vec![add_and_commit(first, 1).await];
        for (n, waits) in waiting.into_iter().enumerate() {
            let mut tx = waits.await.unwrap();
            if n % 2 == 1 {
                commits.push(add_and_commit(tx, 2).await);
                continue;
            }
            let mut statement = Box::pin(tx.execute(ADD, args![1_000, 1]));
            for _ in 0..(round + n) % 4 {
                if poll_once(&mut statement).await.is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        for committed in commits {
            committed.await.unwrap().unwrap();
        }
        let expected = i64::try_from(4 * (round + 1)).unwrap();
        assert_eq!(sum(&kit.db).await, expected, "round {round}");
    }
}

/// Adds a cent, and lets the commit go on by itself.
async fn add_and_commit(mut tx: Tx, purse: i64) -> tokio::task::JoinHandle<Result<(), Error>> {
    tx.execute(ADD, args![1, purse]).await.unwrap();
    tokio::spawn(tx.commit())
}

#[tokio::test]
async fn several_sequences_go_on_together() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    assert_eq!(next_id(&mut tx, "b").await.unwrap(), 1);
    assert_eq!(next_ids(&mut tx, ["a", "b", "c"]).await.unwrap(), [1, 2, 1]);
    assert_eq!(next_ids(&mut tx, ["c", "a"]).await.unwrap(), [2, 2]);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_abandoned_commit_still_happens() {
    let kit = with_purses(0).await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(ADD, args![1, 1]).await.unwrap();
    let mut commit = Box::pin(tx.commit());
    assert!(poll_once(&mut commit).await.is_none());
    drop(commit);
    kit.db.begin().await.unwrap().commit().await.unwrap();
    assert_eq!(sum(&kit.db).await, 1);
}

#[tokio::test]
async fn one_who_gives_up_waiting_leaves_the_queue_in_order() {
    let kit = with_purses(0).await;
    let mut first = kit.db.begin().await.unwrap();
    first.execute(ADD, args![1, 1]).await.unwrap();
    for _ in 0..100 {
        let mut wait = Box::pin(kit.db.begin());
        assert!(poll_once(&mut wait).await.is_none());
    }
    let second = tokio::spawn({
        let db = kit.db.clone();
        async move {
            let mut tx = db.begin().await.unwrap();
            tx.execute(ADD, args![1, 2]).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    first.commit().await.unwrap();
    second.await.unwrap();
    assert_eq!(sum(&kit.db).await, 2);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let kit = with_purses(0).await;
    let held = kit.db.begin().await.unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let mut wait = Box::pin(kit.db.begin());
        match poll_once(&mut wait).await {
            Some(Err(refused)) => break refused,
            Some(Ok(_)) => panic!("two writers"),
            None => waiting.push(wait),
        }
        assert!(waiting.len() <= 10_001, "the queue has no bound");
    };
    assert!(matches!(refused, Error::Unavailable { why: "busy", .. }), "{refused}");
    drop(waiting);
    drop(held);
    begin_soon(&kit.db).await.commit().await.unwrap();
}

/// Starts a future, or lets it go on, without waiting for it.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Begins, although the writer may need a moment for what was there before.
async fn begin_soon(db: &Db) -> Tx {
    for _ in 0..100_000 {
        match db.begin().await {
            Ok(tx) => return tx,
            Err(_) => tokio::task::yield_now().await,
        }
    }
    panic!("the writer is blocked");
}

/// A disk of which little is left: SQLite's own bound on pages gives the very same error.
#[tokio::test]
async fn a_full_disk_fails_the_transaction_and_spares_the_next() {
    let kit = with_purses(0).await;
    let mut expected = 0;
    for round in 0..20 {
        let mut first = kit.db.begin().await.unwrap();
        let bound = "PRAGMA max_page_count = 20";
        let _: Vec<(i64,)> = first.fetch_all(bound, args![]).await.unwrap();
        // Queued behind the first, and so in its batch.
        let (mut breaks, mut last) = (Box::pin(kit.db.begin()), Box::pin(kit.db.begin()));
        for waits in [&mut breaks, &mut last] {
            assert!(poll_once(waits).await.is_none());
        }
        first.execute(ADD, args![1, 1]).await.unwrap();
        let committed = tokio::spawn(first.commit());
        let mut breaks = breaks.await.unwrap();
        breaks.execute(ADD, args![500, 1]).await.unwrap();
        let coin = "INSERT INTO coin (id, raw) VALUES ($1, $2)";
        let full = breaks.execute(coin, args![[1; 16], vec![1; 1_000_000]]).await.unwrap_err();
        assert!(matches!(full, Error::Full), "{full}");
        drop(breaks);
        let mut last = last.await.unwrap();
        last.execute(ADD, args![1, 2]).await.unwrap();
        last.commit().await.unwrap();
        // It may have been taken along, but then it was told so.
        match committed.await.unwrap() {
            Ok(()) => expected += 2,
            Err(Error::Unavailable { .. }) => expected += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(sum(&kit.db).await, expected, "round {round}");
    }
}

/// Prints the figure; asserts only that fsyncs are shared at all, because machines differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_callers_share_fsyncs() {
    let kit = with_purses(0).await;
    let each = 200;
    let commits = |tasks: i64| {
        let db = kit.db.clone();
        async move {
            let start = Instant::now();
            let tasks: Vec<_> = (0..tasks)
                .map(|id| {
                    let db = db.clone();
                    tokio::spawn(async move {
                        for _ in 0..each {
                            let mut tx = db.begin().await.unwrap();
                            tx.execute(ADD, args![1, id]).await.unwrap();
                            tx.commit().await.unwrap();
                        }
                    })
                })
                .collect();
            let n = tasks.len() * each;
            for task in tasks {
                task.await.unwrap();
            }
            u128::try_from(n).unwrap() * 1_000_000 / start.elapsed().as_micros()
        }
    };
    let (alone, together) = (commits(1).await, commits(TASKS).await);
    println!("commits per second: {alone} alone, {together} from {TASKS} tasks");
    assert_eq!(sum(&kit.db).await, i64::try_from(each).unwrap() * (1 + TASKS));
    assert!(together > 0 && alone > 0);
}
