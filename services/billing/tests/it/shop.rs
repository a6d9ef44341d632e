//! One account that is billed, on a clock that the test moves, and its invoices as text.

use std::fmt::Write as _;
use std::time::Duration as Bound;

use stowage_auth::PrincipalRole;
use stowage_billing::Config;
use stowage_db::args;
use stowage_proto::Money as MoneyProto;
use stowage_proto::billing as pb;
use stowage_types::{Money, from_timestamp};
use time::{Duration, OffsetDateTime};

use crate::kit::{Kit, money, principal};

/// Bytes of a GB of the plans here.
pub(crate) const GB: i64 = 1_000_000_000;
/// How long after a period's end it is closed.
pub(crate) const CLOSE_AFTER: Duration = Duration::minutes(90);

/// What is sold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) currency: &'static str,
    /// Price of a period, of a GB stored and of a GB moved: units and nano-units.
    pub(crate) price: (i64, i32),
    pub(crate) storage: (i64, i32),
    pub(crate) traffic: (i64, i32),
    pub(crate) included_storage_gb: i64,
    pub(crate) included_traffic_gb: i64,
    pub(crate) mode: pb::StorageMode,
    pub(crate) period: pb::BillingPeriod,
}

/// 10 euro a month, 10 GB stored and 100 GB moved are included.
pub(crate) const EURO: Offer = Offer {
    currency: "EUR",
    price: (10, 0),
    storage: (0, 50_000_000),
    traffic: (0, 10_000_000),
    included_storage_gb: 10,
    included_traffic_gb: 100,
    mode: pb::StorageMode::Peak,
    period: pb::BillingPeriod::Monthly,
};

pub(crate) struct Shop {
    pub(crate) kit: Kit,
    orders: usize,
}

/// An account that is billed.
#[derive(Debug, Clone)]
pub(crate) struct Sold {
    pub(crate) key: String,
    pub(crate) s3uid: String,
    pub(crate) name: String,
}

impl Shop {
    pub(crate) async fn open(at: OffsetDateTime) -> Self {
        let kit = Kit::start_with(Config { close_interval_ms: 5, ..Config::default() }).await;
        kit.clock.set(at);
        Self { kit, orders: 0 }
    }

    /// Puts an offer into the catalogue: the plan's name and version. What costs nothing is said to
    /// be free.
    pub(crate) async fn offer(&self, title: &str, offer: Offer) -> (String, i32) {
        self.offer_of(title, offer, |_| ()).await
    }

    /// The same of a plan that has more to it.
    pub(crate) async fn offer_of(
        &self,
        title: &str,
        offer: Offer,
        edit: impl FnOnce(&mut pb::Plan),
    ) -> (String, i32) {
        let price = |(units, nanos): (i64, i32)| Some(money(offer.currency, units, nanos));
        let parts = [
            (offer.price, pb::PricePart::Period),
            (offer.storage, pb::PricePart::StorageOverage),
            (offer.traffic, pb::PricePart::TrafficOverage),
        ];
        let free = parts.into_iter().filter(|(price, _)| *price == (0, 0));
        let mut plan = pb::Plan {
            title: title.to_owned(),
            storage_type: "standard".to_owned(),
            location: "locations/NL".to_owned(),
            gb_bytes: GB,
            included_storage_gb: offer.included_storage_gb,
            included_traffic_gb: offer.included_traffic_gb,
            storage_mode: offer.mode.into(),
            period: offer.period.into(),
            prices: vec![pb::PlanPrice {
                period_price: price(offer.price),
                storage_overage_price: price(offer.storage),
                traffic_overage_price: price(offer.traffic),
            }],
            free_parts: free.map(|(_, part)| part.into()).collect(),
            ..pb::Plan::default()
        };
        edit(&mut plan);
        let request = pb::CreatePlanRequest { plan: Some(plan), ..Default::default() };
        let made = self.kit.office().create_plan(request).await.unwrap().into_inner();
        (made.name, made.version)
    }

    /// Sells a plan to customer 7, now.
    pub(crate) async fn sell(&mut self, plan: &(String, i32), currency: &str) -> Sold {
        self.orders += 1;
        let (key, s3uid) = (format!("k{}", self.orders), format!("{:032x}", self.orders));
        let mut sagas = self.kit.sagas();
        let order = pb::PlaceOrderRequest {
            order_key: key.clone(),
            customer_id: 7,
            currency: currency.to_owned(),
            plan: plan.0.clone(),
            plan_version: plan.1,
            location: "locations/NL".to_owned(),
            s3uid: s3uid.clone(),
            customer_email: "anna@example.org".to_owned(),
        };
        sagas.place_order(order).await.unwrap();
        let request = pb::ActivateSubscriptionRequest { order_key: key.clone() };
        let active = sagas.activate_subscription(request).await.unwrap().into_inner();
        Sold { key, s3uid, name: active.name }
    }

    /// Moves an account to another plan, now.
    pub(crate) async fn change(&self, sold: &Sold, change_key: &str, to: &(String, i32)) {
        let request = pb::ChangeSubscriptionPlanRequest {
            name: sold.name.clone(),
            plan: to.0.clone(),
            plan_version: to.1,
            change_key: change_key.to_owned(),
        };
        self.kit.sagas().change_subscription_plan(request).await.unwrap();
    }

    pub(crate) async fn end(&self, sold: &Sold) {
        let request = pb::TerminateSubscriptionRequest { name: sold.name.clone() };
        self.kit.sagas().terminate_subscription(request).await.unwrap();
    }

    pub(crate) async fn schedule_end(&self, sold: &Sold) {
        let request = pb::ScheduleSubscriptionCancellationRequest { name: sold.name.clone() };
        self.kit.sagas().schedule_cancellation(request).await.unwrap();
    }

    pub(crate) async fn withdraw_end(&self, sold: &Sold) {
        let request = pb::WithdrawSubscriptionCancellationRequest { name: sold.name.clone() };
        self.kit.sagas().withdraw_cancellation(request).await.unwrap();
    }

    /// Withdraws a scheduled end, if there is one.
    pub(crate) async fn withdraw_or_nothing(&self, sold: &Sold) {
        let request = pb::WithdrawSubscriptionCancellationRequest { name: sold.name.clone() };
        let _: Result<_, _> = self.kit.sagas().withdraw_cancellation(request).await;
    }

    /// Moves the clock, and waits until everything that is due then is closed and issued.
    pub(crate) async fn wait_until(&self, time: OffsetDateTime) {
        self.kit.clock.set(time);
        self.settle().await;
    }

    /// Waits until everything that is due now is closed and issued.
    pub(crate) async fn settle(&self) {
        const DUE: &str = "SELECT (SELECT count(*) FROM subscription WHERE close_time <= $1 \
            AND NOT (state = 'active' AND cancel_time IS NOT NULL AND cancel_time <= close_time)) \
            + (SELECT count(*) FROM bill WHERE invoice_id IS NULL)";
        for _ in 0..2000 {
            let until = stowage_types::Clock::now(&*self.kit.clock) - CLOSE_AFTER;
            let (due,): (i64,) = self.kit.db.fetch_one(DUE, args![until]).await.unwrap();
            if due == 0 {
                return;
            }
            tokio::time::sleep(Bound::from_millis(5)).await;
        }
        panic!("something is due for 10 s");
    }

    /// Every invoice with its lines, by id, and what was given as credit.
    pub(crate) async fn books(&self) -> String {
        let mut office = self.kit.invoices(&principal(PrincipalRole::Administrator, None));
        let listing = pb::ListInvoicesRequest { page_size: 1000, ..Default::default() };
        let mut listed = office.list_invoices(listing).await.unwrap().into_inner().invoices;
        listed.reverse();
        let mut text = String::new();
        for invoice in listed {
            let request = pb::GetInvoiceRequest { name: invoice.name };
            let invoice = office.get_invoice(request).await.unwrap().into_inner();
            let state = invoice.state().as_str_name().trim_start_matches("INVOICE_STATE_");
            let issued = time_of(invoice.issue_time);
            let total = amount_of(&invoice.total);
            let _ = writeln!(
                text,
                "invoice {}, {}, {issued}: {total}",
                invoice.invoice_id,
                state.to_lowercase()
            );
            for line in &invoice.lines {
                let _ = writeln!(text, "    {}  {}", amount_of(&line.amount), line.description);
            }
        }
        const CREDITS: &str = "SELECT e.entry_key, p.currency, p.amount_nanos, e.text \
            FROM ledger_entry e JOIN ledger_posting p ON p.entry_key = e.entry_key \
            AND p.amount_nanos > 0 WHERE e.kind = 'grant' ORDER BY e.entry_key";
        let credits: Vec<(String, String, i64, String)> =
            self.kit.db.fetch_all(CREDITS, args![]).await.unwrap();
        for (key, currency, nanos, why) in credits {
            let currency = stowage_types::Currency::parse(&currency).unwrap();
            let amount = Money::from_nanos(nanos.into(), currency).to_minor_string();
            let _ = writeln!(text, "credit {key}: {amount} {currency}, {why}");
        }
        text
    }

    /// Computes every invoice again, and adds up the journal.
    pub(crate) async fn audit(&self) {
        let mut office = self.kit.invoices(&principal(PrincipalRole::Administrator, None));
        let request = pb::VerifyInvoicesRequest { page_size: 1000, ..Default::default() };
        let verified = office.verify_invoices(request).await.unwrap().into_inner();
        assert_eq!(verified.disagreeing, []);
        let (rated,): (i64,) = self
            .kit
            .db
            .fetch_one("SELECT count(*) FROM bill WHERE invoice_id > 0", args![])
            .await
            .unwrap();
        assert_eq!(i64::from(verified.verified_count), rated);
        audit_journal(&self.kit).await;
    }
}

/// Every entry of the journal comes to zero, and every balance is what the journal says.
pub(crate) async fn audit_journal(kit: &Kit) {
    const UNEVEN: &str = "SELECT entry_key FROM ledger_posting GROUP BY entry_key, currency \
        HAVING sum(amount_nanos) <> 0 OR count(*) <> 2";
    let uneven: Vec<(String,)> = kit.db.fetch_all(UNEVEN, args![]).await.unwrap();
    assert_eq!(uneven, []);
    const BALANCES: &str = "SELECT b.customer_id, b.currency FROM ledger_balance b \
        WHERE b.credit_nanos <> coalesce((SELECT -CAST(sum(p.amount_nanos) AS bigint) \
        FROM ledger_posting p WHERE p.account = 'credit/' || CAST(b.customer_id AS text) \
        AND p.currency = b.currency), 0) \
        OR b.held_nanos <> coalesce((SELECT -CAST(sum(p.amount_nanos) AS bigint) \
        FROM ledger_posting p WHERE p.account = 'held/' || CAST(b.customer_id AS text) \
        AND p.currency = b.currency), 0)";
    let wrong: Vec<(i64, String)> = kit.db.fetch_all(BALANCES, args![]).await.unwrap();
    assert_eq!(wrong, [], "balances that are not what the journal says");
    const OWED: &str = "SELECT i.customer_id, i.currency, \
        CAST(sum(i.amount_nanos - i.paid_nanos) AS bigint) FROM ledger_invoice i \
        WHERE i.state = 'open' GROUP BY i.customer_id, i.currency";
    let owed: Vec<(i64, String, i64)> = kit.db.fetch_all(OWED, args![]).await.unwrap();
    for (customer, currency, nanos) in owed {
        const SUM: &str = "SELECT CAST(coalesce(sum(amount_nanos), 0) AS bigint) \
            FROM ledger_posting WHERE account = $1 AND currency = $2";
        let account = format!("receivable/{customer}");
        let args = args![account, currency.as_str()];
        let (booked,): (i64,) = kit.db.fetch_one(SUM, args).await.unwrap();
        assert_eq!(booked, nanos, "what {customer} owes in {currency}");
    }
}

fn time_of(wire: Option<prost_types::Timestamp>) -> String {
    let time = from_timestamp(&wire.expect("it is issued")).unwrap();
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02}")
}

fn amount_of(wire: &Option<MoneyProto>) -> String {
    let money = Money::from_proto(wire.as_ref().expect("an amount")).unwrap();
    format!("{} {}", money.to_minor_string(), money.currency())
}
