//! `If-…` headers, as RFC 9110 section 13 orders them.

use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use crate::error::Error;
use crate::index::object::ObjectRow;

/// What must hold of the object that a write replaces. Checked in the transaction of the write.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

impl WriteCondition {
    /// Reads the headers of an operation whose input in s3s has no field for them.
    pub(crate) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let read = |name: HeaderName| match headers.get(&name).map(HeaderValue::as_bytes) {
            None | Some(b"") => Ok(None),
            Some(value) => ETagCondition::parse_http_header(value)
                .map(Some)
                .map_err(|_| s3_error!(InvalidArgument, "invalid header: {name}")),
        };
        Ok(Self { if_match: read(IF_MATCH)?, if_none_match: read(IF_NONE_MATCH)? })
    }

    /// `etag`: of the object there is.
    pub(crate) fn check(&self, etag: Option<&str>) -> Result<(), Error> {
        if let Some(condition) = &self.if_match {
            let etag = etag.ok_or(Error::NoSuchKey)?;
            if !matches(condition, etag) {
                return Err(Error::Precondition);
            }
        }
        match (&self.if_none_match, etag) {
            (Some(condition), Some(etag)) if matches(condition, etag) => Err(Error::Precondition),
            _ => Ok(()),
        }
    }
}

/// What must hold of an object that is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

/// What a condition says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    NotModified,
    Failed,
}

impl ReadCondition {
    fn judge(&self, etag: &str, update_time: OffsetDateTime) -> Verdict {
        // HTTP dates have seconds only.
        let modified = update_time.unix_timestamp();
        let seconds = |time: &Timestamp| OffsetDateTime::from(time.clone()).unix_timestamp();
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, etag) => return Verdict::Failed,
            (None, Some(since)) if modified > seconds(since) => return Verdict::Failed,
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition, etag) => Verdict::NotModified,
            (None, Some(since)) if modified <= seconds(since) => Verdict::NotModified,
            _ => Verdict::Go,
        }
    }

    /// For GET and HEAD.
    pub(crate) fn check(&self, row: &ObjectRow) -> S3Result<()> {
        match self.judge(&row.etag, row.update_time) {
            Verdict::Go => Ok(()),
            Verdict::Failed => Err(Error::Precondition.into()),
            Verdict::NotModified => {
                let mut error = s3_error!(NotModified);
                let mut headers = HeaderMap::new();
                if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", row.etag)) {
                    headers.insert(http::header::ETAG, etag);
                }
                error.set_headers(headers);
                Err(error)
            }
        }
    }

    /// For the source of a copy, where "not modified" is a failure too.
    pub(crate) fn check_source(&self, row: &ObjectRow) -> S3Result<()> {
        match self.judge(&row.etag, row.update_time) {
            Verdict::Go => Ok(()),
            Verdict::Failed | Verdict::NotModified => Err(Error::Precondition.into()),
        }
    }
}

/// The entity tag of an answer.
pub(crate) fn etag(text: &str) -> Option<ETag> {
    Some(ETag::Strong(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_condition_looks_at_what_is_there() {
        let tag = |text: &str| Some(ETagCondition::ETag(ETag::Strong(text.to_owned())));
        for (if_match, if_none_match, etag, holds) in [
            (None, None, None, true),
            (None, Some(ETagCondition::Any), None, true),
            (None, Some(ETagCondition::Any), Some("a"), false),
            (None, tag("b"), Some("a"), true),
            (tag("a"), None, Some("a"), true),
            (tag("a"), None, Some("b"), false),
            (tag("a"), None, None, false),
            (Some(ETagCondition::Any), None, Some("b"), true),
        ] {
            let condition = WriteCondition { if_match, if_none_match };
            assert_eq!(condition.check(etag).is_ok(), holds, "{condition:?} on {etag:?}");
        }
    }
}
