//! Who is on an engine without being an account, and becomes one.
//!
//! Invariants: the row is written before the engine is asked, as for an account that is made;
//! nothing that was somebody's before is ever removed here, not even when the account is a
//! tombstone: then the engine is told to give it up, and all stays as it is.

use stowage_auth::RequestContext;
use stowage_engine::{AccountAccess, Adopted, Foreign};
use stowage_types::{CustomerId, S3uid, page};
use time::{Duration, OffsetDateTime};

use super::engine_account::{Limits, Noted};
use super::location::Location;
use super::{Storage, check_operator};
use crate::error::Error;
use crate::store;

const LISTING: &str = "foreign_accounts";
const WHAT: &str = "see or adopt who is on an engine";

/// A page of who is on an engine and no account.
#[derive(Debug)]
pub(crate) struct ForeignPage {
    pub(crate) accounts: Vec<Foreign>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// Who shall become which account.
#[derive(Debug)]
pub(crate) struct Adopt {
    pub(crate) uid: S3uid,
    pub(crate) customer: CustomerId,
    /// Code of the location.
    pub(crate) location: String,
    /// What the engine calls it.
    pub(crate) foreign: String,
}

impl Storage {
    /// Who is on a location's engine and no account, by name.
    pub(crate) async fn foreign_accounts(
        &self,
        cx: &RequestContext,
        location: &str,
        (page_size, page_token): (i64, &str),
    ) -> Result<ForeignPage, Error> {
        check_operator(cx, WHAT)?;
        let location = self.location(cx, location).await?.code;
        let site = self.site(&location).await?;
        let after = page::decode(LISTING, &location, page_token);
        let after = after.map_err(|_| Error::PageTokenInvalid)?;
        let max = u32::try_from(page_size).unwrap_or(u32::MAX);
        // An engine may tell fewer than it is asked for: the end is where it tells none.
        let mut accounts = site.engine.list_foreign(after.as_deref(), max).await?;
        let next = accounts.last().map(|last| page::encode(LISTING, &location, &last.name));
        let next_page_token = next.unwrap_or_default();
        for account in &mut accounts {
            shut_is_an_obstacle(account);
        }
        Ok(ForeignPage { accounts, next_page_token })
    }

    /// Who has a name on a location's engine.
    pub(crate) async fn foreign_account(
        &self,
        cx: &RequestContext,
        location: &str,
        foreign: &str,
    ) -> Result<Foreign, Error> {
        check_operator(cx, WHAT)?;
        let location = self.location(cx, location).await?.code;
        let found = self.site(&location).await?.engine.find_foreign(foreign).await?;
        let mut found = found.ok_or(Error::ForeignAccountNotFound)?;
        shut_is_an_obstacle(&mut found);
        Ok(found)
    }

    /// Makes who is on an engine an account; answers where that is, and what it has.
    pub(crate) async fn adopt(
        &self,
        cx: &RequestContext,
        adopt: &Adopt,
    ) -> Result<(Location, Adopted), Error> {
        if !cx.sees(adopt.customer) {
            return Err(Error::field("customer_id", "is not the customer the call acts for"));
        }
        let location = self.location(cx, &adopt.location).await?;
        let site = self.site(&location.code).await?;
        let noted = Noted {
            uid: &adopt.uid,
            customer: adopt.customer,
            location: &location,
            count_from: Some(next_hour(self.clock.now())),
        };
        self.note_pending(&noted).await?;
        let adopted = site.engine.adopt(&adopt.foreign, &adopt.uid).await.map_err(refusal_of)?;
        let limits = Limits {
            quota_bytes: adopted.quota.bytes,
            bucket_max: adopted.bucket_max,
            access: adopted.access,
            may_delete: false,
        };
        let mut tx = self.db.begin().await?;
        let now = self.clock.now();
        let is_active = store::account::set_active(&mut tx, &adopt.uid, limits, now).await?;
        tx.commit().await?;
        if !is_active {
            // It was removed while the engine was asked.
            site.engine.release(&adopt.uid).await?;
            return Err(Error::AccountState { state: "REMOVED" });
        }
        Ok((location, adopted))
    }
}

/// What is shut to a customer by somebody else is not ours to open, nor to bill.
fn shut_is_an_obstacle(foreign: &mut Foreign) {
    let why = match foreign.access {
        AccountAccess::Full => return,
        AccountAccess::ReadOnly => "it may only read: open it first",
        AccountAccess::Suspended => "it is suspended: resume it first",
    };
    foreign.obstacle.get_or_insert_with(|| why.to_owned());
}

fn refusal_of(error: stowage_engine::Error) -> Error {
    use stowage_engine::Error as Refusal;
    match error {
        Refusal::NotFound => Error::ForeignAccountNotFound,
        Refusal::AlreadyExists => {
            Error::AdoptionRefused { why: "it is another account, or its uid is".to_owned() }
        }
        Refusal::Invalid { why } => Error::AdoptionRefused { why },
        other => other.into(),
    }
}

/// The first full hour after a time: in the hour before it, it was somebody else's for a while.
fn next_hour(now: OffsetDateTime) -> OffsetDateTime {
    now.truncate_to_hour() + Duration::hours(1)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_that_was_partly_anothers_is_not_counted() {
        let full = datetime!(2026-11-28 10:00 UTC);
        assert_eq!(next_hour(full), datetime!(2026-11-28 11:00 UTC));
        assert_eq!(next_hour(full - Duration::nanoseconds(1)), full);
        assert_eq!(next_hour(datetime!(2026-12-31 23:59:59 UTC)), datetime!(2027-01-01 0:00 UTC));
    }
}
