mod credit;

use futures_util::future::join_all;
use stowage_db::args;
use stowage_db::testing::Scratch;
use stowage_provider::{OrderKey, Period, conformance};
use stowage_types::{Currency, CustomerId, FakeClock, Money, PlanId, S3uid};

use super::*;

/// The history of the database that the ledger's tables belong to.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

async fn ledger() -> (Ledger, Scratch) {
    let place = Scratch::new().await;
    let db = place.open("billing", &MIGRATOR).await.unwrap();
    let clock = Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH));
    (Ledger::new(db, clock, (Duration::days(14), PaymentTerms::Invoiced)), place)
}

fn order(key: &str, nanos: i128) -> NewOrder {
    NewOrder {
        key: OrderKey::parse(key).unwrap(),
        customer: CustomerId(7),
        s3uid: S3uid::parse(&"0f".repeat(16)).unwrap(),
        plan: PlanId(1),
        plan_version: 1,
        title: "Standard S3 Plan".to_owned(),
        location: "NL".to_owned(),
        installation: String::new(),
        period: Period::Monthly,
        period_price: Money::from_nanos(nanos, Currency::parse("EUR").unwrap()),
    }
}

fn reference(order: NewOrder, placed: Option<PlacedOrder>) -> OrderRef {
    let NewOrder { key, customer, installation, .. } = order;
    OrderRef { key, customer, installation, placed }
}

async fn invoices(ledger: &Ledger) -> Vec<(i64, i64, String)> {
    ledger
        .db
        .fetch_all(
            "SELECT invoice_id, amount_nanos, state FROM ledger_invoice ORDER BY invoice_id",
            args![],
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn the_ledger_passes_the_suite() {
    let (ledger, _place) = ledger().await;
    conformance::run(&ledger).await;
}

#[tokio::test]
async fn many_at_once_with_one_key_are_one_order() {
    let (ledger, _place) = ledger().await;
    let order = order("one", 9_800_000_000);
    let answers = join_all((0..50).map(|_| ledger.place_order(&order))).await;
    for answer in answers {
        let expected = PlacedOrder { order_id: 1, invoice_id: 1, service_id: 1 };
        assert_eq!(answer.unwrap(), expected);
    }
    assert_eq!(invoices(&ledger).await, [(1, 9_800_000_000, "draft".to_owned())]);
}

#[tokio::test]
async fn an_undo_voids_the_draft() {
    let (ledger, _place) = ledger().await;
    let order = order("one", 1);
    let placed = Some(ledger.place_order(&order).await.unwrap());
    let reference = reference(order, placed);
    ledger.undo_order(&reference).await.unwrap();
    assert_eq!(invoices(&ledger).await, [(1, 1, "void".to_owned())]);
}

/// Every account of the journal with its sum, in order.
async fn sums(ledger: &Ledger) -> Vec<(String, i64)> {
    const UNBALANCED: &str = "SELECT entry_key FROM ledger_posting \
        GROUP BY entry_key, currency HAVING sum(amount_nanos) <> 0 OR count(*) < 2";
    let unbalanced: Vec<(String,)> = ledger.db.fetch_all(UNBALANCED, args![]).await.unwrap();
    assert_eq!(unbalanced, []);
    const SUMS: &str = "SELECT account, CAST(sum(amount_nanos) AS bigint) FROM ledger_posting \
        GROUP BY account ORDER BY account";
    ledger.db.fetch_all(SUMS, args![]).await.unwrap()
}

#[tokio::test]
async fn what_is_owed_and_paid_is_booked_twice_over() {
    let (ledger, _place) = ledger().await;
    let accept = async |key: &str| {
        let order = order(key, 10);
        let placed = Some(ledger.place_order(&order).await.unwrap());
        let reference = reference(order, placed);
        for _ in 0..2 {
            ledger.activate(&reference).await.unwrap();
        }
        reference
    };
    let account = |name: &str, sum: i64| (name.to_owned(), sum);
    let one = accept("one").await;
    assert_eq!(sums(&ledger).await, [account("receivable/7", 10), account("revenue", -10)]);
    let payment = |reference: &str, invoice_id, nanos| Payment {
        reference: reference.to_owned(),
        invoice_id,
        amount: Some(Money::from_nanos(nanos, Currency::parse("EUR").unwrap())),
        actor: "tester".to_owned(),
    };
    // One payment that is reported by many at once.
    let paid = payment("BANK-1", 1, 4);
    for answer in join_all((0..20).map(|_| ledger.record_payment(&paid))).await {
        assert_eq!(answer.unwrap().balance().nanos(), 6);
    }
    let booked = [account("cash", 4), account("receivable/7", 6), account("revenue", -10)];
    assert_eq!(sums(&ledger).await, booked);
    // What was paid for an order that is undone stays the customer's.
    ledger.undo_order(&one).await.unwrap();
    let credit = [
        account("cash", 4),
        account("credit/7", -4),
        account("receivable/7", 0),
        account("revenue", 0),
    ];
    assert_eq!(sums(&ledger).await, credit);
    let late = ledger.record_payment(&payment("BANK-2", 1, 6)).await;
    assert!(matches!(late, Err(Error::Payment(_))), "{late:?}");
    assert_eq!(sums(&ledger).await, credit);
    // One reference for two invoices at once, the first of which the credit has paid 4 of.
    accept("two").await;
    accept("three").await;
    let twins = [payment("BANK-3", 2, 6), payment("BANK-3", 3, 6)];
    let answers = join_all(twins.iter().map(|twin| ledger.record_payment(twin))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let all = [
        account("cash", 10),
        account("credit/7", 0),
        account("receivable/7", 10),
        account("revenue", -20),
    ];
    assert_eq!(sums(&ledger).await, all);
}

#[tokio::test]
async fn prices_that_do_not_fit_are_refused() {
    let (ledger, _place) = ledger().await;
    for nanos in [i128::from(i64::MAX) + 1, -1, i128::MAX] {
        let answer = ledger.place_order(&order("one", nanos)).await;
        assert!(matches!(answer, Err(Error::Refused { .. })), "{nanos}: {answer:?}");
    }
    ledger.place_order(&order("one", i128::from(i64::MAX))).await.unwrap();
    assert_eq!(invoices(&ledger).await.len(), 1);
}

#[tokio::test]
async fn a_closed_database_is_unavailable_and_not_a_success() {
    let (ledger, _place) = ledger().await;
    ledger.db.close().await;
    let answer = ledger.place_order(&order("one", 1)).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
}
