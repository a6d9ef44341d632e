//! Changes of an account: suspension, plan, keys, the end of its subscription. One at a time; who
//! comes meanwhile waits for the one under way.

use std::time::Duration;

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::{Failure, Outcome, Saga};
use stowage_types::{PlanId, S3uid, SecretString, new_id};
use uuid::Uuid;

use super::access_key::{AccessKey, SealedKey};
use super::account::{Account, Lookup};
use super::change_saga::{ChangeAccount, ChangeState, EndAccount, Shape, What};
use super::life::{Act, Hold, State};
use super::{Domain, Shared};
use crate::error::Error;
use crate::store;

/// How often a change is tried anew because another one came first.
pub(super) const TRIES: usize = 10;
/// Key pairs that work at the same time where the engine makes them, whatever the plan says.
/// Source: AWS, IAM and STS quotas, access keys assigned to a user.
const ISSUED_KEYS_MAX: i32 = 2;

/// The key pair that a change makes.
#[derive(Clone, Copy)]
pub(super) enum NewKey<'a> {
    /// One of ours.
    Made(&'a SealedKey),
    /// One that the engine makes when it is asked to.
    Awaited,
}

/// What a change came to.
pub(super) enum Changed {
    Done,
    /// Another one came first; look again.
    Overtaken,
}

impl What {
    fn act(self) -> Act {
        match self {
            Self::Suspend | Self::KeepReading | Self::ScheduleEnd | Self::Cap => Act::Suspend,
            Self::Resume | Self::WithdrawEnd | Self::Uncap => Act::Resume,
            Self::ChangePlan => Act::ChangePlan,
            Self::RotateKey => Act::RotateKey,
            Self::RevokeKey => Act::RevokeKey,
            Self::End => Act::End,
            Self::Mend => Act::Mend,
        }
    }
}

impl Domain {
    /// Suspends an account. What an administrator has suspended stays his.
    pub(crate) async fn suspend_account(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        (cause, reason): (Hold, String),
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        self.change(cx, (&lookup, What::Suspend, reason), once, |state| {
            if state.before.hold != Hold::Administrator {
                state.after.hold = cause;
            }
            Ok(())
        })
        .await
    }

    /// Ends a suspension, with the end that is scheduled for an unpaid invoice.
    pub(crate) async fn resume_account(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        reason: String,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        self.change(cx, (&lookup, What::Resume, reason), once, |state| {
            (state.after.hold, state.after.unpaid_end_time) = (Hold::Nothing, None);
            Ok(())
        })
        .await
    }

    /// Moves an account to the newest version of a plan.
    pub(crate) async fn change_account_plan(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        plan: PlanId,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let account = self.settled_account(cx, &lookup, Act::ChangePlan).await?;
        // Whoever has an account is known to the provider.
        let payer = (account.customer, account.currency, "");
        let what = (plan, account.location.as_str());
        let quote = self.shared.roles.quote(cx, payer, what).await?;
        if quote.storage_type != account.storage_type {
            return Err(Error::PlanMismatch { what: "storage_type".to_owned() });
        }
        let reason = String::new();
        self.change(cx, (&lookup, What::ChangePlan, reason), once, |state| {
            state.after = Shape {
                plan,
                plan_version: quote.plan_version,
                quota_bytes: quote.quota_bytes,
                bucket_max: quote.bucket_max,
                key_max: quote.key_max,
                gb_bytes: quote.gb_bytes,
                ..state.after.clone()
            };
            Ok(())
        })
        .await
    }

    /// Makes a new key pair beside the old one, which is revoked after `overlap`.
    pub(crate) async fn rotate_access_key(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        overlap: Option<Duration>,
        once: &Once<AccessKey>,
    ) -> Result<AccessKey, Error> {
        let shared = &self.shared;
        if let Some(made) = once.made() {
            // An attempt before this one has begun it: it has ended, one way or the other, once
            // no change is under way.
            let account = self.settled_account(cx, &lookup, Act::Read).await?;
            if let Some(key) = self.made_key(&account.s3uid, made).await? {
                return shown(shared, &key);
            }
        }
        let overlap = overlap.unwrap_or_else(|| self.config.key_overlap());
        for _ in 0..TRIES {
            let account = self.settled_account(cx, &lookup, Act::RotateKey).await?;
            let mut state = self.state_of(cx, &account, What::RotateKey).await?;
            state.issues_key = shared.roles.issues_keys(cx, &account.location).await?;
            check_room(&state)?;
            let now = shared.clock.now();
            state.retire_time = Some(now + overlap);
            let key = match state.issues_key {
                true => None,
                false => Some(SealedKey::generate(&shared.keyring, &*shared.random, now)?),
            };
            state.after.keys.extend(key.iter().map(|key| key.access_key.clone()));
            let new_key = Some(key.as_ref().map_or(NewKey::Awaited, NewKey::Made));
            let begun =
                self.begin::<ChangeAccount, _>((&account.s3uid, &state), new_key, once).await?;
            let Changed::Done = self.ended(cx, begun).await? else { continue };
            let key = match (key, begun) {
                (None, Some(saga)) => self.made_key(&account.s3uid, &saga.to_string()).await?,
                (key, _) => key,
            };
            return shown(shared, &key.ok_or(Error::AccessKeyNotFound)?);
        }
        Err(Error::AccountBusy)
    }

    /// The pair that a rotation has made: by its id, or where the engine made it by the saga that
    /// had it made.
    async fn made_key(&self, s3uid: &S3uid, made: &str) -> Result<Option<SealedKey>, Error> {
        let mut id = Some(made.to_owned());
        if let Ok(saga) = made.parse::<Uuid>() {
            id = match self.sagas.find(saga).await {
                Err(stowage_saga::Error::NotFound(_)) => None,
                found => {
                    let state = serde_json::from_str::<ChangeState>(&found?.state);
                    state.map_err(Error::internal)?.new_keys().next().map(str::to_owned)
                }
            };
        }
        let keys = store::access_key::list(&self.shared.db, s3uid).await?;
        Ok(keys.into_iter().find(|key| Some(&key.access_key) == id.as_ref()))
    }

    /// Revokes a key pair now.
    pub(crate) async fn revoke_access_key(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        access_key: &str,
        once: &Once<AccessKey>,
    ) -> Result<AccessKey, Error> {
        let db = &self.shared.db;
        let account = self.settled_account(cx, &lookup, Act::RevokeKey).await?;
        let known = store::access_key::find(db, &account.s3uid, access_key).await?;
        let known = known.ok_or(Error::AccessKeyNotFound)?;
        if !known.is_revoked {
            let reason = String::new();
            self.change(cx, (&lookup, What::RevokeKey, reason), once, |state| {
                state.after.keys.retain(|key| key != access_key);
                match state.after.keys.is_empty() {
                    true => Err(Error::field("access_key", "is the only one: rotate it")),
                    false => Ok(()),
                }
            })
            .await?;
        }
        let known = store::access_key::find(db, &account.s3uid, access_key).await?;
        let known = known.ok_or(Error::AccessKeyNotFound)?;
        // Nothing but what the saga answers too.
        Ok(AccessKey {
            access_key: access_key.to_owned(),
            secret_key: None,
            create_time: None,
            revoke_time: known.revoke_time,
            last_use_time: None,
        })
    }

    /// Begins the end of accounts whose cancellation is due, or whose invoices were unpaid to the
    /// last; answers how many were due.
    pub(crate) async fn end_due(&self, max: i64) -> Result<usize, Error> {
        let now = self.shared.clock.now();
        let due = store::account::list_due(&self.shared.db, now, max).await?;
        let cx = RequestContext::background("cancellation");
        for account in &due {
            let is_cancelled = account.cancel_time.is_some_and(|time| time <= now);
            if !is_cancelled && !self.is_unpaid_to_the_last(&cx, account).await {
                continue;
            }
            let mut state = self.state_of(&cx, account, What::End).await?;
            (state.after.hold, state.after.unpaid_end_time) = (Hold::Ended, None);
            state.reason = match is_cancelled {
                true => "scheduled cancellation".to_owned(),
                false => "an invoice is unpaid".to_owned(),
            };
            match self
                .begin::<EndAccount, Account>((&account.s3uid, &state), None, &Once::nobodys())
                .await
            {
                Ok(saga) => saga.into_iter().for_each(|saga| self.sagas.nudge(saga)),
                // Another process took it, or the database is away: the next round looks again.
                Err(error) => tracing::warn!(%error, "a due cancellation could not begin"),
            }
        }
        Ok(due.len())
    }

    /// Revokes key pairs whose overlap is over; answers how many were due.
    pub(crate) async fn revoke_due(&self, max: i64) -> Result<usize, Error> {
        let now = self.shared.clock.now();
        let due = store::access_key::list_due(&self.shared.db, now, max).await?;
        let cx = RequestContext::background("key-overlap");
        for (s3uid, access_key) in &due {
            let lookup = Lookup::S3uid(s3uid.clone());
            let once = Once::nobodys();
            let revoked = self.revoke_access_key(&cx, lookup, access_key, &once).await;
            if let Err(error) = revoked {
                tracing::warn!(%error, account = %s3uid, "a key whose time is over stays");
            }
        }
        Ok(due.len())
    }

    /// The account, once no change of it is under way.
    pub(super) async fn settled_account(
        &self,
        cx: &RequestContext,
        lookup: &Lookup,
        act: Act,
    ) -> Result<Account, Error> {
        for _ in 0..TRIES {
            let account = self.find_account(cx, lookup).await?;
            account.allow(act)?;
            let Some(saga) = account.change_saga else { return Ok(account) };
            if let Outcome::Stuck(_) = self.wait_for(cx, saga).await? {
                return Err(Error::AccountBusy);
            }
        }
        Err(Error::AccountBusy)
    }

    /// Changes an account as `edit` says; answers it as it is then.
    async fn change<T>(
        &self,
        cx: &RequestContext,
        (lookup, what, reason): (&Lookup, What, String),
        once: &Once<T>,
        edit: impl Fn(&mut ChangeState) -> Result<(), Error>,
    ) -> Result<Account, Error> {
        for _ in 0..TRIES {
            let account = self.settled_account(cx, lookup, what.act()).await?;
            let mut state = self.state_of(cx, &account, what).await?;
            edit(&mut state)?;
            if state.before == state.after {
                return Ok(account);
            }
            (state.reason, state.pending) = (reason.clone(), once.pending());
            let begun =
                self.begin::<ChangeAccount, _>((&account.s3uid, &state), None, once).await?;
            if let Changed::Done = self.ended(cx, begun).await? {
                return self.find_account(cx, lookup).await;
            }
        }
        Err(Error::AccountBusy)
    }

    /// A change of an account that changes nothing yet.
    pub(super) async fn state_of(
        &self,
        cx: &RequestContext,
        account: &Account,
        what: What,
    ) -> Result<ChangeState, Error> {
        let keys = store::access_key::list(&self.shared.db, &account.s3uid).await?;
        let shape = Shape::of(account, keys.into_iter().map(|key| key.access_key).collect());
        Ok(ChangeState {
            s3uid: account.s3uid.clone(),
            account_id: account.account_id,
            customer: account.customer,
            email: account.email.clone(),
            location: account.location.clone(),
            storage_type: account.storage_type.clone(),
            billing: account.billing.clone(),
            service_id: account.service_id,
            what,
            before: shape.clone(),
            after: shape,
            issues_key: false,
            retire_time: None,
            retention_seconds: self.config.retention_seconds(),
            reason: String::new(),
            actor: cx.actor(),
            request_id: cx.request_id.clone(),
            change_key: new_id(&*self.shared.clock, &*self.shared.random).to_string(),
            pending: None,
        })
    }

    /// Writes a change, with the key pair that it makes. `None`: another one came first.
    pub(super) async fn begin<K, T>(
        &self,
        (s3uid, state): (&S3uid, &K::State),
        new_key: Option<NewKey<'_>>,
        once: &Once<T>,
    ) -> Result<Option<Uuid>, Error>
    where
        K: Saga<Context = Shared>,
    {
        let mut tx = self.shared.db.begin().await?;
        if let Some(NewKey::Made(key)) = new_key {
            once.set_made(&mut tx, &key.access_key).await?;
            store::access_key::insert(&mut tx, s3uid, key);
        }
        let saga = match self.sagas.start::<K>(&mut tx, state).await {
            Err(stowage_saga::Error::FirstStep(_)) => return Ok(None),
            started => started?,
        };
        if let Some(NewKey::Awaited) = new_key {
            once.set_made(&mut tx, &saga.to_string()).await?;
        }
        if !store::account::begin_change(&mut tx, s3uid, saga).await? {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(saga))
    }

    /// The account that another role says something of, once no change of it is under way; `None`:
    /// it has ended, and there is nothing to hold.
    pub(super) async fn account_to_hold(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<Option<Account>, Error> {
        match self.settled_account(cx, &Lookup::S3uid(s3uid.clone()), Act::Suspend).await {
            // Its order has been accepted and is about to end.
            Err(Error::AccountState { state, .. }) if state == State::Pending.text() => {
                Err(Error::AccountBusy)
            }
            Err(Error::AccountNotFound | Error::AccountState { .. }) => Ok(None),
            account => account.map(Some),
        }
    }

    /// Makes a change that nobody waits for an answer of; `false`: another one came first.
    pub(super) async fn make_so(
        &self,
        cx: &RequestContext,
        state: &ChangeState,
    ) -> Result<bool, Error> {
        let once = Once::<Account>::nobodys();
        let begun = self.begin::<ChangeAccount, _>((&state.s3uid, state), None, &once).await?;
        match self.ended(cx, begun).await? {
            Changed::Done => Ok(true),
            Changed::Overtaken => {
                self.settle().await?;
                Ok(false)
            }
        }
    }

    /// Waits for a change that has begun.
    pub(super) async fn ended(
        &self,
        cx: &RequestContext,
        begun: Option<Uuid>,
    ) -> Result<Changed, Error> {
        let Some(saga) = begun else { return Ok(Changed::Overtaken) };
        match self.wait_for(cx, saga).await? {
            Outcome::Completed => Ok(Changed::Done),
            Outcome::Undone(failure) => Err(undone(failure)),
            Outcome::Stuck(failure) => {
                Err(Error::internal(format!("a change is stuck at {}", failure.step)))
            }
        }
    }
}

/// Refuses a pair above those that the plan, and an engine that makes them, have room for.
fn check_room(state: &ChangeState) -> Result<(), Error> {
    let max = match state.issues_key {
        true => state.before.key_max.min(ISSUED_KEYS_MAX),
        false => state.before.key_max,
    };
    match i32::try_from(state.before.keys.len()) {
        Ok(count) if count < max => Ok(()),
        _ => Err(Error::TooManyKeys { max }),
    }
}

/// Why all is as before.
pub(super) fn undone(failure: Failure) -> Error {
    match failure.reason.as_str() {
        Failure::EXHAUSTED => Error::Unavailable { source: failure.why.into() },
        _ => Error::ChangeFailed { step: failure.step, why: failure.why },
    }
}

/// A pair with its secret.
fn shown(shared: &Shared, key: &SealedKey) -> Result<AccessKey, Error> {
    let secret: SecretString = key.open(&shared.keyring)?;
    Ok(AccessKey {
        access_key: key.access_key.clone(),
        secret_key: Some(secret),
        create_time: Some(key.create_time),
        revoke_time: None,
        last_use_time: None,
    })
}
