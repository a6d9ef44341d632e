//! Any page token: it is refused, unless it is the very one that the listing would have made.
//!
//! An input is a token, a line end, and the listing's other fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stowage_auth::PageKey;
use stowage_types::page;

fuzz_target!(|input: &str| {
    let (token, scope) = input.split_once('\n').unwrap_or((input, ""));
    if let Ok(Some(cursor)) = page::decode("fuzz", scope, token) {
        // Hexadecimal digits may be capitals; nothing else may differ.
        let made = page::encode("fuzz", scope, &cursor);
        assert!(made.eq_ignore_ascii_case(token), "{made} {token}");
    }
    let key = PageKey::from_seed(&[7; 32]);
    // Nobody makes one without the key; the empty token is the first page.
    assert!(token.is_empty() || key.decode("fuzz", scope, token).is_err(), "{token}");
    let made = key.encode("fuzz", scope, token);
    if made.len() <= 4096 {
        assert_eq!(key.decode("fuzz", scope, &made), Ok(Some(token.to_owned())));
    }
});
