//! Meters.

use stowage_auth::{RequestContext, Scope};
use stowage_types::{CustomerId, PlanId, S3uid, Violations};
use time::OffsetDateTime;

use super::Metering;
use crate::error::Error;
use crate::store;

/// What an account is, for filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dimensions {
    pub(crate) s3uid: S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) email: String,
    pub(crate) plan: PlanId,
    pub(crate) location: String,
    pub(crate) storage_type: String,
    pub(crate) billing: String,
    pub(crate) gb_bytes: i64,
}

/// The meter of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meter {
    pub(crate) dimensions: Dimensions,
    /// Since when it is out of the rankings.
    pub(crate) closed: Option<OffsetDateTime>,
}

/// The customer whose meters alone the caller sees.
pub(crate) fn visible_to(cx: &RequestContext) -> Option<CustomerId> {
    match cx.principal.scope() {
        Scope::Customer(customer) => Some(customer),
        Scope::Everything => None,
    }
}

impl Metering {
    /// Opens a meter, or opens it again, or brings its dimensions up to date. Only other roles
    /// may, which the method's declaration says; who acts for a customer may for him only.
    pub(crate) async fn open_meter(
        &self,
        cx: &RequestContext,
        dimensions: Dimensions,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let known = store::meter::find(&mut tx, &dimensions.s3uid, None).await?;
        let owners = [Some(dimensions.customer), known.map(|known| known.dimensions.customer)];
        if owners.into_iter().flatten().any(|owner| !cx.sees(owner)) {
            let why = "is not the customer that the call acts for";
            return Err(Violations::of("dimensions.customer_id", why).into());
        }
        store::meter::put(&mut tx, &dimensions, self.clock.now()).await?;
        let committed = tx.commit().await;
        self.rankings.changed(&dimensions.s3uid);
        Ok(committed?)
    }

    /// Closes a meter that the caller sees: it leaves the rankings, its figures stay.
    pub(crate) async fn close_meter(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        store::meter::close(&mut tx, s3uid, visible_to(cx), self.clock.now()).await?;
        let committed = tx.commit().await;
        self.rankings.changed(s3uid);
        Ok(committed?)
    }

    /// Says whether the caller sees the meter.
    pub(crate) async fn check_visible(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<(), Error> {
        self.meter(cx, s3uid).await.map(|_| ())
    }

    /// The meter, if the caller sees it.
    pub(super) async fn meter(&self, cx: &RequestContext, s3uid: &S3uid) -> Result<Meter, Error> {
        let meter = store::meter::find(&self.db, s3uid, visible_to(cx)).await?;
        meter.ok_or(Error::MeterNotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Store, uid};

    fn of_customer(id: i64) -> Dimensions {
        Dimensions {
            s3uid: uid(1),
            account_id: 7,
            customer: CustomerId(id),
            email: "Ann@Example.org".to_owned(),
            plan: PlanId(2),
            location: "NL".to_owned(),
            storage_type: "standard".to_owned(),
            billing: "ledger".to_owned(),
            gb_bytes: 1_000_000_000,
        }
    }

    #[tokio::test]
    async fn who_acts_for_a_customer_changes_no_meter_of_another() {
        let store = Store::start().await;
        let acting_for = |id| {
            let mut cx = RequestContext::background("test");
            cx.principal.acted_for = Some(CustomerId(id));
            cx
        };
        let (owner, other) = (acting_for(3), acting_for(4));
        store.metering.open_meter(&owner, of_customer(3)).await.unwrap();
        // Neither as the owner's nor as his own.
        for dimensions in [of_customer(3), of_customer(4)] {
            let refused = store.metering.open_meter(&other, dimensions).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        }
        store.metering.close_meter(&other, &uid(1)).await.unwrap();
        let open = Meter { dimensions: of_customer(3), closed: None };
        assert_eq!(store.metering.meter(&owner, &uid(1)).await.unwrap(), open);
        store.metering.close_meter(&owner, &uid(1)).await.unwrap();
        assert_ne!(store.metering.meter(&owner, &uid(1)).await.unwrap(), open);
    }

    #[tokio::test]
    async fn opening_closing_and_opening_again_may_all_be_repeated() {
        let store = Store::start().await;
        let cx = RequestContext::background("test");
        let mut dimensions = of_customer(3);
        store.metering.close_meter(&cx, &uid(1)).await.unwrap();
        store.metering.open_meter(&cx, dimensions.clone()).await.unwrap();
        store.metering.open_meter(&cx, dimensions.clone()).await.unwrap();
        let find = |owner: Option<i64>| {
            let db = store.db.clone();
            async move { store::meter::find(&db, &uid(1), owner.map(CustomerId)).await.unwrap() }
        };
        let open = Meter { dimensions: dimensions.clone(), closed: None };
        assert_eq!(find(None).await, Some(open.clone()));
        assert_eq!(find(Some(3)).await, Some(open));
        assert_eq!(find(Some(4)).await, None);
        store.metering.close_meter(&cx, &uid(1)).await.unwrap();
        let closed = find(None).await.unwrap().closed;
        assert!(closed.is_some());
        store.clock.advance(std::time::Duration::from_secs(5));
        store.metering.close_meter(&cx, &uid(1)).await.unwrap();
        assert_eq!(find(None).await.unwrap().closed, closed);
        dimensions.plan = PlanId(9);
        store.metering.open_meter(&cx, dimensions.clone()).await.unwrap();
        assert_eq!(find(None).await, Some(Meter { dimensions, closed: None }));
    }
}
