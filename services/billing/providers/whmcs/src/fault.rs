//! What went wrong with a call, before it is known what that means.

use http::StatusCode;
use stowage_provider::{BoxError, Error};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It was never sent: nothing was done.
    #[error("WHMCS was not reached")]
    Away(#[source] BoxError),
    /// It was turned away before any action: an address, a credential, a role.
    #[error("WHMCS turned the call away with {status}: {message}")]
    Denied {
        /// Of HTTP.
        status: StatusCode,
        /// In its words.
        message: String,
    },
    /// The action was not carried out.
    #[error("WHMCS refused: {message}")]
    Refused {
        /// In its words.
        message: String,
    },
    /// There was no answer, or none that is understood. It may have been done.
    #[error("WHMCS gave no clear answer")]
    Lost(#[source] BoxError),
}

/// A call took longer than it may. PHP may go on with it.
#[derive(Debug, thiserror::Error)]
#[error("the call takes too long")]
pub(crate) struct GivenUp;

impl Fault {
    /// There was no answer, or none that is understood.
    pub(crate) fn lost(source: impl Into<BoxError>) -> Self {
        Self::Lost(source.into())
    }

    /// It was never sent.
    pub(crate) fn away(source: impl Into<BoxError>) -> Self {
        Self::Away(source.into())
    }

    /// Whether it says nothing about WHMCS being well.
    pub(crate) fn is_unclear(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Lost(_))
    }

    /// Whether WHMCS says that what an action is about is not there.
    pub(crate) fn is_absent(&self) -> bool {
        self.says("not found")
    }

    /// Whether WHMCS refused in words like these. Texts differ between versions in case.
    pub(crate) fn says(&self, words: &str) -> bool {
        match self {
            Self::Refused { message } => message.to_lowercase().contains(words),
            _ => false,
        }
    }

    /// What it means once something was or may have been changed: not all of it is known.
    pub(crate) fn halfway(self) -> Error {
        Error::pending(self)
    }
}

/// What it means while nothing was changed yet. A refusal that nobody has expected is not
/// understood.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away(_) | Fault::Denied { .. } => Self::unavailable(fault),
            Fault::Refused { .. } | Fault::Lost(_) => Self::pending(fault),
        }
    }
}

/// A reading: whatever failed, nothing was changed.
pub(crate) fn unread(fault: Fault) -> Error {
    Error::unavailable(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_done_is_unavailable() {
        let denied = Fault::Denied { status: StatusCode::FORBIDDEN, message: String::new() };
        let refused = || Fault::Refused { message: "Order ID Not Found".to_owned() };
        for (fault, is_certain) in [
            (Fault::away("no route"), true),
            (denied, true),
            (refused(), false),
            (Fault::lost("cut off"), false),
        ] {
            let text = format!("{fault:?}");
            let error = Error::from(fault);
            assert_eq!(matches!(error, Error::Unavailable { .. }), is_certain, "{text}");
            assert!(error.is_transient(), "{text}");
        }
        assert!(refused().is_absent() && !Fault::lost("not found").is_absent());
    }
}
