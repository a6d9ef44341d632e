//! The provider, fact by fact.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stowage_provider::{
    Error, InvoiceLine, InvoiceListing, InvoiceState, NewCredit, NewInvoice, NewOrder, Payment,
    PaymentRefusal, PlacedOrder, Provider as _,
};
use stowage_provider_whmcs::Product;
use stowage_types::{Currency, CustomerId, Money, PlanId};
use stowage_whmcs_simulator::{Cents, Chances, Settings, Trouble};
use time::macros::{date, datetime};

use crate::kit::{Kit, euros, open, options, order, reference, until_clear};

/// The words of a refusal.
fn why<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Refused { why }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_customer_is_the_one_client_that_has_his_address() {
    let kit = Kit::start().await;
    let customer = CustomerId(1001);
    kit.provider.place_order(&order("a")).await.unwrap();
    assert_eq!(kit.notes.links.lock().unwrap()[&customer], 1, "linked from now on");
    let with = |n: i64, email: Option<&str>| {
        let mut emails = kit.notes.emails.lock().unwrap();
        emails.remove(&CustomerId(n));
        emails.extend(email.map(|email| (CustomerId(n), email.to_owned())));
        let mut order = order(&format!("by-{n}"));
        order.customer = CustomerId(n);
        order
    };
    let anothers = with(2001, Some("c1001@example.com"));
    assert!(why(kit.provider.place_order(&anothers).await).contains("another customer"));
    let nobodys = with(2002, Some("nobody@example.com"));
    assert!(why(kit.provider.place_order(&nobodys).await).contains("one must be made there"));
    let none = with(2003, None);
    assert!(why(kit.provider.place_order(&none).await).contains("must link them"));
    kit.simulator.state().clients.get_mut(&2).unwrap().status = "Closed".to_owned();
    let closed = with(2004, Some("c1002@example.com"));
    assert!(why(kit.provider.place_order(&closed).await).contains("closed"));
    // A link is believed, whatever the address.
    kit.notes.links.lock().unwrap().insert(CustomerId(2001), 3);
    kit.provider.place_order(&anothers).await.unwrap();
    assert_eq!(kit.simulator.state().services_of("by-2001.s3.invalid")[0].client, 3);
}

#[tokio::test]
async fn what_whmcs_cannot_bill_is_refused_before_it_is_asked() {
    let kit = Kit::start().await;
    let refused = async |change: &dyn Fn(&mut NewOrder)| {
        let mut order = order("a");
        change(&mut order);
        why(kit.provider.place_order(&order).await)
    };
    assert!(refused(&|order| order.plan = PlanId(7)).await.contains("plan 7 has no product"));
    let dollars = Money::from_nanos(1_000_000_000, Currency::parse("USD").unwrap());
    assert!(refused(&|order| order.period_price = dollars).await.contains("in EUR, not in USD"));
    let fine = Money::from_nanos(1, Currency::parse("EUR").unwrap());
    assert!(refused(&|order| order.period_price = fine).await.contains("two decimals"));
    assert_eq!(kit.simulator.count("AddOrder"), 0);
}

#[tokio::test]
async fn an_order_is_placed_as_it_was_quoted() {
    let kit = Kit::start().await;
    let placed = kit.provider.place_order(&order("a")).await.unwrap();
    let state = kit.simulator.state();
    let service = &state.services[&placed.service_id];
    assert_eq!((service.first, service.cycle.as_str()), (Cents(980), "monthly"));
    assert_eq!(service.username, "a1".repeat(16));
    assert_eq!(state.invoices[&placed.invoice_id].total(), Cents(980));
    assert_eq!(state.orders[&placed.order_id].status, "Pending");
}

#[tokio::test]
async fn a_free_plan_is_not_ordered_of_a_product_that_costs_something() {
    let kit = Kit::start_with(Settings::default(), |options| {
        options.products.insert(PlanId(1), Product { id: 1, overrides_price: false });
        options.products.insert(PlanId(2), Product { id: 2, overrides_price: false });
    })
    .await;
    kit.simulator.state().add_product("Free", &[]);
    let mut free = order("a");
    free.period_price = euros(0);
    // "free" is no cycle of that product; were it one, the price would be looked at.
    assert!(why(kit.provider.place_order(&free).await).contains("No items"));
    free.plan = PlanId(2);
    assert_eq!(kit.provider.place_order(&free).await.unwrap().invoice_id, 0);
    // Without an override the product's own price counts.
    let placed = kit.provider.place_order(&order("b")).await.unwrap();
    assert_eq!(kit.simulator.state().services[&placed.service_id].first, Cents(1_000));
}

#[tokio::test]
async fn many_at_once_with_one_key_are_one_order() {
    let kit = Kit::start().await;
    let order = order("one");
    let answers = join_all((0..20).map(|_| kit.provider.place_order(&order))).await;
    let first = *answers[0].as_ref().unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap() == first));
    assert_eq!((kit.simulator.count("AddOrder"), kit.simulator.state().orders.len()), (1, 1));
}

#[tokio::test]
async fn an_order_that_was_placed_twice_is_cancelled_once() {
    let kit = Kit::start().await;
    kit.simulator.will_for("AddOrder", Trouble::Twice);
    let placed = kit.provider.place_order(&order("a")).await.unwrap();
    assert_eq!((placed.order_id, placed.service_id, placed.invoice_id), (1, 1, 1));
    let state = kit.simulator.state();
    let of = |id: i64| (state.orders[&id].status.as_str(), state.invoices[&id].status.as_str());
    assert_eq!((of(1), of(2)), (("Pending", "Unpaid"), ("Cancelled", "Cancelled")));
}

#[tokio::test]
async fn an_unclear_answer_is_pending_and_a_repeat_settles_it() {
    let kit = Kit::start().await;
    for trouble in [Trouble::DropAnswer, Trouble::Garble, Trouble::BadGateway, Trouble::DropCall] {
        let order = order(&format!("{trouble:?}"));
        kit.simulator.will_for("AddOrder", trouble);
        let answer = kit.provider.place_order(&order).await;
        assert!(matches!(answer, Err(Error::Pending { .. })), "{trouble:?}: {answer:?}");
        let placed = kit.provider.place_order(&order).await.unwrap();
        let reference = reference(&order, Some(placed));
        kit.simulator.will_for("AcceptOrder", trouble);
        let answer = kit.provider.activate(&reference).await;
        assert!(matches!(answer, Err(Error::Pending { .. })), "{trouble:?}: {answer:?}");
        kit.provider.activate(&reference).await.unwrap();
    }
    let state = kit.simulator.state();
    assert_eq!(state.orders.len(), 4);
    assert!(state.orders.values().all(|order| order.status == "Active"));
}

#[tokio::test]
async fn what_was_certainly_not_done_is_told_and_a_dead_installation_is_left_alone() {
    let kit = Kit::start_with(Settings::default(), |options| options.breaker_failures = 2).await;
    kit.provider.place_order(&order("a")).await.unwrap();
    kit.simulator.will_for("AddOrder", Trouble::Forbid);
    let answer = kit.provider.place_order(&order("b")).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    let url = kit.simulator.url();
    let mut dead = options(&url);
    dead.read_attempts = 1;
    dead.breaker_failures = 2;
    let dead = open(dead, &kit.notes, &kit.clock);
    drop(kit.simulator);
    for _ in 0..3 {
        let answer = dead.place_order(&order("c")).await;
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    }
    let answer = dead.place_order(&order("c")).await.unwrap_err();
    let source = std::error::Error::source(&answer).and_then(std::error::Error::source);
    assert!(source.unwrap().to_string().contains("a moment ago"), "it was not even asked");
}

#[tokio::test]
async fn a_slow_answer_is_pending_and_the_repeat_finds_the_order() {
    let kit = Kit::start_with(Settings::default(), |options| {
        options.call_timeout = Duration::from_millis(200);
    })
    .await;
    kit.simulator.will_for("AddOrder", Trouble::Slow(Duration::from_secs(5)));
    let answer = kit.provider.place_order(&order("a")).await;
    assert!(matches!(answer, Err(Error::Pending { .. })), "{answer:?}");
    kit.provider.place_order(&order("a")).await.unwrap();
    assert_eq!(kit.simulator.state().orders.len(), 1);
}

/// Repeats an order until its answer is clear, with pauses.
async fn place_in_time(kit: &Kit, order: &NewOrder) -> PlacedOrder {
    for _ in 0..500 {
        match kit.provider.place_order(order).await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answer => return answer.unwrap(),
        }
    }
    panic!("no clear answer in 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_php_places_late_is_waited_for_and_one_that_comes_later_is_cancelled() {
    let timeout = Duration::from_millis(300);
    for (late, orders) in [(timeout * 3 / 2, 1), (timeout * 4, 2)] {
        let kit = Kit::start_with(Settings::default(), |own| own.call_timeout = timeout).await;
        kit.provider.place_order(&order("first")).await.unwrap();
        kit.simulator.will_for("AddOrder", Trouble::Late(late));
        let order = order("late");
        let placed = place_in_time(&kit, &order).await;
        for _ in 0..500 {
            if kit.simulator.state().orders.len() == 1 + orders {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kit.provider.activate(&reference(&order, Some(placed))).await.unwrap();
        let state = kit.simulator.state();
        assert_eq!(state.orders.len(), 1 + orders, "{late:?}");
        let of = |status: &str| {
            let own = state.services_of("late.s3.invalid").into_iter();
            own.filter(|service| service.status == status).count()
        };
        assert_eq!((of("Active"), of("Cancelled")), (1, orders - 1), "{late:?}");
        let owed = state.invoices.values().filter(|own| own.status == "Unpaid");
        assert_eq!(owed.count(), 2, "that of the other order, and one");
    }
}

#[tokio::test]
async fn an_order_that_comes_after_its_undo_is_cancelled_by_whoever_sees_it() {
    let kit = Kit::start().await;
    let order = order("late");
    kit.provider.place_order(&self::order("other")).await.unwrap();
    kit.provider.undo_order(&reference(&order, None)).await.unwrap();
    // A call of before the undo went on in PHP: like one of somebody who does not know of it.
    let notes = Arc::new(crate::kit::Notes::default());
    notes.links.lock().unwrap().insert(CustomerId(1001), 1);
    let late = open(options(&kit.simulator.url()), &notes, &kit.clock);
    late.place_order(&order).await.unwrap();
    let answer = kit.provider.place_order(&order).await;
    assert!(matches!(answer, Err(Error::Undone)), "{answer:?}");
    kit.provider.undo_order(&reference(&order, None)).await.unwrap();
    let state = kit.simulator.state();
    assert_eq!(state.services_of("late.s3.invalid")[0].status, "Cancelled");
    assert_eq!(state.orders[&2].status, "Cancelled");
}

#[tokio::test]
async fn what_was_paid_for_an_undone_order_is_given_back_once() {
    let kit = Kit::start().await;
    let order = order("a");
    let placed = kit.provider.place_order(&order).await.unwrap();
    let reference = reference(&order, Some(placed));
    kit.provider.activate(&reference).await.unwrap();
    kit.provider.record_payment(&payment("p1", placed.invoice_id, 400)).await.unwrap();
    let chances = Chances { drop_answer: 200, twice: 200, garble: 100, ..Chances::default() };
    kit.simulator.set_chances(chances, 3);
    for _ in 0..3 {
        until_clear(|| kit.provider.undo_order(&reference)).await.unwrap();
    }
    let state = kit.simulator.state();
    assert_eq!(state.credit_of(1), Cents(400));
    assert_eq!(state.invoices[&placed.invoice_id].status, "Cancelled");
    assert_eq!(state.services[&placed.service_id].status, "Cancelled");
}

#[tokio::test]
async fn an_end_is_written_where_that_is_wanted_and_put_off_when_withdrawn() {
    for mirrors in [false, true] {
        let kit = Kit::start_with(Settings::default(), |own| own.mirror_ends = mirrors).await;
        let order = order("a");
        let placed = kit.provider.place_order(&order).await.unwrap();
        let reference = reference(&order, Some(placed));
        let written = || kit.simulator.state().services[&placed.service_id].terminates;
        let end = Some(datetime!(2026-02-28 13:37 UTC));
        kit.provider.mirror_end(&reference, end).await.unwrap();
        assert_eq!(written(), mirrors.then_some(date!(2026 - 03 - 01)));
        kit.provider.mirror_end(&reference, None).await.unwrap();
        assert_eq!(written(), mirrors.then_some(date!(2099 - 12 - 31)));
        assert_eq!(kit.simulator.count("AddCancelRequest"), 0, "nothing takes one back");
    }
}

#[tokio::test]
async fn a_change_of_plan_gives_the_service_its_product_and_price() {
    for overrides_price in [true, false] {
        let kit = Kit::start_with(Settings::default(), |options| {
            options.products.insert(PlanId(2), Product { id: 7, overrides_price });
        })
        .await;
        let order = order("a");
        let placed = kit.provider.place_order(&order).await.unwrap();
        let reference = reference(&order, Some(placed));
        kit.provider.activate(&reference).await.unwrap();
        let invoices = kit.simulator.state().invoices.len();
        for _ in 0..2 {
            kit.provider.mirror_plan(&reference, PlanId(2), euros(2_500)).await.unwrap();
            let service = kit.simulator.state().services[&placed.service_id].clone();
            let recurring = if overrides_price { Cents(2_500) } else { service.recurring };
            assert_eq!((service.product, service.recurring), (7, recurring));
        }
        assert_eq!(kit.simulator.state().invoices.len(), invoices, "nothing is charged");
        let none = kit.provider.mirror_plan(&reference, PlanId(9), euros(1)).await;
        assert!(matches!(none, Err(Error::Refused { .. })), "{none:?}");
        kit.provider.terminate(&reference).await.unwrap();
        kit.provider.mirror_plan(&reference, PlanId(1), euros(980)).await.unwrap();
        assert_eq!(kit.simulator.state().services[&placed.service_id].product, 7, "it has ended");
    }
}

#[tokio::test]
async fn a_module_that_fails_ends_nothing() {
    let kit = Kit::start_with(Settings::default(), |options| {
        options.ending = stowage_provider_whmcs::Ending::ModuleTerminate;
    })
    .await;
    let order = order("a");
    let placed = kit.provider.place_order(&order).await.unwrap();
    let reference = reference(&order, Some(placed));
    kit.provider.activate(&reference).await.unwrap();
    let set = |module: Option<&str>| {
        let module = module.map(str::to_owned);
        kit.simulator.state().products.get_mut(&1).unwrap().module = module;
    };
    set(Some("failing"));
    let answer = kit.provider.terminate(&reference).await;
    assert!(matches!(answer, Err(Error::Pending { .. })), "{answer:?}");
    set(Some("stowage"));
    kit.provider.terminate(&reference).await.unwrap();
    assert_eq!(kit.simulator.state().services[&placed.service_id].status, "Terminated");
}

fn payment(reference: &str, invoice_id: i64, cents: i128) -> Payment {
    let (reference, actor) = (reference.to_owned(), "test".to_owned());
    Payment { reference, invoice_id, amount: (cents > 0).then(|| euros(cents)), actor }
}

#[tokio::test]
async fn payments_of_one_reference_at_once_are_one_payment() {
    let kit = Kit::start().await;
    let order = order("a");
    let placed = kit.provider.place_order(&order).await.unwrap();
    kit.provider.activate(&reference(&order, Some(placed))).await.unwrap();
    kit.simulator.set_chances(Chances { drop_answer: 200, twice: 200, ..Chances::default() }, 5);
    let payment = payment("p1", placed.invoice_id, 300);
    let answers = (0..10).map(|_| until_clear(|| kit.provider.record_payment(&payment)));
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().paid, euros(300));
    }
    assert_eq!(kit.simulator.state().paid_of(placed.invoice_id), Cents(300));
}

#[tokio::test]
async fn invoices_are_listed_in_pages_and_only_ours() {
    let kit = Kit::start().await;
    for n in 0..230 {
        kit.provider.place_order(&order(&format!("k{n}"))).await.unwrap();
    }
    {
        let mut state = kit.simulator.state();
        // Something else that the client has, an invoice by hand, and somebody else's.
        for (id, (kind, related, client)) in
            [("Hosting", 9_999, 1), ("", 0, 1), ("Hosting", 1, 7)].into_iter().enumerate()
        {
            let id = 1_000 + i64::try_from(id).unwrap();
            let mut other = state.invoices[&1].clone();
            (other.id, other.client) = (id, client);
            (other.items[0].kind, other.items[0].related) = (kind.to_owned(), related);
            other.items[0].description = "Other - example.com".to_owned();
            state.invoices.insert(id, other);
        }
    }
    let mut listing =
        InvoiceListing { customer: Some(CustomerId(1001)), state: None, before: None, max: 100 };
    let mut ids = Vec::new();
    loop {
        let page = kit.provider.list_invoices(listing).await.unwrap();
        let Some(last) = page.last() else { break };
        listing.before = Some(last.id);
        ids.extend(page.iter().map(|invoice| invoice.id));
    }
    assert_eq!(ids, (1..=230).rev().collect::<Vec<i64>>());
    listing.before = Some(118);
    listing.max = 3;
    listing.state = Some(InvoiceState::Draft);
    let page = kit.provider.list_invoices(listing).await.unwrap();
    assert_eq!(page.iter().map(|invoice| invoice.id).collect::<Vec<_>>(), [117, 116, 115]);
    assert_eq!(page[0].title, "Standard");
}

/// An invoice of usage of the order `a`.
fn usage(key: &str, cents: &[i128]) -> NewInvoice {
    let line = |cents: &i128| InvoiceLine { text: "Traffic".to_owned(), amount: euros(*cents) };
    NewInvoice {
        key: key.to_owned(),
        order: reference(&order("a"), None),
        title: "Standard S3 Plan".to_owned(),
        total: euros(cents.iter().sum()),
        lines: cents.iter().map(line).collect(),
    }
}

#[tokio::test]
async fn usage_is_invoiced_once_and_only_what_is_published_is_owed() {
    let kit = Kit::start().await;
    kit.provider.place_order(&order("a")).await.unwrap();
    let chances = Chances { drop_answer: 150, twice: 300, garble: 50, ..Chances::default() };
    kit.simulator.set_chances(chances, 9);
    let mut ids = Vec::new();
    for n in 0..10 {
        let pair = [0, 1].map(|of| usage(&format!("usage/{n}/{of}"), &[125, 5, -30]));
        let issue = || kit.provider.issue_invoices(&pair);
        let issued = until_clear(issue).await.unwrap();
        assert_eq!(until_clear(issue).await.unwrap(), issued, "the same keys, the same invoices");
        ids.extend(issued);
    }
    kit.simulator.set_chances(Chances::default(), 0);
    {
        let state = kit.simulator.state();
        let owed = state.invoices.values().filter(|own| own.status == "Unpaid" && own.id > 1);
        let owed: BTreeSet<i64> = owed.map(|own| own.id).collect();
        assert_eq!(owed, ids.iter().copied().collect());
        let left = state.invoices.values().filter(|own| own.status == "Draft");
        assert_eq!(left.count(), 0, "twins are cancelled");
    }
    let found = kit.provider.find_invoices(&ids[..1]).await.unwrap();
    assert_eq!((found[0].service_id, found[0].total), (1, euros(100)));
    assert_eq!(found[0].due_time, Some(datetime!(2026-02-14 23:59:59 UTC)));
    let mut bad = usage("k", &[1]);
    bad.lines[0].amount = Money::from_nanos(1, Currency::parse("EUR").unwrap());
    assert!(why(kit.provider.issue_invoices(&[bad]).await).contains("two decimals"));
    let mut absent = usage("k", &[1]);
    absent.order = reference(&order("absent"), None);
    let absent = kit.provider.issue_invoices(&[absent]).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    assert!(kit.provider.renews(), "the price of each period is WHMCS' own");
}

fn credit(key: &str, cents: i128) -> NewCredit {
    NewCredit {
        key: key.to_owned(),
        customer: CustomerId(1001),
        installation: String::new(),
        amount: euros(cents),
        text: "Rest of a period".to_owned(),
        actor: "test".to_owned(),
    }
}

#[tokio::test]
async fn credit_is_given_and_taken_in_once() {
    let kit = Kit::start().await;
    let chances = Chances { drop_answer: 150, twice: 300, garble: 50, ..Chances::default() };
    kit.simulator.set_chances(chances, 11);
    for n in 0..10 {
        let given = [0, 1].map(|of| credit(&format!("change/{n}/{of}"), 150));
        let paid = credit(&format!("bank/{n}"), 500);
        for _ in 0..2 {
            until_clear(|| kit.provider.grant_credits(&given)).await.unwrap();
            until_clear(|| kit.provider.record_credit(&paid)).await.unwrap();
        }
    }
    kit.simulator.set_chances(Chances::default(), 0);
    assert_eq!(kit.simulator.state().credit_of(1), Cents(20 * 150 + 10 * 500));
    let standing = kit.provider.find_standing(CustomerId(1001)).await.unwrap();
    assert_eq!(standing.credits[0].usable, euros(8_000));
    let reused = kit.provider.record_credit(&credit("bank/1", 400)).await;
    assert!(matches!(reused, Err(Error::Payment(PaymentRefusal::Other { .. }))), "{reused:?}");
    let nobody = kit.provider.find_standing(CustomerId(9)).await.unwrap();
    assert!(nobody.credits.is_empty());
}

#[tokio::test]
async fn whether_an_order_would_be_taken_is_told_and_nobody_is_linked() {
    let kit = Kit::start().await;
    let customer = CustomerId(1001);
    kit.provider.check_order("", customer, euros(980)).await.unwrap();
    assert!(kit.notes.links.lock().unwrap().is_empty());
    let dollars = Money::from_nanos(1_000_000_000, Currency::parse("USD").unwrap());
    assert!(why(kit.provider.check_order("", customer, dollars).await).contains("in EUR"));
    assert!(why(kit.provider.check_order("", CustomerId(9), euros(1)).await).contains("link"));
}
