//! Adoptions: accounts out of what is on an engine already.
//!
//! Whoever is adopted is told apart by location and name, so that a repeat finds what it repeats,
//! and of two that come at once one is refused by the row of the other. All that can be known to
//! be refused is asked before anything is written, as the saga has no way back.

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::Outcome;
use stowage_types::{CustomerId, PlanId, S3uid};

use super::account::Account;
use super::adoption_saga::{AdoptAccount, AdoptionState};
use super::customer::Customer;
use super::life::State;
use super::order::{Ordered, order_state};
use super::{Domain, check_operator};
use crate::error::Error;
use crate::roles::{Foreign, Place, Quote};
use crate::store;

const WHAT: &str = "adopt accounts";

/// Who shall become whose account.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// Code of the location.
    pub(crate) location: String,
    /// What its engine calls it.
    pub(crate) foreign: String,
    pub(crate) customer: CustomerId,
    pub(crate) plan: PlanId,
}

/// What is known of an adoption that can begin.
struct Terms {
    customer: Customer,
    quote: Quote,
    foreign: Foreign,
}

impl Adoption {
    /// Whether an account is what this one would have made.
    fn is_of(&self, account: &Account) -> Result<(), Error> {
        if account.customer == self.customer && account.plan == self.plan {
            return Ok(());
        }
        let (s3uid, customer, plan) = (&account.s3uid, account.customer, account.plan);
        let why = format!("it is account {s3uid} of customer {customer} with plan {plan}");
        Err(Error::AdoptionRefused { why })
    }
}

impl Domain {
    /// Looks whether an adoption can be; answers the account that it has made already.
    pub(crate) async fn check_adoption(
        &self,
        cx: &RequestContext,
        adoption: &Adoption,
    ) -> Result<Option<S3uid>, Error> {
        check_operator(cx, WHAT)?;
        if let Some(known) = self.adopted(adoption).await? {
            return Ok(Some(known.s3uid));
        }
        self.terms_of(cx, adoption).await?;
        Ok(None)
    }

    /// Makes who is on an engine an account, and waits for the end of that.
    pub(crate) async fn adopt_account(
        &self,
        cx: &RequestContext,
        adoption: &Adoption,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        check_operator(cx, WHAT)?;
        if let Some(known) = self.adopted(adoption).await? {
            return self.end_of_adoption(cx, known).await;
        }
        let begun = match self.terms_of(cx, adoption).await {
            Ok(terms) => self.begin_adoption(cx, (adoption, terms), once).await,
            Err(refused) => Err(refused),
        };
        match begun {
            Ok(account) => self.end_of_adoption(cx, account).await,
            // A twin that began in between is why nobody has the name any more, or the row is there
            // already: then its answer is the answer.
            Err(refused) => match self.adopted(adoption).await? {
                Some(known) => self.end_of_adoption(cx, known).await,
                None => Err(refused),
            },
        }
    }

    /// The account that an adoption has made, if one has.
    async fn adopted(&self, adoption: &Adoption) -> Result<Option<Account>, Error> {
        let from = AdoptionState::adopted_from(&adoption.location, &adoption.foreign);
        let known = store::account::find_adopted(&self.shared.db, &from).await?;
        known.map(|known| adoption.is_of(&known).map(|()| known)).transpose()
    }

    /// Asks all that can be asked before anything is written.
    async fn terms_of(&self, cx: &RequestContext, adoption: &Adoption) -> Result<Terms, Error> {
        let db = &self.shared.db;
        let customer = store::customer::find(db, adoption.customer).await?;
        let customer = customer.ok_or(Error::CustomerNotFound)?;
        let roles = &self.shared.roles;
        let payer = (customer.id, customer.currency, customer.email.as_str());
        let what = (adoption.plan, adoption.location.as_str());
        let who = (adoption.location.as_str(), adoption.foreign.as_str());
        let (quote, foreign) =
            tokio::join!(roles.quote(cx, payer, what), roles.foreign_account(cx, who));
        let (quote, foreign) = (quote?, foreign?);
        self.check_foreign(&foreign).await?;
        Ok(Terms { customer, quote, foreign })
    }

    /// Refuses what could not be an account beside those that there are.
    async fn check_foreign(&self, foreign: &Foreign) -> Result<(), Error> {
        let refused = |why: String| Err(Error::AdoptionRefused { why });
        if !foreign.obstacle.is_empty() {
            return refused(foreign.obstacle.clone());
        }
        let db = &self.shared.db;
        if let Some(s3uid) = &foreign.s3uid
            && store::account::find(db, s3uid, None).await?.is_some()
        {
            return refused(format!("account {s3uid} is, or was, another"));
        }
        match store::access_key::find_known(db, &foreign.access_keys).await? {
            Some(key) => refused(format!("its access key {key} is, or was, an account's")),
            None => Ok(()),
        }
    }

    /// Writes in one transaction the account, history and the saga.
    async fn begin_adoption(
        &self,
        cx: &RequestContext,
        (adoption, terms): (&Adoption, Terms),
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let shared = &self.shared;
        let Terms { customer, quote, foreign } = terms;
        let s3uid = foreign.s3uid.unwrap_or_else(|| S3uid::generate(&*shared.random));
        let ordered = Ordered { plan: adoption.plan, location: &adoption.location, bucket: "" };
        // Where it is, is told when it is there.
        let place = Place { endpoint: String::new(), issues_keys: false };
        let mut order = order_state(cx, (&customer, &ordered), (s3uid.clone(), place), quote);
        order.pending = once.pending();
        (order.quota_bytes, order.bucket_max) = (foreign.quota_bytes, foreign.bucket_max);
        let state = AdoptionState { order, foreign: adoption.foreign.clone() };
        let tx = shared.db.begin().await?;
        self.begin_account::<AdoptAccount>(tx, &s3uid, &state).await
    }

    async fn end_of_adoption(&self, cx: &RequestContext, begun: Account) -> Result<Account, Error> {
        let Some(saga) = begun.order_saga.filter(|_| begun.state == State::Pending) else {
            return Ok(begun);
        };
        match self.wait_for(cx, saga).await? {
            Outcome::Completed => {
                let account = store::account::find(&self.shared.db, &begun.s3uid, None).await?;
                account.ok_or(Error::AccountNotFound)
            }
            Outcome::Undone(failure) | Outcome::Stuck(failure) => {
                let (step, why) = (failure.step, failure.why);
                let why =
                    format!("it is stuck at {step}: {why}; mend that, then retry saga {saga}");
                Err(Error::AdoptionRefused { why })
            }
        }
    }
}
