//! One request's figures: held until it is known who pays, then counted as they move.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};

use crate::counts::{Counts, Moved, Signer};

/// Requests that are charged to nobody, by location and reason.
const UNCHARGED_REQUESTS: &str = "stowage_storage_front_uncharged_requests";
/// Bytes of bodies that are charged to nobody, both ways, by location.
const UNCHARGED_BYTES: &str = "stowage_storage_front_uncharged_bytes";

/// Why a request is charged to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It names no key.
    Anonymous,
    /// The answer does not show that the signature was taken.
    Refused,
    /// The engine did not answer.
    Failed,
    /// The client went away, and it was not waited for what the engine says: too many had gone, or
    /// the front stopped.
    Unproven,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unproven => "unproven",
        }
    }
}

/// What is known of who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Charged,
    Nobody,
}

#[derive(Debug)]
struct State {
    fate: Fate,
    /// Bytes of the request's body that came before it was known.
    early_bytes: u64,
}

/// Counts one request.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Arc<Counts>,
    /// Absent: it names no key.
    signer: Option<Arc<Signer>>,
    is_read: bool,
    state: Mutex<State>,
}

/// Whether a request that is answered so was certainly signed by the key that it names.
fn is_proof(method: &Method, status: StatusCode) -> bool {
    // Browsers ask so, unsigned, before they ask what they want.
    *method != Method::OPTIONS
        && (status.is_success() || matches!(status.as_u16(), 304 | 404 | 409 | 412 | 416))
}

impl Meter {
    pub(crate) fn new(counts: Arc<Counts>, signer: Option<Signer>, method: &Method) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let state = Mutex::new(State { fate: Fate::Open, early_bytes: 0 });
        Self { counts, signer: signer.map(Arc::new), is_read, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().fate == Fate::Open
    }

    /// Decides by an answer.
    pub(crate) fn answered(&self, method: &Method, status: StatusCode) {
        if is_proof(method, status) {
            self.charge();
        } else {
            self.charge_nobody(Why::Refused);
        }
    }

    /// Charges the account of the key, if one is named. Only the first decision counts.
    pub(crate) fn charge(&self) {
        let Some(signer) = &self.signer else { return self.charge_nobody(Why::Anonymous) };
        let mut state = self.state();
        if state.fate == Fate::Open {
            state.fate = Fate::Charged;
            let requests = u64::from(self.is_read);
            let moved = Moved {
                received_bytes: std::mem::take(&mut state.early_bytes),
                sent_bytes: 0,
                read_requests: requests,
                write_requests: 1 - requests,
            };
            self.counts.add(signer, moved);
        }
    }

    /// Charges nobody. Only the first decision counts.
    pub(crate) fn charge_nobody(&self, why: Why) {
        let mut state = self.state();
        if state.fate != Fate::Open {
            return;
        }
        state.fate = Fate::Nobody;
        let why = if self.signer.is_none() { Why::Anonymous } else { why };
        let location = self.counts.location();
        metrics::counter!(UNCHARGED_REQUESTS, "location" => location.clone(), "why" => why.text())
            .increment(1);
        uncharged(location, std::mem::take(&mut state.early_bytes));
    }

    pub(crate) fn received(&self, bytes: u64) {
        let mut state = self.state();
        match state.fate {
            Fate::Open => state.early_bytes += bytes,
            Fate::Charged => self.count(Moved { received_bytes: bytes, ..Moved::default() }),
            Fate::Nobody => uncharged(self.counts.location(), bytes),
        }
    }

    /// There is no answer before it is known who pays for it.
    pub(crate) fn sent(&self, bytes: u64) {
        if self.state().fate == Fate::Charged {
            self.count(Moved { sent_bytes: bytes, ..Moved::default() });
        } else {
            uncharged(self.counts.location(), bytes);
        }
    }

    fn count(&self, moved: Moved) {
        if let Some(signer) = &self.signer {
            self.counts.add(signer, moved);
        }
    }
}

fn uncharged(location: &Arc<str>, bytes: u64) {
    metrics::counter!(UNCHARGED_BYTES, "location" => Arc::clone(location)).increment(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_behind_the_signature_is_proof() {
        for (status, expected) in [
            (200, true),
            (204, true),
            (206, true),
            (301, false),
            (304, true),
            (400, false),
            (401, false),
            (403, false),
            (404, true),
            (405, false),
            (409, true),
            (411, false),
            (412, true),
            (416, true),
            (500, false),
            (501, false),
            (503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_proof(&Method::GET, status), expected, "{status}");
            assert!(!is_proof(&Method::OPTIONS, status), "{status}");
        }
    }
}
