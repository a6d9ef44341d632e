//! Signed statements of who a call acts as: base64url of the claims, a dot, base64url of the
//! Ed25519 signature over exactly those bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use prost::Message as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use stowage_proto::common::{PrincipalClaims, PrincipalRole};
use stowage_types::{Clock, Currency, CustomerId, from_timestamp, timestamp};
use time::{Duration, OffsetDateTime};

use crate::{PageKey, Principal};

/// How long an assertion is good. Longer than any call waits in a queue, short enough that a
/// revoked token is soon worth nothing.
pub const ASSERTION_SECONDS: i64 = 60;

/// Clocks of two machines may differ by this much.
const SKEW: Duration = Duration::seconds(5);

/// Longest assertion that is looked at, in characters.
const ASSERTION_CHARS_MAX: usize = 4096;

/// Why an assertion is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It cannot be read, or its signature is not ours.
    #[error("assertion is malformed or not signed by us")]
    Forged,
    /// Its time is over, or has not come.
    #[error("assertion has expired")]
    Expired,
    /// It was made for another installation.
    #[error("assertion is for another installation")]
    Audience,
}

/// Signs assertions.
#[derive(Clone)]
pub struct Signer {
    key: Arc<Ed25519KeyPair>,
    page_key: PageKey,
    audience: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Signer {
    /// Derives the key from a seed of 32 random bytes, kept secret; `audience` names the
    /// installation.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32], audience: &str, clock: Arc<dyn Clock>) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        let page_key = PageKey::from_seed(seed);
        Self { key: Arc::new(key), page_key, audience: audience.into(), clock }
    }

    /// What makes the tokens of listings; of the same seed, and unlike it of no use to sign with.
    #[must_use]
    pub fn page_key(&self) -> PageKey {
        self.page_key.clone()
    }

    /// Signs `claims` after setting their times and audience, and returns both.
    #[must_use]
    pub fn sign_claims(&self, mut claims: PrincipalClaims) -> (PrincipalClaims, String) {
        let now = self.clock.now();
        claims.issue_time = Some(timestamp(now));
        claims.expire_time = Some(timestamp(now + Duration::seconds(ASSERTION_SECONDS)));
        claims.audience = self.audience.to_string();
        let body = claims.encode_to_vec();
        let signature = self.key.sign(&body);
        let text = format!("{}.{}", BASE64.encode(&body), BASE64.encode(signature.as_ref()));
        (claims, text)
    }

    /// Signs an assertion of `principal`.
    #[must_use]
    pub fn sign(&self, principal: &Principal) -> (PrincipalClaims, String) {
        self.sign_claims(principal.to_claims())
    }

    /// Signs an assertion of one of Stowage's roles, acting for a customer if given.
    #[must_use]
    pub fn service_assertion(
        &self,
        subject: &str,
        acted_for: Option<(CustomerId, Option<Currency>)>,
    ) -> String {
        let principal = Principal {
            role: PrincipalRole::Service,
            subject: subject.to_owned(),
            customer: None,
            acted_for: acted_for.map(|(customer, _)| customer),
            currency: acted_for.and_then(|(_, currency)| currency),
        };
        self.sign(&principal).1
    }

    /// What verifies this signer's assertions.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier {
            public_key: self.key.public_key().as_ref().into(),
            audience: Arc::clone(&self.audience),
            clock: Arc::clone(&self.clock),
            seen: Arc::default(),
        }
    }
}

/// An assertion whose signature was good, and from when to when it is.
#[derive(Debug, Clone)]
struct Seen {
    principal: Principal,
    from: OffsetDateTime,
    until: OffsetDateTime,
}

/// Verifies assertions, offline. Clones share what they remember.
#[derive(Debug, Clone)]
pub struct Verifier {
    public_key: Arc<[u8]>,
    audience: Arc<str>,
    clock: Arc<dyn Clock>,
    /// One assertion serves many calls, and checking a signature costs more than most of them.
    seen: Arc<Mutex<HashMap<Box<str>, Seen>>>,
}

/// How many assertions are remembered; when it is full, all are forgotten.
const SEEN_MAX: usize = 4096;

impl Verifier {
    /// Says whom an assertion is of.
    ///
    /// # Errors
    /// `Forged`, `Expired`, `Audience`.
    pub fn verify(&self, text: &str) -> Result<Principal, AuthError> {
        let seen = match self.recall(text) {
            Some(seen) => seen,
            None => self.check(text)?,
        };
        let now = self.clock.now();
        if now < seen.from - SKEW || now >= seen.until + SKEW {
            return Err(AuthError::Expired);
        }
        Ok(seen.principal)
    }

    fn recall(&self, text: &str) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    /// Checks everything but the time, and remembers what was good.
    fn check(&self, text: &str) -> Result<Seen, AuthError> {
        if text.len() > ASSERTION_CHARS_MAX {
            return Err(AuthError::Forged);
        }
        let (body, signature) = text.split_once('.').ok_or(AuthError::Forged)?;
        let body = BASE64.decode(body).map_err(|_| AuthError::Forged)?;
        let signature = BASE64.decode(signature).map_err(|_| AuthError::Forged)?;
        UnparsedPublicKey::new(&ED25519, &*self.public_key)
            .verify(&body, &signature)
            .map_err(|_| AuthError::Forged)?;
        let claims = PrincipalClaims::decode(&*body).map_err(|_| AuthError::Forged)?;
        if claims.audience != *self.audience {
            return Err(AuthError::Audience);
        }
        let time = |wire: &Option<prost_types::Timestamp>| {
            wire.as_ref().and_then(|wire| from_timestamp(wire).ok()).ok_or(AuthError::Forged)
        };
        let seen = Seen {
            principal: Principal::of_claims(&claims),
            from: time(&claims.issue_time)?,
            until: time(&claims.expire_time)?,
        };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SEEN_MAX {
            all.clear();
        }
        all.insert(text.into(), seen.clone());
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration as StdDuration;

    use super::*;
    use stowage_types::FakeClock;

    fn signer(seed: u8, audience: &str, clock: &Arc<FakeClock>) -> Signer {
        Signer::from_seed(&[seed; 32], audience, Arc::clone(clock) as Arc<dyn Clock>)
    }

    #[test]
    fn only_our_own_assertions_of_now_are_good() {
        let clock = Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH));
        let ours = signer(1, "here", &clock);
        let text = ours.service_assertion("services/accounts", Some((CustomerId(7), None)));
        let principal = ours.verifier().verify(&text).unwrap();
        assert_eq!(principal.subject, "services/accounts");
        assert_eq!(principal.acted_for, Some(CustomerId(7)));

        let verify = |signer: Signer| signer.verifier().verify(&text);
        assert_eq!(verify(signer(2, "here", &clock)), Err(AuthError::Forged));
        assert_eq!(verify(signer(1, "there", &clock)), Err(AuthError::Audience));
        for bad in ["", ".", "a.b", "a"] {
            assert_eq!(ours.verifier().verify(bad), Err(AuthError::Forged), "{bad}");
        }
        clock.advance(StdDuration::from_secs(66));
        assert_eq!(ours.verifier().verify(&text), Err(AuthError::Expired));
    }

    #[test]
    fn a_changed_claim_is_refused() {
        let clock = Arc::new(FakeClock::at(OffsetDateTime::UNIX_EPOCH));
        let signer = signer(1, "here", &clock);
        let (claims, text) = signer.sign(&Principal::anonymous());
        let signature = text.split_once('.').unwrap().1;
        let raised = PrincipalClaims { role: PrincipalRole::Administrator.into(), ..claims };
        let forged = format!("{}.{signature}", BASE64.encode(raised.encode_to_vec()));
        assert_eq!(signer.verifier().verify(&forged), Err(AuthError::Forged));
    }
}
