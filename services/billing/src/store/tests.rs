//! The statements, each against a real database.

use stowage_auth::Scope;
use stowage_db::testing::Scratch;
use stowage_db::{Db, Tx};
use stowage_provider::{OrderKey, PlacedOrder};
use stowage_types::{Currency, CustomerId, Decimal, FakeClock, PlanId, S3uid};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::plan::Filter;
use super::{amount, plan, subscription};
use crate::domain::subscription::{Buyer, OrderRequest, State};

const NOW: OffsetDateTime = datetime!(2026-01-31 10:00:00.123456 UTC);

/// A database with the first catalogue.
async fn database() -> (Db, Scratch) {
    let place = Scratch::new().await;
    let db = place.open("billing", &crate::MIGRATOR).await.unwrap();
    crate::seed_catalogue(&db, &FakeClock::at(NOW)).await.unwrap();
    (db, place)
}

fn key(text: &str) -> OrderKey {
    OrderKey::parse(text).unwrap()
}

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn request(text: &str, customer: i64) -> OrderRequest {
    OrderRequest {
        key: key(text),
        buyer: Buyer {
            customer: CustomerId(customer),
            currency: eur(),
            plan: PlanId(1),
            location: "NL".to_owned(),
            email: String::new(),
        },
        plan_version: 1,
        s3uid: S3uid::parse(&"ab".repeat(16)).unwrap(),
    }
}

async fn insert(tx: &mut Tx, text: &str, customer: i64) {
    subscription::lock_key(tx, &key(text), NOW).await.unwrap();
    subscription::insert(tx, &request(text, customer), ("ledger", ""), NOW);
}

#[test]
fn amounts_come_back_and_what_does_not_fit_is_refused() {
    for nanos in [0, 1, i64::MAX, -1] {
        let amount = Decimal::from_nanos(nanos.into());
        assert_eq!(amount::to_nanos(amount).unwrap(), nanos);
        assert_eq!(amount::from_nanos(nanos), amount);
    }
    assert!(amount::to_nanos(Decimal::from_nanos(i128::from(i64::MAX) + 1)).is_err());
}

#[tokio::test]
async fn a_plan_comes_back_as_it_was_stored_in_each_version() {
    let (db, _place) = database().await;
    let first = plan::find(&db, PlanId(1), plan::Which::Latest).await.unwrap().unwrap();
    assert_eq!(first.update_time, NOW);
    let mut second = first.clone();
    second.version = 2;
    second.effective_time = NOW + Duration::days(1);
    second.terms.title = "Renamed".to_owned();
    second.terms.prices.swap(0, 2);
    let mut tx = db.begin().await.unwrap();
    assert!(plan::update(&mut tx, &second, "tester").await.unwrap());
    assert!(!plan::update(&mut tx, &second, "tester").await.unwrap(), "version 1 is gone");
    tx.commit().await.unwrap();
    let later = NOW + Duration::days(1);
    for (version, expected) in [
        (plan::Which::Latest, &second),
        (plan::Which::Version(1), &first),
        (plan::Which::Version(2), &second),
        (plan::Which::At(later - Duration::microseconds(1)), &first),
        (plan::Which::At(later), &second),
    ] {
        let found = plan::find(&db, PlanId(1), version).await.unwrap();
        assert_eq!(found.as_ref(), Some(expected), "{version:?}");
    }
    assert_eq!(plan::find(&db, PlanId(1), plan::Which::Version(3)).await.unwrap(), None);
    let early = plan::Which::At(NOW - Duration::days(1));
    assert_eq!(plan::find(&db, PlanId(1), early).await.unwrap(), None, "not sold yet");
    assert_eq!(plan::find(&db, PlanId(9), plan::Which::Latest).await.unwrap(), None);
}

#[tokio::test]
async fn listing_filters_and_stops_at_its_limit() {
    let (db, _place) = database().await;
    let mut tx = db.begin().await.unwrap();
    assert!(plan::archive(&mut tx, PlanId(1)).await.unwrap());
    assert!(!plan::archive(&mut tx, PlanId(1)).await.unwrap());
    tx.commit().await.unwrap();
    let gbp = Currency::parse("GBP").unwrap();
    for (after, location, currency, limit, ids, prices) in [
        (0, "", None, 9, vec![1, 2], 3),
        (0, "", None, 1, vec![1], 3),
        (1, "NL", None, 9, vec![2], 3),
        (0, "US", None, 9, vec![], 0),
        (0, "", Some(eur()), 9, vec![2], 1),
        (0, "", Some(gbp), 9, vec![], 0),
    ] {
        let plans =
            plan::list(&db, &Filter { now: NOW, after, location, currency }, limit).await.unwrap();
        assert_eq!(plans.iter().map(|plan| plan.id.0).collect::<Vec<_>>(), ids);
        assert!(plans.iter().all(|plan| plan.terms.prices.len() == prices));
    }
}

#[tokio::test]
async fn two_active_plans_do_not_share_a_title() {
    let (db, _place) = database().await;
    let mut twin = plan::find(&db, PlanId(1), plan::Which::Latest).await.unwrap().unwrap();
    twin.id = PlanId(3);
    let mut tx = db.begin().await.unwrap();
    let error = plan::insert(&mut tx, &twin, "tester").await.unwrap_err();
    assert!(error.is_unique("plan.title"), "{error:?}");
}

#[tokio::test]
async fn a_subscription_goes_through_its_life() {
    let (db, _place) = database().await;
    let placed = PlacedOrder { order_id: 3, invoice_id: 0, service_id: 5 };
    let mut tx = db.begin().await.unwrap();
    insert(&mut tx, "k1", 7).await;
    subscription::record(&mut tx, &key("k1"), placed).await.unwrap();
    subscription::record(&mut tx, &key("k1"), PlacedOrder { service_id: 6, ..placed })
        .await
        .unwrap();
    let due = NOW + Duration::days(31);
    subscription::activate(&mut tx, &key("k1"), (NOW, due)).await.unwrap();
    tx.commit().await.unwrap();
    let active = subscription::find(&db, "ledger", 5).await.unwrap().unwrap();
    assert_eq!((active.state, active.placed), (State::Active, Some(placed)));
    assert_eq!((active.anchor_time, active.create_time), (Some(NOW), NOW));
    assert_eq!(subscription::find(&db, "whmcs", 5).await.unwrap(), None);

    let due = NOW + Duration::days(1);
    let mut tx = db.begin().await.unwrap();
    subscription::set_cancel_time(&mut tx, &key("k1"), Some(due)).await.unwrap();
    let late = due + Duration::days(9);
    for time in [due, late] {
        subscription::terminate(&mut tx, &key("k1"), (time, Some(time))).await.unwrap();
    }
    let ended = subscription::find_by_key(&mut tx, &key("k1")).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.end_time), (State::Terminated, Some(due)));
    assert_eq!((ended.cancel_time, ended.close_time), (None, Some(due)));
    subscription::cancel(&mut tx, &key("k1"), late).await.unwrap();
    subscription::terminate(&mut tx, &key("k1"), (late, Some(late))).await.unwrap();
    tx.commit().await.unwrap();
    let undone = subscription::find_by_key(&db, &key("k1")).await.unwrap().unwrap();
    assert_eq!((undone.state, undone.end_time), (State::Cancelled, Some(due)));
    assert_eq!((undone.period_number, undone.close_time), (None, None));
}

#[tokio::test]
async fn a_spent_key_stays_spent() {
    let (db, _place) = database().await;
    let mut tx = db.begin().await.unwrap();
    assert!(!subscription::lock_key(&mut tx, &key("k1"), NOW).await.unwrap());
    subscription::spend_key(&mut tx, &key("k1"), NOW).await.unwrap();
    subscription::spend_key(&mut tx, &key("k2"), NOW).await.unwrap();
    for text in ["k1", "k2", "k1"] {
        assert!(subscription::lock_key(&mut tx, &key(text), NOW).await.unwrap(), "{text}");
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn open_subscriptions_are_counted_and_closed_ones_are_not() {
    let (db, _place) = database().await;
    let mut tx = db.begin().await.unwrap();
    for (text, customer) in [("a", 7), ("b", 7), ("c", 8)] {
        subscription::lock_holder(&mut tx, PlanId(1), CustomerId(customer));
        insert(&mut tx, text, customer).await;
    }
    let seven = CustomerId(7);
    assert_eq!(subscription::count_open(&mut tx, PlanId(1), seven).await.unwrap(), 2);
    subscription::cancel(&mut tx, &key("a"), NOW).await.unwrap();
    subscription::cancel(&mut tx, &key("b"), NOW).await.unwrap();
    assert_eq!(subscription::count_open(&mut tx, PlanId(1), seven).await.unwrap(), 0);
    assert_eq!(subscription::count_open(&mut tx, PlanId(1), CustomerId(8)).await.unwrap(), 1);
    assert_eq!(subscription::count_open(&mut tx, PlanId(2), CustomerId(8)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_listing_stays_within_its_scope() {
    let (db, _place) = database().await;
    let mut tx = db.begin().await.unwrap();
    for (service_id, customer) in [(1, 7), (2, 8), (3, 7)] {
        let text = format!("k{service_id}");
        insert(&mut tx, &text, customer).await;
        let placed = PlacedOrder { order_id: service_id, invoice_id: 0, service_id };
        subscription::record(&mut tx, &key(&text), placed).await.unwrap();
    }
    tx.commit().await.unwrap();
    for (scope, asked, expected) in [
        (Scope::Everything, vec![3, 2, 1, 9], vec![1, 2, 3]),
        (Scope::Customer(CustomerId(7)), vec![3, 2, 1], vec![1, 3]),
        (Scope::Customer(CustomerId(0)), vec![1], vec![]),
        (Scope::Everything, vec![], vec![]),
    ] {
        let found = subscription::list(&db, "ledger", scope, &asked).await.unwrap();
        let ids: Vec<_> = found.iter().filter_map(|s| s.placed).map(|p| p.service_id).collect();
        assert_eq!(ids, expected, "{scope:?}");
    }
}

#[tokio::test]
async fn only_the_newest_schedule_counts_as_mirrored() {
    let (db, _place) = database().await;
    let mut tx = db.begin().await.unwrap();
    insert(&mut tx, "k1", 7).await;
    subscription::set_cancel_time(&mut tx, &key("k1"), Some(NOW)).await.unwrap();
    subscription::set_cancel_time(&mut tx, &key("k1"), None).await.unwrap();
    for (told, left) in [(1, 1), (2, 0), (1, 0)] {
        subscription::set_mirrored(&mut tx, &key("k1"), told).await.unwrap();
        let waiting = subscription::list_unmirrored(&mut tx, "ledger", ("", 9)).await.unwrap();
        assert_eq!(waiting.len(), left, "{told}");
    }
}
