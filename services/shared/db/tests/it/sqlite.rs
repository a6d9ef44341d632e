//! What only files have: their modes, damage, a full disk, and the one writer with its queue.

use crate::transactions::{ADD, TASKS, filled, poll_once, sum};
use crate::{Kit, NEW, OLD};
use std::fs;
use std::time::Instant;
use stowage_db::{Db, Error, OpenError, Tx, args};
use tempfile::TempDir;
use time::macros::datetime;

async fn with_purses(cents: i64) -> Kit {
    filled(Kit::on_file().await, cents).await
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("role.db");
    Db::open(&path, &NEW).await.unwrap().close().await;
    let before = fs::read(&path).unwrap();
    assert!(matches!(Db::check(&path, &OLD).await, Err(OpenError::Newer { .. })));
    Db::check(&folder.path().join("absent.db"), &OLD).await.unwrap();
    assert!(!folder.path().join("absent.db").exists());
    match Db::open(&path, &OLD).await {
        Err(OpenError::Newer { version: 2, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(before == fs::read(&path).unwrap());
    Db::open(&path, &NEW).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("role.db");
    let text = "This is a letter to my aunt. ".repeat(100);
    fs::write(&path, &text).unwrap();
    let refused = Db::open(&path, &OLD).await;
    assert!(matches!(refused, Err(OpenError::NotADatabase { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.join("role.db"), folder.path().join("absent/role.db"), folder.path().into()] {
        let refused = Db::open(&path, &OLD).await;
        assert!(matches!(refused, Err(OpenError::NotWritable { .. })), "{refused:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn others_cannot_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let kit = Kit::on_file().await;
    for entry in fs::read_dir(kit.folder()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry:?}");
    }
}

#[tokio::test]
async fn after_close_one_file_is_left() {
    let kit = with_purses(1).await;
    kit.db.close().await;
    let files = fs::read_dir(kit.folder()).unwrap().count();
    assert_eq!(files, 1, "the log was written back");
}

#[tokio::test]
async fn times_are_texts_of_one_width() {
    let kit = Kit::on_file().await;
    let coin = "INSERT INTO coin (id, at) VALUES ($1, $2)";
    let mut tx = kit.db.begin().await.unwrap();
    let at = datetime!(2026-11-23 17:44:20 +02:00);
    tx.execute(coin, args![[1; 16], at]).await.unwrap();
    let (text,): (String,) =
        tx.fetch_one("SELECT CAST(at AS text) FROM coin", args![]).await.unwrap();
    assert_eq!(text, "2026-11-23T15:44:20.000000Z");
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
            fs::copy(kit.folder().join(name), crashed.path().join(name)).unwrap();
        }
        drop(open);
        let reopened = Db::open(&crashed.path().join("role.db"), &OLD).await.unwrap();
        assert_eq!(sum(&reopened).await, round * TASKS);
    }
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

/// Adds a cent, and lets the commit go on by itself.
async fn add_and_commit(mut tx: Tx, purse: i64) -> tokio::task::JoinHandle<Result<(), Error>> {
    tx.execute(ADD, args![1, purse]).await.unwrap();
    tokio::spawn(tx.commit())
}
