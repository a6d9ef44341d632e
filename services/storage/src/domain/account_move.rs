//! Moves of accounts from one location to another: how they are begun, switched and ended. What
//! works on them is in `account_move_job`, what copies and compares in `account_move_pass`; how one
//! begins is in `account_move_start`, its switch in `account_move_switch`.
//!
//! What could go wrong, and why no object is lost and none is paid for twice:
//! - The customer goes on writing while it is copied. So it is copied again what has changed, and
//!   at last, with the old side read-only, once more; then both sides are listed side by side, and
//!   only when every key, size and content agrees is it switched. Before that the old side is what
//!   counts, and nothing in it is ever deleted.
//! - What changes the account while it is compared would not be in the copy. So the account is
//!   `frozen`: ours are refused what would change it, by its row, which whoever changes it holds.
//!   Accounts does the same with keys and limits, and asks for the freeze only when no change is
//!   under way there. What an engine cannot cut short (`Capabilities::cuts_transfers`) is let come
//!   to its end first; what ends even later is found when the move is confirmed, by the time it was
//!   written, and brought to the new side before anything is deleted.
//! - Somebody writes at the new side too early, and what he wrote is overwritten, or deleted as
//!   something that the old side has not. So nobody gets in there before the switch: the account
//!   has no keys there, or, where keys cannot come twice, is suspended. Only the states before the
//!   switch copy and delete, one process works at all moves at a time, and each page is stored only
//!   if the state still is that. There is no way back from a switch, since what was written at the
//!   new side since would be lost.
//! - The name of a bucket is somebody else's there, there is no room, an object cannot be read
//!   without a key of the customer's: it is refused, or fails by name, with the old side in use.
//! - A process dies anywhere. Every step looks first and may be done twice, and a page that was not
//!   stored is looked at again: what was copied is the same on both sides by then.
//! - Figures: what engines tell of stored bytes counts only where the account is, by its row
//!   (`usage`). The new side's are told in the transaction of the switch. Traffic counts wherever
//!   it was: the last of the old side after the switch, too. What we copy ourselves is in no usage
//!   (`Engine::read_object`, `Engine::write_object`).

use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_engine::Error as EngineError;
use stowage_types::{BucketName, S3uid, page};
use time::OffsetDateTime;
use uuid::Uuid;

use super::bucket_deletion::Amount;
use super::{Storage, check_operator};
use crate::error::Error;
use crate::store;

const LISTING: &str = "account_moves";
/// What only those do who act for nobody.
pub(super) const MOVE: &str = "move accounts";

/// How far a move has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Preparing,
    Copying,
    Copied,
    Freezing,
    Verifying,
    Verified,
    Switching,
    Switched,
    Confirming,
    Confirmed,
    Cancelling,
    Cancelled,
    Failing,
    Failed,
}

impl State {
    pub(crate) const ALL: [Self; 14] = [
        Self::Preparing,
        Self::Copying,
        Self::Copied,
        Self::Freezing,
        Self::Verifying,
        Self::Verified,
        Self::Switching,
        Self::Switched,
        Self::Confirming,
        Self::Confirmed,
        Self::Cancelling,
        Self::Cancelled,
        Self::Failing,
        Self::Failed,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Preparing => "PREPARING",
            Self::Copying => "COPYING",
            Self::Copied => "COPIED",
            Self::Freezing => "FREEZING",
            Self::Verifying => "VERIFYING",
            Self::Verified => "VERIFIED",
            Self::Switching => "SWITCHING",
            Self::Switched => "SWITCHED",
            Self::Confirming => "CONFIRMING",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.text() == text)
    }

    /// Whether it has not ended.
    pub(crate) fn is_open(self) -> bool {
        !matches!(self, Self::Confirmed | Self::Cancelled)
    }

    /// Whether the destination is the account's location, and nothing more is to be done there.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Switched | Self::Confirming | Self::Confirmed)
    }

    /// Whether the destination is the account's location, or is about to be.
    pub(crate) fn is_switched(self) -> bool {
        matches!(self, Self::Switching | Self::Switched | Self::Confirming | Self::Confirmed)
    }
}

/// A move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountMove {
    pub(crate) id: Uuid,
    pub(crate) uid: S3uid,
    /// Code of the location that it leaves.
    pub(crate) from: String,
    /// Code of the location that it goes to.
    pub(crate) to: String,
    pub(crate) state: State,
    /// Why it has failed, or what holds it up; else empty.
    pub(crate) why: String,
    /// Objects that cannot be moved, or did not verify.
    pub(crate) faults: Vec<String>,
    pub(crate) start_buckets: i64,
    pub(crate) start: Amount,
    pub(crate) copied: Amount,
    pub(crate) unfinished_uploads: i64,
    /// What the pass under way has looked at.
    pub(crate) checked: Amount,
    /// Objects that the pass under way had to copy or delete.
    pub(crate) changes: i64,
    /// Where the pass under way is; `None`: at the beginning.
    pub(crate) bucket: Option<BucketName>,
    /// Keys of that bucket up to this one are done; `None`: it is only begun.
    pub(crate) after: Option<String>,
    pub(crate) passes: i64,
    /// Comparisons that failed.
    pub(crate) rounds: i64,
    /// When the last object was written at the old side, as the comparison saw it.
    pub(crate) last_write_time: Option<OffsetDateTime>,
    /// Failed attempts in a row.
    pub(crate) attempts: u32,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
    pub(crate) freeze_time: Option<OffsetDateTime>,
    pub(crate) switch_time: Option<OffsetDateTime>,
    pub(crate) end_time: Option<OffsetDateTime>,
}

impl AccountMove {
    /// Ends it with its account.
    pub(crate) async fn end(&self, tx: &mut Tx, now: OffsetDateTime) -> Result<(), Error> {
        for from in [State::Switched, State::Confirming] {
            let states = (from, State::Confirmed);
            store::account_move::set_state(tx, self.id, states, "the account is gone", now).await?;
        }
        Ok(())
    }
}

/// What a page of a pass came to.
#[derive(Debug, Clone)]
pub(crate) struct Advance {
    pub(crate) bucket: BucketName,
    pub(crate) after: Option<String>,
    pub(crate) checked: Amount,
    pub(crate) copied: Amount,
    pub(crate) changes: i64,
    /// All of the move so far.
    pub(crate) faults: Vec<String>,
    pub(crate) last_write_time: Option<OffsetDateTime>,
}

/// A page of moves.
#[derive(Debug)]
pub(crate) struct AccountMovePage {
    pub(crate) moves: Vec<AccountMove>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// What an engine says to the keys of an account, for whoever gave them.
pub(super) fn key_error(error: EngineError) -> Error {
    match error {
        EngineError::AlreadyExists => {
            Error::field("keys", "holds an access key of another account of the destination")
        }
        EngineError::Invalid { why } => Error::field("keys", why),
        other => other.into(),
    }
}

impl Storage {
    pub(super) async fn found_move(&self, uid: &S3uid, id: Uuid) -> Result<AccountMove, Error> {
        let found = store::account_move::find(&self.db, uid, id).await?;
        found.ok_or(Error::AccountMoveNotFound)
    }

    /// Lets nothing in the account be changed any more, if nothing is being changed.
    pub(crate) async fn freeze_account_move(
        &self,
        cx: &RequestContext,
        (uid, id): (&S3uid, Uuid),
    ) -> Result<AccountMove, Error> {
        check_operator(cx, MOVE)?;
        let known = self.found_move(uid, id).await?;
        match known.state {
            State::Copied => {}
            State::Freezing | State::Verifying | State::Verified => return Ok(known),
            state => return Err(Error::AccountMoveState { state: state.text() }),
        }
        let mut tx = self.db.begin().await?;
        // Whoever begins a change holds this row until he has written what it is.
        store::account::set_frozen(&mut tx, uid, true).await?;
        if let Some(why) = store::account_move::held_by(&mut tx, uid).await? {
            return Err(Error::AccountMoveRefused { why });
        }
        let (states, now) = ((State::Copied, State::Freezing), self.clock.now());
        let moved = store::account_move::set_state(&mut tx, id, states, "", now).await?;
        let moved = moved.ok_or(Error::AccountMoveState { state: "CANCELLING" })?;
        tx.commit().await?;
        self.move_due.notify_one();
        Ok(moved)
    }

    /// Has the old side deleted.
    pub(crate) async fn confirm_account_move(
        &self,
        cx: &RequestContext,
        (uid, id): (&S3uid, Uuid),
    ) -> Result<AccountMove, Error> {
        check_operator(cx, MOVE)?;
        let known = self.found_move(uid, id).await?;
        match known.state {
            State::Switched => self.turn_to(&known, State::Confirming).await,
            State::Confirming | State::Confirmed => Ok(known),
            state => Err(Error::AccountMoveState { state: state.text() }),
        }
    }

    /// Gives a move up.
    pub(crate) async fn cancel_account_move(
        &self,
        cx: &RequestContext,
        (uid, id): (&S3uid, Uuid),
    ) -> Result<AccountMove, Error> {
        check_operator(cx, MOVE)?;
        let known = self.found_move(uid, id).await?;
        match known.state {
            State::Cancelling | State::Cancelled => Ok(known),
            state if state.is_switched() => Err(Error::AccountMoveState { state: state.text() }),
            _ => self.turn_to(&known, State::Cancelling).await,
        }
    }

    /// The state may have changed since it was looked at: then the caller is told, and looks again.
    async fn turn_to(&self, known: &AccountMove, to: State) -> Result<AccountMove, Error> {
        let mut tx = self.db.begin().await?;
        let (states, now) = ((known.state, to), self.clock.now());
        let moved = store::account_move::set_state(&mut tx, known.id, states, "", now).await?;
        let overtaken = stowage_db::Error::Unavailable {
            why: "the move has got on in this moment",
            source: None,
        };
        let moved = moved.ok_or(overtaken)?;
        tx.commit().await?;
        self.move_due.notify_one();
        Ok(moved)
    }

    pub(crate) async fn account_move(
        &self,
        cx: &RequestContext,
        (uid, id): (&S3uid, Uuid),
    ) -> Result<AccountMove, Error> {
        check_operator(cx, MOVE)?;
        self.found_move(uid, id).await
    }

    pub(crate) async fn account_moves(
        &self,
        cx: &RequestContext,
        (uid, open_only): (Option<&S3uid>, bool),
        (page_size, page_token): (i64, &str),
    ) -> Result<AccountMovePage, Error> {
        check_operator(cx, MOVE)?;
        let scope = format!("{}/{open_only}", uid.map_or("-", S3uid::as_str));
        let before = match page::decode(LISTING, &scope, page_token) {
            Ok(None) => Uuid::max(),
            Ok(Some(text)) => Uuid::parse_str(&text).map_err(|_| Error::PageTokenInvalid)?,
            Err(_) => return Err(Error::PageTokenInvalid),
        };
        let rows = (before, page_size + 1);
        let mut moves = store::account_move::list(&self.db, uid, open_only, rows).await?;
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let mut next_page_token = String::new();
        if moves.len() > size {
            moves.truncate(size);
            if let Some(last) = moves.last() {
                next_page_token = page::encode(LISTING, &scope, &last.id.to_string());
            }
        }
        Ok(AccountMovePage { moves, next_page_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_were_written() {
        for state in State::ALL {
            assert_eq!(State::of(state.text()), Some(state));
        }
        assert_eq!(State::of("x"), None);
    }
}
