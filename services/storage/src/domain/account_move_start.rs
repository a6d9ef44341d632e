//! How moves of accounts begin: what is refused, and how the account comes to the destination.

use stowage_auth::RequestContext;
use stowage_engine::{
    AccountAccess, AccountSpec, BucketNamespace, Engine, Error as EngineError, KeyPair,
};
use stowage_types::S3uid;
use uuid::Uuid;

use super::account_move::{AccountMove, MOVE, State, key_error};
use super::bucket_deletion::Amount;
use super::{Site, Storage, Used, check_operator, signed};
use crate::config::LocationState;
use crate::error::Error;
use crate::store;

/// Buckets that are looked at with one call.
const BUCKETS_PAGE: u32 = 1000;
/// What is in the way is told up to so many times.
const TOLD_MAX: usize = 20;

/// What is wanted of a move that begins.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) uid: S3uid,
    pub(crate) id: Uuid,
    /// Code of the location to go to.
    pub(crate) to: String,
    pub(crate) keys: Vec<KeyPair>,
    /// Whether only to look whether it can be.
    pub(crate) validate_only: bool,
}

/// What a bucket's name, or the engine, says against a move.
fn refusal_of(told: &[String]) -> Error {
    let mut why = told.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
    if told.len() > TOLD_MAX {
        why.push_str(&format!("; and {} more", told.len() - TOLD_MAX));
    }
    Error::AccountMoveRefused { why }
}

impl Storage {
    /// Begins a move, or goes on with the beginning of one.
    pub(crate) async fn start_account_move(
        &self,
        cx: &RequestContext,
        start: Start,
    ) -> Result<AccountMove, Error> {
        check_operator(cx, MOVE)?;
        let Start { uid, id, .. } = &start;
        if let Some(known) = store::account_move::find(&self.db, uid, *id).await? {
            return match known.state {
                State::Preparing => self.prepare(&start).await,
                State::Failed => self.go_on(known).await,
                _ => Ok(known),
            };
        }
        if store::account_move::find_open(&self.db, uid).await?.is_some() {
            return Err(Error::AccountMoving);
        }
        let new = self.checked(cx, &start).await?;
        if start.validate_only {
            return Ok(new);
        }
        let mut tx = self.db.begin().await?;
        // Nobody removes the destination of what is noted.
        if !store::location::hold_open(&mut tx, &new.to).await? {
            return Err(Error::LocationClosed { location: new.to });
        }
        if !store::account_move::insert(&mut tx, &new).await? {
            return Err(Error::AccountMoving);
        }
        tx.commit().await?;
        self.prepare(&start).await
    }

    /// Refuses what cannot be moved, with all that is in the way; answers the move that would be.
    async fn checked(&self, cx: &RequestContext, start: &Start) -> Result<AccountMove, Error> {
        let used = self.visible_account(cx, &start.uid).await?;
        let to = self.location(cx, &start.to).await?;
        if to.code == used.site.code {
            return Err(Error::field("location", "is where the account is"));
        }
        if to.state != LocationState::Open {
            return Err(Error::LocationClosed { location: to.code });
        }
        let site = self.site(&to.code).await?;
        if site.engine.capabilities().issues_keys {
            // Others would have to come in their place, behind the back of who uses them.
            let why = "the destination takes no keys but its own: the account's would open nothing";
            return Err(Error::AccountMoveRefused { why: why.to_owned() });
        }
        let told = self.in_the_way(&used, &site, &start.uid).await?;
        if !told.is_empty() {
            return Err(refusal_of(&told));
        }
        let usage = used.engine().account_usage(&start.uid).await?;
        if site.engine.capabilities().capacity {
            let free_bytes = site.engine.capacity().await?.free_bytes;
            if free_bytes < usage.stored_bytes {
                let stored = usage.stored_bytes;
                let why = format!("it stores {stored} bytes, and {free_bytes} are free there");
                return Err(Error::AccountMoveRefused { why });
            }
        }
        let now = self.clock.now();
        let start_amount =
            Amount { objects: signed(usage.object_count), bytes: signed(usage.stored_bytes) };
        Ok(AccountMove {
            id: start.id,
            uid: start.uid.clone(),
            from: used.site.code.clone(),
            to: to.code,
            state: State::Preparing,
            why: String::new(),
            faults: Vec::new(),
            start_buckets: signed(usage.bucket_count),
            start: start_amount,
            copied: Amount::default(),
            unfinished_uploads: 0,
            checked: Amount::default(),
            changes: 0,
            bucket: None,
            after: None,
            passes: 0,
            rounds: 0,
            last_write_time: None,
            attempts: 0,
            create_time: now,
            update_time: now,
            freeze_time: None,
            switch_time: None,
            end_time: None,
        })
    }

    /// All that keeps buckets of an account from being at another engine too.
    async fn in_the_way(&self, used: &Used, to: &Site, uid: &S3uid) -> Result<Vec<String>, Error> {
        let mut told = Vec::new();
        match to.engine.account_usage(uid).await {
            Err(EngineError::NotFound) => {}
            usage => {
                if usage?.bucket_count > 0 {
                    told.push("the destination has buckets of this account already".to_owned());
                }
            }
        }
        let is_shared = to.engine.capabilities().namespace == BucketNamespace::Engine;
        let mut after = None;
        loop {
            let page = used.engine().list_buckets(uid, after.as_ref(), BUCKETS_PAGE).await?;
            let Some(last) = page.last() else { return Ok(told) };
            after = Some(last.bucket.clone());
            for info in page {
                let name = &info.bucket;
                if is_shared
                    && to.engine.bucket_owner(name).await?.is_some_and(|owner| owner != *uid)
                {
                    told.push(format!("bucket name {} is taken there", name.as_str()));
                }
                for what in used.engine().left_behind(uid, name).await? {
                    told.push(format!("bucket {} has {what}, which stay behind", name.as_str()));
                }
            }
        }
    }

    /// Makes the account at the destination, where nobody gets in yet, and lets it be copied. What
    /// the engine says to the keys is known before anything is copied.
    async fn prepare(&self, start: &Start) -> Result<AccountMove, Error> {
        let site = self.site(&start.to).await?;
        let engine = &*site.engine;
        let mut spec = AccountSpec::new(start.uid.clone(), start.keys.clone());
        spec.access = AccountAccess::Suspended;
        if let Err(error) = engine.ensure_account(&spec).await {
            if matches!(error, EngineError::AlreadyExists | EngineError::Invalid { .. }) {
                self.give_up(engine, start).await?;
            }
            return Err(key_error(error));
        }
        if engine.capabilities().keys_reusable {
            // Nobody's hand is not suspended: then what we make is the account's own everywhere.
            engine.ensure_account(&AccountSpec::new(start.uid.clone(), Vec::new())).await?;
        }
        let mut tx = self.db.begin().await?;
        let (states, now) = ((State::Preparing, State::Copying), self.clock.now());
        let moved = store::account_move::set_state(&mut tx, start.id, states, "", now).await?;
        tx.commit().await?;
        self.move_due.notify_one();
        match moved {
            Some(moved) => Ok(moved),
            // Another call was faster, or it is given up.
            None => self.found_move(&start.uid, start.id).await,
        }
    }

    /// Ends a move whose keys the destination refuses, with what was made there of it.
    async fn give_up(&self, engine: &dyn Engine, start: &Start) -> Result<(), Error> {
        match engine.remove_account(&start.uid, false).await {
            Ok(()) | Err(EngineError::NotEmpty) => {}
            Err(error) => return Err(error.into()),
        }
        let mut tx = self.db.begin().await?;
        let (states, now) = ((State::Preparing, State::Cancelled), self.clock.now());
        let why = "the destination refuses a key";
        store::account_move::set_state(&mut tx, start.id, states, why, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets a move that has failed be tried again.
    async fn go_on(&self, failed: AccountMove) -> Result<AccountMove, Error> {
        let mut tx = self.db.begin().await?;
        store::account_move::begin_anew(&mut tx, failed.id).await?;
        let (states, now) = ((State::Failed, State::Copying), self.clock.now());
        let moved = store::account_move::set_state(&mut tx, failed.id, states, "", now).await?;
        let moved = moved.ok_or(Error::AccountMoving)?;
        tx.commit().await?;
        self.move_due.notify_one();
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_told_up_to_a_bound() {
        let told: Vec<String> = (0..TOLD_MAX + 2).map(|number| number.to_string()).collect();
        let Error::AccountMoveRefused { why } = refusal_of(&told) else { panic!("another error") };
        assert!(why.starts_with("0; 1; ") && why.ends_with("; 19; and 2 more"), "{why}");
    }
}
