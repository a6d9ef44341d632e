//! How an order is called in WHMCS: by a domain that nobody can have, which is looked up as it is.

use sha2::{Digest as _, Sha256};
use stowage_provider::OrderKey;

/// What all of them end with. Source: RFC 2606, section 2.
const SUFFIX: &str = ".s3.invalid";
/// Longest part of a domain between its dots. Source: RFC 1035, section 2.3.4.
const LABEL_MAX: usize = 63;
/// Begins the name of a key that is no part of a domain, before 32 digits of its digest.
const HASHED: &str = "h-";
const DIGEST_BYTES: usize = 16;

/// The domain of an order. Keys that differ have domains that differ.
pub(crate) fn domain_of(key: &OrderKey) -> String {
    let key = key.as_str();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // What looks like a digest could be that of another key.
    let is_label = key.len() <= LABEL_MAX && key.bytes().all(is_plain) && !key.starts_with(HASHED);
    if is_label && !key.starts_with('-') && !key.ends_with('-') {
        return format!("{key}{SUFFIX}");
    }
    let digest = Sha256::digest(key.as_bytes());
    format!("{HASHED}{}{SUFFIX}", hex::encode(&digest[..DIGEST_BYTES]))
}

/// The key that a domain was made of; `None`: it is none of ours, or says a digest only.
pub(crate) fn key_of(domain: &str) -> Option<OrderKey> {
    let domain = domain.to_ascii_lowercase();
    let key = OrderKey::parse(domain.strip_suffix(SUFFIX)?).ok()?;
    (domain_of(&key) == domain).then_some(key)
}

/// Whether a text names such a domain.
pub(crate) fn names_one(text: &str) -> bool {
    text.contains(SUFFIX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_has_a_domain_of_its_own() {
        let domain = |key: &str| domain_of(&OrderKey::parse(key).unwrap());
        let plain = "0190b5f8-0000-7000-8000-000000000001";
        assert_eq!(domain(plain), format!("{plain}.s3.invalid"));
        let long = "k".repeat(64);
        let digest = domain("accounts:1");
        let keys =
            ["accounts:1", "Accounts:1", "a", "A", "-a", "a.b", &long, &long[..63], &digest[..34]];
        let domains: HashSet<String> = keys.iter().map(|key| domain(key)).collect();
        assert_eq!(domains.len(), keys.len());
        for domain in &domains {
            assert!(domain.split('.').all(|label| (1..=63).contains(&label.len())), "{domain}");
            assert_eq!(*domain, domain.to_lowercase());
        }
        for key in keys {
            let read = key_of(&domain(key));
            let is_plain = !domain(key).starts_with(HASHED);
            assert_eq!(read.as_ref().map(OrderKey::as_str), is_plain.then_some(key));
        }
        assert_eq!(key_of("example.com"), None);
        assert!(names_one(&format!("Standard - {digest} (2026)")) && !names_one("example.com"));
    }
}
