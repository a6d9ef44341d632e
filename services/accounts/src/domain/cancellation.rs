//! Cancellation at the end of the period, and its withdrawal.
//!
//! Billing decides the date and keeps it; the account carries a copy. Both calls are safe to
//! repeat, so one that was cut between billing and here is mended by its repeat.

use stowage_auth::RequestContext;
use stowage_proto::common::ErrorReason;
use stowage_request::Once;
use time::OffsetDateTime;

use super::Domain;
use super::account::{Account, Lookup};
use super::history::{Cause, Entry, Event};
use super::life::Act;
use crate::error::Error;
use crate::roles::CallError;
use crate::store;

impl Domain {
    /// Schedules the end of the account at the end of its period.
    pub(crate) async fn schedule_cancellation(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        reason: &str,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let account = self.get_account(cx, lookup).await?;
        account.allow(Act::ScheduleCancellation)?;
        let scheduled = self.shared.roles.schedule_cancellation(cx, account.service_id).await;
        let time = scheduled.map_err(|error| refusal(error, &account))?.cancel_time;
        let time = time.ok_or_else(|| Error::internal("billing scheduled no date"))?;
        self.note(cx, account, (Some(time), reason), once).await
    }

    /// Withdraws it.
    pub(crate) async fn withdraw_cancellation(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let account = self.get_account(cx, lookup).await?;
        account.allow(Act::WithdrawCancellation)?;
        let withdrawn = self.shared.roles.withdraw_cancellation(cx, account.service_id).await;
        withdrawn.map_err(|error| refusal(error, &account))?;
        self.note(cx, account, (None, ""), once).await
    }

    async fn note(
        &self,
        cx: &RequestContext,
        mut account: Account,
        (time, reason): (Option<OffsetDateTime>, &str),
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let shared = &self.shared;
        let before = account.summary();
        account.cancel_time = time;
        let mut after = account.summary();
        let event = match time {
            Some(_) => Event::CancellationScheduled,
            None => Event::CancellationWithdrawn,
        };
        if !reason.is_empty() {
            after["reason"] = reason.into();
        }
        let mut tx = shared.db.begin().await?;
        if store::account::set_cancel_time(&mut tx, &account.s3uid, time).await? {
            Entry::new(event, Cause::of(cx))
                .customer(account.customer)
                .account(&account.s3uid, account.plan)
                .old_state(before)
                .new_state(after)
                .write(&mut tx, shared.clock.now())
                .await?;
            once.answer(&mut tx, &account).await?;
            tx.commit().await?;
        }
        Ok(account)
    }
}

/// What billing's refusal means for the account.
fn refusal(error: CallError, account: &Account) -> Error {
    match error.reason {
        ErrorReason::SubscriptionState => {
            let (state, action) = (account.state.text(), Act::ScheduleCancellation.text());
            Error::AccountState { state, action }
        }
        ErrorReason::SubscriptionNotFound => Error::internal("the subscription is not there"),
        _ => error.into(),
    }
}
