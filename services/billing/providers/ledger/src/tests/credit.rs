//! Credit of customers who pay in advance: held, posted, voided, and used up.

use futures_util::future::join_all;
use stowage_provider::{CreditNote, InvoiceState, NewCredit};

use super::*;

/// What the customer of the tests may use, and what is kept for his orders.
async fn credit(ledger: &Ledger) -> (i128, i128) {
    let standing = ledger.find_standing(CustomerId(7)).await.unwrap();
    let nanos = standing.credits.first().map(|own| (own.usable.nanos(), own.held.nanos()));
    nanos.unwrap_or_default()
}

async fn pay_in(ledger: &Ledger, key: &str, nanos: i128) {
    let credit = NewCredit {
        key: key.to_owned(),
        customer: CustomerId(7),
        installation: String::new(),
        amount: Money::from_nanos(nanos, Currency::parse("EUR").unwrap()),
        text: "paid in".to_owned(),
        actor: "tester".to_owned(),
    };
    ledger.record_credit(&credit).await.unwrap();
}

/// A ledger whose customer pays in advance, and has that much.
async fn prepaid(nanos: i128) -> (Ledger, Scratch) {
    let (ledger, place) = ledger().await;
    let terms = Some(PaymentTerms::Prepaid);
    ledger.set_payment_terms(CustomerId(7), terms).await.unwrap();
    if nanos > 0 {
        pay_in(&ledger, "FIRST", nanos).await;
    }
    (ledger, place)
}

async fn place(ledger: &Ledger, key: &str, nanos: i128) -> OrderRef {
    let order = order(key, nanos);
    let placed = Some(ledger.place_order(&order).await.unwrap());
    reference(order, placed)
}

#[tokio::test]
async fn an_order_holds_credit_until_it_is_accepted_undone_or_ended() {
    let (ledger, _place) = prepaid(25).await;
    let short = ledger.place_order(&order("dear", 26)).await;
    assert!(matches!(short, Err(Error::CreditTooLow { .. })), "{short:?}");
    let price = |nanos| Money::from_nanos(nanos, Currency::parse("EUR").unwrap());
    assert!(ledger.check_order("", CustomerId(7), price(26)).await.is_err());
    ledger.check_order("", CustomerId(7), price(25)).await.unwrap();
    assert_eq!(credit(&ledger).await, (25, 0), "what is refused holds nothing");

    let accepted = place(&ledger, "accepted", 10).await;
    let undone = place(&ledger, "undone", 10).await;
    assert_eq!(credit(&ledger).await, (5, 20));
    for _ in 0..2 {
        ledger.activate(&accepted).await.unwrap();
        ledger.undo_order(&undone).await.unwrap();
    }
    assert_eq!(credit(&ledger).await, (15, 0));
    let ended = place(&ledger, "ended", 10).await;
    assert_eq!(credit(&ledger).await, (5, 10));
    ledger.terminate(&ended).await.unwrap();
    assert_eq!(credit(&ledger).await, (15, 0));
    let id = accepted.placed.unwrap().invoice_id;
    let paid = ledger.find_invoices(&[id]).await.unwrap().remove(0);
    assert_eq!((paid.state, paid.paid.nanos()), (InvoiceState::Paid, 10));
    // Undone after all: what it cost is credit again.
    ledger.undo_order(&accepted).await.unwrap();
    assert_eq!(credit(&ledger).await, (25, 0));
    let books = sums(&ledger).await;
    let of = |name: &str| books.iter().find(|(account, _)| account == name).map(|(_, sum)| *sum);
    assert_eq!((of("cash"), of("credit/7")), (Some(25), Some(-25)));
    assert_eq!((of("held/7"), of("receivable/7"), of("revenue")), (Some(0), Some(0), Some(0)));
}

#[tokio::test]
async fn of_many_orders_at_once_only_those_are_taken_that_the_credit_suffices_for() {
    let (ledger, _place) = prepaid(35).await;
    let orders: Vec<_> = (0..20).map(|n| order(&format!("k{n}"), 10)).collect();
    let answers = join_all(orders.iter().map(|order| ledger.place_order(order))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!(credit(&ledger).await, (5, 30));
}

#[tokio::test]
async fn credit_pays_open_invoices_the_one_due_first_first_and_one_credit_counts_once() {
    let (ledger, _place) = ledger().await;
    for key in ["one", "two", "three"] {
        let order = place(&ledger, key, 10).await;
        ledger.activate(&order).await.unwrap();
    }
    for _ in 0..3 {
        pay_in(&ledger, "BANK-1", 14).await;
    }
    let paid = async || {
        let found = ledger.find_invoices(&[1, 2, 3]).await.unwrap();
        found.iter().map(|invoice| invoice.paid.nanos()).collect::<Vec<_>>()
    };
    assert_eq!((paid().await, credit(&ledger).await), (vec![10, 4, 0], (0, 0)));
    pay_in(&ledger, "BANK-2", 20).await;
    assert_eq!((paid().await, credit(&ledger).await), (vec![10, 10, 10], (4, 0)));
    let other = NewCredit {
        key: "BANK-2".to_owned(),
        customer: CustomerId(8),
        installation: String::new(),
        amount: Money::from_nanos(20, Currency::parse("EUR").unwrap()),
        text: String::new(),
        actor: "tester".to_owned(),
    };
    let reused = ledger.record_credit(&other).await;
    assert!(matches!(reused, Err(Error::Payment(_))), "{reused:?}");
}

#[tokio::test]
async fn a_credit_note_lowers_what_is_left_and_gives_back_what_was_paid_above() {
    let (ledger, _place) = ledger().await;
    let order = place(&ledger, "one", 10).await;
    let note = |key: &str, nanos: Option<i128>| CreditNote {
        key: key.to_owned(),
        invoice_id: 1,
        amount: nanos.map(|nanos| Money::from_nanos(nanos, Currency::parse("EUR").unwrap())),
        text: "too much".to_owned(),
        actor: "tester".to_owned(),
    };
    let draft = ledger.issue_credit_note(&note("N0", Some(1))).await;
    assert!(matches!(draft, Err(Error::Payment(_))), "a draft is owed by nobody: {draft:?}");
    ledger.activate(&order).await.unwrap();
    for _ in 0..2 {
        let noted = ledger.issue_credit_note(&note("N1", Some(3))).await.unwrap();
        assert_eq!((noted.state, noted.balance().nanos()), (InvoiceState::Open, 7));
    }
    let payment = Payment {
        reference: "BANK-1".to_owned(),
        invoice_id: 1,
        amount: None,
        actor: "tester".to_owned(),
    };
    assert_eq!(ledger.record_payment(&payment).await.unwrap().state, InvoiceState::Paid);
    let above = ledger.issue_credit_note(&note("N2", Some(8))).await;
    assert!(matches!(above, Err(Error::Payment(_))), "7 were not taken back: {above:?}");
    ledger.issue_credit_note(&note("N3", None)).await.unwrap();
    assert_eq!(credit(&ledger).await, (7, 0));
    let books = sums(&ledger).await;
    let of = |name: &str| books.iter().find(|(account, _)| account == name).map(|(_, sum)| *sum);
    assert_eq!((of("cash"), of("credit/7")), (Some(7), Some(-7)));
    assert_eq!((of("receivable/7"), of("revenue")), (Some(0), Some(0)));
}

#[tokio::test]
async fn what_a_credit_note_gave_back_is_not_given_back_again_with_the_order() {
    for (paid, noted) in [(0, 4), (3, 4), (3, 9), (10, 4), (10, 10)] {
        let (ledger, _place) = ledger().await;
        let order = place(&ledger, "one", 10).await;
        ledger.activate(&order).await.unwrap();
        let amount = |nanos| Some(Money::from_nanos(nanos, Currency::parse("EUR").unwrap()));
        if paid > 0 {
            let payment = Payment {
                reference: "BANK-1".to_owned(),
                invoice_id: 1,
                amount: amount(paid),
                actor: "tester".to_owned(),
            };
            ledger.record_payment(&payment).await.unwrap();
        }
        let note = CreditNote {
            key: "N1".to_owned(),
            invoice_id: 1,
            amount: amount(noted),
            text: "too much".to_owned(),
            actor: "tester".to_owned(),
        };
        ledger.issue_credit_note(&note).await.unwrap();
        for _ in 0..2 {
            ledger.undo_order(&order).await.unwrap();
            // All that came in, once.
            assert_eq!(credit(&ledger).await, (paid, 0), "{paid} paid, {noted} noted");
        }
        let books = sums(&ledger).await;
        let is_even = |(account, sum): &(String, i64)| {
            !(account.starts_with("receivable") || account == "revenue") || *sum == 0
        };
        assert!(books.iter().all(is_even), "{paid} paid, {noted} noted: {books:?}");
    }
}
