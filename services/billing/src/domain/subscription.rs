//! Subscriptions: placed with the provider, kept here.
//!
//! An order is reserved in one transaction, placed with the provider outside of any, and recorded
//! in another. Whoever changes an order locks its key first, so an order and its undo cannot pass
//! each other; a call that is lost half-way leaves a reservation, which the same key completes or
//! undoes. A reservation counts as an account, so a limit is never passed.

use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_provider::{Error as ProviderError, NewOrder, OrderKey, OrderRef, Period, PlacedOrder};
use stowage_types::{Currency, CustomerId, Decimal, Money, PlanId, S3uid, Violations};
use time::OffsetDateTime;

use super::Billing;
use super::brief::Brief;
use super::period::span_at;
use super::plan::Plan;
use crate::error::Error;
use crate::rating::hour_after;
use crate::store;
use crate::store::plan::Which;

/// Where a subscription is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Reserved; the provider's answer is not known.
    Ordering,
    Pending,
    Active,
    Cancelled,
    Terminated,
}

impl State {
    /// Every state.
    pub(crate) const ALL: [Self; 5] =
        [Self::Ordering, Self::Pending, Self::Active, Self::Cancelled, Self::Terminated];

    /// How it is stored and told.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Ordering => "ordering",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        }
    }
}

/// What an account is billed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) key: OrderKey,
    pub(crate) provider: String,
    /// Which of the provider's installations it is with; empty: the first.
    pub(crate) installation: String,
    pub(crate) customer: CustomerId,
    pub(crate) s3uid: S3uid,
    pub(crate) plan: PlanId,
    pub(crate) plan_version: i32,
    pub(crate) title: String,
    pub(crate) location: String,
    pub(crate) state: State,
    /// The provider's ids; absent until its answer is recorded.
    pub(crate) placed: Option<PlacedOrder>,
    pub(crate) period: Period,
    pub(crate) period_price: Money,
    pub(crate) base_price: Decimal,
    /// When it was accepted.
    pub(crate) anchor_time: Option<OffsetDateTime>,
    /// When it was terminated or undone.
    pub(crate) end_time: Option<OffsetDateTime>,
    pub(crate) cancel_time: Option<OffsetDateTime>,
    /// Counts the changes of `cancel_time`.
    pub(crate) schedule_version: i64,
    /// Whether the provider was told of its last change.
    pub(crate) is_mirrored: bool,
    /// Counts the changes of its plan.
    pub(crate) plan_changes: i64,
    /// Whether the provider was told of them.
    pub(crate) is_plan_told: bool,
    /// The period that is open, from 1; absent before it is active and behind its last one.
    pub(crate) period_number: Option<i64>,
    /// When something of it is to be closed.
    pub(crate) close_time: Option<OffsetDateTime>,
    pub(crate) create_time: OffsetDateTime,
}

impl Subscription {
    /// What it costs, and when.
    pub(crate) fn brief(&self) -> Brief {
        Brief {
            service_id: self.placed.map_or(0, |placed| placed.service_id),
            s3uid: self.s3uid.clone(),
            state: self.state,
            period: self.period,
            period_price: self.period_price,
            base_price: self.base_price,
            anchor_time: self.anchor_time,
            end_time: self.end_time,
            cancel_time: self.cancel_time,
        }
    }

    /// What the provider calls it.
    pub(crate) fn order_ref(&self) -> OrderRef {
        OrderRef {
            key: self.key.clone(),
            customer: self.customer,
            installation: self.installation.clone(),
            placed: self.placed,
        }
    }

    fn to_order(&self) -> NewOrder {
        NewOrder {
            key: self.key.clone(),
            customer: self.customer,
            s3uid: self.s3uid.clone(),
            plan: self.plan,
            plan_version: self.plan_version,
            title: self.title.clone(),
            location: self.location.clone(),
            installation: self.installation.clone(),
            period: self.period,
            period_price: self.period_price,
        }
    }

    /// What it says it is billed by: the installation, where it has a name.
    pub(crate) fn billed_by(&self) -> &str {
        if self.installation.is_empty() { &self.provider } else { &self.installation }
    }

    fn is_for(&self, order: &OrderRequest) -> bool {
        let same_buyer = self.customer == order.buyer.customer && self.s3uid == order.s3uid;
        let same_plan = self.plan == order.buyer.plan && self.plan_version == order.plan_version;
        let same_terms = self.period_price.currency() == order.buyer.currency
            && self.location == order.buyer.location;
        same_buyer && same_plan && same_terms
    }

    pub(super) fn refused(&self) -> Error {
        Error::SubscriptionState { state: self.state.text() }
    }
}

/// Who wants what.
#[derive(Debug, Clone)]
pub(crate) struct Buyer {
    pub(crate) customer: CustomerId,
    pub(crate) currency: Currency,
    pub(crate) plan: PlanId,
    /// Code of the location.
    pub(crate) location: String,
    /// The customer's mail address; empty: not told.
    pub(crate) email: String,
}

/// An order to place.
#[derive(Debug, Clone)]
pub(crate) struct OrderRequest {
    pub(crate) key: OrderKey,
    pub(crate) buyer: Buyer,
    /// The version that was quoted.
    pub(crate) plan_version: i32,
    pub(crate) s3uid: S3uid,
}

/// What an order key stands for.
enum Reserved {
    /// An order to be placed, now or once more.
    Anew(Subscription),
    /// One that was placed before.
    Before(Subscription),
    /// One whose undo has at least begun.
    Undone(Subscription),
}

impl Billing {
    /// Now, for what is computed when it is shown.
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Places an order. The same key answers the same subscription.
    pub(crate) async fn place_order(
        &self,
        cx: &RequestContext,
        order: &OrderRequest,
    ) -> Result<Subscription, Error> {
        check_buyer(cx, &order.buyer)?;
        let reserved = match self.reserve(order).await? {
            Reserved::Anew(reserved) => reserved,
            Reserved::Before(known) => return Ok(known),
            Reserved::Undone(known) => {
                self.finish_undo(&known).await?;
                return Err(spent_key());
            }
        };
        self.check_provider(&reserved)?;
        match self.ask(self.provider.place_order(&reserved.to_order())).await {
            Ok(placed) => self.record(&reserved.key, placed).await,
            Err(error @ (ProviderError::Refused { .. } | ProviderError::CreditTooLow { .. })) => {
                // An earlier try whose answer was lost may have placed it all the same.
                self.undo_order(cx, &reserved.key).await?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Accepts a placed order: its first period starts now.
    pub(crate) async fn activate(
        &self,
        cx: &RequestContext,
        key: &OrderKey,
    ) -> Result<Subscription, Error> {
        let found = store::subscription::find_by_key(&self.db, key).await?;
        let found = found.filter(|found| cx.sees(found.customer));
        let found = found.ok_or(Error::SubscriptionNotFound)?;
        match found.state {
            State::Active => return Ok(found),
            State::Pending => self.check_provider(&found)?,
            _ => return Err(found.refused()),
        }
        self.ask(self.provider.activate(&found.order_ref())).await?;

        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let mut locked = self.lock(&mut tx, key).await?;
        match locked.state {
            State::Active => return Ok(locked),
            State::Pending => {}
            _ => return Err(locked.refused()),
        }
        let span = span_at(now, locked.period, now);
        let first = span.ok_or_else(|| Error::internal("a period past the calendar"))?;
        store::subscription::activate(&mut tx, key, (now, first.end)).await?;
        self.bill_first(&mut tx, &locked, first).await?;
        tx.commit().await?;
        (locked.state, locked.anchor_time) = (State::Active, Some(now));
        (locked.period_number, locked.close_time) = (Some(1), Some(first.end));
        Ok(locked)
    }

    /// Undoes an order as if it had not been placed, and spends its key.
    pub(crate) async fn undo_order(
        &self,
        cx: &RequestContext,
        key: &OrderKey,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        store::subscription::spend_key(&mut tx, key, self.clock.now()).await?;
        let found = store::subscription::find_by_key(&mut tx, key).await?;
        // Another customer's order is as good as absent, so its key is not spent either.
        if found.as_ref().is_some_and(|found| !cx.sees(found.customer)) {
            return Ok(());
        }
        tx.commit().await?;
        match found {
            Some(found) => self.finish_undo(&found).await,
            None => Ok(()),
        }
    }

    /// Undoes at the provider an order whose key is spent. Whoever meets one that was left
    /// half-way may do it.
    async fn finish_undo(&self, found: &Subscription) -> Result<(), Error> {
        if found.state == State::Cancelled {
            return Ok(());
        }
        self.check_provider(found)?;
        self.ask(self.provider.undo_order(&found.order_ref())).await?;
        let mut tx = self.db.begin().await?;
        store::subscription::cancel(&mut tx, &found.key, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a subscription now.
    pub(crate) async fn terminate(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<Subscription, Error> {
        let found = self.find_own(cx, service_id).await?;
        if matches!(found.state, State::Terminated | State::Cancelled) {
            return Ok(found);
        }
        match self.ask(self.provider.terminate(&found.order_ref())).await {
            Ok(()) | Err(ProviderError::Undone) => {}
            Err(error) => return Err(error.into()),
        }
        let mut tx = self.db.begin().await?;
        let now = self.clock.now();
        store::subscription::lock_key(&mut tx, &found.key, now).await?;
        let locked = store::subscription::find_by_key(&mut tx, &found.key).await?;
        let locked = locked.ok_or(Error::SubscriptionNotFound)?;
        // One whose scheduled end is past ended then, however late this comes.
        let end = locked.cancel_time.map_or(now, |scheduled| scheduled.min(now));
        let close_time = locked.close_time.map(|time| time.min(hour_after(end)));
        store::subscription::terminate(&mut tx, &found.key, (end, close_time)).await?;
        let ended = store::subscription::find_by_key(&mut tx, &found.key).await?;
        tx.commit().await?;
        ended.ok_or(Error::SubscriptionNotFound)
    }

    /// Schedules the end at the end of the current period.
    pub(crate) async fn schedule_cancellation(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<Subscription, Error> {
        let key = self.find_own(cx, service_id).await?.key;
        let mut tx = self.db.begin().await?;
        let found = self.lock(&mut tx, &key).await?;
        if found.state != State::Active {
            return Err(found.refused());
        }
        if found.cancel_time.is_some() {
            return Ok(found);
        }
        let span = found.brief().current_period(self.clock.now());
        let end = span.ok_or_else(|| Error::internal("a period past the calendar"))?.end;
        self.set_cancel_time(tx, found, Some(end)).await
    }

    /// Withdraws a scheduled end.
    pub(crate) async fn withdraw_cancellation(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<Subscription, Error> {
        let key = self.find_own(cx, service_id).await?.key;
        let mut tx = self.db.begin().await?;
        let found = self.lock(&mut tx, &key).await?;
        if matches!(found.state, State::Terminated | State::Cancelled) {
            return Err(found.refused());
        }
        if found.cancel_time.is_none() {
            return Ok(found);
        }
        self.set_cancel_time(tx, found, None).await
    }

    /// Returns the caller's subscriptions among those ids, in their order.
    pub(crate) async fn batch_get_subscriptions(
        &self,
        cx: &RequestContext,
        service_ids: &[i64],
    ) -> Result<Vec<Subscription>, Error> {
        let scope = cx.principal.scope();
        let provider = self.provider.name();
        Ok(store::subscription::list(&self.db, provider, scope, service_ids).await?)
    }

    /// Subscriptions that are open, by key, those after `after`.
    pub(crate) async fn list_open(
        &self,
        cx: &RequestContext,
        after: &str,
        max: i64,
    ) -> Result<Vec<Subscription>, Error> {
        let found = store::subscription::list_open(&self.db, self.provider.name(), (after, max));
        let mut found = found.await?;
        found.retain(|found| cx.sees(found.customer));
        Ok(found)
    }

    /// Reserves an order, or returns what its key stands for already.
    async fn reserve(&self, order: &OrderRequest) -> Result<Reserved, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let spent = store::subscription::lock_key(&mut tx, &order.key, now).await?;
        if let Some(known) = store::subscription::find_by_key(&mut tx, &order.key).await? {
            if !known.is_for(order) {
                return Err(Error::OrderKeyReused);
            }
            return Ok(match known.state {
                _ if spent => Reserved::Undone(known),
                State::Ordering => Reserved::Anew(known),
                _ => Reserved::Before(known),
            });
        }
        if spent {
            return Err(spent_key());
        }
        let Buyer { customer, currency, plan, location, email } = &order.buyer;
        let version = Which::Version(order.plan_version);
        let plan = store::plan::find(&mut tx, *plan, version).await?;
        let plan = plan.ok_or(Error::PlanNotFound)?;
        plan.sell(*currency, location)?;
        store::subscription::lock_holder(&mut tx, plan.id, *customer);
        let held = store::subscription::count_open(&mut tx, plan.id, *customer).await?;
        check_limit(&plan, held)?;
        let with = (self.provider.name(), self.provider.installation_at(location));
        store::subscription::insert(&mut tx, order, with, now);
        store::customer_link::set_email(&mut tx, *customer, email, now);
        let reserved = store::subscription::find_by_key(&mut tx, &order.key).await?;
        tx.commit().await?;
        reserved.map(Reserved::Anew).ok_or_else(|| Error::internal("a reservation is gone"))
    }

    /// Records the provider's answer. An undo that came in between wins: it has told the
    /// provider, or will be repeated until it has.
    async fn record(&self, key: &OrderKey, placed: PlacedOrder) -> Result<Subscription, Error> {
        let mut tx = self.db.begin().await?;
        let mut found = self.lock(&mut tx, key).await?;
        if found.state == State::Ordering {
            store::subscription::record(&mut tx, key, placed).await?;
            tx.commit().await?;
            (found.state, found.placed) = (State::Pending, Some(placed));
        }
        Ok(found)
    }

    /// Locks a subscription's key and reads it. A spent key is refused.
    pub(super) async fn lock(&self, tx: &mut Tx, key: &OrderKey) -> Result<Subscription, Error> {
        let spent = store::subscription::lock_key(tx, key, self.clock.now()).await?;
        let found = store::subscription::find_by_key(tx, key).await?;
        let found = found.ok_or(Error::SubscriptionNotFound)?;
        if spent { Err(spent_key()) } else { Ok(found) }
    }

    /// A subscription of this provider's that the caller sees.
    pub(super) async fn find_own(
        &self,
        cx: &RequestContext,
        service_id: i64,
    ) -> Result<Subscription, Error> {
        let provider = self.provider.name();
        let found = store::subscription::find(&self.db, provider, service_id).await?;
        found.filter(|found| cx.sees(found.customer)).ok_or(Error::SubscriptionNotFound)
    }

    async fn set_cancel_time(
        &self,
        mut tx: Tx,
        mut found: Subscription,
        end: Option<OffsetDateTime>,
    ) -> Result<Subscription, Error> {
        store::subscription::set_cancel_time(&mut tx, &found.key, end).await?;
        tx.notify_after_commit(std::sync::Arc::clone(&self.schedule_changed));
        tx.commit().await?;
        found.cancel_time = end;
        found.schedule_version += 1;
        found.is_mirrored = false;
        Ok(found)
    }

    /// What another provider bills, this one must not be asked about.
    fn check_provider(&self, found: &Subscription) -> Result<(), Error> {
        if found.provider == self.provider.name() {
            return Ok(());
        }
        let why = format!("the order is billed by {}, which is not configured", found.provider);
        Err(ProviderError::unavailable(why).into())
    }
}

fn spent_key() -> Error {
    Error::SubscriptionState { state: State::Cancelled.text() }
}

/// A caller who acts for a customer orders for him only.
pub(super) fn check_buyer(cx: &RequestContext, buyer: &Buyer) -> Result<(), Error> {
    if cx.sees(buyer.customer) {
        return Ok(());
    }
    Err(Violations::of("customer_id", "is not the customer that the call acts for").into())
}

pub(super) fn check_limit(plan: &Plan, held: i64) -> Result<(), Error> {
    let limit = plan.terms.account_max_per_customer;
    if limit > 0 && held >= i64::from(limit) {
        return Err(Error::PlanLimit { plan: plan.id, limit });
    }
    Ok(())
}
