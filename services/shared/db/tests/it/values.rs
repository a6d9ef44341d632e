//! Every type goes in and comes out the same; errors say what a caller needs.

use crate::Kit;
use serde_json::json;
use stowage_db::{Error, Query, args, next_id};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Coin {
    id: Uuid,
    at: Option<OffsetDateTime>,
    what: Option<serde_json::Value>,
    good: Option<bool>,
    note: Option<String>,
    raw: Option<Vec<u8>>,
    purse: Option<i64>,
}

const INSERT: &str = "INSERT INTO coin (id, at, what, good, note, raw, purse) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

impl Coin {
    fn args(&self) -> stowage_db::Args {
        let Self { id, at, what, good, note, raw, purse } = self;
        args![id, *at, what.clone(), *good, note.clone(), raw.clone(), *purse]
    }

    fn noted(id: u128, note: &str) -> Self {
        let id = Uuid::from_u128(id);
        let note = Some(note.to_owned());
        Self { id, at: None, what: None, good: Some(true), note, raw: None, purse: None }
    }
}

#[tokio::test]
async fn every_type_is_read_as_it_was_written() {
    let kit = Kit::start().await;
    let full = Coin {
        id: Uuid::from_u128(7),
        at: Some(datetime!(2026-11-23 15:44:19.000120 UTC)),
        what: Some(json!({"a": [1, "zwei"], "n": null})),
        good: Some(false),
        note: Some("it's €".to_owned()),
        raw: Some(vec![0, 255, 3]),
        purse: None,
    };
    let empty = Coin { id: Uuid::from_u128(8), note: None, good: None, ..full_without_values() };
    let mut tx = kit.db.begin().await.unwrap();
    for coin in [&full, &empty] {
        assert_eq!(tx.execute(INSERT, coin.args()).await.unwrap(), 1);
    }
    tx.commit().await.unwrap();
    let coins: Vec<Coin> =
        kit.db.fetch_all("SELECT * FROM coin ORDER BY id", args![]).await.unwrap();
    assert_eq!(coins, [full, empty]);
}

#[tokio::test]
async fn many_rows_are_put_as_few_are() {
    const HEAD: &str = "INSERT INTO coin (id, at, good, note, raw, purse)";
    const TAIL: &str = " ON CONFLICT (id) DO UPDATE SET good = NOT excluded.good";
    const WITH_JSON: &str = "INSERT INTO coin (id, what, note)";
    let kit = Kit::start().await;
    let at = datetime!(2026-11-23 15:44:19.000120 UTC);
    for count in [0_u128, 1, 15, 16, 17, 64, 65, 201, 2_001] {
        let kept: Vec<Coin> = (0..count)
            .map(|n| Coin {
                id: Uuid::from_u128(n),
                at: (n % 3 != 0).then_some(at),
                what: None,
                good: Some(n % 2 == 0),
                note: (n % 5 != 0).then(|| format!("it's {n} €, {{\"a\",NULL}}")),
                raw: Some(vec![0, 255, u8::try_from(n % 256).unwrap()]),
                purse: None,
            })
            .collect();
        let row = |coin: &Coin| -> Vec<stowage_db::Value> {
            let Coin { id, at, good, note, raw, purse, .. } = coin;
            let (id, at, good) = (id.into(), (*at).into(), (*good).into());
            vec![id, at, good, note.clone().into(), raw.clone().into(), (*purse).into()]
        };
        let mut tx = kit.db.begin().await.unwrap();
        tx.execute("DELETE FROM coin", args![]).await.unwrap();
        for _ in 0..2 {
            tx.put_rows(HEAD, kept.iter().map(row), TAIL).await.unwrap();
        }
        // What was deferred runs before.
        tx.defer("UPDATE coin SET note = $1 WHERE id = $2", args!["deferred", Uuid::from_u128(0)]);
        const RETURNING: &str = " ON CONFLICT (id) DO UPDATE SET good = NOT excluded.good, \
            purse = NULL RETURNING id, note";
        let put = kept.iter().map(row);
        let mut put: Vec<(Uuid, Option<String>)> =
            tx.put_rows_returning(HEAD, put, RETURNING).await.unwrap();
        put.sort();
        assert_eq!(put.len(), kept.len());
        for ((id, note), coin) in put.iter().zip(&kept) {
            let is_first = coin.id == Uuid::from_u128(0);
            let expected = if is_first { Some("deferred") } else { coin.note.as_deref() };
            assert_eq!((*id, note.as_deref()), (coin.id, expected), "{count}");
        }
        let mut twice = kept;
        twice.iter_mut().for_each(|coin| coin.good = coin.good.map(|good| !good));
        if let Some(first) = twice.first_mut() {
            first.note = Some("deferred".to_owned());
        }
        let coins: Vec<Coin> =
            tx.fetch_all("SELECT * FROM coin ORDER BY id", args![]).await.unwrap();
        assert_eq!(coins, twice, "{count}");
        tx.commit().await.unwrap();
    }
    // What has no array goes as a list of values.
    let with_json = |n: u128| -> Vec<stowage_db::Value> {
        vec![Uuid::from_u128(10_000 + n).into(), json!([1]).into(), "x".into()]
    };
    let mut tx = kit.db.begin().await.unwrap();
    tx.put_rows(WITH_JSON, (0..100).map(with_json), "").await.unwrap();
    let nul = (0..100).map(|_| vec![Uuid::from_u128(1).into(), json!(1).into(), "a\0".into()]);
    let refused = tx.put_rows(WITH_JSON, nul, "").await;
    assert!(matches!(refused, Err(Error::Nul)), "{refused:?}");
}

fn full_without_values() -> Coin {
    Coin::noted(0, "")
}

#[tokio::test]
async fn times_compare_in_order_and_lose_nothing_above_a_microsecond() {
    let kit = Kit::start().await;
    let times = [
        datetime!(1999-01-01 0:00 UTC),
        datetime!(2026-11-23 15:44:19 UTC),
        datetime!(2026-11-23 15:44:19.000001 UTC),
        datetime!(2026-11-23 15:44:19.1 UTC),
        datetime!(2026-11-23 17:44:20 +02:00),
    ];
    let mut tx = kit.db.begin().await.unwrap();
    for (n, time) in [4_u128, 3, 2, 1, 0].into_iter().zip(times.into_iter().rev()) {
        let coin = Coin { at: Some(time), ..Coin::noted(n, &n.to_string()) };
        tx.execute(INSERT, coin.args()).await.unwrap();
    }
    let read: Vec<(OffsetDateTime,)> =
        tx.fetch_all("SELECT at FROM coin ORDER BY at", args![]).await.unwrap();
    assert_eq!(read.iter().map(|row| row.0).collect::<Vec<_>>(), times);
    let (latest,): (OffsetDateTime,) =
        tx.fetch_one("SELECT max(at) FROM coin WHERE at < $1", args![times[4]]).await.unwrap();
    assert_eq!(latest, times[3]);
}

#[tokio::test]
async fn a_unique_violation_names_its_constraint() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    let first = Coin { raw: Some(vec![1]), ..Coin::noted(1, "one") };
    tx.execute(INSERT, first.args()).await.unwrap();
    tx.commit().await.unwrap();
    let same_pair = Coin { id: Uuid::from_u128(2), ..Coin::noted(1, "one") };
    let cases = [
        (Coin::noted(1, "two"), "coin.id"),
        (same_pair, "coin.note, coin.good"),
        (Coin { raw: Some(vec![2]), ..Coin::noted(3, "ONE") }, "coin_note_lower"),
    ];
    for (coin, constraint) in cases {
        let mut tx = kit.db.begin().await.unwrap();
        let error = tx.execute(INSERT, coin.args()).await.unwrap_err();
        assert!(error.is_unique(constraint), "{constraint}: {error}");
    }
}

#[tokio::test]
async fn a_transaction_whose_statement_failed_can_only_be_dropped() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES (1, 5)", args![]).await.unwrap();
    let orphan = Coin { purse: Some(99), ..Coin::noted(1, "one") };
    tx.execute(INSERT, orphan.args()).await.unwrap_err();
    tx.execute("INSERT INTO purse (id, cents) VALUES (2, 5)", args![]).await.unwrap_err();
    assert!(matches!(tx.commit().await, Err(Error::Other { .. })));
    let (n,): (i64,) = kit.db.fetch_one("SELECT count(*) FROM purse", args![]).await.unwrap();
    assert_eq!(n, 0);
}

#[tokio::test]
async fn a_missing_argument_is_an_error_and_a_missing_row_is_not_the_end() {
    let kit = Kit::start().await;
    let missing: Result<(i64,), _> =
        kit.db.fetch_one("SELECT 1 WHERE 1 = $1 OR 2 = $2", args![1]).await;
    assert!(matches!(missing, Err(Error::Other { .. })));
    let mut tx = kit.db.begin().await.unwrap();
    let none: Result<(i64,), _> = tx.fetch_one("SELECT id FROM purse", args![]).await;
    assert!(matches!(none, Err(Error::RowNotFound)));
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_sequence_has_no_gaps() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    assert_eq!(next_id(&mut tx, "order").await.unwrap(), 1);
    assert_eq!(next_id(&mut tx, "order").await.unwrap(), 2);
    assert_eq!(next_id(&mut tx, "invoice").await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut dropped = kit.db.begin().await.unwrap();
    assert_eq!(next_id(&mut dropped, "order").await.unwrap(), 3);
    drop(dropped);
    let mut tx = kit.db.begin().await.unwrap();
    assert_eq!(next_id(&mut tx, "order").await.unwrap(), 3);
}

async fn purses(mut from: impl Query) -> i64 {
    let (n,): (i64,) = from.fetch_one("SELECT count(*) FROM purse", args![]).await.unwrap();
    n
}

#[tokio::test]
async fn readers_see_committed_data_only() {
    let kit = Kit::start().await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("INSERT INTO purse (id, cents) VALUES ($1, $2)", args![1, 5]).await.unwrap();
    assert_eq!((purses(&mut tx).await, purses(&kit.db).await), (1, 0));
    tx.commit().await.unwrap();
    assert_eq!(purses(&kit.db).await, 1);
    let write: Result<Vec<(i64,)>, _> =
        kit.db.fetch_all("DELETE FROM purse RETURNING id", args![]).await;
    assert!(write.is_err(), "a reader must not write");
}
