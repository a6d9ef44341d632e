//! Orders: an account with its first bucket.
//!
//! Everything that can be known to fail is asked before anything is written. A repeat is answered
//! with the order it repeats: by its request id, whose row learns in the transaction of the order
//! which account is being made; without one by customer, plan and bucket, while the order is open
//! or has just ended well.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_proto::common::ErrorReason;
use stowage_request::Once;
use stowage_saga::{Failure, Outcome, Saga};
use stowage_types::{BucketName, PlanId, S3uid};
use tonic::Code;

use super::account::Account;
use super::customer::Customer;
use super::life::State;
use super::order_saga::{BUCKET_STEP, CreateAccount, OrderState, describe_bucket_error};
use super::{Domain, Shared};
use crate::error::Error;
use crate::roles::{CallError, Place, Quote};
use crate::store;

/// For how long after it ended well an order answers its repeats.
const GUARD_AFTER: Duration = Duration::from_secs(60);

/// What is ordered.
#[derive(Debug, Clone)]
pub(crate) struct NewOrder {
    pub(crate) plan: PlanId,
    /// Code of the location.
    pub(crate) location: String,
    pub(crate) bucket: BucketName,
}

impl NewOrder {
    /// What orders without a request id are told apart by.
    fn guard_key(&self, customer: &Customer) -> String {
        format!("{}/{}/{}", customer.id, self.plan, self.bucket.as_str())
    }
}

impl Domain {
    /// Orders an account and waits for the end of the order.
    pub(crate) async fn create_account(
        &self,
        cx: &RequestContext,
        order: NewOrder,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let customer = self.own_customer(cx).await?;
        if let Some(earlier) = self.earlier_order(&customer, &order, once).await? {
            return self.end_of_order(cx, earlier).await;
        }
        let placed = match self.quote(cx, &customer, &order).await {
            Ok(offer) => self.place_order(cx, (&customer, &order), offer, once).await,
            Err(refused) => Err(refused),
        };
        match placed {
            Ok(account) => self.end_of_order(cx, account).await,
            Err(refused) if once.is_named() => Err(refused),
            // A twin that began in between is why the name is taken, the limit reached, or the
            // row there already: then its answer is the answer.
            Err(refused) => match self.earlier_order(&customer, &order, once).await? {
                Some(earlier) => self.end_of_order(cx, earlier).await,
                None => Err(refused),
            },
        }
    }

    /// The order that this one repeats.
    async fn earlier_order(
        &self,
        customer: &Customer,
        order: &NewOrder,
        once: &Once<Account>,
    ) -> Result<Option<Account>, Error> {
        let db = &self.shared.db;
        if !once.is_named() {
            let since = self.shared.clock.now() - GUARD_AFTER;
            let of = (customer.id, order.plan);
            return Ok(store::account::find_order(db, of, order.bucket.as_str(), since).await?);
        }
        let Some(made) = once.made() else { return Ok(None) };
        let s3uid = S3uid::parse(made).map_err(Error::internal)?;
        Ok(store::account::find(db, &s3uid, Some(customer.id)).await?)
    }

    /// Asks all that can be asked before anything is written: both roles at once. The plan's
    /// refusals come first, so that the answer does not depend on who was faster.
    async fn quote(
        &self,
        cx: &RequestContext,
        customer: &Customer,
        order: &NewOrder,
    ) -> Result<(Quote, Place), Error> {
        let roles = &self.shared.roles;
        let payer = (customer.id, customer.currency, customer.email.as_str());
        let what = (order.plan, order.location.as_str());
        let bucket = order.bucket.as_str();
        let (quote, place) = tokio::join!(
            roles.quote(cx, payer, what),
            roles.check_bucket_name(cx, &order.location, bucket),
        );
        let place = place.map_err(|error| refusal_of_bucket(error, bucket));
        Ok((quote?, place?))
    }

    /// Writes the order in one transaction: the request, the account with its sealed key, if we
    /// make it, history, the saga.
    async fn place_order(
        &self,
        cx: &RequestContext,
        (customer, order): (&Customer, &NewOrder),
        (quote, place): (Quote, Place),
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let shared = &self.shared;
        let s3uid = S3uid::generate(&*shared.random);
        let ordered =
            Ordered { plan: order.plan, location: &order.location, bucket: order.bucket.as_str() };
        let mut state = order_state(cx, (customer, &ordered), (s3uid, place), quote);
        state.guard_key = (!once.is_named()).then(|| order.guard_key(customer));
        state.pending = once.pending();
        let s3uid = state.s3uid.clone();
        let now = shared.clock.now();
        let mut tx = shared.db.begin().await?;
        once.set_made(&mut tx, s3uid.as_str()).await?;
        if let Some(guard) = &state.guard_key {
            store::account::free_guard(&mut tx, guard, now - GUARD_AFTER);
        }
        self.begin_account::<CreateAccount>(tx, &s3uid, &state).await
    }

    /// Begins the saga of a new account, and ends the transaction; answers the account.
    pub(super) async fn begin_account<K: Saga<Context = Shared>>(
        &self,
        mut tx: Tx,
        s3uid: &S3uid,
        state: &K::State,
    ) -> Result<Account, Error> {
        let saga = match self.sagas.start::<K>(&mut tx, state).await {
            Ok(saga) => saga,
            Err(error) => {
                // Most likely what tells it apart is a twin's.
                drop(tx);
                self.settle().await?;
                return Err(error.into());
            }
        };
        store::account::set_order_saga(&mut tx, s3uid, saga);
        let begun = store::account::find(&mut tx, s3uid, None).await?;
        tx.commit().await?;
        begun.ok_or_else(|| Error::internal("the account just written is not there"))
    }

    /// Waits for the end of an order and says what it came to.
    async fn end_of_order(&self, cx: &RequestContext, placed: Account) -> Result<Account, Error> {
        if !matches!(placed.state, State::Pending | State::Failed) {
            return Ok(placed);
        }
        let outcome = match placed.order_saga {
            Some(saga) => self.outcome_of_order(cx, saga).await?,
            None => Outcome::Undone(forgotten()),
        };
        match outcome {
            Outcome::Completed => {
                let account = store::account::find(&self.shared.db, &placed.s3uid, None).await?;
                account.ok_or(Error::AccountNotFound)
            }
            Outcome::Undone(failure) | Outcome::Stuck(failure) => Err(refusal_of(failure)),
        }
    }

    async fn outcome_of_order(
        &self,
        cx: &RequestContext,
        saga: uuid::Uuid,
    ) -> Result<Outcome, Error> {
        match self.wait_for(cx, saga).await {
            // Only an order that ended long ago is not known any more.
            Err(Error::Internal { source })
                if source
                    .downcast_ref::<stowage_saga::Error>()
                    .is_some_and(|error| matches!(error, stowage_saga::Error::NotFound(_))) =>
            {
                Ok(Outcome::Undone(forgotten()))
            }
            other => other,
        }
    }
}

/// What an account is made of, or adopted into.
pub(super) struct Ordered<'a> {
    pub(super) plan: PlanId,
    /// Code of the location.
    pub(super) location: &'a str,
    /// Its first; empty: an account that is adopted has what it has.
    pub(super) bucket: &'a str,
}

pub(super) fn order_state(
    cx: &RequestContext,
    (customer, ordered): (&Customer, &Ordered<'_>),
    (s3uid, place): (S3uid, Place),
    quote: Quote,
) -> OrderState {
    OrderState {
        s3uid,
        account_id: 0,
        customer: customer.id,
        email: customer.email.clone(),
        currency: customer.currency,
        plan: ordered.plan,
        plan_version: quote.plan_version,
        location: ordered.location.to_owned(),
        storage_type: quote.storage_type,
        endpoint: place.endpoint,
        issues_keys: place.issues_keys,
        quota_bytes: quote.quota_bytes,
        bucket_max: quote.bucket_max,
        key_max: quote.key_max,
        gb_bytes: quote.gb_bytes,
        bucket: ordered.bucket.to_owned(),
        billing: quote.billing,
        service_id: 0,
        order_id: 0,
        invoice_id: 0,
        actor: cx.actor(),
        request_id: cx.request_id.clone(),
        guard_key: None,
        pending: None,
    }
}

/// What a refusal of the bucket's name means before anything was written.
fn refusal_of_bucket(error: CallError, bucket: &str) -> Error {
    match (error.code, error.reason) {
        (_, ErrorReason::BucketNameTaken) => {
            Error::BucketCreationFailed { why: describe_bucket_error(&error, bucket) }
        }
        (Code::InvalidArgument, _) => Error::field("bucket", "is not allowed at this location"),
        _ => error.into(),
    }
}

/// What a failed order means to its caller.
fn refusal_of(failure: Failure) -> Error {
    if failure.reason == Failure::BY_OPERATOR {
        // Who it was is in history.
        let why = "the provider has withdrawn it".to_owned();
        return Error::OrderFailed { step: failure.step, why };
    }
    let is_exhausted = failure.reason == Failure::EXHAUSTED;
    match (failure.step == BUCKET_STEP, is_exhausted) {
        (true, true) => {
            Error::BucketCreationFailed { why: "the storage is unavailable at present".to_owned() }
        }
        (true, false) => Error::BucketCreationFailed { why: failure.why },
        // The last of the unclear errors is for the log, not for customers.
        (false, true) => Error::OrderFailed {
            step: failure.step,
            why: "a part of the service is unavailable at present".to_owned(),
        },
        (false, false) => Error::OrderFailed { step: failure.step, why: failure.why },
    }
}

fn forgotten() -> Failure {
    Failure {
        step: String::new(),
        reason: String::new(),
        why: "it failed some time ago".to_owned(),
    }
}
