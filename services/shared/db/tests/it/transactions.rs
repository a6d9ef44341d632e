//! Transactions under stress: nothing acknowledged is lost, nothing dropped is kept.

use crate::Kit;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;
use stowage_db::{Db, Error, Tx, args, next_id, next_ids};
use tokio::sync::Notify;

pub(crate) const TASKS: i64 = 16;
pub(crate) const ADD: &str = "UPDATE purse SET cents = cents + $1 WHERE id = $2";

pub(crate) async fn sum(db: &Db) -> i64 {
    let (sum,): (i64,) = db
        .fetch_one("SELECT CAST(coalesce(sum(cents), 0) AS bigint) FROM purse", args![])
        .await
        .unwrap();
    sum
}

pub(crate) async fn with_purses(cents: i64) -> Kit {
    filled(Kit::start().await, cents).await
}

pub(crate) async fn filled(kit: Kit, cents: i64) -> Kit {
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
    // In one order, or two who move at once would wait for each other.
    let mut moves = [(from, -1), (to, 1)];
    moves.sort_unstable();
    for (purse, by) in moves {
        tx.execute(ADD, args![by, purse]).await?;
    }
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
    for _ in 0..100_000 {
        if sum(&kit.db).await == 1 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it was not committed");
}

/// Starts a future, or lets it go on, without waiting for it.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
