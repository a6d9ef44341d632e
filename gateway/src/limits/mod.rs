//! What keeps one caller, or too many, from taking all: rates by token and by address, a bound on
//! calls in flight, and waits after failed logins.
//!
//! Invariants:
//! - Refused is refused before a role is called: nothing was executed, and a resend is safe.
//! - Nothing waits in here; there is no queue. A refused call says when to come again.
//! - Memory is bounded whatever tokens, keys and addresses strangers send.
//! - Tokens and keys are known by the first half of their SHA-256 only.
//!
//! The counts are this process's own: two gateways together let through twice as much. Shared
//! counts would put a store, and its failures, before every call.
//!
//! Rejected: counting IPv6 callers by single address, since every one of them has 2⁶⁴.

mod logins;
mod places;
mod rate;
mod table;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use stowage_auth::hash_token;
use stowage_proto::common::ErrorReason;
use stowage_runtime::status;
use stowage_types::Clock;
use tonic::{Code, Status};

use logins::Logins;
pub(crate) use logins::{Attempt, LoginRules};
use places::{Full, Places, Taking};
pub(crate) use rate::Rate;
use rate::Rates;

use crate::Config;

/// Nanoseconds since 1970, or a number of them.
type Nanos = i64;

const NANOS_PER_SECOND: Nanos = 1_000_000_000;

/// Wait that is asked for where there were too many calls at once.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Pages that answer however busy it is: whoever runs the gateway must be able to look.
const EXEMPT: &[&str] = &["/healthz", "/readyz", "/metrics"];

/// Likewise, over gRPC.
const EXEMPT_SERVICE: &str = "/grpc.health.v1.Health/";

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Too many calls from one address.
    Address,
    /// Too many calls with one token.
    Token,
    /// Too many calls at once, whoever's they are.
    Busy,
    /// Failed logins.
    Login,
}

/// A refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Why,
    wait: Duration,
}

impl Refused {
    fn new(why: Why, wait: Duration) -> Self {
        let label = match why {
            Why::Address => "address",
            Why::Token => "token",
            Why::Busy => "busy",
            Why::Login => "login",
        };
        metrics::counter!("stowage_gateway_refused_calls_total", "why" => label).increment(1);
        Self { why, wait }
    }

    /// Whole seconds to wait, at least one.
    pub(crate) fn wait_seconds(&self) -> u32 {
        let seconds = self.wait.as_millis().div_ceil(1_000);
        u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
    }

    pub(crate) fn message(&self) -> &'static str {
        match self.why {
            Why::Address | Why::Token => "too many requests",
            Why::Busy => "service unavailable, try again later",
            Why::Login => "too many failed logins, try again later",
        }
    }
}

impl From<Refused> for Status {
    fn from(refusal: Refused) -> Self {
        let (code, reason) = match refusal.why {
            Why::Busy => (Code::Unavailable, ErrorReason::Unavailable),
            Why::Address | Why::Token | Why::Login => {
                (Code::ResourceExhausted, ErrorReason::RateLimited)
            }
        };
        let wait = Duration::from_secs(refusal.wait_seconds().into());
        status(code, reason, refusal.message()).retry_after(wait).build()
    }
}

/// A place among the calls in flight, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _taking: Option<Taking>,
}

/// All limits.
pub(crate) struct Limits {
    clock: Arc<dyn Clock>,
    places: Places,
    by_address: Rates,
    by_token: Rates,
    logins: Logins,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let counted_max = config.limited_max;
        Self {
            clock,
            places: Places::new(config.calls_in_flight_max, config.address_calls_in_flight_max),
            by_address: Rates::new(config.address_rate(), counted_max),
            by_token: Rates::new(config.token_rate(), counted_max),
            logins: Logins::new(config.login_rules(), counted_max),
        }
    }

    /// Lets a call in, whatever it is.
    ///
    /// The place is taken first: a call that finds none costs its caller nothing.
    pub(crate) fn enter(&self, path: &str, address: IpAddr) -> Result<Place, Refused> {
        if EXEMPT.contains(&path) || path.starts_with(EXEMPT_SERVICE) {
            return Ok(Place { _taking: None });
        }
        let address = address_key(address);
        let taking = self.places.take(address).map_err(|full| match full {
            Full::Everywhere => Refused::new(Why::Busy, BUSY_WAIT),
            Full::Here => Refused::new(Why::Address, BUSY_WAIT),
        })?;
        self.by_address
            .take(address, self.now())
            .map_err(|wait| Refused::new(Why::Address, wait))?;
        Ok(Place { _taking: Some(taking) })
    }

    /// Lets a call with a token through. Whether the token is good is not known yet.
    pub(crate) fn take_token(&self, token: &str) -> Result<(), Refused> {
        self.by_token
            .take(secret_key(token), self.now())
            .map_err(|wait| Refused::new(Why::Token, wait))
    }

    /// Lets a login through.
    pub(crate) fn begin_login(&self, api_key: &str, address: IpAddr) -> Result<Attempt, Refused> {
        let attempt = Attempt { key: secret_key(api_key), address: address_key(address) };
        let begun = self.logins.begin(attempt, self.now());
        begun.map_err(|wait| Refused::new(Why::Login, wait))?;
        Ok(attempt)
    }

    /// Takes note of what accounts said to a login. What it failed of otherwise tells nothing of
    /// the key.
    pub(crate) fn end_login(&self, attempt: Attempt, code: Code) {
        match code {
            Code::Ok => self.logins.succeeded(attempt, self.now()),
            Code::Unauthenticated => self.logins.failed(attempt, self.now()),
            _ => {}
        }
    }

    fn now(&self) -> Nanos {
        // Saturates in the year 2262.
        Nanos::try_from(self.clock.now().unix_timestamp_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// Half of the hash: nobody finds two secrets that share it, let alone one that shares another's.
fn secret_key(secret: &str) -> u128 {
    let hash = hash_token(secret).bytes();
    hash.iter().take(16).fold(0, |half, byte| half << 8 | u128::from(*byte))
}

/// An IPv4 address, or an IPv6 network of 64 bits: the least that a site is given.
fn address_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_by_site() {
        let key = |text: &str| address_key(text.parse().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::", false),
        ] {
            assert_eq!(key(one) == key(other), same, "{one} {other}");
        }
        assert_ne!(secret_key("one"), secret_key("two"));
    }

    #[test]
    fn waits_are_told_in_whole_seconds() {
        for (wait_ms, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            let refusal = Refused::new(Why::Token, Duration::from_millis(wait_ms));
            assert_eq!(refusal.wait_seconds(), seconds, "{wait_ms}");
        }
        assert_eq!(Refused::new(Why::Busy, Duration::MAX).wait_seconds(), u32::MAX);
    }
}
