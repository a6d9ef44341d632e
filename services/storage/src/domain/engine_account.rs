//! What an account is on its engine.
//!
//! Invariants: the row is written before the engine is asked, so that a removal always finds the
//! engine; a tombstone is final, so that a late repeat of the call that made the account changes
//! nothing. Both hold when the process dies between any two steps, since each call is repeated
//! until it succeeds.

use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_engine::{AccountAccess, AccountSpec, Engine, KeyPair};
use stowage_types::{CustomerId, S3uid};
use time::OffsetDateTime;

use super::Storage;
use super::account_move::AccountMove;
use super::location::Location;
use crate::config::LocationState;
use crate::error::Error;
use crate::store;

/// Buckets looked at per call to the engine while an account is removed.
const BUCKETS_PAGE: u32 = 1000;

/// Where an account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Noted, and perhaps not on the engine yet.
    Pending,
    /// On the engine.
    Active,
    /// Perhaps on the engine still.
    Removing,
    /// Gone for good.
    Removed,
}

/// What storage knows of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Absent in a tombstone of an account never seen.
    pub(crate) customer: Option<CustomerId>,
    /// Absent in a tombstone of an account never seen.
    pub(crate) location: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) state: State,
    /// Whether nothing in it may be changed, since it is compared with its copy elsewhere.
    pub(crate) is_frozen: bool,
}

/// What an account may do. Bounds; `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) bucket_max: Option<u32>,
    /// What its keys open while its data stays.
    pub(crate) access: AccountAccess,
    /// Whether its customer may delete here while it is read-only.
    pub(crate) may_delete: bool,
}

/// What an account shall be.
#[derive(Debug)]
pub(crate) struct Ensure {
    pub(crate) customer: CustomerId,
    /// Code of its location.
    pub(crate) location: String,
    pub(crate) spec: AccountSpec,
    /// Whether its customer may delete here while it is read-only.
    pub(crate) may_delete: bool,
}

impl Limits {
    /// What an account shall be, whether its engine keeps all of it or not.
    pub(super) fn of(spec: &AccountSpec, may_delete: bool) -> Self {
        let AccountSpec { bucket_max, access, .. } = *spec;
        Self { quota_bytes: spec.quota.bytes, bucket_max, access, may_delete }
    }

    /// What a customer is told who would delete something; `None`: he may.
    pub(crate) fn refusal_to_delete(self) -> Option<&'static str> {
        let is_kept = self.access != AccountAccess::ReadOnly || !self.may_delete;
        self.refusal().filter(|_| is_kept)
    }

    /// What a customer is told who would change something; `None`: he may.
    pub(crate) fn refusal(self) -> Option<&'static str> {
        match self.access {
            AccountAccess::Full => None,
            AccountAccess::ReadOnly => Some("READ_ONLY"),
            AccountAccess::Suspended => Some("SUSPENDED"),
        }
    }
}

/// What an engine makes of an access. One that keeps nobody to reading leaves an account open: to
/// suspend it before its time would take more than was asked for.
pub(super) fn kept_by(engine: &dyn Engine, access: AccountAccess) -> AccountAccess {
    match access {
        AccountAccess::ReadOnly if !engine.capabilities().read_only => AccountAccess::Full,
        access => access,
    }
}

/// What an engine is asked for, of what an account shall be.
pub(super) fn for_engine(engine: &dyn Engine, spec: &AccountSpec) -> AccountSpec {
    let access = kept_by(engine, spec.access);
    if access != spec.access {
        tracing::warn!(
            account = %spec.uid,
            engine = engine.capabilities().engine,
            "the engine makes no account read-only: keys go on writing until it is suspended"
        );
    }
    AccountSpec { access, ..spec.clone() }
}

/// An account that is about to be on an engine.
pub(crate) struct Noted<'a> {
    pub(crate) uid: &'a S3uid,
    pub(crate) customer: CustomerId,
    pub(crate) location: &'a Location,
    /// Traffic of hours before is not metered; `None`: there is none.
    pub(crate) count_from: Option<OffsetDateTime>,
}

impl Noted<'_> {
    /// Refuses what an account that is known cannot become.
    fn check_known(&self, account: &Account) -> Result<(), Error> {
        if let Some(state) = account.state.is_going() {
            return Err(Error::AccountState { state });
        }
        // Whoever changed it now would open what is shut, behind the back of who compares.
        if account.is_frozen {
            return Err(Error::AccountMoving);
        }
        if account.customer != Some(self.customer) {
            return Err(Error::field("customer_id", "is not the account's customer"));
        }
        if account.location.as_deref() != Some(self.location.code.as_str()) {
            return Err(Error::field("location", "is not the account's location"));
        }
        Ok(())
    }
}

impl State {
    fn is_going(self) -> Option<&'static str> {
        match self {
            Self::Pending | Self::Active => None,
            Self::Removing => Some("REMOVING"),
            Self::Removed => Some("REMOVED"),
        }
    }
}

impl Storage {
    /// Makes the account exist on its engine; answers where it is.
    pub(crate) async fn ensure_account(
        &self,
        cx: &RequestContext,
        ensure: Ensure,
    ) -> Result<Location, Error> {
        let uid = &ensure.spec.uid;
        if !cx.sees(ensure.customer) {
            return Err(Error::field("customer_id", "is not the customer the call acts for"));
        }
        let location = self.location(cx, &ensure.location).await?;
        let site = self.site(&location.code).await?;
        if ensure.spec.keys.is_empty() && !site.engine.capabilities().issues_keys {
            return Err(Error::field("keys", "must hold at least one key"));
        }
        let customer = ensure.customer;
        let noted = Noted { uid, customer, location: &location, count_from: None };
        if let Err(error) = self.note_pending(&noted).await {
            if matches!(error, Error::AccountState { .. }) {
                self.remove_leftover(&*site.engine, uid).await?;
            }
            return Err(error);
        }
        let limits = Limits::of(&ensure.spec, ensure.may_delete);
        let spec = for_engine(&*site.engine, &ensure.spec);
        let ensured = site.engine.ensure_account(&spec).await;
        ensured.map_err(|error| match error {
            stowage_engine::Error::AlreadyExists => {
                Error::field("keys", "holds an access key of another account")
            }
            stowage_engine::Error::Invalid { why } => Error::field("keys", why),
            other => other.into(),
        })?;
        let mut tx = self.db.begin().await?;
        let is_active = store::account::set_active(&mut tx, uid, limits, self.clock.now()).await?;
        tx.commit().await?;
        if !is_active {
            // It was removed while the engine was asked, perhaps before the engine made it.
            self.remove_leftover(&*site.engine, uid).await?;
            return Err(Error::AccountState { state: "REMOVED" });
        }
        Ok(location)
    }

    /// Has the engine make a key of the account.
    pub(crate) async fn issue_key(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
    ) -> Result<KeyPair, Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_changeable(cx)?;
        match used.engine().issue_key(uid).await {
            Err(stowage_engine::Error::NotFound) => Err(Error::AccountNotFound),
            // Such as one that was lost, until it is ensured that there is none.
            Err(error @ stowage_engine::Error::LimitReached) => {
                Err(Error::EngineUnavailable { source: error.into() })
            }
            issued => Ok(issued?),
        }
    }

    /// Writes that the account is about to be on its engine, unless that cannot be.
    pub(super) async fn note_pending(&self, noted: &Noted<'_>) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if let Some(account) = store::account::find(&mut tx, noted.uid).await? {
            return noted.check_known(&account);
        }
        if noted.location.state != LocationState::Open {
            return Err(Error::LocationClosed { location: noted.location.code.clone() });
        }
        if store::account::insert_pending(&mut tx, noted, self.clock.now()).await? {
            // Its row refers to the location, so that a removal waits for it, or was waited for:
            // then this is another answer than before.
            self.check_open(&mut tx, &noted.location.code).await?;
            return Ok(tx.commit().await?);
        }
        // Another was faster, and has committed.
        let account = store::account::find(&mut tx, noted.uid).await?;
        noted.check_known(&account.ok_or(stowage_db::Error::RowNotFound)?)
    }

    /// Refuses a location that takes no orders, as a transaction sees it.
    async fn check_open(&self, tx: &mut Tx, code: &str) -> Result<(), Error> {
        let location = store::location::find(tx, code).await?.ok_or(Error::LocationNotFound)?;
        match location.state {
            LocationState::Open => Ok(()),
            LocationState::Draining => Err(Error::LocationClosed { location: location.code }),
        }
    }

    /// Removes what a late repeat may have made on the engine; what holds buckets was there
    /// before, and is left to the removal under way.
    async fn remove_leftover(&self, engine: &dyn Engine, uid: &S3uid) -> Result<(), Error> {
        match engine.remove_account(uid, false).await {
            Ok(()) | Err(stowage_engine::Error::NotEmpty) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the account not exist on its engine, for good.
    pub(crate) async fn remove_account(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        purge: bool,
    ) -> Result<(), Error> {
        let Some(location) = self.note_removing(cx, uid).await? else {
            return Ok(());
        };
        let left = self.old_side(uid, purge).await?;
        let site = self.site(&location).await?;
        let engine = &*site.engine;
        let outcome = remove_from_engine(engine, uid, purge).await;
        if matches!(outcome, Ok(()) | Err(Error::BucketNotEmpty)) {
            let mut tx = self.db.begin().await?;
            if let Some(left) = left.filter(|_| outcome.is_ok()) {
                left.end(&mut tx, self.clock.now()).await?;
            }
            let now = self.clock.now();
            store::account::end_removing(&mut tx, uid, outcome.is_ok(), now).await?;
            tx.commit().await?;
        }
        outcome
    }

    /// Removes what an account has left at a location that it was moved from; answers that move, to
    /// be ended with the account.
    async fn old_side(&self, uid: &S3uid, purge: bool) -> Result<Option<AccountMove>, Error> {
        let left = store::account_move::find_open(&self.db, uid).await?;
        let Some(left) = left.filter(|left| purge && left.state.is_switched()) else {
            return Ok(None);
        };
        self.site(&left.from).await?.engine.remove_account(uid, true).await?;
        Ok(Some(left))
    }

    /// Writes that the account is being removed; answers where it is, `None` if it is gone.
    async fn note_removing(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
    ) -> Result<Option<String>, Error> {
        let mut tx = self.db.begin().await?;
        // Written first, so that nobody changes whose it is in between.
        store::account::set_removing(&mut tx, uid, self.clock.now()).await?;
        let account = store::account::find(&mut tx, uid).await?;
        // One that is not switched has a copy, which only the end of its move finds.
        let moved = store::account_move::find_open(&mut tx, uid).await?;
        if moved.is_some_and(|moved| !moved.state.is_settled()) {
            return Err(Error::AccountMoving);
        }
        let owner = account.as_ref().and_then(|account| account.customer);
        if owner.is_some_and(|owner| !cx.sees(owner)) {
            return Err(Error::AccountNotFound);
        }
        tx.commit().await?;
        let standing = account.filter(|account| account.state != State::Removed);
        Ok(standing.and_then(|account| account.location))
    }
}

async fn remove_from_engine(engine: &dyn Engine, uid: &S3uid, purge: bool) -> Result<(), Error> {
    if !purge {
        remove_empty_buckets(engine, uid).await?;
    }
    engine.remove_account(uid, purge).await?;
    Ok(())
}

/// Removes the account's buckets if every one of them is empty. An engine refuses to remove an
/// account with buckets; what must not be lost is objects.
async fn remove_empty_buckets(engine: &dyn Engine, uid: &S3uid) -> Result<(), Error> {
    let mut empty = Vec::new();
    loop {
        let page = match engine.list_buckets(uid, empty.last(), BUCKETS_PAGE).await {
            Err(stowage_engine::Error::NotFound) => return Ok(()),
            page => page?,
        };
        if page.iter().any(|bucket| bucket.object_count > 0) {
            return Err(Error::BucketNotEmpty);
        }
        let is_last = page.is_empty();
        empty.extend(page.into_iter().map(|info| info.bucket));
        if is_last {
            break;
        }
    }
    for bucket in &empty {
        match engine.delete_bucket(uid, bucket).await {
            Ok(()) | Err(stowage_engine::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
