//! How a role identifies itself when it calls another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use stowage_auth::{ASSERTION_KEY, ActFor, Signer};
use stowage_types::{Currency, CustomerId};
use tokio::time::Instant;

use crate::RoleChannel;

/// An assertion is used for a third of its life, so that the called role never sees an old one.
const REUSE: Duration = Duration::from_secs(stowage_auth::ASSERTION_SECONDS.unsigned_abs() / 3);
/// How many customers' assertions are kept; when it is full, all are made anew.
const KEPT_MAX: usize = 4096;

type Key = Option<(CustomerId, Option<Currency>)>;
type Kept = Arc<Mutex<HashMap<Key, (Instant, HeaderValue)>>>;

/// Adds an assertion of `subject` (`services/accounts`) to calls that carry none, acting for the
/// customer in the request's [`ActFor`].
#[must_use]
pub fn calling_as(channel: RoleChannel, subject: &'static str, signer: Signer) -> RoleChannel {
    let kept = Kept::default();
    channel.layered(move |mut request, next| {
        if !request.headers().contains_key(ASSERTION_KEY) {
            let act_for = request.extensions().get::<ActFor>().copied();
            if let Some(assertion) = assertion(&kept, subject, &signer, act_for) {
                request.headers_mut().insert(ASSERTION_KEY, assertion);
            }
        }
        next.run(request)
    })
}

fn assertion(
    kept: &Kept,
    subject: &str,
    signer: &Signer,
    act_for: Option<ActFor>,
) -> Option<HeaderValue> {
    let customer = act_for.map(|ActFor(customer, currency)| (customer, currency));
    let now = Instant::now();
    if let Some((made, value)) = kept.lock().unwrap_or_else(PoisonError::into_inner).get(&customer)
        && now.duration_since(*made) < REUSE
    {
        return Some(value.clone());
    }
    let text = signer.service_assertion(subject, customer);
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= KEPT_MAX {
        all.clear();
    }
    all.insert(customer, (now, value.clone()));
    Some(value)
}
