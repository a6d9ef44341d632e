//! S3 accounts.

use stowage_auth::{RequestContext, Scope};
use stowage_db::Tx;
use stowage_proto::accounts as pb;
use stowage_request::Pending;
use stowage_types::{Currency, CustomerId, PlanId, S3uid};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cap::Capped;
use super::dunning::Dunned;
use super::life::{Act, Hold, State};
use super::{Domain, Page};
use crate::error::Error;
use crate::store;

/// One S3 account, with what belongs to its customer.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) s3uid: S3uid,
    pub(crate) account_id: i64,
    pub(crate) customer: CustomerId,
    pub(crate) email: String,
    pub(crate) currency: Currency,
    pub(crate) plan: PlanId,
    pub(crate) plan_version: i32,
    pub(crate) location: String,
    pub(crate) storage_type: String,
    pub(crate) state: State,
    pub(crate) hold: Hold,
    pub(crate) endpoint: String,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    pub(crate) key_max: i32,
    pub(crate) gb_bytes: i64,
    pub(crate) service_id: i64,
    pub(crate) order_id: i64,
    pub(crate) invoice_id: i64,
    pub(crate) billing: String,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) cancel_time: Option<OffsetDateTime>,
    /// When its subscription ends, since an invoice is unpaid to the last.
    pub(crate) unpaid_end_time: Option<OffsetDateTime>,
    /// What billing said last of its unpaid invoices.
    pub(crate) dunned: Dunned,
    /// What metering said last of its caps.
    pub(crate) capped: Capped,
    /// When it is deleted, if its subscription has ended.
    pub(crate) delete_time: Option<OffsetDateTime>,
    /// The change that is under way.
    pub(crate) change_saga: Option<Uuid>,
    /// A move of it that is neither confirmed nor cancelled.
    pub(crate) move_id: Option<Uuid>,
    /// Code of the location that it goes to, until it is there.
    pub(crate) move_to: Option<String>,
    /// Whether nothing of it changes, since both sides of a move are compared.
    pub(crate) is_frozen: bool,
    pub(crate) order_saga: Option<Uuid>,
    pub(crate) deletion_saga: Option<Uuid>,
}

/// Whose accounts alone the caller sees; `None`: he sees all.
pub(super) fn owner(cx: &RequestContext) -> Option<CustomerId> {
    match cx.principal.scope() {
        Scope::Customer(id) => Some(id),
        Scope::Everything => None,
    }
}

/// Answers the request that asked for what a saga has just done to an account, in the transaction
/// of it.
pub(crate) async fn answer(
    tx: &mut Tx,
    (s3uid, pending): (&S3uid, Option<&Pending>),
    now: OffsetDateTime,
) -> Result<(), stowage_db::Error> {
    let Some(pending) = pending else { return Ok(()) };
    match store::account::find(&mut *tx, s3uid, None).await? {
        Some(account) => pending.answer(tx, &pb::Account::from(account), now).await,
        None => Ok(()),
    }
}

impl Account {
    /// What history shows of it.
    pub(crate) fn summary(&self) -> serde_json::Value {
        serde_json::json!({
            "account_id": self.account_id,
            "plan_id": self.plan,
            "location": self.location,
            "state": self.state.text(),
            "cancel_time": self.cancel_time.map(|time| time.date().to_string()),
        })
    }
}

/// How an account is named.
#[derive(Debug, Clone)]
pub(crate) enum Lookup {
    S3uid(S3uid),
    /// The legacy integer.
    Number(i64),
    /// The only one of the customer.
    Only,
}

impl Domain {
    /// An account that is neither deleted nor failed, if visible. All other cases are one.
    pub(crate) async fn get_account(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
    ) -> Result<Account, Error> {
        let account = self.find_account(cx, &lookup).await?;
        account.allow(Act::Read)?;
        Ok(account)
    }

    /// The account that a request to another role is bound to, by whatever name it was sent.
    pub(crate) async fn bind_request(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
    ) -> Result<S3uid, Error> {
        Ok(self.get_account(cx, lookup).await?.s3uid)
    }

    /// An account in whatever state, if visible. The scope is part of the query, so that foreign
    /// and absent accounts take the same time.
    pub(crate) async fn find_account(
        &self,
        cx: &RequestContext,
        lookup: &Lookup,
    ) -> Result<Account, Error> {
        let (db, owner) = (&self.shared.db, owner(cx));
        let found = match (lookup, owner) {
            (Lookup::S3uid(s3uid), _) => store::account::find(db, s3uid, owner).await?,
            (Lookup::Number(number), _) => {
                store::account::find_by_number(db, *number, owner).await?
            }
            (Lookup::Only, None) => None,
            (Lookup::Only, Some(_)) => {
                let mut all = store::account::list(db, owner, 0, 2).await?;
                all.pop().filter(|_| all.is_empty())
            }
        };
        found.ok_or(Error::AccountNotFound)
    }

    /// Accounts with integer ids above `after` that are neither deleted nor failed.
    pub(crate) async fn list_accounts(
        &self,
        cx: &RequestContext,
        s3uids: &[S3uid],
        (after, size): (i64, i64),
    ) -> Result<Page<Account>, Error> {
        let (db, owner) = (&self.shared.db, owner(cx));
        let rows = if s3uids.is_empty() {
            store::account::list(db, owner, after, size + 1).await?
        } else {
            store::account::list_of(db, owner, s3uids, (after, size + 1)).await?
        };
        Ok(Page::of(rows, size))
    }
}
