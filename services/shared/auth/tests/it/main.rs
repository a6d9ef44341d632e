//! What an assertion is good for: one installation, one key, one minute.

use std::sync::Arc;
use std::time::Duration;

use stowage_auth::{AuthError, Principal, Signer};
use stowage_types::{Clock, FakeClock};
use time::OffsetDateTime;

fn clock_at(second: i64) -> Arc<FakeClock> {
    let time = OffsetDateTime::from_unix_timestamp(1_800_000_000 + second);
    Arc::new(FakeClock::at(time.expect("a time")))
}

fn signer(seed: u8, audience: &str, clock: &Arc<FakeClock>) -> Signer {
    Signer::from_seed(&[seed; 32], audience, Arc::clone(clock) as Arc<dyn Clock>)
}

#[test]
fn an_assertion_is_good_for_a_minute_and_what_clocks_may_differ() {
    let text = signer(1, "here", &clock_at(0)).service_assertion("services/accounts", None);
    for (second, is_good) in [
        (-3600, false),
        (-6, false),
        (-5, true),
        (0, true),
        (59, true),
        (64, true),
        (65, false),
        (3600, false),
    ] {
        let verifier = signer(1, "here", &clock_at(second)).verifier();
        let verified = verifier.verify(&text).map(|principal| principal.subject);
        let expected = if is_good { Ok("services/accounts") } else { Err(AuthError::Expired) };
        assert_eq!(verified.as_deref().map_err(|error| *error), expected, "after {second} s");
    }
}

#[test]
fn an_assertion_that_is_remembered_ends_all_the_same() {
    let clock = clock_at(0);
    let signer = signer(1, "here", &clock);
    let (verifier, text) = (signer.verifier(), signer.sign(&Principal::anonymous()).1);
    assert!(verifier.verify(&text).is_ok());
    clock.advance(Duration::from_secs(64));
    assert!(verifier.verify(&text).is_ok(), "and from memory");
    clock.advance(Duration::from_secs(1));
    assert_eq!(verifier.verify(&text), Err(AuthError::Expired));
}

#[test]
fn an_assertion_is_bound_to_its_installation_its_key_and_its_claims() {
    let clock = clock_at(0);
    let ours = signer(1, "here", &clock);
    let verifier = ours.verifier();
    let of = |signer: &Signer, subject: &str| signer.service_assertion(subject, None);
    let (one, two) = (of(&ours, "services/one"), of(&ours, "services/two"));
    let (claims, _) = one.split_once('.').expect("claims, a dot, a signature");
    let (_, signature) = two.split_once('.').expect("claims, a dot, a signature");
    for (text, expected) in [
        (of(&signer(1, "there", &clock), "services/one"), AuthError::Audience),
        (of(&signer(1, "", &clock), "services/one"), AuthError::Audience),
        (of(&signer(2, "here", &clock), "services/one"), AuthError::Forged),
        (format!("{claims}.{signature}"), AuthError::Forged),
        (format!("{claims}."), AuthError::Forged),
        (format!(".{signature}"), AuthError::Forged),
        (one[..one.len() - 1].to_owned(), AuthError::Forged),
        (format!("{one}.{one}"), AuthError::Forged),
        ("a".repeat(1 << 20), AuthError::Forged),
    ] {
        let shown: String = text.chars().take(40).collect();
        assert_eq!(verifier.verify(&text), Err(expected), "{shown}");
    }
    assert_eq!(verifier.verify(&one).map(|one| one.subject), Ok("services/one".to_owned()));
}
