//! Events out of WHMCS: what the file `hook/stowage.php` in an installation sends.
//!
//! A message is JSON, signed with HMAC-SHA256 over `<timestamp>.<body>`. One that is older than
//! five minutes, or was seen before, is refused. What it says is a hint to look, and never the
//! truth: a message may be lost, and come in any order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use stowage_types::Clock;
use time::{Duration, OffsetDateTime};

use crate::loose;

/// Header of the seconds since 1970 at which a message was signed.
pub const TIMESTAMP_HEADER: &str = "x-stowage-timestamp";
/// Header of the signature: `sha256=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "x-stowage-signature";
/// Longest body of a message, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// How far the clocks of both may be apart, the way of the message included.
const TOLERANCE: Duration = Duration::minutes(5);
/// Messages that are remembered; within twice the tolerance none is forgotten.
const REMEMBERED_MAX: usize = 10_000;
/// Fewest characters of a secret.
const SECRET_MIN: usize = 32;

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// A header or the body is not what the file sends.
    #[error("the message is malformed")]
    Malformed,
    /// It was signed too long ago, or will be.
    #[error("the message is not of now")]
    Stale,
    /// It was not signed with our secret, or was changed.
    #[error("the signature is wrong")]
    Forged,
    /// It was seen before.
    #[error("the message was seen before")]
    Replayed,
    /// Too many have come: this one could not be remembered.
    #[error("too many messages come at once")]
    Busy,
}

/// Something that has happened in WHMCS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// Name of the hook point: `InvoicePaid`.
    pub name: String,
    /// The client, if it names one.
    pub client_id: Option<i64>,
    /// The invoice, if it names one.
    pub invoice_id: Option<i64>,
    /// The order, if it names one.
    pub order_id: Option<i64>,
    /// The service, if it names one.
    pub service_id: Option<i64>,
}

/// Believes messages that are signed, of now, and new. Each process remembers what it has seen by
/// itself: with several, a message can be believed by each of them once.
pub struct Verifier {
    key: hmac::Key,
    clock: Arc<dyn Clock>,
    /// Signatures, and until when each is remembered.
    seen: Mutex<HashMap<Vec<u8>, OffsetDateTime>>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// Believes what is signed with this secret; `None` if it is shorter than 32 characters.
    #[must_use]
    pub fn new(secret: &SecretString, clock: Arc<dyn Clock>) -> Option<Self> {
        let secret = secret.expose_secret();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        (secret.len() >= SECRET_MIN).then(|| Self { key, clock, seen: Mutex::default() })
    }

    /// Reads a message, given the values of its two headers.
    ///
    /// # Errors
    /// See [`HookError`].
    pub fn verify(
        &self,
        (timestamp, signature): (&str, &str),
        body: &[u8],
    ) -> Result<HookEvent, HookError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(HookError::Malformed);
        }
        let signature = signature.strip_prefix("sha256=").ok_or(HookError::Malformed)?;
        let signature = hex::decode(signature).map_err(|_| HookError::Malformed)?;
        let seconds: i64 = timestamp.parse().map_err(|_| HookError::Malformed)?;
        let signed = [timestamp.as_bytes(), b".", body].concat();
        // It takes as long whatever is wrong, and nothing of a message is looked at before.
        hmac::verify(&self.key, &signed, &signature).map_err(|_| HookError::Forged)?;
        let time = OffsetDateTime::from_unix_timestamp(seconds);
        let time = time.map_err(|_| HookError::Malformed)?;
        let now = self.clock.now();
        if (now - time).abs() > TOLERANCE {
            return Err(HookError::Stale);
        }
        let event = event_of(body).ok_or(HookError::Malformed)?;
        self.remember(signature, (now, time))?;
        Ok(event)
    }

    /// Remembers a message for as long as it would be believed.
    fn remember(
        &self,
        signature: Vec<u8>,
        (now, time): (OffsetDateTime, OffsetDateTime),
    ) -> Result<(), HookError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains_key(&signature) {
            return Err(HookError::Replayed);
        }
        if seen.len() >= REMEMBERED_MAX {
            seen.retain(|_, until| *until >= now);
        }
        if seen.len() >= REMEMBERED_MAX {
            return Err(HookError::Busy);
        }
        seen.insert(signature, time + TOLERANCE);
        Ok(())
    }
}

fn event_of(body: &[u8]) -> Option<HookEvent> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let name = body["event"].as_str().filter(|name| !name.is_empty())?;
    let id = |name: &str| loose::id(&body[name]);
    Some(HookEvent {
        name: name.to_owned(),
        client_id: id("userid"),
        invoice_id: id("invoiceid"),
        order_id: id("orderid"),
        service_id: id("serviceid"),
    })
}

#[cfg(test)]
mod tests {
    use stowage_types::FakeClock;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const BODY: &[u8] = br#"{"event":"InvoicePaid","invoiceid":"7","nonce":"a"}"#;

    fn verifier() -> (Verifier, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)));
        (Verifier::new(&SECRET.to_owned().into(), clock.clone()).unwrap(), clock)
    }

    fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, &[timestamp.as_bytes(), b".", body].concat());
        format!("sha256={}", hex::encode(tag))
    }

    /// A message signed so many seconds from now.
    fn message(clock: &FakeClock, seconds: i64, body: &[u8]) -> (String, String) {
        let timestamp = (clock.now().unix_timestamp() + seconds).to_string();
        let signature = sign(SECRET, &timestamp, body);
        (timestamp, signature)
    }

    #[test]
    fn a_message_is_believed_once_and_within_five_minutes() {
        let (verifier, clock) = verifier();
        for (seconds, expected) in [
            (0, None),
            (-300, None),
            (300, None),
            (-301, Some(HookError::Stale)),
            (301, Some(HookError::Stale)),
        ] {
            let (timestamp, signature) = message(&clock, seconds, BODY);
            let believed = verifier.verify((&timestamp, &signature), BODY);
            assert_eq!(believed.as_ref().err(), expected.as_ref(), "{seconds} s");
            let again = verifier.verify((&timestamp, &signature), BODY).unwrap_err();
            assert_eq!(again, expected.unwrap_or(HookError::Replayed), "{seconds} s");
        }
        let (timestamp, signature) = message(&clock, 1, BODY);
        let event = verifier.verify((&timestamp, &signature), BODY).unwrap();
        assert_eq!((event.name.as_str(), event.invoice_id), ("InvoicePaid", Some(7)));
        assert_eq!(event.service_id, None);
        clock.advance(std::time::Duration::from_secs(302));
        let late = verifier.verify((&timestamp, &signature), BODY);
        assert_eq!(late, Err(HookError::Stale), "forgotten or not, it is not believed again");
    }

    #[test]
    fn what_is_not_signed_by_us_is_not_believed() {
        let (verifier, clock) = verifier();
        let (timestamp, good) = message(&clock, 0, BODY);
        let other = sign("another secret of thirty-two chars", &timestamp, BODY);
        let later = (clock.now().unix_timestamp() + 1).to_string();
        let changed = br#"{"event":"InvoicePaid","invoiceid":"8","nonce":"a"}"#;
        let short = &good[..good.len() - 2];
        for (timestamp, signature, body, expected) in [
            (timestamp.as_str(), other.as_str(), BODY, HookError::Forged),
            (&timestamp, &good, changed.as_slice(), HookError::Forged),
            (&later, &good, BODY, HookError::Forged),
            (&timestamp, short, BODY, HookError::Forged),
            (&timestamp, "sha256=", BODY, HookError::Forged),
            (&timestamp, &good["sha256=".len()..], BODY, HookError::Malformed),
            (&timestamp, "sha256=xx", BODY, HookError::Malformed),
            ("now", &good, BODY, HookError::Malformed),
        ] {
            let found = verifier.verify((timestamp, signature), body);
            assert_eq!(found, Err(expected), "{timestamp} {signature}");
        }
        for body in [b"{}".as_slice(), b"", b"[]", br#"{"event":""}"#, &[b' '; BODY_BYTES_MAX + 1]]
        {
            let (timestamp, signature) = message(&clock, 0, body);
            let found = verifier.verify((&timestamp, &signature), body);
            assert_eq!(found, Err(HookError::Malformed));
        }
        assert!(verifier.verify((&timestamp, &good), BODY).is_ok(), "nothing of it was remembered");
        assert!(Verifier::new(&"short".to_owned().into(), clock).is_none());
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_forgotten_in_time() {
        let (verifier, clock) = verifier();
        let tell = |n: usize| {
            let body = format!(r#"{{"event":"ServiceEdit","serviceid":{}}}"#, n + 1);
            let (timestamp, signature) = message(&clock, 0, body.as_bytes());
            verifier.verify((&timestamp, &signature), body.as_bytes()).map(drop)
        };
        for n in 0..REMEMBERED_MAX {
            assert_eq!(tell(n), Ok(()));
        }
        assert_eq!(
            (tell(REMEMBERED_MAX), tell(0)),
            (Err(HookError::Busy), Err(HookError::Replayed))
        );
        clock.advance(std::time::Duration::from_secs(301));
        assert_eq!(tell(0), Ok(()), "another timestamp, another message");
        assert_eq!(verifier.seen.lock().unwrap().len(), 1);
    }
}
