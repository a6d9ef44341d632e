//! The query of a call to the Admin Ops API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is signed must be what is sent.
///
/// Source: Amazon S3 API Reference, "Signature Calculations": all but unreserved characters.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parameters, encoded as they are added. RGW takes them in the query with every method; a body
/// it refuses.
///
/// It holds secrets of access keys, so it does not print.
#[derive(Default)]
pub(crate) struct Query(String);

impl Query {
    /// One without a value, which says what is meant: `key`, `quota`, `list`.
    pub(crate) fn about(name: &str) -> Self {
        Self::default().with(name, "")
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value.as_ref(), &ENCODED));
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_and_flags_have_none() {
        let query = Query::about("key").with("uid", "a b+c/d&e=é").with("n", "-1.~_");
        assert_eq!(query.as_str(), "key=&uid=a%20b%2Bc%2Fd%26e%3D%C3%A9&n=-1.~_");
    }
}
