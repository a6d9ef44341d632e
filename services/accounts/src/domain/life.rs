//! The states of an account, and what each allows and costs: one table.

use super::account::Account;
use crate::error::Error;

/// Where an account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Active,
    /// Read, and not changed.
    ReadOnly,
    Suspended,
    Ended,
    Failed,
    Deleting,
    Deleted,
}

/// What holds an active account; stored beside its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) enum Hold {
    #[default]
    Nothing,
    /// An administrator wants it suspended.
    Administrator,
    /// An invoice is unpaid for so long that it is read only.
    ReadOnly,
    /// An invoice is unpaid for so long that it is suspended.
    Unpaid,
    /// Its subscription has ended.
    Ended,
}

/// What is done with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Shown, with its figures and keys.
    Read,
    Suspend,
    Resume,
    ChangePlan,
    RotateKey,
    RevokeKey,
    ScheduleCancellation,
    WithdrawCancellation,
    /// Its scheduled cancellation falls due.
    End,
    Delete,
    /// Made to agree again with its parts.
    Mend,
    /// Moved to another location.
    Move,
}

/// What a state costs the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Nothing,
    /// The price of the plan, and what is used beyond it.
    PlanAndUse,
    /// The price of the plan, and what lies there; nothing can move.
    PlanAndStorage,
}

/// One row of the table.
pub(crate) struct Rule {
    pub(crate) state: State,
    pub(crate) cost: Cost,
    pub(crate) allows: &'static [Act],
}

/// What can be done with an account that is held. A key that has leaked is revoked whatever else is
/// wrong.
const HELD: &[Act] = &[
    Act::Read,
    Act::Suspend,
    Act::Resume,
    Act::RotateKey,
    Act::RevokeKey,
    Act::ScheduleCancellation,
    Act::WithdrawCancellation,
    Act::End,
    Act::Delete,
    Act::Mend,
    Act::Move,
];

/// The table. What is not listed is refused with `ACCOUNT_STATE`; an account that is not to be
/// read is not there.
pub(crate) const LIFE: &[Rule] = &[
    // The order goes on, and ends either way.
    Rule { state: State::Pending, cost: Cost::Nothing, allows: &[Act::Read] },
    Rule {
        state: State::Active,
        cost: Cost::PlanAndUse,
        allows: &[
            Act::Read,
            Act::Suspend,
            Act::Resume,
            Act::ChangePlan,
            Act::RotateKey,
            Act::RevokeKey,
            Act::ScheduleCancellation,
            Act::WithdrawCancellation,
            Act::End,
            Act::Delete,
            Act::Mend,
            Act::Move,
        ],
    },
    // What is read moves.
    Rule { state: State::ReadOnly, cost: Cost::PlanAndUse, allows: HELD },
    Rule { state: State::Suspended, cost: Cost::PlanAndStorage, allows: HELD },
    // The data waits for the end of the retention time; nothing is billed any more.
    Rule {
        state: State::Ended,
        cost: Cost::Nothing,
        allows: &[Act::Read, Act::RevokeKey, Act::Delete, Act::Mend],
    },
    // A second deletion waits for the first.
    Rule { state: State::Deleting, cost: Cost::Nothing, allows: &[Act::Read, Act::Delete] },
    Rule { state: State::Deleted, cost: Cost::Nothing, allows: &[Act::Delete] },
    Rule { state: State::Failed, cost: Cost::Nothing, allows: &[] },
];

impl State {
    /// As it is shown.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::ReadOnly => "READ_ONLY",
            Self::Suspended => "SUSPENDED",
            Self::Ended => "ENDED",
            Self::Failed => "FAILED",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
        }
    }

    /// As it is stored: what holds an active account has a column of its own.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Self::ReadOnly | Self::Suspended | Self::Ended => Self::Active.text(),
            other => other.text(),
        }
    }

    /// Reads what [`Self::stored`] wrote, with what holds it.
    pub(crate) fn parse(text: &str, hold: Hold) -> Option<Self> {
        let active = match hold {
            Hold::Nothing => Self::Active,
            Hold::ReadOnly => Self::ReadOnly,
            Hold::Administrator | Hold::Unpaid => Self::Suspended,
            Hold::Ended => Self::Ended,
        };
        [Self::Pending, active, Self::Failed, Self::Deleting, Self::Deleted]
            .into_iter()
            .find(|state| state.stored() == text)
    }

    fn rule(self) -> Option<&'static Rule> {
        LIFE.iter().find(|rule| rule.state == self)
    }

    /// What it costs the customer.
    pub(crate) fn cost(self) -> Cost {
        self.rule().map_or(Cost::Nothing, |rule| rule.cost)
    }
}

impl Hold {
    /// As history shows it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Administrator => "ADMINISTRATOR",
            Self::ReadOnly => "READ_ONLY",
            Self::Unpaid => "UNPAID",
            Self::Ended => "ENDED",
        }
    }

    /// As it is stored: what holds the account, and whether it may still be read.
    pub(crate) fn stored(self) -> (&'static str, bool) {
        match self {
            Self::ReadOnly => (Self::Unpaid.text(), true),
            other => (other.text(), false),
        }
    }

    /// Reads what [`Self::stored`] wrote. What a process of before has written over may still be
    /// read, beside a hold that it is not of.
    pub(crate) fn parse(text: &str, is_read_only: bool) -> Option<Self> {
        match [Self::Nothing, Self::Administrator, Self::Unpaid, Self::Ended]
            .into_iter()
            .find(|hold| hold.text() == text)
        {
            Some(Self::Unpaid) if is_read_only => Some(Self::ReadOnly),
            hold => hold,
        }
    }

    /// Whether the engine refuses the account's requests.
    pub(crate) fn suspends(self) -> bool {
        !matches!(self, Self::Nothing | Self::ReadOnly)
    }

    /// Whether the engine refuses those that would change something, and no others.
    pub(crate) fn is_read_only(self) -> bool {
        self == Self::ReadOnly
    }
}

impl Act {
    /// As errors name it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::ChangePlan => "change_plan",
            Self::RotateKey => "rotate_key",
            Self::RevokeKey => "revoke_key",
            Self::ScheduleCancellation => "schedule_cancellation",
            Self::WithdrawCancellation => "withdraw_cancellation",
            Self::End => "end",
            Self::Delete => "delete",
            Self::Mend => "mend",
            Self::Move => "move",
        }
    }
}

impl Account {
    /// Whether its state allows an act.
    ///
    /// # Errors
    /// - [`Error::AccountNotFound`]: it failed, or is deleted.
    /// - [`Error::AccountState`]: it is there, and does not.
    /// - [`Error::AccountMoving`]: it would, but for a move that is under way.
    pub(crate) fn allow(&self, act: Act) -> Result<(), Error> {
        let allows = self.state.rule().map_or(&[][..], |rule| rule.allows);
        let waits = match act {
            Act::Read | Act::Move => false,
            Act::Delete => self.move_to.is_some(),
            _ => self.is_frozen,
        };
        if allows.contains(&act) {
            return if waits { Err(Error::AccountMoving) } else { Ok(()) };
        }
        match self.state {
            State::Failed | State::Deleted => Err(Error::AccountNotFound),
            state => Err(Error::AccountState { state: state.text(), action: act.text() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 8] = [
        State::Pending,
        State::Active,
        State::ReadOnly,
        State::Suspended,
        State::Ended,
        State::Failed,
        State::Deleting,
        State::Deleted,
    ];

    #[test]
    fn every_state_has_one_row_and_is_read_as_it_was_stored() {
        assert_eq!(LIFE.len(), STATES.len());
        for state in STATES {
            assert_eq!(LIFE.iter().filter(|rule| rule.state == state).count(), 1, "{state:?}");
            let hold = match state {
                State::ReadOnly => Hold::ReadOnly,
                State::Suspended => Hold::Unpaid,
                State::Ended => Hold::Ended,
                _ => Hold::Nothing,
            };
            assert_eq!(State::parse(state.stored(), hold), Some(state));
        }
        for hold in [Hold::Nothing, Hold::Administrator, Hold::ReadOnly, Hold::Unpaid, Hold::Ended]
        {
            let (text, is_read_only) = hold.stored();
            assert_eq!(Hold::parse(text, is_read_only), Some(hold));
        }
        assert_eq!((State::parse("x", Hold::Nothing), Hold::parse("x", false)), (None, None));
    }

    #[test]
    fn nobody_pays_for_what_he_cannot_have() {
        for state in STATES {
            let pays = state.cost() != Cost::Nothing;
            let in_use = matches!(state, State::Active | State::ReadOnly | State::Suspended);
            assert_eq!(pays, in_use, "{state:?}");
            // What is paid for can be ended by who pays.
            let allows = state.rule().unwrap().allows;
            assert!(!pays || allows.contains(&Act::ScheduleCancellation), "{state:?}");
        }
    }
}
