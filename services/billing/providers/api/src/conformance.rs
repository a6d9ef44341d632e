//! The suite that every provider passes. A provider's tests call [`run`] with one of its own on
//! fresh state; a failure panics and says which rule was broken.

use stowage_types::{Currency, CustomerId, Money, PlanId, S3uid};
use time::{Duration, OffsetDateTime};

use crate::signed::{Disbelief, SignedMessage};
use crate::{
    ById, Error, Invoice, InvoiceLine, InvoiceListing, InvoiceState, NewCredit, NewInvoice,
    NewOrder, OrderKey, OrderRef, OverdueListing, Payment, PaymentRefusal, Period, PlacedOrder,
    PlannedEnd, Provider, Service, ServiceState,
};

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
    an_invoice_follows_its_order(provider).await;
    a_payment_counts_once(provider).await;
    invoices_are_issued_once(provider).await;
    invoices_are_listed(provider).await;
    credit_is_given_once(provider).await;
    services_are_listed(provider).await;
    keyed_invoices_are_listed(provider).await;
    messages_of_strangers_are_not_believed(provider);
    the_books_agree(provider).await;
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
        installation: String::new(),
        period: Period::Monthly,
        period_price: Money::from_nanos(price_units * 1_000_000_000, currency),
    }
}

fn reference(order: &NewOrder, placed: Option<PlacedOrder>) -> OrderRef {
    let installation = order.installation.clone();
    OrderRef { key: order.key.clone(), customer: order.customer, installation, placed }
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

/// An accepted order of the suite, and the id of its invoice.
async fn accepted(provider: &dyn Provider, key: &str, price_units: i128) -> (OrderRef, i64) {
    let order = order(key, price_units);
    let placed = place(provider, &order).await;
    let reference = reference(&order, Some(placed));
    provider.activate(&reference).await.expect("a placed order is accepted");
    (reference, placed.invoice_id)
}

async fn find(provider: &dyn Provider, id: i64) -> Option<Invoice> {
    provider.find_invoices(&[id]).await.expect("the provider is there").pop()
}

async fn state(provider: &dyn Provider, id: i64) -> InvoiceState {
    find(provider, id).await.expect("there is such an invoice").state
}

async fn an_invoice_follows_its_order(provider: &dyn Provider) {
    let order = order("suite-invoice", 10);
    let placed = place(provider, &order).await;
    let id = placed.invoice_id;
    assert_eq!(state(provider, id).await, InvoiceState::Draft, "nothing is owed yet");
    let reference = reference(&order, Some(placed));
    for _ in 0..2 {
        provider.activate(&reference).await.expect("it is accepted");
        let invoice = find(provider, id).await.expect("it is there");
        assert_eq!(invoice.state, InvoiceState::Open);
        assert_eq!((invoice.total, invoice.balance()), (order.period_price, order.period_price));
        assert_eq!((invoice.customer, invoice.service_id), (order.customer, placed.service_id));
        assert!(invoice.issue_time.is_some() && invoice.due_time >= invoice.issue_time);
    }
    provider.terminate(&reference).await.expect("it ends");
    assert_eq!(state(provider, id).await, InvoiceState::Open, "what was had is owed");
    let (undone, id) = accepted(provider, "suite-invoice-undone", 10).await;
    provider.undo_order(&undone).await.expect("it is undone");
    assert_eq!(state(provider, id).await, InvoiceState::Void, "as if it had not been placed");
    assert_eq!(find(provider, i64::MAX).await, None);
    let some = provider.find_invoices(&[id, i64::MAX, placed.invoice_id]).await;
    let ids: Vec<i64> = some.expect("there").iter().map(|invoice| invoice.id).collect();
    assert_eq!(ids, [placed.invoice_id, id], "by id, without those that are not there");
    assert_eq!(provider.find_invoices(&[]).await.expect("there"), []);
}

/// Books a payment of the suite, in whole units of its currency; 0: what is left.
async fn pay(
    provider: &dyn Provider,
    (invoice_id, reference): (i64, &str),
    (units, currency): (i128, &str),
) -> Result<InvoiceState, Error> {
    let currency = Currency::parse(currency).expect("three letters");
    let amount = (units > 0).then(|| Money::from_nanos(units * 1_000_000_000, currency));
    let (reference, actor) = (reference.to_owned(), "suite".to_owned());
    let payment = Payment { reference, invoice_id, amount, actor };
    provider.record_payment(&payment).await.map(|invoice| invoice.state)
}

async fn a_payment_counts_once(provider: &dyn Provider) {
    let (_, id) = accepted(provider, "suite-paid", 10).await;
    let (_, other) = accepted(provider, "suite-paid-too", 10).await;
    let refused = |answer: &Result<_, Error>, wanted: fn(&PaymentRefusal) -> bool| match answer {
        Err(Error::Payment(refusal)) => wanted(refusal),
        _ => false,
    };
    let is_too_high = |refusal: &_| matches!(refusal, PaymentRefusal::TooHigh { .. });
    let is_other = |refusal: &_| matches!(refusal, PaymentRefusal::Other { .. });
    for (units, currency) in [(11, "EUR"), (4, "USD")] {
        let answer = pay(provider, (id, "suite-p1"), (units, currency)).await;
        assert!(refused(&answer, is_too_high), "{units} {currency}: {answer:?}");
    }
    for _ in 0..2 {
        let answer = pay(provider, (id, "suite-p1"), (4, "EUR")).await;
        assert_eq!(answer.expect("a part is paid"), InvoiceState::Open);
    }
    let answer = pay(provider, (id, "suite-p2"), (7, "EUR")).await;
    assert!(refused(&answer, is_too_high), "6 are left: {answer:?}");
    for (invoice, units) in [(id, 5), (other, 4)] {
        let answer = pay(provider, (invoice, "suite-p1"), (units, "EUR")).await;
        assert!(refused(&answer, is_other), "another payment of the same name: {answer:?}");
    }
    for _ in 0..2 {
        let answer = pay(provider, (id, "suite-p2"), (0, "EUR")).await;
        assert_eq!(answer.expect("the rest is paid"), InvoiceState::Paid);
    }
    let answer = pay(provider, (id, "suite-p3"), (0, "EUR")).await;
    assert!(refused(&answer, |refusal| *refusal == PaymentRefusal::NotOpen), "{answer:?}");
    let answer = pay(provider, (i64::MAX, "suite-p4"), (1, "EUR")).await;
    assert!(matches!(answer, Err(Error::NotFound)), "{answer:?}");
}

/// An invoice of the suite; amounts in whole euros.
fn invoice_of(order: &OrderRef, key: &str, amounts: &[i128]) -> NewInvoice {
    let currency = Currency::parse("EUR").expect("three letters");
    let euros = |units: i128| Money::from_nanos(units * 1_000_000_000, currency);
    let line = |units: &i128| InvoiceLine { text: "Traffic".to_owned(), amount: euros(*units) };
    NewInvoice {
        key: key.to_owned(),
        order: order.clone(),
        title: "Standard S3 Plan".to_owned(),
        total: euros(amounts.iter().sum()),
        lines: amounts.iter().map(line).collect(),
    }
}

async fn invoices_are_issued_once(provider: &dyn Provider) {
    let (order, first) = accepted(provider, "suite-usage", 10).await;
    let one = invoice_of(&order, "suite-usage/1", &[3, -1]);
    let two = invoice_of(&order, "suite-usage/2", &[5]);
    let issue = async |invoices: &[NewInvoice]| {
        provider.issue_invoices(invoices).await.expect("an accepted order is billed")
    };
    let both = issue(&[one.clone(), two.clone()]).await;
    assert_eq!(issue(&[two, one]).await, [both[1], both[0]], "the same keys answer the same ids");
    assert!(both[0] != both[1] && !both.contains(&first), "each is another invoice");
    let invoice = find(provider, both[0]).await.expect("it is there");
    assert_eq!(invoice.state, InvoiceState::Open, "it is owed at once");
    assert_eq!(invoice.total.nanos(), 2_000_000_000, "the sum of its lines");
    let service_id = order.placed.expect("it was placed").service_id;
    assert_eq!((invoice.customer, invoice.service_id), (order.customer, service_id));
    assert_eq!(issue(&[]).await, [0; 0], "nothing is nothing");
    let absent = reference(&self::order("suite-absent", 10), None);
    let answer = provider.issue_invoices(&[invoice_of(&absent, "suite-absent/1", &[1])]).await;
    assert!(matches!(answer, Err(Error::NotFound)), "{answer:?}");
}

/// Credit of the suite, of a customer who owes nothing.
fn credit(key: &str, units: i128) -> NewCredit {
    NewCredit {
        key: key.to_owned(),
        customer: CustomerId(1003),
        installation: String::new(),
        amount: order("suite-any", units).period_price,
        text: "Rest of a period".to_owned(),
        actor: "suite".to_owned(),
    }
}

async fn credit_is_given_once(provider: &dyn Provider) {
    let usable = async || {
        let standing = provider.find_standing(CustomerId(1003)).await.expect("there");
        standing.credits.iter().map(|credit| credit.usable.nanos() / 1_000_000_000).sum::<i128>()
    };
    assert_eq!(usable().await, 0, "nothing yet");
    for _ in 0..2 {
        let given = [credit("suite-c1", 3), credit("suite-c2", 4)];
        provider.grant_credits(&given).await.expect("credit is given");
        assert_eq!(usable().await, 7);
    }
    for _ in 0..2 {
        provider.record_credit(&credit("suite-c3", 5)).await.expect("credit is taken in");
        assert_eq!(usable().await, 12);
    }
    let reused = provider.record_credit(&credit("suite-c3", 6)).await;
    let is_refused = matches!(reused, Err(Error::Payment(PaymentRefusal::Other { .. })));
    assert!(is_refused, "another payment of the same name: {reused:?}");
}

async fn invoices_are_listed(provider: &dyn Provider) {
    let all = InvoiceListing { customer: None, state: None, before: None, max: 1000 };
    let every = provider.list_invoices(all).await.expect("the provider is there");
    assert!(every.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let states = [InvoiceState::Draft, InvoiceState::Open, InvoiceState::Paid, InvoiceState::Void];
    for state in states {
        let of_state = InvoiceListing { state: Some(state), ..all };
        let listed = provider.list_invoices(of_state).await.expect("the provider is there");
        let expected: Vec<_> =
            every.iter().filter(|invoice| invoice.state == state).cloned().collect();
        assert!(!expected.is_empty(), "the suite has made one that is {state:?}");
        assert_eq!(listed, expected, "{state:?}");
    }
    let (first, rest) = every.split_first().expect("the suite has made some");
    let page = InvoiceListing { before: Some(first.id), max: 2, ..all };
    let page = provider.list_invoices(page).await.expect("the provider is there");
    assert_eq!(page, rest[..2], "a page goes on where the one before has ended");
    let nobody = InvoiceListing { customer: Some(CustomerId(1002)), ..all };
    assert_eq!(provider.list_invoices(nobody).await.expect("there"), [], "another customer's");

    let open: Vec<_> =
        every.iter().rev().filter(|invoice| invoice.state == InvoiceState::Open).collect();
    let newest_due = open.iter().filter_map(|invoice| invoice.due_time).max().expect("some");
    let mut overdue = OverdueListing { due_before: newest_due, after: 0, max: 1000 };
    let none_yet = provider.list_overdue(overdue).await.expect("the provider is there");
    assert!(none_yet.iter().all(|invoice| invoice.due_time < Some(newest_due)));
    overdue.due_before = newest_due + Duration::seconds(1);
    let listed = provider.list_overdue(overdue).await.expect("the provider is there");
    assert_eq!(listed.iter().collect::<Vec<_>>(), open, "by id");
    overdue.after = open[0].id;
    overdue.max = 1;
    let listed = provider.list_overdue(overdue).await.expect("the provider is there");
    assert_eq!(listed.iter().collect::<Vec<_>>(), open[1..2]);
}

/// The installation that the suite's orders are placed with: the first.
fn installation(provider: &dyn Provider) -> String {
    provider.installations().first().cloned().expect("a provider bills somewhere")
}

/// All services, read two at a time.
async fn services(provider: &dyn Provider) -> Vec<Service> {
    let installation = installation(provider);
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let part = provider.list_services(&installation, ById { after, max: 2 }).await;
        let part = part.expect("the provider is there");
        all.extend(part.rows);
        match part.through {
            Some(through) => {
                assert!(through > after, "a list goes on");
                after = through;
            }
            None => return all,
        }
    }
}

async fn services_are_listed(provider: &dyn Provider) {
    let all = services(provider).await;
    assert!(all.windows(2).all(|pair| pair[0].service_id < pair[1].service_id), "by id");
    for (key, state) in [
        ("suite-one", ServiceState::Pending),
        ("suite-invoice-undone", ServiceState::Ended),
        ("suite-repeat", ServiceState::Ended),
        ("suite-usage", ServiceState::Active),
    ] {
        let order = reference(&order(key, 10), None);
        let listed: Vec<_> = all.iter().filter(|own| own.key == Some(order.key.clone())).collect();
        let (listed, twins) = listed.split_first().expect("what was placed is listed");
        // What was placed twice on the way was cancelled.
        assert!(twins.iter().all(|twin| twin.state == ServiceState::Ended), "{key}: {twins:?}");
        assert_eq!((listed.state, listed.customer), (state, Some(order.customer)), "{key}");
        assert!(listed.service_id > 0 && listed.order_id > 0, "{key}");
        let nanos = self::order(key, 10).period_price.nanos();
        assert!(listed.period_nanos.is_none_or(|own| own == nanos), "{key}: {listed:?}");
        assert!(listed.plans.as_ref().is_none_or(|own| own.contains(&PlanId(1))), "{key}");
        let found = provider.find_service(&order).await.expect("the provider is there");
        assert_eq!(found.as_ref(), Some(*listed), "{key} is found as it is listed");
    }
    let absent = reference(&order("suite-absent", 10), None);
    assert_eq!(provider.find_service(&absent).await.expect("there"), None);
    let elsewhere = provider.list_services("suite-nowhere", ById { after: 0, max: 9 }).await;
    assert!(matches!(elsewhere, Err(Error::NotFound)), "{elsewhere:?}");

    let (planned, _) = accepted(provider, "suite-planned", 10).await;
    let end = OffsetDateTime::UNIX_EPOCH + Duration::days(30_000);
    for (end, expected) in [(Some(end), PlannedEnd::At(end)), (None, PlannedEnd::Never)] {
        provider.mirror_end(&planned, end).await.expect("an end is mirrored");
        let found = provider.find_service(&planned).await.expect("there").expect("it is there");
        assert!(found.end == PlannedEnd::Untold || found.end == expected, "{found:?}");
    }
}

async fn keyed_invoices_are_listed(provider: &dyn Provider) {
    let installation = installation(provider);
    let (mut keys, mut after) = (Vec::new(), 0);
    loop {
        let part = provider.list_keyed_invoices(&installation, ById { after, max: 3 }).await;
        let part = part.expect("the provider is there");
        for invoice in part.rows {
            let found = find(provider, invoice.id).await.expect("it is there");
            assert_eq!(invoice.is_void, found.state == InvoiceState::Void, "{}", invoice.key);
            // What was made twice on the way is withdrawn.
            if !invoice.is_void {
                keys.push(invoice.key);
            }
        }
        match part.through {
            Some(through) => after = through,
            None => break,
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, ["suite-usage/1", "suite-usage/2"], "those of orders have no key");
}

fn messages_of_strangers_are_not_believed(provider: &dyn Provider) {
    let message = SignedMessage { timestamp: "0", signature: "sha256=00", body: b"{}" };
    let read = provider.read_message("suite-nowhere", message);
    assert_eq!(read, Err(Disbelief::NoSecret), "there is no such installation");
    let read = provider.read_message(&installation(provider), message);
    assert!(read.is_err(), "it is not signed: {read:?}");
}

async fn the_books_agree(provider: &dyn Provider) {
    let (installation, mut from) = (installation(provider), String::new());
    loop {
        let part = provider.check_books(&installation, &from).await.expect("there are books");
        assert_eq!(part.faults, [""; 0]);
        match part.next {
            Some(next) => from = next,
            None => break,
        }
    }
}
