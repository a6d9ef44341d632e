//! A lease: one at a time, and another when it has run out.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrator;
use stowage_db::lease::{Lease, Standing};
use stowage_db::testing::Scratch;
use stowage_db::{Db, args};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::Instant;
use uuid::Uuid;

use super::migrator;

const TABLE: &str = "CREATE TABLE lease (name text PRIMARY KEY, owner uuid NOT NULL,
    until timestamptz NOT NULL);";
static MIGRATOR: std::sync::LazyLock<Migrator> = std::sync::LazyLock::new(|| migrator(&[TABLE]));

const START: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);
const TEN: Duration = Duration::from_secs(10);

async fn open() -> (Scratch, Db) {
    let place = Scratch::new().await;
    let db = place.open("lease", &MIGRATOR).await.unwrap();
    (place, db)
}

fn lease(owner: u128) -> Lease {
    Lease::new("work", Uuid::from_u128(owner), TEN)
}

fn at(seconds: i64) -> OffsetDateTime {
    START + time::Duration::seconds(seconds)
}

async fn is_held(lease: &mut Lease, db: &Db, seconds: i64) -> bool {
    lease.keep(db, at(seconds)).await.unwrap() == Standing::Held
}

#[tokio::test]
async fn it_is_held_by_one_until_it_runs_out() {
    let (_place, db) = open().await;
    let (mut one, mut two) = (lease(1), lease(2));
    assert!(is_held(&mut one, &db, 0).await);
    assert!(!is_held(&mut two, &db, 9).await);
    assert!(is_held(&mut two, &db, 10).await, "it has run out");
    let mut again = lease(1);
    assert!(!is_held(&mut again, &db, 11).await, "the first one is no owner any more");
    let mut other = Lease::new("other work", Uuid::from_u128(1), TEN);
    assert!(is_held(&mut other, &db, 11).await, "leases of other names are others");
}

#[tokio::test]
async fn held_it_is_renewed_until_another_has_it_or_nobody_answers() {
    let (_place, db) = open().await;
    let mut one = Lease::new("work", Uuid::from_u128(1), Duration::from_millis(800));
    assert!(is_held(&mut one, &db, 0).await);
    let renewals = AtomicI64::new(0);
    let holding = one.hold(&db, || at(renewals.fetch_add(1, Ordering::SeqCst) + 1));
    let other = async {
        while renewals.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        let mut tx = db.begin().await.unwrap();
        let args = args![Uuid::from_u128(2), at(3600)];
        tx.execute("UPDATE lease SET owner = $1, until = $2", args).await.unwrap();
        tx.commit().await.unwrap();
    };
    tokio::join!(holding, other);
    assert!(!is_held(&mut one, &db, 10).await);

    assert!(is_held(&mut one, &db, 3600).await);
    db.close().await;
    let begun = Instant::now();
    one.hold(&db, || at(3600)).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "it does not wait for the database");
}

#[tokio::test]
async fn it_is_renewed_when_half_of_it_has_passed_and_not_before() {
    let (_place, db) = open().await;
    let until = async || {
        let row: (OffsetDateTime,) =
            db.fetch_one("SELECT until FROM lease WHERE name = 'work'", args![]).await.unwrap();
        row.0
    };
    let mut one = Lease::new("work", Uuid::from_u128(1), Duration::from_secs(3600));
    assert!(is_held(&mut one, &db, 0).await);
    assert!(is_held(&mut one, &db, 1).await);
    assert_eq!(until().await, at(3600), "nobody was asked");
    let mut brief = Lease::new("work", Uuid::from_u128(1), Duration::ZERO);
    assert!(is_held(&mut brief, &db, 2).await);
    assert!(is_held(&mut brief, &db, 3).await);
    assert_eq!(until().await, at(3), "half of nothing has passed at once");
}

#[tokio::test]
async fn released_it_is_free_at_once_and_only_by_its_owner() {
    let (_place, db) = open().await;
    let (mut one, mut two) = (lease(1), lease(2));
    assert!(is_held(&mut one, &db, 0).await);
    two.release(&db).await.unwrap();
    assert!(!is_held(&mut two, &db, 1).await, "it was not his to release");
    one.release(&db).await.unwrap();
    assert!(is_held(&mut two, &db, 1).await);
    one.release(&db).await.unwrap();
    assert!(!is_held(&mut one, &db, 2).await);
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_gets_it() {
    let (_place, db) = open().await;
    let asking: Vec<_> = (0..20)
        .map(|owner| {
            let db = db.clone();
            tokio::spawn(async move { is_held(&mut lease(owner), &db, 0).await })
        })
        .collect();
    let mut held = 0;
    for asked in asking {
        held += usize::from(asked.await.unwrap());
    }
    assert_eq!(held, 1);
}
