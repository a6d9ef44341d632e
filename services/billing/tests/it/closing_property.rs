//! Any sequence of orders, payments, usage, changes and ends, with answers lost on the way: the
//! books add up, nobody is charged twice for one thing, and what was closed never changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stowage_auth::PrincipalRole;
use stowage_db::args;
use stowage_proto::billing as pb;
use stowage_types::Clock;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::kit::{money, principal};
use crate::shop::{EURO, GB, Offer, Shop, Sold};

const START: OffsetDateTime = datetime!(2026-01-31 10:00 UTC);
const ORDERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Act {
    Order,
    /// Hours from now back, and GB.
    Move(i64, i64),
    /// GB that are stored from now on.
    Store(i64),
    Change,
    ChangeAndBack,
    Schedule,
    Withdraw,
    End,
    /// An invoice, all of it or a cent, and a name for the payment.
    Pay(bool, u8),
    Credit(u8),
    Note(u8),
    Terms(bool),
    /// Hours.
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Order),
        4 => (0..24 * 34_i64, 1..200_i64).prop_map(|(back, gb)| Act::Move(back, gb)),
        2 => (0..40_i64).prop_map(Act::Store),
        1 => Just(Act::Change),
        1 => Just(Act::ChangeAndBack),
        1 => Just(Act::Schedule),
        1 => Just(Act::Withdraw),
        1 => Just(Act::End),
        2 => (any::<bool>(), 0..6_u8).prop_map(|(all, name)| Act::Pay(all, name)),
        1 => (0..4_u8).prop_map(Act::Credit),
        1 => (0..4_u8).prop_map(Act::Note),
        1 => any::<bool>().prop_map(Act::Terms),
        6 => (1..24 * 40_i64).prop_map(Act::Wait),
    ]
}

/// What goes wrong until the next wait: answers to issuing that are lost, and metering.
fn trouble() -> impl Strategy<Value = (usize, bool)> {
    (0..3_usize, prop::bool::weighted(0.2))
}

struct World {
    shop: Shop,
    plans: [(String, i32); 2],
    sold: Vec<Sold>,
    /// Every row of a closed period that was ever seen.
    seen: BTreeMap<String, String>,
}

impl World {
    async fn new() -> Self {
        let shop = Shop::open(START).await;
        let small = shop.offer("Small", EURO).await;
        let large = shop.offer("Large", Offer { price: (25, 0), ..EURO }).await;
        Self { shop, plans: [small, large], sold: Vec::new(), seen: BTreeMap::new() }
    }

    fn now(&self) -> OffsetDateTime {
        Clock::now(&*self.shop.kit.clock)
    }

    /// Does it to the account that `which` says. What cannot be is refused, and changes nothing.
    async fn act(&mut self, act: Act, which: usize) {
        let now = self.now();
        let sold = self.sold.get(which % ORDERS).cloned();
        match (act, sold) {
            (Act::Order, None) => self.order().await,
            (Act::Wait(hours), _) => {
                self.shop.kit.clock.set(now + Duration::hours(hours));
            }
            (Act::Pay(all, name), _) => self.pay(which, all, name).await,
            (Act::Credit(name), _) => self.credit(name).await,
            (Act::Note(name), _) => self.note(which, name).await,
            (Act::Terms(prepaid), _) => self.terms(prepaid).await,
            (Act::Move(back, gb), Some(sold)) => {
                let time = now - Duration::hours(back);
                self.shop.kit.metering.moves(&sold.s3uid, time, gb * GB);
            }
            (Act::Store(gb), Some(sold)) => {
                self.shop.kit.metering.stores(&sold.s3uid, now, gb * GB);
            }
            (Act::Change, Some(sold)) => self.change(&sold, 1, "once").await,
            (Act::ChangeAndBack, Some(sold)) => {
                let key = format!("at {}", now.unix_timestamp());
                self.change(&sold, 1, &key).await;
                self.change(&sold, 0, &key).await;
            }
            (Act::Schedule, Some(sold)) => {
                let request = pb::ScheduleSubscriptionCancellationRequest { name: sold.name };
                let _: Result<_, _> = self.shop.kit.sagas().schedule_cancellation(request).await;
            }
            (Act::Withdraw, Some(sold)) => {
                let request = pb::WithdrawSubscriptionCancellationRequest { name: sold.name };
                let _: Result<_, _> = self.shop.kit.sagas().withdraw_cancellation(request).await;
            }
            (Act::End, Some(sold)) => self.shop.end(&sold).await,
            _ => {}
        }
    }

    async fn order(&mut self) {
        let plan = self.plans[0].clone();
        self.sold.push(self.shop.sell(&plan, "EUR").await);
    }

    async fn change(&self, sold: &Sold, to: usize, key: &str) {
        let request = pb::ChangeSubscriptionPlanRequest {
            name: sold.name.clone(),
            plan: self.plans[to].0.clone(),
            plan_version: self.plans[to].1,
            change_key: key.to_owned(),
        };
        let _: Result<_, _> = self.shop.kit.sagas().change_subscription_plan(request).await;
    }

    async fn pay(&self, which: usize, all: bool, name: u8) {
        let administrator = principal(PrincipalRole::Administrator, None);
        let request = pb::RecordPaymentRequest {
            name: format!("invoices/{}", which + 1),
            amount: (!all).then(|| money("EUR", 0, 10_000_000)),
            reference: format!("BANK-{name}"),
            request_id: String::new(),
        };
        let _: Result<_, _> = self.shop.kit.invoices(&administrator).record_payment(request).await;
    }

    async fn credit(&self, name: u8) {
        let administrator = principal(PrincipalRole::Administrator, None);
        let request = pb::RecordCreditRequest {
            customer: "customers/7".to_owned(),
            amount: Some(money("EUR", 17, 0)),
            reference: format!("CREDIT-{name}"),
            ..Default::default()
        };
        self.shop.kit.credits(&administrator).record_credit(request).await.unwrap();
    }

    async fn note(&self, which: usize, name: u8) {
        let administrator = principal(PrincipalRole::Administrator, None);
        let request = pb::IssueCreditNoteRequest {
            name: format!("invoices/{}", which + 1),
            amount: Some(money("EUR", 3, 0)),
            reason: "too much".to_owned(),
            reference: format!("NOTE-{name}"),
            request_id: String::new(),
        };
        let _: Result<_, _> =
            self.shop.kit.invoices(&administrator).issue_credit_note(request).await;
    }

    /// How the customer pays. His orders need credit then, which he may not have.
    async fn terms(&self, prepaid: bool) {
        let administrator = principal(PrincipalRole::Administrator, None);
        let terms = if prepaid && self.sold.len() == ORDERS {
            pb::PaymentTerms::Prepaid
        } else {
            pb::PaymentTerms::Unspecified
        };
        let request = pb::SetPaymentTermsRequest {
            customer: "customers/7".to_owned(),
            payment_terms: terms.into(),
            request_id: String::new(),
        };
        self.shop.kit.credits(&administrator).set_payment_terms(request).await.unwrap();
    }

    /// What must hold whenever nothing is under way.
    async fn check(&mut self) {
        self.shop.settle().await;
        self.shop.audit().await;
        self.nothing_closed_has_changed().await;
        const TWICE: &str = "SELECT a.bill_key, b.bill_key FROM charge a \
            JOIN bill x ON x.bill_key = a.bill_key \
            JOIN bill y ON y.order_key = x.order_key \
            JOIN charge b ON b.bill_key = y.bill_key \
            WHERE a.kind = b.kind AND a.kind IN ('base', 'storage', 'traffic') \
            AND (a.bill_key, a.line) < (b.bill_key, b.line) \
            AND a.from_time < b.to_time AND b.from_time < a.to_time";
        let twice: Vec<(String, String)> =
            self.shop.kit.db.fetch_all(TWICE, args![]).await.unwrap();
        assert_eq!(twice, [], "charged twice for one thing");
        const INVOICED: &str = "SELECT count(*), count(DISTINCT invoice_id) FROM bill \
            WHERE invoice_id > 0";
        let (bills, invoices): (i64, i64) =
            self.shop.kit.db.fetch_one(INVOICED, args![]).await.unwrap();
        let (all,): (i64,) = self
            .shop
            .kit
            .db
            .fetch_one("SELECT count(*) FROM ledger_invoice", args![])
            .await
            .unwrap();
        assert_eq!((bills, bills), (invoices, all), "an invoice for each bill, and none more");
    }

    async fn nothing_closed_has_changed(&mut self) {
        const PERIODS: &str = "SELECT order_key || '/' || CAST(number AS text), bill_key, \
            start_time, end_time, next_end_time, close_time FROM closed_period";
        type Period = (
            String,
            String,
            OffsetDateTime,
            OffsetDateTime,
            Option<OffsetDateTime>,
            OffsetDateTime,
        );
        let periods: Vec<Period> = self.shop.kit.db.fetch_all(PERIODS, args![]).await.unwrap();
        const FIGURES: &str = "SELECT order_key || '/' || CAST(number AS text) || '/' \
            || CAST(segment AS text) || '/' || CAST(revision AS text), bill_key, \
            received_bytes, stored_peak_bytes, stored_last_bytes, stored_byte_seconds \
            FROM usage_snapshot";
        type Figures = (String, String, i64, i64, i64, String);
        let figures: Vec<Figures> = self.shop.kit.db.fetch_all(FIGURES, args![]).await.unwrap();
        const LINES: &str = "SELECT c.bill_key || '#' || CAST(c.line AS text), c.kind, \
            c.quantity_bytes, c.amount_nanos, b.total_nanos, b.invoice_id \
            FROM charge c JOIN bill b ON b.bill_key = c.bill_key";
        type Line = (String, String, i64, i64, i64, Option<i64>);
        let lines: Vec<Line> = self.shop.kit.db.fetch_all(LINES, args![]).await.unwrap();
        let rows = periods
            .iter()
            .map(|row| (format!("period {}", row.0), format!("{row:?}")))
            .chain(figures.iter().map(|row| (format!("figures {}", row.0), format!("{row:?}"))))
            .chain(lines.iter().map(|row| (format!("line {}", row.0), format!("{row:?}"))));
        let rows: BTreeMap<String, String> = rows.collect();
        for (key, row) in &self.seen {
            assert_eq!(rows.get(key), Some(row), "{key} was changed");
        }
        self.seen = rows;
    }

    /// In the end each account was charged for what it moved, whenever that became known.
    async fn all_traffic_is_charged(&self) {
        const CHARGED: &str = "SELECT CAST(coalesce(sum(c.amount_nanos), 0) AS bigint) \
            FROM charge c JOIN bill b ON b.bill_key = c.bill_key \
            WHERE b.order_key = $1 AND c.kind IN ('traffic', 'traffic_correction')";
        const PERIODS: &str = "SELECT p.start_time, p.end_time, s.end_time \
            FROM closed_period p JOIN subscription s ON s.order_key = p.order_key \
            WHERE p.order_key = $1 AND p.number > 0 ORDER BY p.number";
        const MOVED: &str = "SELECT count(*) FROM plan_change WHERE order_key = $1";
        for sold in &self.sold {
            let db = &self.shop.kit.db;
            let (changes,): (i64,) = db.fetch_one(MOVED, args![sold.key.as_str()]).await.unwrap();
            if changes > 0 {
                continue;
            }
            let (charged,): (i64,) = db.fetch_one(CHARGED, args![sold.key.as_str()]).await.unwrap();
            let periods: Vec<(OffsetDateTime, OffsetDateTime, OffsetDateTime)> =
                db.fetch_all(PERIODS, args![sold.key.as_str()]).await.unwrap();
            let hour = |time: OffsetDateTime| {
                let (hour, date) = (time.hour(), time.date());
                date.with_hms(hour, 0, 0).unwrap().assume_utc()
            };
            // A cent for each whole GB above 100: written down here once more, on purpose. The hour
            // in which an account ends counts whole; what is told of later ones is not its own.
            let owed: i64 = periods
                .iter()
                .map(|(start, end, ended)| {
                    let last = hour(*ended + Duration::HOUR - Duration::MICROSECOND);
                    let (start, end) = (hour(*start), hour(*end).min(last));
                    let moved = self.shop.kit.metering.moved(&sold.s3uid, start, end);
                    (moved / GB - 100).max(0) * 10_000_000
                })
                .sum();
            assert_eq!(charged, owed, "{}", sold.key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A database of its own for each case takes a while on a server.
        cases: if stowage_db::testing::is_postgres() { 4 } else { 16 },
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_books_add_up_whatever_happens(
        acts in prop::collection::vec((act(), 0..ORDERS, trouble()), 5..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for (act, which, (losses, is_away)) in acts {
                world.shop.kit.provider.will_lose_issuing(losses);
                world.shop.kit.metering.set_away(is_away);
                world.act(act, which).await;
                if is_away {
                    // A round or two find metering away.
                    tokio::time::sleep(std::time::Duration::from_millis(12)).await;
                    world.shop.kit.metering.set_away(false);
                }
                // Nothing that was closed may change from one wait to the next.
                if matches!(act, Act::Wait(_)) {
                    world.check().await;
                }
            }
            // All have ended, and all that may still come in has.
            for sold in world.sold.clone() {
                world.shop.withdraw_or_nothing(&sold).await;
                world.shop.end(&sold).await;
            }
            let end = world.now() + Duration::days(40);
            world.shop.kit.clock.set(end);
            world.check().await;
            world.all_traffic_is_charged().await;
        });
    }
}
