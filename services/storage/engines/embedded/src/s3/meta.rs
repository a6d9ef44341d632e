//! What is kept of an object beside its bytes.

use std::collections::BTreeMap;

use http::HeaderMap;
use s3s::dto::{ChecksumType, Metadata, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::Sums;

/// Bytes of names and values of user metadata.
///
/// Source: Amazon S3 User Guide, "Working with object metadata": 2 KB.
const USER_BYTES_MAX: usize = 2048;
/// Bytes of each of the standard headers.
const HEADER_BYTES_MAX: usize = 2048;

/// Metadata as the index keeps it, in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Meta {
    /// `content-type` and its like, by header name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    /// `x-amz-meta-*`, without the prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) user: BTreeMap<String, String>,
    /// Checksums that were verified.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sums: Sums,
    /// The checksums are over parts' checksums, not over the whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_composite: bool,
    /// Of an upload: the algorithm its parts are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) algorithm: Option<String>,
}

const KEPT: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];

impl Meta {
    /// Reads what a request says about its object.
    pub(crate) fn of(headers: &HeaderMap, user: Option<Metadata>) -> S3Result<Self> {
        let mut kept = BTreeMap::new();
        for name in KEPT {
            let Some(value) = headers.get(name) else { continue };
            let value = value
                .to_str()
                .ok()
                .filter(|value| value.len() <= HEADER_BYTES_MAX)
                .ok_or_else(|| s3_error!(InvalidArgument, "invalid header: {name}"))?;
            let value =
                if name == "content-encoding" { plain_encoding(value) } else { value.to_owned() };
            if !value.is_empty() {
                kept.insert(name.to_owned(), value);
            }
        }
        let user: BTreeMap<String, String> = user.unwrap_or_default().into_iter().collect();
        if user.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > USER_BYTES_MAX
        {
            return Err(s3_error!(
                MetadataTooLarge,
                "user metadata exceeds {USER_BYTES_MAX} bytes"
            ));
        }
        Ok(Self { headers: kept, user, ..Self::default() })
    }

    /// As text for the index.
    pub(crate) fn to_text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::Io(error.into()))
    }

    /// Back from the index.
    pub(crate) fn from_text(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::Io(error.into()))
    }

    /// One of the standard headers.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).cloned()
    }

    /// `content-type`, with the default that S3 has.
    pub(crate) fn content_type(&self) -> Option<String> {
        self.header("content-type").or_else(|| Some("binary/octet-stream".to_owned()))
    }

    /// `expires`, if it is a date.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        Timestamp::parse(TimestampFormat::HttpDate, self.headers.get("expires")?).ok()
    }

    /// User metadata for an answer.
    pub(crate) fn user(&self) -> Option<Metadata> {
        (!self.user.is_empty()).then(|| self.user.clone().into_iter().collect())
    }

    /// What kind of checksum the object has, if any.
    pub(crate) fn checksum_type(&self) -> Option<ChecksumType> {
        let kind =
            if self.is_composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        (!self.sums.is_empty()).then(|| ChecksumType::from_static(kind))
    }
}

/// `aws-chunked` is about the transfer and is not kept.
fn plain_encoding(value: &str) -> String {
    let tokens = || value.split(',').map(str::trim);
    if !tokens().any(|token| token == "aws-chunked") {
        return value.to_owned();
    }
    tokens().filter(|token| *token != "aws-chunked").collect::<Vec<_>>().join(",")
}

/// The length that a request announces.
pub(crate) fn announced_length(length: Option<i64>, max: u64) -> S3Result<u64> {
    let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
    let length = u64::try_from(length)
        .map_err(|_| S3Error::from(Error::Invalid("content-length is negative".to_owned())))?;
    if length > max {
        return Err(s3_error!(EntityTooLarge, "at most {max} bytes"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfer_encoding_is_not_kept() {
        for (sent, kept) in
            [("aws-chunked", ""), ("gzip,aws-chunked", "gzip"), ("br, gzip", "br, gzip")]
        {
            assert_eq!(plain_encoding(sent), kept, "{sent}");
        }
    }
}
