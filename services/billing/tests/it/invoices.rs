//! Invoices: issued, paid, overdue and settled.

use stowage_auth::PrincipalRole;
use stowage_billing::Config;
use stowage_proto::Money;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason as R;
use stowage_types::from_timestamp;
use time::Duration;
use tonic::Code;

use crate::kit::{
    Invoices, Kit, START, Subscriptions, assert_reason, customer, money, order, principal,
};
use crate::provider_trouble::Trouble;

/// A role that looks for overdue invoices all the time, and suspends after `days`.
async fn dunning(days: Option<u32>) -> Kit {
    Kit::start_with(Config {
        suspend_after_days: days,
        dunning_interval_ms: 5,
        ..Config::default()
    })
    .await
}

/// An accepted order of the standard plan, of customer 7, for one account.
pub(crate) async fn accept(sagas: &mut Subscriptions, key: &str) -> pb::Subscription {
    sagas.place_order(order(key, 7, 1)).await.unwrap();
    let request = pb::ActivateSubscriptionRequest { order_key: key.to_owned() };
    sagas.activate_subscription(request).await.unwrap().into_inner()
}

pub(crate) fn office(kit: &Kit) -> Invoices {
    kit.invoices(&principal(PrincipalRole::Administrator, None))
}

pub(crate) async fn get(invoices: &mut Invoices, id: i64) -> pb::Invoice {
    let request = pb::GetInvoiceRequest { name: format!("invoices/{id}") };
    invoices.get_invoice(request).await.unwrap().into_inner()
}

pub(crate) fn payment(id: i64, reference: &str, amount: Option<Money>) -> pb::RecordPaymentRequest {
    pb::RecordPaymentRequest {
        name: format!("invoices/{id}"),
        amount,
        reference: reference.to_owned(),
        request_id: String::new(),
    }
}

pub(crate) fn days(n: u64) -> std::time::Duration {
    std::time::Duration::from_secs(n * 86_400)
}

fn told(what: &str, invoice_id: i64) -> (String, String, i64) {
    (what.to_owned(), "ab".repeat(16), invoice_id)
}

#[tokio::test]
async fn an_accepted_order_is_owed_and_a_payment_settles_it() {
    let kit = dunning(None).await;
    let mut sagas = kit.sagas();
    let subscription = accept(&mut sagas, "k1").await;
    let mut office = office(&kit);
    let open = get(&mut office, 1).await;
    assert_eq!(open.state(), pb::InvoiceState::Open);
    assert_eq!((open.customer_id, open.service_id), (7, subscription.service_id));
    assert_eq!((open.s3uid.as_str(), open.title.as_str()), (&*"ab".repeat(16), "Standard S3 Plan"));
    assert_eq!(
        (&open.total, &open.balance),
        (&subscription.period_price, &subscription.period_price)
    );
    let due = from_timestamp(&open.due_time.unwrap()).unwrap();
    assert_eq!(due, START + Duration::days(14));

    let total = open.total.clone().unwrap();
    let part = money("EUR", 0, 250_000_000);
    // The same payment, reported again and again, also after its answer was lost.
    kit.provider.will(&[Trouble::IsAway, Trouble::LosesAnswer]);
    for _ in 0..2 {
        let answer = office.record_payment(payment(1, "BANK-1", Some(part.clone()))).await;
        assert_reason(answer, Code::Unavailable, R::ProviderUnavailable);
    }
    for _ in 0..2 {
        let answer = office.record_payment(payment(1, " BANK-1 ", Some(part.clone()))).await;
        let invoice = answer.unwrap().into_inner();
        assert_eq!((invoice.state(), invoice.paid), (pb::InvoiceState::Open, Some(part.clone())));
    }
    let over = office.record_payment(payment(1, "BANK-2", Some(total.clone()))).await;
    assert_reason(over, Code::FailedPrecondition, R::PaymentTooHigh);
    let dollars = office.record_payment(payment(1, "BANK-2", Some(money("USD", 0, 1)))).await;
    assert_reason(dollars, Code::FailedPrecondition, R::PaymentTooHigh);
    let reused = office.record_payment(payment(1, "BANK-1", Some(money("EUR", 0, 1)))).await;
    assert_reason(reused, Code::FailedPrecondition, R::PaymentRefused);
    let rest =
        pb::RecordPaymentRequest { request_id: "r1".to_owned(), ..payment(1, "BANK-2", None) };
    let paid = office.record_payment(rest.clone()).await.unwrap().into_inner();
    assert_eq!((paid.state(), &paid.paid), (pb::InvoiceState::Paid, &Some(total)));
    assert_eq!(paid.balance, Some(money("EUR", 0, 0)));
    assert_eq!(office.record_payment(rest).await.unwrap().into_inner(), paid);
    let late = office.record_payment(payment(1, "BANK-3", None)).await;
    assert_reason(late, Code::FailedPrecondition, R::InvoiceState);
}

#[tokio::test]
async fn bad_payments_name_their_fields() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    let mut office = office(&kit);
    let long = "x".repeat(129);
    for (request, field) in [
        (pb::RecordPaymentRequest { name: "invoices/x".into(), ..payment(1, "a", None) }, "name"),
        (payment(1, "", None), "reference"),
        (payment(1, "  ", None), "reference"),
        (payment(1, "a\nb", None), "reference"),
        (payment(1, &long, None), "reference"),
        (payment(1, "a", Some(money("EUR", 0, 0))), "amount"),
        (payment(1, "a", Some(money("EUR", -1, 0))), "amount"),
        (payment(1, "a", Some(money("EURO", 1, 0))), "amount"),
        (payment(1, "a", Some(money("EUR", 1, -1))), "amount"),
    ] {
        let status = office.record_payment(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(field), "{field}: {}", status.message());
    }
    let absent = office.record_payment(payment(9, "a", None)).await;
    assert_reason(absent, Code::NotFound, R::InvoiceNotFound);
    assert_eq!(get(&mut office, 1).await.paid, Some(money("EUR", 0, 0)));
}

#[tokio::test]
async fn an_account_is_told_of_once_when_overdue_and_once_when_nothing_is() {
    let kit = dunning(Some(3)).await;
    let mut sagas = kit.sagas();
    accept(&mut sagas, "k1").await;
    accept(&mut sagas, "k2").await;
    let mut office = office(&kit);
    let due = START + Duration::days(17);
    // Not yet: to the microsecond.
    kit.clock.set(due);
    tokio::task::yield_now().await;
    kit.clock.set(due + Duration::seconds(1));
    let both = [told("overdue.v1", 1), told("overdue.v1", 2)];
    assert_eq!(kit.dunned(2).await, both);
    let overdue = get(&mut office, 1).await.overdue_time.expect("it was announced");
    assert!(from_timestamp(&overdue).unwrap() > due);
    // One of the two is paid: the other holds the account still.
    office.record_payment(payment(1, "BANK-1", None)).await.unwrap();
    office.record_payment(payment(2, "BANK-2", Some(money("EUR", 0, 1)))).await.unwrap();
    assert_eq!(kit.dunned(2).await, both);
    office.record_payment(payment(2, "BANK-3", None)).await.unwrap();
    let settled = [both.to_vec(), vec![told("settled.v1", 2)]].concat();
    assert_eq!(kit.dunned(3).await, settled);
    // Nothing is told twice, however often it is looked at.
    kit.clock.advance(days(100));
    accept(&mut sagas, "k3").await;
    kit.clock.advance(days(18));
    let again = [settled, vec![told("overdue.v1", 3)]].concat();
    assert_eq!(kit.dunned(4).await, again);
    // An undo withdraws what is owed; the timer sees that.
    let undo = pb::UndoOrderRequest { order_key: "k3".to_owned() };
    sagas.undo_order(undo).await.unwrap();
    let last = [again, vec![told("settled.v1", 3)]].concat();
    assert_eq!(kit.dunned(5).await, last);
}

#[tokio::test]
async fn two_last_payments_at_once_let_the_account_go_once() {
    let kit = dunning(Some(0)).await;
    let mut sagas = kit.sagas();
    for round in 0..4 {
        let first = round * 2 + 1;
        let keys = [format!("a{round}"), format!("b{round}")];
        for key in &keys {
            accept(&mut sagas, key).await;
        }
        kit.clock.advance(days(15));
        let before = usize::try_from(round).unwrap() * 3;
        kit.dunned(before + 2).await;
        let pay = async |id: i64| {
            let reference = format!("BANK-{id}");
            office(&kit).record_payment(payment(id, &reference, None)).await.unwrap()
        };
        tokio::join!(pay(first), pay(first + 1));
        let told = kit.dunned(before + 3).await;
        assert_eq!(told.len(), before + 3);
        assert_eq!(told[before + 2].0, "settled.v1", "{told:?}");
    }
}

#[tokio::test]
async fn nobody_is_held_unless_it_is_set_and_what_has_ended_is_not() {
    let kit = dunning(None).await;
    accept(&mut kit.sagas(), "k1").await;
    kit.clock.advance(days(400));
    // The next thing told is of a role that holds: this one has had as long.
    let held = dunning(Some(0)).await;
    accept(&mut held.sagas(), "k1").await;
    held.clock.advance(days(400));
    held.dunned(1).await;
    assert_eq!(kit.dunned(0).await, []);
    let kit = dunning(Some(0)).await;
    let mut sagas = kit.sagas();
    let ended = accept(&mut sagas, "k1").await;
    sagas
        .terminate_subscription(pb::TerminateSubscriptionRequest { name: ended.name })
        .await
        .unwrap();
    accept(&mut sagas, "k2").await;
    kit.clock.advance(days(15));
    assert_eq!(kit.dunned(1).await, [told("overdue.v1", 2)]);
}

#[tokio::test]
async fn invoices_are_seen_by_who_owes_them_and_paged() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    for n in 1..=5 {
        accept(&mut sagas, &format!("k{n}")).await;
    }
    sagas.place_order(order("k6", 8, 1)).await.unwrap();
    let list = async |mut of: Invoices, request: pb::ListInvoicesRequest| {
        let page = of.list_invoices(request).await.unwrap().into_inner();
        let ids: Vec<i64> = page.invoices.iter().map(|invoice| invoice.invoice_id).collect();
        (ids, page.next_page_token)
    };
    let all = pb::ListInvoicesRequest::default();
    let drafts = pb::ListInvoicesRequest { state: pb::InvoiceState::Draft.into(), ..all.clone() };
    let of_8 = pb::ListInvoicesRequest { customer: "customers/8".to_owned(), ..all.clone() };
    let (anna, bert) = (customer(7, "EUR"), customer(8, "EUR"));
    assert_eq!(list(office(&kit), all.clone()).await.0, [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(office(&kit), drafts).await.0, [6]);
    assert_eq!(list(office(&kit), of_8.clone()).await.0, [6]);
    assert_eq!(list(kit.invoices(&anna), all.clone()).await.0, [5, 4, 3, 2, 1]);
    assert_eq!(list(kit.invoices(&anna), of_8).await.0, Vec::<i64>::new());
    let foreign = pb::GetInvoiceRequest { name: "invoices/1".to_owned() };
    let answer = kit.invoices(&bert).get_invoice(foreign).await;
    assert_reason(answer, Code::NotFound, R::InvoiceNotFound);
    let mut seen = Vec::new();
    let mut request = pb::ListInvoicesRequest { page_size: 2, ..all };
    loop {
        let (ids, next) = list(kit.invoices(&anna), request.clone()).await;
        seen.extend(ids);
        if next.is_empty() {
            break;
        }
        request.page_token = next;
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let altered = pb::ListInvoicesRequest { page_token: "ff".repeat(9), ..request };
    let answer = kit.invoices(&anna).list_invoices(altered).await;
    assert_reason(answer, Code::InvalidArgument, R::PageTokenInvalid);
}
