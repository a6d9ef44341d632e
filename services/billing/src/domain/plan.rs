//! The catalogue: plans in versions that never change once they are made.

use serde_json::Value;
use stowage_auth::{PrincipalRole, RequestContext};
use stowage_db::{Tx, next_id};
use stowage_request::Once;
use stowage_types::{Currency, Malformed, PlanId, Violations, name, page};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Billing;
use super::terms::{Field, Price, Terms};
use crate::error::Error;
use crate::events::{PLAN_CHANGED, PlanChanged, PlanEvent, plan_changed};
use crate::store;
use crate::store::plan::Which;

/// A plan in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) id: PlanId,
    pub(crate) version: i32,
    pub(crate) active: bool,
    pub(crate) terms: Terms,
    /// From when on it is sold.
    pub(crate) effective_time: OffsetDateTime,
    /// When the version was made.
    pub(crate) update_time: OffsetDateTime,
}

/// Terms as a request has them, with what could not be read of them.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) terms: Terms,
    /// From when on it is sold; absent: now.
    pub(crate) effective_time: Option<OffsetDateTime>,
    pub(crate) violations: Violations,
}

/// A change of a plan.
#[derive(Debug, Clone)]
pub(crate) struct PlanUpdate {
    pub(crate) plan: PlanId,
    /// The version it is a change of, if that matters.
    pub(crate) version: Option<i32>,
    pub(crate) draft: Draft,
    /// The fields of the draft that count.
    pub(crate) fields: Vec<Field>,
}

/// Which plans to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanListing {
    /// Rows of a page.
    pub(crate) size: i64,
    pub(crate) token: String,
    /// Code of the location they are offered at.
    pub(crate) location: Option<String>,
}

/// What a principal sees of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Every plan with every price.
    All,
    /// Active plans priced in the currency, with that price only; without a currency none.
    Customer(Option<Currency>),
}

impl View {
    fn of(cx: &RequestContext) -> Self {
        match cx.principal.role {
            PrincipalRole::Staff | PrincipalRole::Administrator | PrincipalRole::Service => {
                Self::All
            }
            _ => Self::Customer(cx.principal.currency),
        }
    }
}

impl Plan {
    /// The plan as history keeps it.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = self.terms.to_json();
        json["plan_id"] = self.id.0.into();
        json["version"] = self.version.into();
        json["active"] = self.active.into();
        json["effective_time"] = self.effective_time.format(&Rfc3339).unwrap_or_default().into();
        json
    }

    /// The plan as a buyer with this currency sees it.
    pub(crate) fn priced_in(mut self, currency: Currency) -> Self {
        self.terms.prices.retain(|price| price.currency == currency);
        self
    }

    /// Whether what is sold as `old` can be moved here.
    pub(crate) fn check_same_kind(&self, old: &Self, currency: Currency) -> Result<(), Error> {
        let (new, old) = (&self.terms, &old.terms);
        let differs = [
            ("location", new.location != old.location),
            ("storage_type", new.storage_type != old.storage_type),
            ("period", new.period != old.period),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(Error::PlanMismatch { what });
        }
        let currency_text = || currency.as_str().to_owned();
        match new.price_in(currency) {
            Some(_) => Ok(()),
            None => Err(Error::PlanNotPriced { plan: self.id, currency: currency_text() }),
        }
    }

    /// The price an order with this currency and location gets.
    pub(crate) fn sell(&self, currency: Currency, location: &str) -> Result<&Price, Error> {
        let plan = self.id;
        if !self.active {
            return Err(Error::PlanArchived { plan });
        }
        if self.terms.location != location {
            return Err(Error::PlanNotOffered { plan, location: location.to_owned() });
        }
        let currency_text = || currency.as_str().to_owned();
        self.terms
            .price_in(currency)
            .ok_or_else(|| Error::PlanNotPriced { plan, currency: currency_text() })
    }
}

impl Billing {
    /// Makes a plan, version 1.
    pub(crate) async fn create_plan(
        &self,
        cx: &RequestContext,
        draft: Draft,
        once: &Once<Plan>,
    ) -> Result<Plan, Error> {
        let Draft { terms, effective_time, mut violations } = draft;
        terms.check(&mut violations);
        violations.finish()?;
        let now = self.clock.now();
        let effective_time = effective_time.map_or(now, |time| time.max(now));
        let mut tx = self.db.begin().await?;
        let id = PlanId(next_id(&mut tx, "plan").await?);
        let plan = Plan { id, version: 1, active: true, terms, effective_time, update_time: now };
        store::plan::insert(&mut tx, &plan, &cx.actor()).await.map_err(|e| named(e, &plan))?;
        let change = plan_changed(PlanEvent::Created, None, &plan, cx);
        self.tell(&mut tx, &change).await?;
        once.answer(&mut tx, &plan).await?;
        tx.commit().await?;
        Ok(plan)
    }

    /// Returns a plan in a version; `None`: the one that is sold, or will be. Customers see the one
    /// that is sold only.
    pub(crate) async fn get_plan(
        &self,
        cx: &RequestContext,
        id: PlanId,
        version: Option<i32>,
    ) -> Result<Plan, Error> {
        let current = store::plan::find(&self.db, id, Which::At(self.clock.now())).await?;
        match View::of(cx) {
            View::All => {
                let which = match (version, current) {
                    (Some(version), _) => Which::Version(version),
                    (None, Some(current)) => return Ok(current),
                    // It is not sold yet.
                    (None, None) => Which::Latest,
                };
                store::plan::find(&self.db, id, which).await?.ok_or(Error::PlanNotFound)
            }
            View::Customer(currency) => {
                let current = current.ok_or(Error::PlanNotFound)?;
                let currency = currency.ok_or(Error::PlanNotFound)?;
                let is_sold = current.active && current.terms.price_in(currency).is_some();
                if !is_sold || version.is_some_and(|version| version != current.version) {
                    return Err(Error::PlanNotFound);
                }
                Ok(current.priced_in(currency))
            }
        }
    }

    /// Returns a page of plans by id, and the token of the next one; empty: the end.
    pub(crate) async fn list_plans(
        &self,
        cx: &RequestContext,
        listing: PlanListing,
    ) -> Result<(Vec<Plan>, String), Error> {
        let currency = match View::of(cx) {
            View::All => None,
            View::Customer(Some(currency)) => Some(currency),
            View::Customer(None) => return Ok((Vec::new(), String::new())),
        };
        let location = listing.location.as_deref().unwrap_or_default();
        let scope = format!("{location}/{}", currency.map(String::from).unwrap_or_default());
        let refused = |bad: Malformed| Error::PageToken { why: bad.why };
        let after = match page::decode("plans", &scope, &listing.token).map_err(refused)? {
            None => 0,
            Some(cursor) => cursor
                .parse()
                .map_err(|_| refused(Malformed::new("is not a token of this listing")))?,
        };
        let now = self.clock.now();
        let filter = store::plan::Filter { now, after, location, currency };
        let mut plans = store::plan::list(&self.db, &filter, listing.size + 1).await?;
        let rows = usize::try_from(listing.size).map_err(Error::internal)?;
        let has_more = plans.len() > rows;
        plans.truncate(rows);
        let next = match plans.last() {
            Some(last) if has_more => page::encode("plans", &scope, &last.id.to_string()),
            _ => String::new(),
        };
        Ok((plans, next))
    }

    /// Makes a new version of a plan. An update that changes nothing makes none.
    pub(crate) async fn update_plan(
        &self,
        cx: &RequestContext,
        update: PlanUpdate,
        once: &Once<Plan>,
    ) -> Result<Plan, Error> {
        let mut tx = self.db.begin().await?;
        let old = store::plan::find(&mut tx, update.plan, Which::Latest).await?;
        let old = old.ok_or(Error::PlanNotFound)?;
        if update.version.is_some_and(|version| version != old.version) {
            return Err(Error::PlanChanged { version: old.version });
        }
        let Draft { terms: drafted, effective_time, mut violations } = update.draft;
        let mut terms = old.terms.clone();
        for field in update.fields {
            terms.take(field, &drafted);
        }
        terms.check(&mut violations);
        let now = self.clock.now();
        let effective_time = effective_time.map_or(now, |time| time.max(now));
        if effective_time < old.effective_time {
            let why = "is before that of the version that comes already";
            violations.push("plan.effective_time", why);
        }
        violations.finish()?;
        if terms == old.terms {
            return Ok(old);
        }
        let version = old.version.checked_add(1).ok_or_else(|| Error::internal("versions end"))?;
        let new = Plan { version, terms, effective_time, update_time: now, ..old.clone() };
        let stored = store::plan::update(&mut tx, &new, &cx.actor()).await;
        if !stored.map_err(|error| named(error, &new))? {
            // Another has changed it since it was read here.
            return Err(Error::PlanChanged { version });
        }
        let change = plan_changed(PlanEvent::Updated, Some(&old), &new, cx);
        self.tell(&mut tx, &change).await?;
        once.answer(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(new)
    }

    /// Stops selling a plan. Its terms stay, so its version stays too.
    pub(crate) async fn archive_plan(
        &self,
        cx: &RequestContext,
        id: PlanId,
        once: &Once<Plan>,
    ) -> Result<Plan, Error> {
        let mut tx = self.db.begin().await?;
        let was_active = store::plan::archive(&mut tx, id).await?;
        let plan = store::plan::find(&mut tx, id, Which::Latest).await?;
        let plan = plan.ok_or(Error::PlanNotFound)?;
        if !was_active {
            return Ok(plan);
        }
        let old = Plan { active: true, ..plan.clone() };
        let change = plan_changed(PlanEvent::Archived, Some(&old), &plan, cx);
        self.tell(&mut tx, &change).await?;
        once.answer(&mut tx, &plan).await?;
        tx.commit().await?;
        Ok(plan)
    }

    async fn tell(&self, tx: &mut Tx, change: &PlanChanged) -> Result<(), Error> {
        let subject = name::plan(PlanId(change.plan_id));
        self.outbox.push(tx, PLAN_CHANGED, &subject, change).await?;
        Ok(())
    }
}

/// The unique index on titles speaks of the plan's title; the rest is no fault of the caller.
fn named(error: stowage_db::Error, plan: &Plan) -> Error {
    if error.is_unique("plan.title") || error.is_unique("plan_title_active") {
        Error::PlanNameTaken { title: plan.terms.title.clone() }
    } else {
        error.into()
    }
}
