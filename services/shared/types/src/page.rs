//! Pages of listings: their size, and the opaque token that goes on from one.
//!
//! A token names its listing, a digest of the listing's other fields, and where to go on. A token
//! of another listing, or an altered one, is refused, so that no page is ever silently wrong. It
//! holds nothing secret and grants nothing: every page is authorised anew.

use crate::{Malformed, Violations};

/// The rows a page may have: `requested` if positive and at most `max`, `default` for 0. A
/// negative one is a violation of `page_size`.
pub fn size(requested: i32, default: i32, max: i32, violations: &mut Violations) -> i64 {
    if requested < 0 {
        violations.push("page_size", "must not be negative");
    }
    i64::from(if requested <= 0 { default } else { requested.min(max) })
}

/// Makes the token that goes on after `cursor`. `scope` is the text of all other fields of the
/// listing; `kind` names it.
#[must_use]
pub fn encode(kind: &str, scope: &str, cursor: &str) -> String {
    let mut text = format!("{:016x}", digest(&[kind, scope, cursor]));
    for byte in cursor.bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Reads a token back into its cursor; an empty one is the first page.
///
/// # Errors
/// `Malformed` if the token was altered or belongs to another listing.
pub fn decode(kind: &str, scope: &str, token: &str) -> Result<Option<String>, Malformed> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = || Malformed::new("is not a token of this listing");
    let bytes = from_hex(token).ok_or_else(refused)?;
    let (sum, cursor) = bytes.split_at_checked(8).ok_or_else(refused)?;
    let cursor = String::from_utf8(cursor.to_vec()).map_err(|_| refused())?;
    if sum != digest(&[kind, scope, &cursor]).to_be_bytes() {
        return Err(refused());
    }
    Ok(Some(cursor))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// FNV-1a with 64 bits over the parts and their lengths. It catches mistakes, not attackers: who
/// forges a token reaches no row that the listing would not give him.
fn digest(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.len().to_be_bytes().into_iter().chain(part.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_bounded() {
        let mut violations = Violations::default();
        for (requested, expected) in [(0, 50), (7, 7), (5000, 1000)] {
            assert_eq!(size(requested, 50, 1000, &mut violations), expected);
        }
        assert!(violations.is_empty());
        size(-1, 50, 1000, &mut violations);
        assert!(!violations.is_empty());
    }

    proptest! {
        #[test]
        fn a_token_is_good_for_its_own_listing_only(cursor in ".{0,40}", scope in ".{0,20}") {
            let token = encode("buckets", &scope, &cursor);
            prop_assert_eq!(decode("buckets", &scope, &token), Ok(Some(cursor)));
            prop_assert!(decode("objects", &scope, &token).is_err());
            let other = scope.clone() + "x";
            prop_assert!(decode("buckets", &other, &token).is_err());
        }

        #[test]
        fn any_text_decodes_or_is_refused(token in ".{0,60}") {
            let _ = decode("buckets", "", &token);
        }
    }
}
