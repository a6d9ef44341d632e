//! What only a server has: transactions beside each other, connections that break, passwords.

use crate::transactions::{ADD, filled, sum};
use crate::{Kit, NEW, OLD};
use sqlx::Connection as _;
use std::time::Duration;
use stowage_db::{Db, Error, OpenError, Server, args, next_id};

const READ: &str = "SELECT cents FROM purse WHERE id = $1 FOR UPDATE";

fn server(kit: &Kit) -> Server {
    let url = kit.place.server_url();
    Server::new(url).unwrap()
}

async fn with_purses(cents: i64) -> Kit {
    filled(Kit::whole().await, cents).await
}

#[tokio::test]
async fn a_locked_row_keeps_read_and_write_together() {
    let kit = with_purses(0).await;
    let tasks = (0..8).map(|_| {
        let db = kit.db.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = db.begin().await.unwrap();
                let (cents,): (i64,) = tx.fetch_one(READ, args![1]).await.unwrap();
                tx.execute("UPDATE purse SET cents = $1 WHERE id = 1", args![cents + 1])
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(sum(&kit.db).await, 80);
}

#[tokio::test]
async fn skipped_rows_are_those_that_another_has_locked() {
    let kit = with_purses(0).await;
    let sql = "SELECT id FROM purse ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED";
    let (mut first, mut second) = (kit.db.begin().await.unwrap(), kit.db.begin().await.unwrap());
    let of_first: Vec<(i64,)> = first.fetch_all(sql, args![]).await.unwrap();
    let of_second: Vec<(i64,)> = second.fetch_all(sql, args![]).await.unwrap();
    assert_eq!((of_first, of_second), (vec![(0,), (1,)], vec![(2,), (3,)]));
}

#[tokio::test]
async fn of_two_who_wait_for_each_other_one_is_told_to_try_again() {
    let kit = with_purses(0).await;
    let (mut a, mut b) = (kit.db.begin().await.unwrap(), kit.db.begin().await.unwrap());
    a.execute(ADD, args![1, 1]).await.unwrap();
    b.execute(ADD, args![1, 2]).await.unwrap();
    let one = tokio::spawn(async move {
        a.execute(ADD, args![1, 2]).await?;
        a.commit().await
    });
    let other = tokio::spawn(async move {
        b.execute(ADD, args![1, 1]).await?;
        b.commit().await
    });
    let outcomes = [one.await.unwrap(), other.await.unwrap()];
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(matches!(failed.as_slice(), [Error::Unavailable { .. }]), "{outcomes:?}");
    assert_eq!(sum(&kit.db).await, 2);
}

/// Ends every other session of this database.
async fn break_connections(kit: &Kit) {
    let other = Db::connect(&server(kit), "other", &OLD).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: Vec<(bool,)> = other.fetch_all(sql, args![]).await.unwrap();
    assert!(!ended.is_empty());
    other.close().await;
}

#[tokio::test]
async fn a_lost_connection_undoes_its_transaction_and_the_next_works() {
    let kit = with_purses(0).await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(ADD, args![5, 1]).await.unwrap();
    break_connections(&kit).await;
    let lost = tx.execute(ADD, args![5, 1]).await.unwrap_err();
    assert!(matches!(lost, Error::Unavailable { .. }), "{lost:?}");
    drop(tx);
    for _ in 0..1_000 {
        if let Ok(mut tx) = kit.db.begin().await {
            tx.execute(ADD, args![1, 1]).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(sum(&kit.db).await, 1);
            return;
        }
    }
    panic!("it does not recover");
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unclear() {
    let kit = with_purses(0).await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute(ADD, args![5, 1]).await.unwrap();
    break_connections(&kit).await;
    let lost = tx.commit().await.unwrap_err();
    assert!(matches!(lost, Error::Unclear { .. }), "{lost:?}");
}

#[tokio::test]
async fn with_all_connections_in_use_another_waits_and_is_refused() {
    let kit = Kit::whole().await;
    let server = server(&kit).with_connections_max(1);
    let db = Db::connect(&server, "role", &OLD).await.unwrap();
    let held = db.begin().await.unwrap();
    let refused = db.begin().await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { why: "busy", .. }), "{refused:?}");
    drop(held);
    db.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_held_for_long_is_not_waited_for_for_ever() {
    let kit = with_purses(0).await;
    let mut held = kit.db.begin().await.unwrap();
    held.execute(ADD, args![1, 1]).await.unwrap();
    let mut tx = kit.db.begin().await.unwrap();
    let refused = tx.execute(ADD, args![1, 1]).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { why: "locked", .. }), "{refused:?}");
    held.commit().await.unwrap();
}

#[tokio::test]
async fn who_migrate_at_once_do_it_once() {
    let kit = Kit::whole().await;
    let server = server(&kit);
    let starts = (0..6).map(|_| {
        let server = server.clone();
        tokio::spawn(async move { Db::connect(&server, "fresh", &NEW).await })
    });
    for start in starts.collect::<Vec<_>>() {
        let db = start.await.unwrap().unwrap();
        let (n,): (i64,) = db.fetch_one("SELECT count(*) FROM later", args![]).await.unwrap();
        assert_eq!(n, 0);
    }
    server.check("fresh", &NEW).await.unwrap();
    server.check("absent", &NEW).await.unwrap();
    let newer = server.check("fresh", &OLD).await;
    assert!(matches!(newer, Err(OpenError::Newer { version: 2, known: 1, .. })), "{newer:?}");
    let (made,): (bool,) =
        kit.db.fetch_one("SELECT to_regnamespace('absent') IS NOT NULL", args![]).await.unwrap();
    assert!(!made, "a check makes nothing");
}

#[tokio::test]
async fn roles_do_not_see_each_others_tables() {
    let kit = with_purses(7).await;
    let other = Db::connect(&server(&kit), "other", &OLD).await.unwrap();
    assert_eq!((sum(&kit.db).await, sum(&other).await), (7 * 16, 0));
}

#[tokio::test]
async fn a_text_compares_by_bytes() {
    let kit = Kit::whole().await;
    let mut tx = kit.db.begin().await.unwrap();
    for name in ["b", "B", "a", "ä", "_", "Z"] {
        let sql = "INSERT INTO sequence (name, value) VALUES ($1, 1)";
        tx.execute(sql, args![name]).await.unwrap();
    }
    let sql = "SELECT name FROM sequence ORDER BY name";
    let names: Vec<(String,)> = tx.fetch_all(sql, args![]).await.unwrap();
    let names: String = names.into_iter().map(|(name,)| name).collect();
    assert_eq!(names, "BZ_abä");
}

#[tokio::test]
async fn a_sequence_waits_for_who_took_its_last_value() {
    let kit = Kit::whole().await;
    let mut first = kit.db.begin().await.unwrap();
    assert_eq!(next_id(&mut first, "order").await.unwrap(), 1);
    let db = kit.db.clone();
    let second = tokio::spawn(async move {
        let mut tx = db.begin().await.unwrap();
        next_id(&mut tx, "order").await.unwrap()
    });
    tokio::time::timeout(Duration::from_millis(50), async { first.commit().await })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.await.unwrap(), 2);
}

#[tokio::test]
async fn no_error_tells_the_password() {
    let kit = Kit::whole().await;
    let secret = "hunter2hunter2";
    let urls = [
        format!("postgres://nobody:{secret}@127.0.0.1:1/stowage"),
        format!("postgres://nobody:{secret}@127.0.0.1:99999/stowage"),
        format!("mysql://nobody:{secret}@127.0.0.1/stowage"),
        with_user(kit.place.server_url(), &format!("nobody:{secret}")),
    ];
    for url in urls {
        let error = match Server::new(&url) {
            Ok(server) => {
                assert!(!format!("{server:?}").contains(secret));
                let error = Db::connect(&server, "role", &OLD).await.unwrap_err();
                assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
                error
            }
            Err(error) => error,
        };
        let told = format!("{error} {error:?}");
        assert!(!told.contains(secret), "{told}");
    }
}

/// By the one user of the server for tests who needs a password.
#[tokio::test]
async fn a_password_opens_and_a_wrong_one_does_not() {
    let kit = Kit::whole().await;
    let url = kit.place.server_url();
    let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
    // Another run may have made him.
    let create = "CREATE ROLE stowage_password SUPERUSER LOGIN PASSWORD 'right€'";
    let _ = sqlx::raw_sql(create).execute(&mut admin).await;
    let right = Server::new(&with_user(url, "stowage_password:right%E2%82%AC")).unwrap();
    Db::connect(&right, "role", &OLD).await.unwrap().ping().await.unwrap();
    let wrong = Server::new(&with_user(url, "stowage_password:wr0ngw0rd")).unwrap();
    let error = Db::connect(&wrong, "role", &OLD).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wr0ngw0rd"));
}

/// The address with another user.
fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}@{host}")
}
