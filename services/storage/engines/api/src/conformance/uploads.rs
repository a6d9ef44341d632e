//! Uploads in parts, and signed URLs.

use std::time::Duration;

use stowage_types::{Clock as _, SystemClock};
use time::OffsetDateTime;

use super::{Outcome, Suite, ensure, refused, text};
use crate::{AccountAccess, Error, Presign, PresignMethod, UploadCursor};

impl Suite<'_> {
    pub(super) async fn uploads_are_shown(&self) -> Outcome {
        let uid = self.account(23, |_| {}).await?;
        let name = self.bucket("uploads")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let keys = self.keys(23, 0);
        let mut begun = Vec::new();
        for key in ["a", "b", "b"] {
            let id = self.client.begin_upload(&keys, &name, key, vec![7; 5000]).await;
            begun.push((key.to_owned(), id.map_err(text)?));
        }
        begun.sort();
        let mut seen = Vec::new();
        let mut after: Option<UploadCursor> = None;
        for _ in 0..4 {
            let page = self.engine.list_uploads(&uid, &name, after.as_ref(), 2).await;
            let page = page.map_err(text)?;
            ensure(page.len() <= 2, "a page is too long")?;
            let Some(last) = page.last() else { break };
            after = Some(UploadCursor { key: last.key.clone(), upload_id: last.upload_id.clone() });
            let is_sized = page.iter().all(|upload| upload.stored_bytes.is_none_or(|b| b == 5000));
            ensure(is_sized, &format!("listed {page:?}"))?;
            seen.extend(page.into_iter().map(|upload| (upload.key, upload.upload_id)));
        }
        seen.sort();
        ensure(seen == begun, &format!("begun {begun:?}, listed {seen:?}"))?;
        let long_ago = Some(OffsetDateTime::UNIX_EPOCH);
        let none = self.engine.abort_uploads(&uid, &name, long_ago, 10).await.map_err(text)?;
        ensure(none == 0, "an upload was aborted that was begun later")?;
        let mut counts = Vec::new();
        while counts.last().is_none_or(|count| *count == 2) && counts.len() < 4 {
            counts.push(self.engine.abort_uploads(&uid, &name, None, 2).await.map_err(text)?);
        }
        let is_sound = counts.iter().all(|count| *count <= 2) && counts.iter().sum::<u32>() <= 3;
        ensure(is_sound, &format!("aborted {counts:?} of 3"))?;
        let left = self.engine.list_uploads(&uid, &name, None, 10).await.map_err(text)?;
        ensure(left.is_empty(), "an aborted upload is listed")?;
        let foreign = self.engine.list_uploads(&self.uid(9)?, &name, None, 10).await;
        refused(foreign, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn signed_urls_open(&self) -> Outcome {
        let uid = self.account(24, |_| {}).await?;
        let name = self.bucket("signed")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let (endpoint, region) = self.client.endpoint();
        let what = |method, key: &str| Presign {
            method,
            endpoint: endpoint.clone(),
            region: region.clone(),
            key: key.to_owned(),
            valid_for: Duration::from_secs(600),
        };
        let key = "a b/ü+?&=%.txt";
        let put = self.engine.presign(&uid, &name, &what(PresignMethod::Put, key)).await;
        if !self.engine.capabilities().presign {
            return refused(put, |e| matches!(e, Error::Unsupported));
        }
        let put = put.map_err(text)?;
        self.client.send(&put, Some(b"by a URL".to_vec())).await.map_err(text)?;
        let get = self.engine.presign(&uid, &name, &what(PresignMethod::Get, key)).await;
        let get = get.map_err(text)?;
        let body = self.client.send(&get, None).await.map_err(text)?;
        ensure(body == b"by a URL", "a signed URL opens something else")?;
        let body = self.client.get(&self.keys(24, 0), &name, key).await.map_err(text)?;
        ensure(body == b"by a URL", "the key of a signed URL is another")?;
        // A URL to read is none to write, and none of a suspended account opens.
        let wrong = self.client.send(&get, Some(b"changed".to_vec())).await;
        refused(wrong, |e| matches!(e, Error::Denied))?;
        self.account(24, |spec| spec.access = AccountAccess::Suspended).await?;
        refused(self.client.send(&get, None).await, |e| matches!(e, Error::Denied))?;
        let get = what(PresignMethod::Get, key);
        let foreign = self.engine.presign(&self.uid(9)?, &name, &get).await;
        refused(foreign, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn unfinished_upload_is_no_object(&self) -> Outcome {
        let uid = self.account(54, |_| {}).await?;
        let name = self.bucket("unfinished")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let keys = self.keys(54, 0);
        self.client.begin_upload(&keys, &name, "k", vec![7; 5000]).await.map_err(text)?;
        let read = self.client.get(&keys, &name, "k").await;
        refused(read, |e| matches!(e, Error::NotFound))?;
        let query = crate::ListQuery { max: 10, ..crate::ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        ensure(page.objects.is_empty(), "an unfinished upload is listed as an object")?;
        // Whoever purges an account asks nobody for its uploads.
        self.engine.remove_account(&uid, true).await.map_err(text)
    }

    pub(super) async fn old_uploads_are_ended(&self) -> Outcome {
        let uid = self.account(53, |_| {}).await?;
        let name = self.bucket("old")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let keys = self.keys(53, 0);
        self.client.begin_upload(&keys, &name, "k", vec![7; 5000]).await.map_err(text)?;
        let now = SystemClock.now();
        let (before, after) = (now - time::Duration::hours(1), now + time::Duration::hours(1));
        for (time, left) in [(before, 1), (after, 0)] {
            self.engine.abort_uploads(&uid, &name, Some(time), 10).await.map_err(text)?;
            let page = self.engine.list_uploads(&uid, &name, None, 10).await.map_err(text)?;
            ensure(page.len() == left, &format!("left {page:?} of those before {time}"))?;
        }
        Ok(())
    }
}
