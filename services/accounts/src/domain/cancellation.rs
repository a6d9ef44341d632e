//! Cancellation at the end of the period, and its withdrawal.

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::{Failure, Outcome};

use super::Domain;
use super::account::{Account, Lookup};
use super::cancellation_saga::{CancellationState, ChangeCancellation};
use super::change::{TRIES, undone};
use super::life::Act;
use crate::error::Error;

impl Domain {
    /// Schedules the end of the account at the end of its period.
    pub(crate) async fn schedule_cancellation(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        reason: &str,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        self.change_cancellation(cx, &lookup, (Act::ScheduleCancellation, reason), once).await
    }

    /// Withdraws it.
    pub(crate) async fn withdraw_cancellation(
        &self,
        cx: &RequestContext,
        lookup: Lookup,
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        self.change_cancellation(cx, &lookup, (Act::WithdrawCancellation, ""), once).await
    }

    async fn change_cancellation(
        &self,
        cx: &RequestContext,
        lookup: &Lookup,
        (act, reason): (Act, &str),
        once: &Once<Account>,
    ) -> Result<Account, Error> {
        let schedules = act == Act::ScheduleCancellation;
        for _ in 0..TRIES {
            let account = self.settled_account(cx, lookup, act).await?;
            if account.cancel_time.is_some() == schedules {
                return Ok(account);
            }
            let state = CancellationState {
                s3uid: account.s3uid.clone(),
                customer: account.customer,
                plan: account.plan,
                service_id: account.service_id,
                schedules,
                cancel_time: None,
                reason: reason.to_owned(),
                actor: cx.actor(),
                request_id: cx.request_id.clone(),
                pending: once.pending(),
            };
            let begun =
                self.begin::<ChangeCancellation, Account>((&account.s3uid, &state), None, once);
            let Some(saga) = begun.await? else { continue };
            return match self.wait_for(cx, saga).await? {
                Outcome::Completed => self.find_account(cx, lookup).await,
                Outcome::Undone(failure) => Err(refusal(failure, &account, act)),
                Outcome::Stuck(failure) => {
                    Err(Error::internal(format!("a cancellation is stuck at {}", failure.step)))
                }
            };
        }
        Err(Error::AccountBusy)
    }
}

/// What the failure of a step means for the caller.
fn refusal(failure: Failure, account: &Account, act: Act) -> Error {
    match failure.reason.as_str() {
        "SUBSCRIPTION_STATE" => {
            let (state, action) = (account.state.text(), act.text());
            Error::AccountState { state, action }
        }
        _ => undone(failure),
    }
}
