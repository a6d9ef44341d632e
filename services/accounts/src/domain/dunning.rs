//! What unpaid invoices make of an account, stage by stage, and what a payment takes back.
//!
//! Billing numbers what it says of an account, and each word says all of it: the highest stage that
//! any open invoice has come to. So words may come twice and in any order, and the one with the
//! highest number counts. What counts is how the stage has moved since the last word: a higher one
//! shuts the account as far, a lower one opens it as far, and what an administrator has done
//! meanwhile stays as long as the stage does. What he has suspended himself is never opened.
//!
//! The end of an account that is unpaid to the last is ours, not billing's scheduled cancellation:
//! that one falls on the end of the period, belongs to the customer, and is withdrawn by him.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::Domain;
use super::account::Account;
use super::change::TRIES;
use super::change_saga::{Shape, What};
use super::history::{Cause, Entry, Event};
use super::life::Hold;
use crate::error::Error;
use crate::store;

/// How far an unpaid invoice has come; later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Nothing is overdue.
    #[default]
    Nothing,
    /// Its customer is reminded; nothing is held.
    Reminder,
    ReadOnly,
    Suspended,
    /// Suspended, and its end is scheduled.
    Ended,
}

/// What billing said last of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Dunned {
    pub(crate) stage: Stage,
    /// 0: it was not numbered, or nothing was said.
    pub(crate) sequence: i64,
}

/// What has happened to an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has come to a stage; as a reminder with its number.
    Overdue(Stage, i32),
    /// It was paid or withdrawn.
    Settled,
}

/// What billing says of an account.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) s3uid: S3uid,
    pub(crate) invoice_id: i64,
    pub(crate) told: Told,
    /// Of all its open invoices.
    pub(crate) account_stage: Stage,
    /// 0: of an older sender, who did not number them.
    pub(crate) sequence: i64,
}

impl Stage {
    /// As it is stored.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Reminder => "REMINDER",
            Self::ReadOnly => "READ_ONLY",
            Self::Suspended => "SUSPENDED",
            Self::Ended => "ENDED",
        }
    }

    /// Reads what [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Nothing, Self::Reminder, Self::ReadOnly, Self::Suspended, Self::Ended]
            .into_iter()
            .find(|stage| stage.text() == text)
    }

    fn hold(self) -> Hold {
        match self {
            Self::Nothing | Self::Reminder => Hold::Nothing,
            Self::ReadOnly => Hold::ReadOnly,
            Self::Suspended | Self::Ended => Hold::Unpaid,
        }
    }
}

impl Word {
    /// Whether this or a later one was taken.
    fn is_known(&self, dunned: Dunned) -> bool {
        dunned.sequence > 0 && self.sequence <= dunned.sequence
    }

    /// Changes what the account is to what it shall be.
    fn apply(&self, shape: &mut Shape, end_time: OffsetDateTime) {
        let (before, stage) = (shape.dunned.stage, self.account_stage);
        shape.dunned = Dunned { stage, sequence: self.sequence };
        let comes_again = matches!(self.told, Told::Overdue(own, _) if own == stage);
        if stage > before || (stage == before && comes_again) {
            shape.hold = shut(shape.hold, stage.hold());
            if stage == Stage::Ended {
                shape.unpaid_end_time.get_or_insert(end_time);
            }
        } else if stage < before || stage == Stage::Nothing {
            shape.hold = open(shape.hold, stage.hold());
            shape.unpaid_end_time = None;
        }
    }

    fn reason(&self) -> String {
        let is = match self.told {
            Told::Overdue(..) => "is unpaid",
            Told::Settled => "is settled",
        };
        format!("invoice {} {is}", self.invoice_id)
    }
}

/// The stronger of two holds. What has another cause than an unpaid invoice is the strongest.
fn shut(now: Hold, to: Hold) -> Hold {
    match (now, to) {
        (Hold::Nothing, to) => to,
        (Hold::ReadOnly, Hold::Unpaid) => Hold::Unpaid,
        (now, _) => now,
    }
}

/// The weaker of two holds. What has another cause than an unpaid invoice stays.
fn open(now: Hold, to: Hold) -> Hold {
    match (now, to) {
        (Hold::Unpaid, to) => to,
        (Hold::ReadOnly, Hold::Nothing) => Hold::Nothing,
        (now, _) => now,
    }
}

/// What is done to an account; `None`: nothing but to note what was said.
fn what(before: &Shape, after: &Shape) -> Option<What> {
    match (before.unpaid_end_time, after.unpaid_end_time) {
        (None, Some(_)) => return Some(What::ScheduleEnd),
        (Some(_), None) if before.hold == after.hold => return Some(What::WithdrawEnd),
        _ => {}
    }
    if before.hold == after.hold {
        return None;
    }
    Some(match after.hold {
        Hold::Nothing => What::Resume,
        Hold::ReadOnly => What::KeepReading,
        _ => What::Suspend,
    })
}

impl Domain {
    /// Makes of an account what billing says of its invoices. A word that is out of date, or of an
    /// account that has ended, is no matter.
    pub(crate) async fn take_word(&self, cx: &RequestContext, word: &Word) -> Result<(), Error> {
        for _ in 0..TRIES {
            let Some(account) = self.account_to_hold(cx, &word.s3uid).await? else { return Ok(()) };
            if word.is_known(account.dunned) || self.take_once(cx, &account, word).await? {
                return Ok(());
            }
        }
        Err(Error::AccountBusy)
    }

    /// Takes a word, if nothing else of the account comes first.
    async fn take_once(
        &self,
        cx: &RequestContext,
        account: &Account,
        word: &Word,
    ) -> Result<bool, Error> {
        let mut state = self.state_of(cx, account, What::Suspend).await?;
        let end_time = self.shared.clock.now() + self.config.unpaid_end_grace();
        word.apply(&mut state.after, end_time);
        let Some(what) = what(&state.before, &state.after) else {
            return self.note_word(cx, account, word).await;
        };
        (state.what, state.reason) = (what, word.reason());
        self.make_so(cx, &state).await
    }

    /// Notes what was said of an account that it does not change, and a reminder in its history.
    async fn note_word(
        &self,
        cx: &RequestContext,
        account: &Account,
        word: &Word,
    ) -> Result<bool, Error> {
        let shared = &self.shared;
        let after = Dunned { stage: word.account_stage, sequence: word.sequence };
        let mut tx = shared.db.begin().await?;
        if !store::account::set_dunned(&mut tx, &account.s3uid, (account.dunned, after)).await? {
            drop(tx);
            self.settle().await?;
            return Ok(false);
        }
        if let Told::Overdue(Stage::Reminder, number) = word.told {
            let new = serde_json::json!({ "invoice_id": word.invoice_id, "reminder": number });
            Entry::new(Event::InvoiceReminded, Cause::of(cx))
                .customer(account.customer)
                .account(&account.s3uid, account.plan)
                .new_state(new)
                .write(&mut tx, shared.clock.now())
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Whether billing still says that an account is unpaid to the last: what it says of a payment
    /// may be under way, and an end is for good. While it is away nothing ends.
    pub(super) async fn is_unpaid_to_the_last(
        &self,
        cx: &RequestContext,
        account: &Account,
    ) -> bool {
        let s3uid = &account.s3uid;
        match self.shared.roles.is_unpaid_to_the_last(cx, account.customer, s3uid).await {
            Ok(true) => true,
            Ok(false) => {
                tracing::info!(account = %s3uid, "it was paid before its end, which does not come");
                false
            }
            Err(error) => {
                let error = error.message;
                tracing::warn!(error, account = %s3uid, "billing cannot say whether it is unpaid");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use stowage_types::PlanId;

    const END: OffsetDateTime = datetime!(2030-01-01 00:00:00 UTC);
    const LATER: OffsetDateTime = datetime!(2031-01-01 00:00:00 UTC);
    const STAGES: [Stage; 5] =
        [Stage::Nothing, Stage::Reminder, Stage::ReadOnly, Stage::Suspended, Stage::Ended];

    fn shape(hold: Hold, stage: Stage) -> Shape {
        Shape {
            plan: PlanId(1),
            plan_version: 1,
            quota_bytes: 0,
            bucket_max: 0,
            key_max: 2,
            gb_bytes: 1,
            hold,
            keys: Vec::new(),
            unpaid_end_time: (stage == Stage::Ended).then_some(END),
            dunned: Dunned { stage, sequence: 1 },
            capped: Default::default(),
        }
    }

    fn word(told: Told, account_stage: Stage) -> Word {
        let s3uid = S3uid::parse(&"ab".repeat(16)).unwrap();
        Word { s3uid, invoice_id: 7, told, account_stage, sequence: 2 }
    }

    /// What each word makes of an account that nobody but billing has touched.
    #[test]
    fn the_stage_decides_what_is_held_whatever_it_was_before() {
        for before in STAGES {
            for stage in STAGES {
                for told in [Told::Overdue(stage, 0), Told::Settled] {
                    let mut after = shape(before.hold(), before);
                    word(told, stage).apply(&mut after, LATER);
                    let context = format!("{before:?} {told:?} {stage:?}");
                    assert_eq!(after.hold, stage.hold(), "{context}");
                    let is_same_end = before == Stage::Ended;
                    let end = if is_same_end { END } else { LATER };
                    let end = (stage == Stage::Ended).then_some(end);
                    assert_eq!(after.unpaid_end_time, end, "{context}");
                    assert_eq!(after.dunned, Dunned { stage, sequence: 2 }, "{context}");
                }
            }
        }
    }

    #[test]
    fn what_an_administrator_has_done_stays_as_long_as_the_stage_does() {
        for stage in STAGES {
            // What he has suspended no word opens.
            for told in [Told::Overdue(stage, 0), Told::Settled] {
                let mut after = shape(Hold::Administrator, Stage::Suspended);
                word(told, stage).apply(&mut after, LATER);
                assert_eq!(after.hold, Hold::Administrator, "{told:?} {stage:?}");
            }
        }
        // What he has let go is held again by the next invoice that comes as far, not by a reminder
        // nor by the payment of another.
        for (told, stage, hold) in [
            (Told::Overdue(Stage::Reminder, 1), Stage::Suspended, Hold::Nothing),
            (Told::Overdue(Stage::ReadOnly, 0), Stage::Suspended, Hold::Nothing),
            (Told::Settled, Stage::Suspended, Hold::Nothing),
            (Told::Settled, Stage::ReadOnly, Hold::Nothing),
            (Told::Overdue(Stage::Suspended, 0), Stage::Suspended, Hold::Unpaid),
            (Told::Overdue(Stage::Ended, 0), Stage::Ended, Hold::Unpaid),
        ] {
            let mut after = shape(Hold::Nothing, Stage::Suspended);
            word(told, stage).apply(&mut after, LATER);
            assert_eq!(after.hold, hold, "{told:?} {stage:?}");
        }
        // What he has suspended as unpaid is not opened by a reminder, but by a payment.
        for (told, stage, hold) in [
            (Told::Overdue(Stage::Reminder, 1), Stage::Reminder, Hold::Unpaid),
            (Told::Overdue(Stage::ReadOnly, 0), Stage::ReadOnly, Hold::Unpaid),
            (Told::Settled, Stage::Nothing, Hold::Nothing),
        ] {
            let mut after = shape(Hold::Unpaid, Stage::Nothing);
            word(told, stage).apply(&mut after, LATER);
            assert_eq!(after.hold, hold, "{told:?} {stage:?}");
        }
    }

    #[test]
    fn what_is_done_has_its_own_name_in_history() {
        let of = |before: Shape, told, stage| {
            let mut after = before.clone();
            word(told, stage).apply(&mut after, LATER);
            what(&before, &after)
        };
        let unpaid = |stage: Stage| shape(stage.hold(), stage);
        let held = |stage| shape(Hold::Administrator, stage);
        let overdue = |stage| Told::Overdue(stage, 0);
        for (before, told, stage, expected) in [
            (unpaid(Stage::Nothing), Told::Overdue(Stage::Reminder, 1), Stage::Reminder, None),
            (
                unpaid(Stage::Reminder),
                overdue(Stage::ReadOnly),
                Stage::ReadOnly,
                Some(What::KeepReading),
            ),
            (
                unpaid(Stage::ReadOnly),
                overdue(Stage::Suspended),
                Stage::Suspended,
                Some(What::Suspend),
            ),
            (
                unpaid(Stage::Suspended),
                overdue(Stage::Ended),
                Stage::Ended,
                Some(What::ScheduleEnd),
            ),
            (unpaid(Stage::Ended), Told::Settled, Stage::Suspended, Some(What::WithdrawEnd)),
            (unpaid(Stage::Ended), Told::Settled, Stage::ReadOnly, Some(What::KeepReading)),
            (unpaid(Stage::Ended), Told::Settled, Stage::Nothing, Some(What::Resume)),
            (held(Stage::Ended), Told::Settled, Stage::Nothing, Some(What::WithdrawEnd)),
            (held(Stage::Suspended), Told::Settled, Stage::Nothing, None),
            (held(Stage::Suspended), overdue(Stage::Ended), Stage::Ended, Some(What::ScheduleEnd)),
        ] {
            assert_eq!(of(before, told, stage), expected, "{told:?} {stage:?}");
        }
        let known = |sequence, last| {
            let word = Word { sequence, ..word(Told::Settled, Stage::Nothing) };
            word.is_known(Dunned { stage: Stage::Nothing, sequence: last })
        };
        // Words without a number are taken until there is one with.
        assert_eq!([known(0, 0), known(1, 0), known(3, 2)], [false; 3]);
        assert_eq!([known(0, 1), known(1, 2), known(2, 2)], [true; 3]);
    }
}
