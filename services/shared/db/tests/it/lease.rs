//! A lease: one at a time, and another when it has run out.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrator;
use stowage_db::lease::{Lease, Standing, Turns};
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
    let mut one = Lease::new("work", Uuid::from_u128(1), Duration::from_secs(4));
    assert!(is_held(&mut one, &db, 0).await);
    let renewals = AtomicI64::new(0);
    let holding = one.hold(&db, || at(renewals.fetch_add(1, Ordering::SeqCst) + 1));
    let other = async {
        let looks = async {
            while renewals.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), looks).await.expect("it is renewed");
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

/// Counts who is at work, until it is dropped.
struct Busy<'b>(&'b AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Work without an end.
async fn work(busy: &AtomicUsize) {
    busy.fetch_add(1, Ordering::SeqCst);
    let _busy = Busy(busy);
    std::future::pending::<()>().await;
}

async fn becomes(busy: &AtomicUsize, count: usize) {
    let looking = async {
        while busy.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(TEN, looking).await.is_ok(), "{count} work");
}

#[tokio::test]
async fn work_in_turns_is_done_by_one_of_several_and_passed_on_at_the_end() {
    let (_place, db) = open().await;
    let (one, two) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let turns = |owner| {
        let duration = Duration::from_millis(200);
        Turns::new("work", Uuid::from_u128(owner), duration, db.clone())
    };
    let begun = Instant::now();
    let now = || START + begun.elapsed();
    let (mut first, mut second) = (turns(1), turns(2));
    if db.is_exclusive() {
        // Nobody else can have the file, so nobody is asked.
        tokio::select! {
            () = first.run(now, || work(&one)) => {}
            () = becomes(&one, 1) => {}
        }
        let (count,): (i64,) = db.fetch_one("SELECT count(*) FROM lease", args![]).await.unwrap();
        return assert_eq!(count, 0);
    }
    let second = second.run(now, || work(&two));
    tokio::pin!(second);
    {
        let first = first.run(now, || work(&one));
        tokio::pin!(first);
        tokio::select! {
            () = &mut first => {}
            () = becomes(&one, 1) => {}
        }
        // Longer than the lease: it is renewed, and the second waits.
        tokio::select! {
            () = &mut first => {}
            () = &mut second => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        assert_eq!((one.load(Ordering::SeqCst), two.load(Ordering::SeqCst)), (1, 0));
    }
    becomes(&one, 0).await;
    first.give_back().await;
    tokio::select! {
        () = &mut second => {}
        () = becomes(&two, 1) => {}
    }
    // Another takes the lease away: the work stops by itself.
    let mut tx = db.begin().await.unwrap();
    let sql = "UPDATE lease SET owner = $1, until = $2";
    let args = args![Uuid::from_u128(3), START + time::Duration::HOUR];
    tx.execute(sql, args).await.unwrap();
    tx.commit().await.unwrap();
    tokio::select! {
        () = &mut second => {}
        () = becomes(&two, 0) => {}
    }
}
