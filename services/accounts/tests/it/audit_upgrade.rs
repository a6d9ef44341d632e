//! A database of before the audit becomes one with it.

use std::time::Duration;

use sqlx::migrate::Migrator;
use stowage_accounts::{Config, MIGRATOR};
use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_proto::accounts as pb;

use crate::audit::verify;
use crate::double::World;
use crate::kit::{DATABASE, Kit, customer_principal, staff};

/// Entries of before: some batches, and a part of one.
const ENTRIES: i64 = 1234;

/// A database as the first version left it: two customers, and what each of them did.
async fn of_before(entries: i64) -> Scratch {
    let place = Scratch::new().await;
    let first: Vec<_> = MIGRATOR.iter().filter(|one| one.version == 1).cloned().collect();
    let first: &'static Migrator = Box::leak(Box::new(Migrator::with_migrations(first)));
    let db = place.open(DATABASE, first).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    for customer in [1001, 1002] {
        let sql = "INSERT INTO customer (customer_id, email, email_key, currency, create_time) \
            VALUES ($1, $2, $2, 'EUR', '2026-01-01T00:00:00.000000Z')";
        let email = format!("{customer}@example.com");
        tx.execute(sql, args![i64::from(customer), email]).await.unwrap();
    }
    for id in 1..=entries {
        let (event, actor) = match id % 3 {
            0 => ("plan.updated", "administrator"),
            1 => ("key.read", "customers/1001"),
            _ => ("account.ordered", "administrator for customers/1002"),
        };
        let customer = [0, 1001, 1002][usize::try_from(id % 3).unwrap()];
        let sql = "INSERT INTO history (id, create_time, event, actor, customer_id, plan_id, \
            s3uid, old_json, new_json) VALUES ($1, '2026-01-01T00:00:00.000000Z', $2, $3, $4, 1, \
            '', '', '{}')";
        tx.execute(sql, args![id, event, actor, customer]).await.unwrap();
    }
    let sql = "INSERT INTO sequence (name, value) VALUES ('history', $1)";
    tx.execute(sql, args![entries]).await.unwrap();
    tx.execute("UPDATE sequence SET value = 1002 WHERE name = 'customer'", args![]).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;
    place
}

async fn is_whole(kit: &Kit, customer: &str, count: i64) -> Vec<u8> {
    let found = verify(kit, &staff(), customer).await.unwrap();
    assert_eq!((found.entry_count, &found.broken), (count, &None), "{customer}");
    found.head_hash
}

#[tokio::test]
async fn what_was_written_before_is_chained_at_the_first_start_and_goes_on() {
    let place = of_before(ENTRIES).await;
    let mut kit = Kit::unbuilt(Config::default(), World::default(), place).await;
    kit.build().await;
    for (customer, count) in [("customers/0", 411), ("customers/1001", 412)] {
        is_whole(&kit, customer, count).await;
    }
    let customer = customer_principal(1002);
    kit.order(&customer, "photos", "").await.unwrap();
    is_whole(&kit, "customers/1002", 413).await;
    let message = pb::ListAuditEntriesRequest { page_size: 1, ..Default::default() };
    let listed = kit.audit().list_audit_entries(kit.by(&customer, message)).await.unwrap();
    let entry = listed.into_inner().entries.remove(0);
    assert_eq!((&*entry.actor, &*entry.acted_for), ("administrator", "customers/1002"));
    assert_eq!((entry.id, entry.sequence, &*entry.request_id), (2, 1, ""));
    // Readings stay out of the listing of changes.
    let message = pb::ListHistoryRequest { page_size: 1000, ..Default::default() };
    let listed = kit.accounts().list_history(kit.by(&staff(), message)).await.unwrap();
    assert!(listed.into_inner().entries.iter().all(|entry| entry.event != "key.read"));
    // The next start changes nothing, and takes no entry without a place for one of before.
    let head = is_whole(&kit, "customers/1002", 413).await;
    let sql = "INSERT INTO history (id, create_time, event, actor, customer_id, plan_id, s3uid, \
        old_json, new_json) VALUES (5000, '2026-01-01T00:00:00.000000Z', 'x', 'x', 1001, 0, '', \
        '', '')";
    kit.tamper(sql).await;
    kit.restart().await;
    assert_eq!(is_whole(&kit, "customers/1002", 413).await, head);
    let found = verify(&kit, &staff(), "customers/1001").await.unwrap();
    assert_eq!(found.broken.unwrap().kind(), pb::AuditBreakKind::Stray);
}

#[tokio::test]
async fn a_start_that_is_cut_off_is_gone_on_with_by_the_next() {
    let mut heads = Vec::new();
    for is_cut_off in [false, true] {
        let place = of_before(ENTRIES).await;
        let mut kit = Kit::unbuilt(Config::default(), World::default(), place).await;
        // The first time it is asked once and cut off: it cannot be done by then.
        let mut patience = Duration::ZERO;
        let mut cuts = 0;
        while is_cut_off && tokio::time::timeout(patience, kit.build()).await.is_err() {
            patience += Duration::from_millis(3);
            cuts += 1;
        }
        if !is_cut_off {
            kit.build().await;
        }
        assert_eq!(cuts > 0, is_cut_off);
        assert_eq!(kit.count("SELECT count(*) FROM audit_backfill").await, 0);
        heads.push(is_whole(&kit, "customers/1001", 412).await);
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test]
async fn a_new_database_has_nothing_to_chain() {
    let kit = Kit::start().await;
    assert_eq!(kit.count("SELECT count(*) FROM audit_backfill").await, 0);
    is_whole(&kit, "customers/0", 0).await;
}
