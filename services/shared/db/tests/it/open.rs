//! What may be opened.

use crate::{Kit, NEW, OLD};
use stowage_db::{Error, OpenError, args};

#[tokio::test]
async fn an_older_database_is_brought_up_to_date_with_its_data() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES (1, 5)", args![]).await.unwrap();
    tx.commit().await.unwrap();
    kit.db.close().await;
    let db = kit.place.open("role", &NEW).await.unwrap();
    let sql = "SELECT cents, (SELECT count(*) FROM later) FROM purse";
    let row: (i64, i64) = db.fetch_one(sql, args![]).await.unwrap();
    assert_eq!(row, (5, 0));
}

#[tokio::test]
async fn after_close_nothing_is_left_open_and_calls_fail() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES (1, 5)", args![]).await.unwrap();
    tx.commit().await.unwrap();
    kit.db.close().await;
    assert!(matches!(kit.db.begin().await, Err(Error::Unavailable { .. })));
    assert!(matches!(kit.db.ping().await, Err(Error::Unavailable { .. })));
    kit.place.open("role", &OLD).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_kept() {
    let kit = Kit::start().await;
    kit.db.close().await;
    kit.place.open("role", &NEW).await.unwrap().close().await;
    match kit.place.open("role", &OLD).await {
        Err(OpenError::Newer { version: 2, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    let db = kit.place.open("role", &NEW).await.unwrap();
    let (n,): (i64,) = db.fetch_one("SELECT count(*) FROM later", args![]).await.unwrap();
    assert_eq!(n, 0);
}
