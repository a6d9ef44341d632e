//! What an account that has come to a cap of its plan may still do: read.
//!
//! A cap is beside what holds an account for unpaid invoices or by an administrator, and neither
//! touches the other: whoever pays is not let go of a cap, and whoever is below his caps again
//! stays held for what he owes. Metering numbers what it says, so it may come twice and in any
//! order.

use serde::{Deserialize, Serialize};
use stowage_auth::RequestContext;
use stowage_types::S3uid;

use super::Domain;
use super::change::TRIES;
use super::change_saga::What;
use crate::error::Error;

/// What a cap is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cap {
    Storage,
    /// Until the next billing period.
    Traffic,
}

/// What metering said last of an account's caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Capped {
    /// `None`: it is below all of them.
    pub(crate) cap: Option<Cap>,
    /// 0: nothing was said.
    pub(crate) sequence: i64,
}

/// What metering says of an account.
#[derive(Debug, Clone)]
pub(crate) struct CapWord {
    pub(crate) s3uid: S3uid,
    pub(crate) capped: Capped,
    pub(crate) limit_bytes: i64,
    pub(crate) used_bytes: i64,
}

impl Cap {
    /// As it is stored and told.
    pub(crate) fn text(cap: Option<Self>) -> &'static str {
        match cap {
            None => "",
            Some(Self::Storage) => "STORAGE",
            Some(Self::Traffic) => "TRAFFIC",
        }
    }

    /// Reads what [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Option<Self>> {
        let all = [None, Some(Self::Storage), Some(Self::Traffic)];
        all.into_iter().find(|cap| Self::text(*cap) == text)
    }
}

impl CapWord {
    fn reason(&self) -> String {
        let Self { used_bytes, limit_bytes, .. } = self;
        match self.capped.cap {
            None => "it is below its caps".to_owned(),
            Some(Cap::Storage) => {
                format!("it stores {used_bytes} bytes; its cap is {limit_bytes}")
            }
            Some(Cap::Traffic) => {
                format!("it has moved {used_bytes} bytes in its period; its cap is {limit_bytes}")
            }
        }
    }
}

impl Domain {
    /// Makes of an account what metering says of its caps. A word that is out of date, or of an
    /// account that has ended, is no matter.
    pub(crate) async fn take_cap(&self, cx: &RequestContext, word: &CapWord) -> Result<(), Error> {
        let what = if word.capped.cap.is_some() { What::Cap } else { What::Uncap };
        for _ in 0..TRIES {
            let Some(account) = self.account_to_hold(cx, &word.s3uid).await? else { return Ok(()) };
            if word.capped.sequence <= account.capped.sequence {
                return Ok(());
            }
            let mut state = self.state_of(cx, &account, what).await?;
            (state.after.capped, state.reason) = (word.capped, word.reason());
            if self.make_so(cx, &state).await? {
                return Ok(());
            }
        }
        Err(Error::AccountBusy)
    }
}
