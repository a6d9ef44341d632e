//! Tokens of listings that only this installation can make.
//!
//! The plain tokens of `stowage_types::page` catch mistakes. Where a token is handed to anybody's
//! program, as those of object listings are, nobody may write one himself: it would let him make
//! an engine start at any text he likes. A token is the HMAC-SHA256 of the listing's kind, its
//! other fields and the cursor, followed by the cursor, in base64url. The key is derived from the
//! seed that assertions are signed with, so replicas take each other's tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac::{self, HMAC_SHA256, Key};
use stowage_types::Malformed;

/// Keeps this use of the seed apart from every other.
const PURPOSE: &[u8] = b"stowage page tokens 1";
const TAG_BYTES: usize = 32;
/// Longest token that is looked at, in characters: a key of S3 has 1024 bytes at most.
const TOKEN_CHARS_MAX: usize = 4096;

/// Makes and checks tokens of listings.
#[derive(Clone)]
pub struct PageKey(Key);

impl std::fmt::Debug for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageKey")
    }
}

impl PageKey {
    /// Derives the key from the installation's seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let derived = hmac::sign(&Key::new(HMAC_SHA256, seed), PURPOSE);
        Self(Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// Makes the token that goes on after `cursor`. `scope` is the text of all other fields of
    /// the listing; `kind` names it.
    #[must_use]
    pub fn encode(&self, kind: &str, scope: &str, cursor: &str) -> String {
        let mut bytes = hmac::sign(&self.0, &signed(kind, scope, cursor)).as_ref().to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        BASE64.encode(bytes)
    }

    /// Reads a token back into its cursor; an empty one is the first page.
    ///
    /// # Errors
    /// `Malformed` if the token was altered, made elsewhere, or belongs to another listing.
    pub fn decode(
        &self,
        kind: &str,
        scope: &str,
        token: &str,
    ) -> Result<Option<String>, Malformed> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = || Malformed { why: "is not a token of this listing".to_owned() };
        if token.len() > TOKEN_CHARS_MAX {
            return Err(refused());
        }
        let bytes = BASE64.decode(token).map_err(|_| refused())?;
        let (tag, cursor) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        let cursor = std::str::from_utf8(cursor).map_err(|_| refused())?;
        hmac::verify(&self.0, &signed(kind, scope, cursor), tag).map_err(|_| refused())?;
        Ok(Some(cursor.to_owned()))
    }
}

/// The parts with their lengths, so that no two listings share a text.
fn signed(kind: &str, scope: &str, cursor: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(kind.len() + scope.len() + cursor.len() + 24);
    for part in [kind, scope, cursor] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_listing_and_its_own_installation_only() {
        let (ours, theirs) = (PageKey::from_seed(&[7; 32]), PageKey::from_seed(&[8; 32]));
        let replica = PageKey::from_seed(&[7; 32]);
        for cursor in ["", "a", "photos/été 2026.jpg", &"k".repeat(1024)] {
            let token = ours.encode("objects", "bucket/prefix", cursor);
            let read = |key: &PageKey, kind, scope| key.decode(kind, scope, &token).ok().flatten();
            assert_eq!(read(&ours, "objects", "bucket/prefix").as_deref(), Some(cursor));
            assert_eq!(read(&replica, "objects", "bucket/prefix").as_deref(), Some(cursor));
            assert_eq!(read(&theirs, "objects", "bucket/prefix"), None);
            assert_eq!(read(&ours, "buckets", "bucket/prefix"), None);
            assert_eq!(read(&ours, "objects", "bucket/other"), None);
            assert_eq!(read(&ours, "objectsb", "ucket/prefix"), None);
        }
        assert_eq!(ours.decode("objects", "", ""), Ok(None));
    }

    #[test]
    fn a_token_with_any_character_altered_is_refused() {
        let key = PageKey::from_seed(&[7; 32]);
        let token = key.encode("objects", "s", "photos/cat.jpg");
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let altered = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert!(key.decode("objects", "s", &altered).is_err(), "{altered}");
            assert!(key.decode("objects", "s", &token[..at]).is_err() || at == 0);
        }
        for nonsense in ["=", "é", "AAAA", &"A".repeat(5000)] {
            assert!(key.decode("objects", "s", nonsense).is_err(), "{nonsense}");
        }
    }
}
