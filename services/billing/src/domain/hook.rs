//! Messages that come in from outside, signed: of the provider's own system, and of payment
//! processors.
//!
//! What a provider's message says is a hint to look: the provider is asked what is true, as the
//! timers ask it later. So one that is lost, forged by whoever has the secret, or out of order
//! does no harm.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stowage_auth::RequestContext;
use stowage_provider::Hint;
use stowage_provider::signed::{Disbelief, SignedMessage, TOLERANCE, Verifier};
use time::OffsetDateTime;

use super::Billing;
use crate::error::Error;
use crate::store;

/// Who books what a payment processor reports, for the audit.
const PROCESSOR: &str = "hooks/payments";
/// Messages that are remembered, at most; of more, some are looked at twice.
const REMEMBERED_MAX: usize = 10_000;

/// Messages that were taken, by installation and signature, and until when each would be believed.
/// Each process remembers its own: with several, a message can be taken by each of them once.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<HashMap<(String, String), OffsetDateTime>>);

impl Taken {
    fn has(&self, installation: &str, signature: &str) -> bool {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.contains_key(&key(installation, signature))
    }

    fn remember(&self, installation: &str, signature: &str, now: OffsetDateTime) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= REMEMBERED_MAX {
            taken.retain(|_, until| *until >= now);
        }
        if taken.len() < REMEMBERED_MAX {
            // Signed ahead of our clock at most, it is good for as long behind it.
            taken.insert(key(installation, signature), now + TOLERANCE * 2);
        }
    }
}

/// Digits may be of either case.
fn key(installation: &str, signature: &str) -> (String, String) {
    (installation.to_owned(), signature.to_ascii_lowercase())
}

impl Billing {
    /// Takes a message of the provider's own system, and looks at what it is about. True: it was
    /// taken before.
    pub(crate) async fn take_provider_message(
        &self,
        installation: &str,
        message: SignedMessage<'_>,
    ) -> Result<bool, Error> {
        let hint = self.provider.read_message(installation, message)?;
        if self.taken.has(installation, message.signature) {
            return Ok(true);
        }
        self.follow(&hint).await?;
        // Not before: what could not be looked at is to be sent again.
        self.taken.remember(installation, message.signature, self.clock.now());
        tracing::info!(installation, event = hint.event, "a message of the provider was followed");
        Ok(false)
    }

    /// The body of a message of a payment processor, if it is to be believed.
    pub(crate) fn believe_processor<'m>(
        &self,
        message: SignedMessage<'m>,
    ) -> Result<&'m [u8], Error> {
        let verifier: Option<&Verifier> = self.payment_verifier.as_ref();
        verifier.ok_or(Disbelief::NoSecret)?.verify(message)?;
        Ok(message.body)
    }

    /// Looks at what a hint is about, now.
    async fn follow(&self, hint: &Hint) -> Result<(), Error> {
        if let Some(id) = hint.invoice_id {
            self.look_at_invoice(id).await?;
        }
        let provider = self.provider.name();
        let found = match (hint.service_id, hint.order_id) {
            (Some(id), _) => store::subscription::find(&self.db, provider, id).await?,
            (None, Some(id)) => store::subscription::find_by_order(&self.db, provider, id).await?,
            (None, None) => None,
        };
        match found {
            Some(found) => self.compare_now(found).await,
            // None of ours, or one whose order is under way: the round of the timer sees it.
            None => Ok(()),
        }
    }
}

/// The context of what a payment processor reports: the call is the gateway's.
pub(crate) fn as_processor(mut cx: RequestContext) -> RequestContext {
    PROCESSOR.clone_into(&mut cx.principal.subject);
    cx
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn memory_is_bounded_and_nothing_is_forgotten_in_time() {
        let (taken, now) = (Taken::default(), OffsetDateTime::UNIX_EPOCH);
        for n in 0..=REMEMBERED_MAX {
            taken.remember("whmcs", &format!("sha256={n:x}"), now);
        }
        assert_eq!(taken.0.lock().unwrap().len(), REMEMBERED_MAX);
        assert!(taken.has("whmcs", "sha256=A") && !taken.has("other", "sha256=a"));
        taken.remember("whmcs", "sha256=late", now + TOLERANCE * 2);
        assert!(!taken.has("whmcs", "sha256=late"), "all of them may still be believed");
        taken.remember("whmcs", "sha256=late", now + TOLERANCE * 2 + Duration::SECOND);
        assert_eq!(taken.0.lock().unwrap().len(), 1);
    }
}
