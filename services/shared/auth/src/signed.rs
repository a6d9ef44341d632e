//! Messages that come in from outside, or go out, signed with a secret that both sides know.
//!
//! The signature is HMAC-SHA256 over `<timestamp>.<body>`: a message cannot be changed, and is good
//! for a few minutes. Whether it was seen before is the business of whoever acts on it.

use std::sync::Arc;

use ring::hmac;
use stowage_types::{Clock, ExposeSecret as _, SecretString};
use time::{Duration, OffsetDateTime};

/// How far the clocks of both may be apart, the way of the message included.
pub const TOLERANCE: Duration = Duration::minutes(5);
/// Longest body of a message, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Fewest characters of a secret.
pub const SECRET_CHARS_MIN: usize = 32;

/// Header of the seconds since 1970 at which a message was signed.
pub const TIMESTAMP_HEADER: &str = "X-Stowage-Timestamp";
/// Header of the signature: `sha256=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "X-Stowage-Signature";

/// A message, as it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedMessage<'m> {
    /// Value of [`TIMESTAMP_HEADER`].
    pub timestamp: &'m str,
    /// Value of [`SIGNATURE_HEADER`].
    pub signature: &'m str,
    /// The body, byte for byte.
    pub body: &'m [u8],
}

/// Why a message is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Nobody takes messages there: there is no such installation, or it has no secret.
    #[error("nothing takes messages here")]
    NoSecret,
    /// A header or the body is not what is sent.
    #[error("{field} {why}")]
    Malformed {
        /// The header, or the field of the body.
        field: &'static str,
        /// Completes the sentence "the field …".
        why: &'static str,
    },
    /// It was signed too long ago, or will be.
    #[error("the message is not of now: are both clocks right?")]
    Stale,
    /// It was not signed with our secret, or was changed.
    #[error("the signature is wrong")]
    Forged,
}

/// Believes messages that are signed with its secret, and of now.
pub struct Verifier {
    key: hmac::Key,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// The signature of a message, as its sender makes it.
#[must_use]
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let tag = hmac::sign(&key, &[timestamp.as_bytes(), b".", body].concat());
    format!("sha256={}", hex::encode(tag))
}

fn malformed(field: &'static str, why: &'static str) -> Disbelief {
    Disbelief::Malformed { field, why }
}

impl Verifier {
    /// Believes what is signed with this secret; `None` if it is shorter than
    /// [`SECRET_CHARS_MIN`].
    #[must_use]
    pub fn new(secret: &SecretString, clock: Arc<dyn Clock>) -> Option<Self> {
        let secret = secret.expose_secret();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        (secret.len() >= SECRET_CHARS_MIN).then_some(Self { key, clock })
    }

    /// Whether a message is to be believed.
    ///
    /// # Errors
    /// Why not; see [`Disbelief`].
    pub fn verify(&self, message: SignedMessage<'_>) -> Result<(), Disbelief> {
        let SignedMessage { timestamp, signature, body } = message;
        if body.len() > BODY_BYTES_MAX {
            return Err(malformed("body", "is too long"));
        }
        let is_not_a_signature =
            || malformed(SIGNATURE_HEADER, "must be sha256= and 64 hexadecimal digits");
        let tag = signature.strip_prefix("sha256=").ok_or_else(is_not_a_signature)?;
        let tag = hex::decode(tag).map_err(|_| is_not_a_signature())?;
        let is_no_time = || malformed(TIMESTAMP_HEADER, "must be seconds since 1970");
        let seconds: i64 = timestamp.parse().map_err(|_| is_no_time())?;
        let signed = [timestamp.as_bytes(), b".", body].concat();
        // It takes as long whatever is wrong, and nothing of a message is looked at before.
        hmac::verify(&self.key, &signed, &tag).map_err(|_| Disbelief::Forged)?;
        let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| is_no_time())?;
        if (self.clock.now() - time).abs() > TOLERANCE {
            return Err(Disbelief::Stale);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stowage_types::FakeClock;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const JEFE: &str = "83fb3421ec48dc8ee8cd58e1f03bb1f80ae0110c64a82771c98a0cea22cecdd2";
    const BODY: &[u8] = br#"{"event":"InvoicePaid","invoiceid":"7","nonce":"a"}"#;

    fn verifier() -> (Verifier, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)));
        (Verifier::new(&SECRET.to_owned().into(), clock.clone()).unwrap(), clock)
    }

    fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
        super::sign(&secret.to_owned().into(), timestamp, body)
    }

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // By Python's `hmac` over the same bytes.
        let signature = sign("Jefe", "what do ya want ", b"for nothing?");
        assert_eq!(signature, format!("sha256={JEFE}"));
    }

    #[test]
    fn a_message_is_believed_within_five_minutes() {
        let (verifier, clock) = verifier();
        for (seconds, expected) in [
            (0, Ok(())),
            (-300, Ok(())),
            (300, Ok(())),
            (-301, Err(Disbelief::Stale)),
            (301, Err(Disbelief::Stale)),
        ] {
            let timestamp = (clock.now().unix_timestamp() + seconds).to_string();
            let signature = sign(SECRET, &timestamp, BODY);
            let message =
                SignedMessage { timestamp: &timestamp, signature: &signature, body: BODY };
            assert_eq!(verifier.verify(message), expected, "{seconds} s");
        }
    }

    #[test]
    fn what_is_not_signed_by_us_is_not_believed() {
        let (verifier, clock) = verifier();
        let timestamp = clock.now().unix_timestamp().to_string();
        let good = sign(SECRET, &timestamp, BODY);
        let other = sign("another secret of thirty-two chars", &timestamp, BODY);
        let later = (clock.now().unix_timestamp() + 1).to_string();
        let changed = br#"{"event":"InvoicePaid","invoiceid":"8","nonce":"a"}"#;
        let short = &good[..good.len() - 2];
        let long = [b' '; BODY_BYTES_MAX + 1];
        let field = |bad: Disbelief| match bad {
            Disbelief::Malformed { field, .. } => field,
            Disbelief::Forged => "forged",
            Disbelief::Stale | Disbelief::NoSecret => "stale",
        };
        for (timestamp, signature, body, expected) in [
            (timestamp.as_str(), other.as_str(), BODY, "forged"),
            (&timestamp, &good, changed.as_slice(), "forged"),
            (&later, &good, BODY, "forged"),
            (&timestamp, short, BODY, "forged"),
            (&timestamp, "sha256=", BODY, "forged"),
            (&timestamp, &good["sha256=".len()..], BODY, SIGNATURE_HEADER),
            (&timestamp, "sha256=xx", BODY, SIGNATURE_HEADER),
            (&timestamp, "", BODY, SIGNATURE_HEADER),
            ("now", &good, BODY, TIMESTAMP_HEADER),
            ("", &good, BODY, TIMESTAMP_HEADER),
            (&timestamp, &good, &long, "body"),
        ] {
            let found = verifier.verify(SignedMessage { timestamp, signature, body });
            assert_eq!(found.map_err(field), Err(expected), "{timestamp} {signature}");
        }
        let message = SignedMessage { timestamp: &timestamp, signature: &good, body: BODY };
        assert_eq!(verifier.verify(message), Ok(()));
        assert!(Verifier::new(&"short".to_owned().into(), clock).is_none());
    }
}
