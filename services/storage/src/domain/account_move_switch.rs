//! The switch of a move: the destination becomes the account's location.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_engine::{AccountAccess, AccountSpec};
use uuid::Uuid;

use super::account_move::{AccountMove, MOVE, State, key_error};
use super::engine_account::{Limits, for_engine};
use super::location::Location;
use super::usage::SAMPLE_PAGE;
use super::{Site, Storage, check_operator};
use crate::error::Error;
use crate::store;

impl Storage {
    /// Makes the destination the account's location. Each step may be done again by whoever calls
    /// again; once it has begun it only goes forward.
    pub(crate) async fn switch_account_move(
        &self,
        cx: &RequestContext,
        id: Uuid,
        (spec, may_delete): (&AccountSpec, bool),
    ) -> Result<Location, Error> {
        check_operator(cx, MOVE)?;
        let uid = &spec.uid;
        let known = self.found_move(uid, id).await?;
        match known.state {
            State::Verified => {
                let mut tx = self.db.begin().await?;
                let (states, now) = ((State::Verified, State::Switching), self.clock.now());
                let begun = store::account_move::set_state(&mut tx, id, states, "", now).await?;
                begun.ok_or(Error::AccountMoveState { state: "CANCELLING" })?;
                tx.commit().await?;
            }
            State::Switching => {}
            State::Switched | State::Confirming | State::Confirmed => {
                return self.location(cx, &known.to).await;
            }
            state => return Err(Error::AccountMoveState { state: state.text() }),
        }
        let (from, to) = (self.site(&known.from).await?, self.site(&known.to).await?);
        from.engine.set_access(uid, AccountAccess::Suspended).await?;
        let there = for_engine(&*to.engine, spec);
        to.engine.ensure_account(&there).await.map_err(key_error)?;
        self.note_switched(&known, &to, Limits::of(spec, may_delete)).await?;
        self.location(cx, &known.to).await
    }

    /// Writes where the account is, with the figures of its new side.
    async fn note_switched(
        &self,
        known: &AccountMove,
        to: &Arc<Site>,
        limits: Limits,
    ) -> Result<(), Error> {
        let uid = &known.uid;
        let sample_time = self.clock.now();
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = to.engine.list_buckets(uid, after.as_ref(), SAMPLE_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.bucket.clone());
            pages.push(page);
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        store::account::set_location(&mut tx, uid, &known.to, now).await?;
        store::account::set_active(&mut tx, uid, limits, now).await?;
        store::account_move::set_switched(&mut tx, known.id, now).await?;
        let states = (State::Switching, State::Switched);
        let ended = store::account_move::set_state(&mut tx, known.id, states, "", now).await?;
        if ended.is_none() {
            // Another call was faster, and has told all this.
            return Ok(());
        }
        for page in pages {
            self.push_samples(&mut tx, uid, (page, sample_time)).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
