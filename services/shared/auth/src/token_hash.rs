//! What is stored and compared in the place of tokens and API keys.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq as _;

/// SHA-256 of a token or API key. They are long and random, so a plain hash keeps them. Two hashes
/// are compared in constant time; what a look-up by hash in an index may tell is of hashes that
/// nobody can choose a token for.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// The hash of a token or API key.
#[must_use]
pub fn hash_token(token: &str) -> TokenHash {
    use sha2::Digest as _;
    TokenHash(sha2::Sha256::digest(token.as_bytes()).into())
}

impl TokenHash {
    /// A stored one; `None` if these bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is stored.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_equal_where_tokens_are() {
        let hash = hash_token("one");
        assert_eq!(hash, hash_token("one"));
        assert_ne!(hash, hash_token("two"));
        assert_eq!(TokenHash::from_bytes(&hash.bytes()), Some(hash));
        assert_eq!(TokenHash::from_bytes(&hash.bytes()[1..]), None);
        // The published digest of "abc": FIPS 180-2, appendix B.1.
        assert_eq!(hash_token("abc").bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert!(!format!("{hash:?}").contains(&hash.bytes()[0].to_string()));
    }
}
