//! Unfinished uploads of buckets.

use stowage_auth::RequestContext;
use stowage_engine::{UploadCursor, UploadInfo};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;

use super::Storage;
use super::bucket::bucket_error;
use crate::error::Error;

const LISTING: &str = "uploads";
/// Uploads ended by one call: some seconds of an engine that is asked for each.
const ABORTED_MAX: u32 = 1000;

/// A page of unfinished uploads.
#[derive(Debug)]
pub(crate) struct UploadPage {
    pub(crate) uploads: Vec<UploadInfo>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// What a call has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aborted {
    pub(crate) count: u32,
    /// There may be more.
    pub(crate) more: bool,
}

/// Ids have no slash in them, and keys may.
fn text_of(upload: &UploadInfo) -> String {
    format!("{}/{}", upload.upload_id, upload.key)
}

fn cursor_of(text: &str) -> Option<UploadCursor> {
    let (upload_id, key) = text.split_once('/')?;
    Some(UploadCursor { key: key.to_owned(), upload_id: upload_id.to_owned() })
}

impl Storage {
    pub(crate) async fn uploads(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        (page_size, page_token): (i64, &str),
    ) -> Result<UploadPage, Error> {
        let used = self.visible_account(cx, uid).await?;
        let scope = format!("{uid}/{bucket}");
        let decoded = self.page_key.decode(LISTING, &scope, page_token);
        let text = decoded.map_err(|_| Error::PageTokenInvalid)?;
        let after = text.map(|text| cursor_of(&text).ok_or(Error::PageTokenInvalid)).transpose()?;
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let max = u32::try_from(page_size).unwrap_or(u32::MAX);
        let listed = used.engine().list_uploads(uid, bucket, after.as_ref(), max).await;
        let uploads = listed.map_err(|error| bucket_error(error, bucket))?;
        // A full page may be the last one; then the next is empty.
        let last = uploads.last().filter(|_| uploads.len() >= size).map(text_of);
        let token = last.map(|text| self.page_key.encode(LISTING, &scope, &text));
        Ok(UploadPage { uploads, next_page_token: token.unwrap_or_default() })
    }

    /// Ends some of those that were begun before a time.
    pub(crate) async fn abort_uploads(
        &self,
        cx: &RequestContext,
        (uid, bucket): (&S3uid, &BucketName),
        begun_before: Option<OffsetDateTime>,
    ) -> Result<Aborted, Error> {
        let used = self.visible_account(cx, uid).await?;
        used.check_deletable(cx)?;
        let aborted = used.engine().abort_uploads(uid, bucket, begun_before, ABORTED_MAX).await;
        let count = aborted.map_err(|error| bucket_error(error, bucket))?;
        Ok(Aborted { count, more: count >= ABORTED_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_keeps_any_key() {
        for key in ["a", "a/b", "/", "line\nend", "2~x/y"] {
            let upload = UploadInfo {
                key: key.to_owned(),
                upload_id: "2~id".to_owned(),
                begin_time: OffsetDateTime::UNIX_EPOCH,
                stored_bytes: None,
            };
            let cursor = cursor_of(&text_of(&upload)).unwrap();
            assert_eq!((cursor.key.as_str(), cursor.upload_id.as_str()), (key, "2~id"));
        }
        assert_eq!(cursor_of("no slash"), None);
    }
}
