//! Moves of accounts to other locations. What moves the data is in storage; here they are begun,
//! switched and ended by the sagas in `account_move_saga`, and watched for what is next.
//!
//! Keys, plan and suspension change as always while an account is copied: what counts is the old
//! side, and the switch sets all of it at the new one. While both sides are compared nothing of it
//! changes (`frozen`), which begins only when no change is under way, and none begins after it:
//! both are conditions on the row. Storage refuses what comes all the same.

use stowage_auth::RequestContext;
use stowage_request::Once;
use stowage_saga::{Outcome, Saga};
use stowage_types::{S3uid, name, new_id};
use uuid::Uuid;

use super::account::{Account, Lookup};
use super::account_move_saga::{GoOnMove, MoveState, StartMove, What};
use super::change::{TRIES, undone};
use super::change_saga;
use super::life::Act;
use super::{Domain, Shared, check_operator};
use crate::error::Error;
use crate::roles::Moving;
use crate::store;

/// Accounts looked at at once.
const PAGE: i64 = 100;

/// `accounts/{s3uid}/moves/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveName(pub(crate) String);

impl Domain {
    /// Begins to move an account, or goes on with a move there that has failed.
    pub(crate) async fn move_account(
        &self,
        cx: &RequestContext,
        (lookup, to): (&Lookup, &str),
        once: &Once<MoveName>,
    ) -> Result<MoveName, Error> {
        check_operator(cx, "move accounts")?;
        for _ in 0..TRIES {
            let account = self.settled_account(cx, lookup, Act::Move).await?;
            if account.move_id.is_some() && account.move_to.as_deref() != Some(to) {
                return Err(Error::AccountMoving);
            }
            let id = account
                .move_id
                .unwrap_or_else(|| new_id(&*self.shared.clock, &*self.shared.random));
            let name = name::account_move(&account.s3uid, id);
            self.check_move(cx, &account, (&name, to)).await?;
            if account.move_id.is_some() {
                return Ok(MoveName(name));
            }
            let state = self.move_state((cx, &account), (What::Start, id, to), once).await?;
            if self.ended_move::<StartMove>(cx, &account.s3uid, &state, once).await? {
                return Ok(MoveName(name));
            }
        }
        Err(Error::AccountBusy)
    }

    /// Refuses what is known to be refused before anything is written. Of a move that has begun it
    /// is the way on. A plan says where it is sold, not where who has it may be: the account keeps
    /// its plan and its price.
    async fn check_move(
        &self,
        cx: &RequestContext,
        account: &Account,
        (name, to): (&str, &str),
    ) -> Result<(), Error> {
        let is_new = account.move_id.is_none();
        let keys = store::access_key::list(&self.shared.db, &account.s3uid).await?;
        let keys = keys.iter().map(|key| key.for_engine(&self.shared.keyring));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        self.shared.roles.start_move(cx, (name, to), &keys, is_new).await?;
        Ok(())
    }

    /// Has the old side of an account deleted.
    pub(crate) async fn confirm_move(
        &self,
        cx: &RequestContext,
        lookup: &Lookup,
        once: &Once<MoveName>,
    ) -> Result<MoveName, Error> {
        self.go_on(cx, (lookup, What::Confirm), once).await
    }

    /// Gives a move up.
    pub(crate) async fn cancel_move(
        &self,
        cx: &RequestContext,
        lookup: &Lookup,
        once: &Once<MoveName>,
    ) -> Result<MoveName, Error> {
        self.go_on(cx, (lookup, What::Cancel), once).await
    }

    async fn go_on(
        &self,
        cx: &RequestContext,
        (lookup, what): (&Lookup, What),
        once: &Once<MoveName>,
    ) -> Result<MoveName, Error> {
        check_operator(cx, "move accounts")?;
        for _ in 0..TRIES {
            let account = self.settled_account(cx, lookup, Act::Read).await?;
            let id = account.move_id.ok_or(Error::AccountMoveNotFound)?;
            let is_switched = account.move_to.is_none();
            match (what, is_switched) {
                (What::Confirm, false) => {
                    return Err(Error::AccountMoveState { state: "NOT_SWITCHED" });
                }
                (What::Cancel, true) => return Err(Error::AccountMoveState { state: "SWITCHED" }),
                _ => {}
            }
            let to = account.move_to.clone().unwrap_or_else(|| account.location.clone());
            let state = self.move_state((cx, &account), (what, id, &to), once).await?;
            if self.ended_move::<GoOnMove>(cx, &account.s3uid, &state, once).await? {
                return Ok(MoveName(name::account_move(&account.s3uid, id)));
            }
        }
        Err(Error::AccountBusy)
    }

    async fn move_state(
        &self,
        (cx, account): (&RequestContext, &Account),
        (what, id, to): (What, Uuid, &str),
        once: &Once<MoveName>,
    ) -> Result<MoveState, Error> {
        let mut change = self.state_of(cx, account, change_saga::What::Mend).await?;
        change.pending = once.pending();
        Ok(MoveState { what, id, to: to.to_owned(), change, endpoint: String::new() })
    }

    /// Runs a saga to its end; `false`: something else of the account came first.
    async fn ended_move<K>(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        state: &MoveState,
        once: &Once<MoveName>,
    ) -> Result<bool, Error>
    where
        K: Saga<Context = Shared, State = MoveState>,
    {
        let Some(saga) = self.begin::<K, _>((s3uid, state), None, once).await? else {
            self.settle().await?;
            return Ok(false);
        };
        match self.wait_for(cx, saga).await? {
            Outcome::Completed => Ok(true),
            Outcome::Undone(failure) => Err(undone(failure)),
            Outcome::Stuck(failure) => {
                Err(Error::internal(format!("a move is stuck at {}", failure.step)))
            }
        }
    }

    /// Looks once at every account that is moved, and does what is next; what fails is logged, and
    /// the next round tries again.
    pub(crate) async fn watch_moves(&self) -> Result<(), Error> {
        let cx = RequestContext::background("account-move");
        let mut after = String::new();
        loop {
            let page = store::account_move::list(&self.shared.db, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for s3uid in &page {
                let Ok(s3uid) = S3uid::parse(s3uid) else { continue };
                if let Err(error) = self.watch_move(&cx, &s3uid).await {
                    tracing::warn!(%error, account = %s3uid, "a move does not go on now");
                }
            }
        }
    }

    async fn watch_move(&self, cx: &RequestContext, s3uid: &S3uid) -> Result<(), Error> {
        // First what is noted here, then how far it is: what is noted later is seen next time.
        let account = self.find_account(cx, &Lookup::S3uid(s3uid.clone())).await?;
        let (Some(id), true) = (account.move_id, account.move_to.is_some()) else { return Ok(()) };
        let name = name::account_move(s3uid, id);
        match self.shared.roles.moving(cx, &name).await? {
            Moving::Copied => self.freeze(cx, (s3uid, id), &name).await,
            Moving::Verified => self.switch(cx, &account, id).await,
            // It was thawed there: it failed, or is given up.
            Moving::Free if account.is_frozen => {
                self.set_frozen((s3uid, id), false).await.map(drop)
            }
            Moving::Free | Moving::Frozen => Ok(()),
        }
    }

    async fn set_frozen(&self, moved: (&S3uid, Uuid), is_frozen: bool) -> Result<bool, Error> {
        let mut tx = self.shared.db.begin().await?;
        let is_set = store::account_move::set_frozen(&mut tx, moved, is_frozen).await?;
        tx.commit().await?;
        Ok(is_set)
    }

    async fn freeze(
        &self,
        cx: &RequestContext,
        moved: (&S3uid, Uuid),
        name: &str,
    ) -> Result<(), Error> {
        if !self.set_frozen(moved, true).await? {
            // A change is under way; the next round looks again.
            return Ok(());
        }
        match self.shared.roles.freeze_move(cx, name).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_unclear => Err(error.into()),
            // A bucket is being changed: until then all may go on.
            Err(_) => self.set_frozen(moved, false).await.map(drop),
        }
    }

    async fn switch(&self, cx: &RequestContext, account: &Account, id: Uuid) -> Result<(), Error> {
        let once = Once::nobodys();
        let Some(to) = &account.move_to else { return Ok(()) };
        let state = self.move_state((cx, account), (What::Switch, id, to), &once).await?;
        self.ended_move::<GoOnMove>(cx, &account.s3uid, &state, &once).await.map(drop)
    }
}
