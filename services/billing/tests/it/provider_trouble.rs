//! A provider that loses answers, is away, or refuses.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use stowage_billing::Config;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use stowage_provider::signed::{Disbelief, SignedMessage};
use stowage_provider::{
    BooksPart, ById, Client, CreditNote, Error, Hint, Invoice, InvoiceListing, KeyedInvoice,
    NewCredit, NewInvoice, NewOrder, OrderRef, OverdueListing, Part, Payment, PaymentTerms,
    PlacedOrder, Provider, Service, Standing,
};
use stowage_provider_ledger::Ledger;
use stowage_types::{Currency, CustomerId, Money, PlanId};
use time::OffsetDateTime;
use tonic::Code;

use crate::kit::{Kit, assert_reason, order};

/// What goes wrong with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The work is done, the answer is lost.
    LosesAnswer,
    /// Nothing is done.
    IsAway,
    /// Nothing is done, now or later.
    Refuses,
    /// No answer ever comes.
    Hangs,
}

/// The ledger behind a line that fails as told: the outer edge, as WHMCS would be.
#[derive(Debug)]
pub(crate) struct Wobbly {
    ledger: Ledger,
    trouble: Mutex<Vec<Trouble>>,
    ends: Mutex<Vec<Option<OffsetDateTime>>>,
    plans: Mutex<Vec<(PlanId, Money)>>,
    /// How often it is still away when it is told of a plan.
    plan_failures: AtomicUsize,
    issuing_losses: AtomicUsize,
}

impl Wobbly {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            trouble: Mutex::default(),
            ends: Mutex::default(),
            plans: Mutex::default(),
            plan_failures: AtomicUsize::new(0),
            issuing_losses: AtomicUsize::new(0),
        }
    }

    /// The next calls meet these, in order.
    pub(crate) fn will(&self, trouble: &[Trouble]) {
        self.trouble.lock().unwrap().splice(.., trouble.iter().rev().copied());
    }

    /// The ends it was told of.
    fn ends(&self) -> Vec<Option<OffsetDateTime>> {
        self.ends.lock().unwrap().clone()
    }

    /// Billing issues by itself, at any moment: what it meets is counted apart.
    async fn pass_issuing<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let loses = self.issuing_losses.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        let answer = call.await?;
        match loses {
            Ok(_) => Err(Error::pending("the answer was lost")),
            Err(_) => Ok(answer),
        }
    }

    /// So many answers to issuing are lost.
    pub(crate) fn will_lose_issuing(&self, count: usize) {
        self.issuing_losses.store(count, Relaxed);
    }

    async fn pass<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let trouble = self.trouble.lock().unwrap().pop();
        match trouble {
            None => call.await,
            Some(Trouble::LosesAnswer) => {
                call.await?;
                Err(Error::pending("the answer was lost"))
            }
            Some(Trouble::IsAway) => Err(Error::unavailable("away")),
            Some(Trouble::Refuses) => Err(Error::Refused { why: "no credit".to_owned() }),
            Some(Trouble::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Provider for Wobbly {
    fn name(&self) -> &'static str {
        self.ledger.name()
    }

    fn renews(&self) -> bool {
        self.ledger.renews()
    }

    async fn check_order(
        &self,
        installation: &str,
        customer: CustomerId,
        price: Money,
    ) -> Result<(), Error> {
        self.ledger.check_order(installation, customer, price).await
    }

    async fn issue_invoices(&self, invoices: &[NewInvoice]) -> Result<Vec<i64>, Error> {
        self.pass_issuing(self.ledger.issue_invoices(invoices)).await
    }

    async fn grant_credits(&self, credits: &[NewCredit]) -> Result<(), Error> {
        self.pass_issuing(self.ledger.grant_credits(credits)).await
    }

    async fn record_credit(&self, credit: &NewCredit) -> Result<(), Error> {
        self.pass(self.ledger.record_credit(credit)).await
    }

    async fn issue_credit_note(&self, note: &CreditNote) -> Result<Invoice, Error> {
        self.pass(self.ledger.issue_credit_note(note)).await
    }

    async fn find_standing(&self, customer: CustomerId) -> Result<Standing, Error> {
        self.ledger.find_standing(customer).await
    }

    async fn set_payment_terms(
        &self,
        customer: CustomerId,
        terms: Option<PaymentTerms>,
    ) -> Result<(), Error> {
        self.ledger.set_payment_terms(customer, terms).await
    }

    async fn place_order(&self, order: &NewOrder) -> Result<PlacedOrder, Error> {
        self.pass(self.ledger.place_order(order)).await
    }

    async fn activate(&self, order: &OrderRef) -> Result<(), Error> {
        self.pass(self.ledger.activate(order)).await
    }

    async fn undo_order(&self, order: &OrderRef) -> Result<(), Error> {
        self.pass(self.ledger.undo_order(order)).await
    }

    async fn terminate(&self, order: &OrderRef) -> Result<(), Error> {
        self.pass(self.ledger.terminate(order)).await
    }

    async fn mirror_end(&self, order: &OrderRef, end: Option<OffsetDateTime>) -> Result<(), Error> {
        self.pass(self.ledger.mirror_end(order, end)).await?;
        self.ends.lock().unwrap().push(end);
        Ok(())
    }

    async fn mirror_plan(
        &self,
        order: &OrderRef,
        plan: PlanId,
        period_price: Money,
    ) -> Result<(), Error> {
        let failures = &self.plan_failures;
        let less = failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if less.is_ok() {
            return Err(Error::unavailable("away"));
        }
        self.ledger.mirror_plan(order, plan, period_price).await?;
        self.plans.lock().unwrap().push((plan, period_price));
        Ok(())
    }

    // Readings are made by tasks of the role too, at any moment: they meet no trouble.
    async fn find_invoices(&self, ids: &[i64]) -> Result<Vec<Invoice>, Error> {
        self.ledger.find_invoices(ids).await
    }

    async fn list_invoices(&self, listing: InvoiceListing) -> Result<Vec<Invoice>, Error> {
        self.ledger.list_invoices(listing).await
    }

    async fn list_overdue(&self, listing: OverdueListing) -> Result<Vec<Invoice>, Error> {
        self.ledger.list_overdue(listing).await
    }

    async fn record_payment(&self, payment: &Payment) -> Result<Invoice, Error> {
        self.pass(self.ledger.record_payment(payment)).await
    }

    fn installations(&self) -> Vec<String> {
        self.ledger.installations()
    }

    fn read_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<Hint, Disbelief> {
        self.ledger.read_message(installation, message)
    }

    async fn find_service(&self, order: &OrderRef) -> Result<Option<Service>, Error> {
        self.ledger.find_service(order).await
    }

    async fn list_services(&self, installation: &str, by: ById) -> Result<Part<Service>, Error> {
        self.ledger.list_services(installation, by).await
    }

    async fn list_keyed_invoices(
        &self,
        installation: &str,
        by: ById,
    ) -> Result<Part<KeyedInvoice>, Error> {
        self.ledger.list_keyed_invoices(installation, by).await
    }

    async fn find_client(
        &self,
        installation: &str,
        client_id: i64,
    ) -> Result<Option<Client>, Error> {
        self.ledger.find_client(installation, client_id).await
    }

    async fn check_books(&self, installation: &str, from: &str) -> Result<BooksPart, Error> {
        self.ledger.check_books(installation, from).await
    }
}

const AWAY: (Code, ErrorReason) = (Code::Unavailable, ErrorReason::ProviderUnavailable);

#[tokio::test]
async fn an_unclear_answer_is_never_a_success_and_a_repeat_settles_it() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    for trouble in [Trouble::LosesAnswer, Trouble::IsAway] {
        let key = format!("{trouble:?}");
        kit.provider.will(&[trouble, trouble]);
        for _ in 0..2 {
            assert_reason(sagas.place_order(order(&key, 7, 1)).await, AWAY.0, AWAY.1);
        }
        let placed = sagas.place_order(order(&key, 7, 1)).await.unwrap().into_inner();
        let activate = pb::ActivateSubscriptionRequest { order_key: key.clone() };
        kit.provider.will(&[trouble]);
        assert_reason(sagas.activate_subscription(activate.clone()).await, AWAY.0, AWAY.1);
        sagas.activate_subscription(activate).await.unwrap();
        let end = pb::TerminateSubscriptionRequest { name: placed.name };
        kit.provider.will(&[trouble]);
        assert_reason(sagas.terminate_subscription(end.clone()).await, AWAY.0, AWAY.1);
        sagas.terminate_subscription(end).await.unwrap();
        let undo = pb::UndoOrderRequest { order_key: key };
        kit.provider.will(&[trouble]);
        assert_reason(sagas.undo_order(undo.clone()).await, AWAY.0, AWAY.1);
        sagas.undo_order(undo).await.unwrap();
    }
    let orders: (i64,) =
        kit.db.fetch_one("SELECT count(*) FROM ledger_order", stowage_db::args![]).await.unwrap();
    assert_eq!(orders.0, 2, "each key is one order, however often it was sent");
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_counts_against_the_limit_until_it_is_undone() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    kit.provider.will(&[Trouble::LosesAnswer]);
    assert_reason(sagas.place_order(order("lost", 7, 2)).await, AWAY.0, AWAY.1);
    let limit = (Code::ResourceExhausted, ErrorReason::FreePlanLimit);
    assert_reason(sagas.place_order(order("next", 7, 2)).await, limit.0, limit.1);
    let undo = pb::UndoOrderRequest { order_key: "lost".to_owned() };
    kit.provider.will(&[Trouble::IsAway]);
    assert_reason(sagas.undo_order(undo.clone()).await, AWAY.0, AWAY.1);
    // The undo has begun: the key is spent even before the provider knows.
    let late = sagas.place_order(order("lost", 7, 2)).await;
    assert_reason(late, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    sagas.undo_order(undo).await.unwrap();
    sagas.place_order(order("next", 7, 2)).await.unwrap();
}

#[tokio::test]
async fn a_refused_order_leaves_nothing_even_if_an_earlier_try_had_placed_it() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    kit.provider.will(&[Trouble::LosesAnswer, Trouble::Refuses, Trouble::IsAway]);
    for _ in 0..2 {
        assert_reason(sagas.place_order(order("k1", 7, 2)).await, AWAY.0, AWAY.1);
    }
    let spent = sagas.place_order(order("k1", 7, 2)).await;
    assert_reason(spent, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    kit.provider.will(&[Trouble::Refuses]);
    let refused = sagas.place_order(order("k2", 7, 2)).await;
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::OrderRefused);
    let open = "SELECT count(*) FROM ledger_order WHERE state <> 'undone'";
    let open: (i64,) = kit.db.fetch_one(open, stowage_db::args![]).await.unwrap();
    assert_eq!(open.0, 0);
    sagas.place_order(order("k3", 7, 2)).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_on_in_time() {
    let config = Config { provider_timeout_ms: 50, ..Config::default() };
    let kit = Kit::start_with(config).await;
    let mut sagas = kit.sagas();
    kit.provider.will(&[Trouble::Hangs]);
    assert_reason(sagas.place_order(order("k1", 7, 1)).await, AWAY.0, AWAY.1);
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
}

#[tokio::test]
async fn a_change_of_plan_waits_for_no_provider_and_is_told_later_and_once() {
    let config = Config { mirror_interval_ms: 10, ..Config::default() };
    let kit = Kit::start_with(config).await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    let activate = pb::ActivateSubscriptionRequest { order_key: "k1".to_owned() };
    sagas.activate_subscription(activate).await.unwrap();
    let mut plan = crate::kit::plan("Larger");
    plan.prices[0].period_price = Some(crate::kit::money("EUR", 25, 0));
    let request = pb::CreatePlanRequest { plan: Some(plan), ..Default::default() };
    let made = kit.office().create_plan(request).await.unwrap().into_inner();
    kit.provider.plan_failures.store(2, SeqCst);
    let change = pb::ChangeSubscriptionPlanRequest {
        name: "subscriptions/1".to_owned(),
        plan: made.name,
        plan_version: made.version,
        change_key: "c1".to_owned(),
    };
    for _ in 0..2 {
        sagas.change_subscription_plan(change.clone()).await.unwrap();
    }
    // Two rounds find it away. The one that tells of an end is behind that which told of the plan.
    let request = pb::ScheduleSubscriptionCancellationRequest { name: change.name };
    let scheduled = sagas.schedule_cancellation(request).await.unwrap().into_inner();
    let end = stowage_types::from_timestamp(&scheduled.cancel_time.unwrap()).unwrap();
    until_told(&kit, &[Some(end)]).await;
    let told = kit.provider.plans.lock().unwrap().clone();
    let price = Money::from_nanos(25_000_000_000, Currency::parse("EUR").unwrap());
    assert_eq!(told, [(PlanId(made.plan_id), price)]);
}

#[tokio::test]
async fn a_scheduled_end_waits_for_no_provider_and_is_mirrored_later() {
    let config = Config { mirror_interval_ms: 10, ..Config::default() };
    let kit = Kit::start_with(config).await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    let activate = pb::ActivateSubscriptionRequest { order_key: "k1".to_owned() };
    sagas.activate_subscription(activate).await.unwrap();

    kit.provider.will(&[Trouble::IsAway, Trouble::LosesAnswer]);
    let name = || "subscriptions/1".to_owned();
    let request = pb::ScheduleSubscriptionCancellationRequest { name: name() };
    let scheduled = sagas.schedule_cancellation(request).await.unwrap().into_inner();
    let end = stowage_types::from_timestamp(&scheduled.cancel_time.unwrap()).unwrap();
    until_told(&kit, &[Some(end)]).await;

    let request = pb::WithdrawSubscriptionCancellationRequest { name: name() };
    sagas.withdraw_cancellation(request).await.unwrap();
    until_told(&kit, &[Some(end), None]).await;
    let waiting: (i64,) = kit
        .db
        .fetch_one(
            "SELECT count(*) FROM ledger_order WHERE end_time IS NOT NULL",
            stowage_db::args![],
        )
        .await
        .unwrap();
    assert_eq!(waiting.0, 0);
}

async fn until_told(kit: &Kit, expected: &[Option<OffsetDateTime>]) {
    for _ in 0..500 {
        if kit.provider.ends() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the provider was told {:?} in 5 s, not {expected:?}", kit.provider.ends());
}
