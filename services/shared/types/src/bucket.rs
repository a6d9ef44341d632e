//! Bucket names.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Malformed;

/// A bucket name that keeps S3's rules for general purpose buckets.
///
/// Source: Amazon S3 User Guide, "General purpose bucket naming rules".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// Source: Amazon S3 User Guide, as above.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
/// Source: Amazon S3 User Guide, as above.
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

impl BucketName {
    /// Takes a text that keeps the rules.
    ///
    /// # Errors
    /// `Malformed` names the first rule it breaks.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        check(text).map_err(Malformed::new)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !(3..=63).contains(&text.len()) {
        return Err("must have 3 to 63 characters");
    }
    if !text.bytes().all(|byte| alphanumeric(&byte) || byte == b'.' || byte == b'-') {
        return Err("may hold lower-case letters, digits, dots and hyphens only");
    }
    let ends = [text.as_bytes().first(), text.as_bytes().last()];
    if !ends.into_iter().flatten().all(alphanumeric) {
        return Err("must begin and end with a letter or a digit");
    }
    if text.contains("..") {
        return Err("must not hold two dots in a row");
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Err("must not look like an IP address");
    }
    if RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || RESERVED_SUFFIXES.iter().any(|suffix| text.ends_with(suffix))
    {
        return Err("begins or ends with a reserved text");
    }
    Ok(())
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BucketName {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::new(&text)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3_rules() {
        let long = "a".repeat(63);
        let too_long = "a".repeat(64);
        for (name, allowed) in [
            ("abc", true),
            ("a.b-c", true),
            (long.as_str(), true),
            ("ab", false),
            (too_long.as_str(), false),
            ("Abc", false),
            ("a_b", false),
            ("-abc", false),
            ("abc.", false),
            ("a..b", false),
            ("192.168.5.4", false),
            ("xn--abc", false),
            ("abc-s3alias", false),
            ("bücket", false),
        ] {
            assert_eq!(BucketName::new(name).is_ok(), allowed, "{name}");
        }
    }
}
