//! The suite that every provider passes. A provider's tests call [`run`] with one of its own on
//! fresh state; a failure panics and says which rule was broken.

use stowage_types::{Currency, CustomerId, Money, PlanId, S3uid};
use time::{Duration, OffsetDateTime};

use crate::{Error, NewOrder, OrderKey, OrderRef, Period, PlacedOrder, Provider};

/// Runs every rule.
///
/// # Panics
/// When the provider breaks one.
pub async fn run(provider: &dyn Provider) {
    one_key_is_one_order(provider).await;
    free_orders_have_no_invoice(provider).await;
    every_step_may_be_repeated(provider).await;
    an_undone_key_is_spent(provider).await;
    what_was_never_placed_is_not_found(provider).await;
}

/// An order of the suite; a zero price makes it a free one.
fn order(key: &str, price_units: i128) -> NewOrder {
    let currency = Currency::parse("EUR").expect("three letters");
    NewOrder {
        key: OrderKey::parse(key).expect("keys of the suite are good"),
        customer: CustomerId(1001),
        s3uid: S3uid::parse(&"a1".repeat(16)).expect("32 hex characters"),
        plan: PlanId(1),
        plan_version: 1,
        title: "Standard S3 Plan".to_owned(),
        location: "NL".to_owned(),
        period: Period::Monthly,
        period_price: Money::from_nanos(price_units * 1_000_000_000, currency),
    }
}

fn reference(order: &NewOrder, placed: Option<PlacedOrder>) -> OrderRef {
    OrderRef { key: order.key.clone(), customer: order.customer, placed }
}

async fn place(provider: &dyn Provider, order: &NewOrder) -> PlacedOrder {
    provider.place_order(order).await.expect("a good order is placed")
}

async fn one_key_is_one_order(provider: &dyn Provider) {
    let (first, second) = (order("suite-one", 10), order("suite-two", 10));
    let placed = place(provider, &first).await;
    assert!(placed.order_id > 0 && placed.service_id > 0, "ids are positive: {placed:?}");
    assert_ne!(placed.invoice_id, 0, "what costs something has an invoice");
    assert_eq!(place(provider, &first).await, placed, "the same key answers the same ids");
    let other = place(provider, &second).await;
    assert_ne!(other.order_id, placed.order_id, "another key is another order");
    assert_ne!(other.service_id, placed.service_id, "another key is another service");
}

async fn free_orders_have_no_invoice(provider: &dyn Provider) {
    let placed = place(provider, &order("suite-free", 0)).await;
    assert_eq!(placed.invoice_id, 0, "nothing to pay, no invoice");
}

async fn every_step_may_be_repeated(provider: &dyn Provider) {
    let order = order("suite-repeat", 10);
    let placed = place(provider, &order).await;
    let reference = reference(&order, Some(placed));
    let end = OffsetDateTime::UNIX_EPOCH + Duration::days(30_000);
    for _ in 0..2 {
        provider.activate(&reference).await.expect("a placed order is accepted");
    }
    for end in [Some(end), Some(end), None, None] {
        provider.mirror_end(&reference, end).await.expect("an end is mirrored");
    }
    for _ in 0..2 {
        provider.terminate(&reference).await.expect("an accepted order ends");
    }
    let again = provider.activate(&reference).await;
    assert!(matches!(again, Err(Error::Undone)), "what has ended stays so: {again:?}");
}

async fn an_undone_key_is_spent(provider: &dyn Provider) {
    let (early, late) = (order("suite-undone", 10), order("suite-late", 10));
    let placed = place(provider, &early).await;
    provider.activate(&reference(&early, Some(placed))).await.expect("it is accepted");
    for (order, placed) in [(&early, Some(placed)), (&early, None), (&late, None), (&late, None)] {
        provider.undo_order(&reference(order, placed)).await.expect("an undo may be repeated");
    }
    for order in [&early, &late] {
        let answer = provider.place_order(order).await;
        assert!(matches!(answer, Err(Error::Undone)), "{} came back: {answer:?}", order.key);
        let answer = provider.activate(&reference(order, None)).await;
        assert!(matches!(answer, Err(Error::Undone)), "{} was accepted: {answer:?}", order.key);
    }
}

async fn what_was_never_placed_is_not_found(provider: &dyn Provider) {
    let absent = reference(&order("suite-absent", 10), None);
    for (what, answer) in [
        ("activate", provider.activate(&absent).await),
        ("terminate", provider.terminate(&absent).await),
        ("mirror_end", provider.mirror_end(&absent, None).await),
    ] {
        assert!(matches!(answer, Err(Error::NotFound)), "{what}: {answer:?}");
    }
}
