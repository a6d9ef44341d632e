//! Objects that we read and write ourselves, and who gets in meanwhile.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use stowage_types::{BucketName, S3uid};

use super::{Outcome, Suite, ensure, refused, text};
use crate::{
    AccountAccess, AccountSpec, Error, NewObject, ObjectMeta, ObjectSource, ObjectStream, Quota,
};

/// Bytes of an object that no engine takes in one piece from us.
const LARGE: usize = 17 * 1024 * 1024 + 3;
/// Bytes of a chunk of it.
const CHUNK: usize = 1_000_003;

/// Bytes that can be had again and again.
struct Again(Vec<u8>);

#[async_trait]
impl ObjectSource for Again {
    async fn open(&self) -> Result<ObjectStream, Error> {
        let chunks: Vec<_> = self.0.chunks(CHUNK).map(Bytes::copy_from_slice).map(Ok).collect();
        Ok(stream::iter(chunks).boxed())
    }
}

/// One that breaks off.
struct Broken;

#[async_trait]
impl ObjectSource for Broken {
    async fn open(&self) -> Result<ObjectStream, Error> {
        let chunks = [Ok(Bytes::from_static(b"ab")), Err(Error::NotFound)];
        Ok(stream::iter(chunks).boxed())
    }
}

fn bytes_of(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap_or(0)).collect()
}

impl Suite<'_> {
    async fn write(
        &self,
        uid: &S3uid,
        (bucket, key): (&BucketName, &str),
        meta: &ObjectMeta,
        body: Vec<u8>,
    ) -> Result<String, Error> {
        let size_bytes = body.len() as u64;
        let source = &Again(body);
        self.engine.write_object(uid, &NewObject { bucket, key, size_bytes, meta, source }).await
    }

    /// The whole of an object.
    async fn read(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(crate::ObjectHead, Vec<u8>), Error> {
        let mut open = self.engine.read_object(uid, bucket, key).await?;
        let mut body = Vec::new();
        while let Some(chunk) = open.body.next().await {
            body.extend_from_slice(&chunk?);
        }
        Ok((open.head, body))
    }

    pub(super) async fn objects_are_read_and_written(&self) -> Outcome {
        let uid = self.account(70, |_| {}).await?;
        let name = self.bucket("contents")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(70, &name, "theirs", 3).await?;
        let (head, body) = self.read(&uid, &name, "theirs").await.map_err(text)?;
        let is_it = body == b"xxx" && head.size_bytes == 3;
        ensure(is_it && head.etag == "f561aaf6ef0bf14d4208bb46a4ccb3ad", &format!("{head:?}"))?;
        let meta = ObjectMeta {
            headers: [
                ("cache-control", "no-store"),
                ("content-disposition", "attachment; filename=\"a b\""),
                ("content-encoding", "gzip"),
                ("content-language", "de"),
                ("content-type", "text/plain; charset=utf-8"),
                ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            user: [("colour".to_owned(), "dark blue".to_owned())].into(),
        };
        for key in ["ours", "a b+c/%20/é", "theirs", "nothing"] {
            let sent = if key == "nothing" { Vec::new() } else { bytes_of(70_000) };
            let tag = self.write(&uid, (&name, key), &meta, sent.clone()).await.map_err(text)?;
            let (head, body) = self.read(&uid, &name, key).await.map_err(text)?;
            ensure(body == sent, &format!("{key} has other bytes"))?;
            ensure(head.etag == tag && head.meta == meta, &format!("{key} is {head:?}"))?;
            let got = self.client.get(&self.keys(70, 0), &name, key).await.map_err(text)?;
            ensure(got == sent, &format!("{key} is other bytes to its customer"))?;
        }
        refused(self.read(&uid, &name, "absent").await, |e| matches!(e, Error::NotFound))?;
        let foreign = self.account(71, |_| {}).await?;
        refused(self.read(&foreign, &name, "ours").await, |e| matches!(e, Error::NotFound))?;
        let theirs = self.write(&foreign, (&name, "k"), &meta, vec![1]).await;
        refused(theirs, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn what_breaks_off_is_not_stored(&self) -> Outcome {
        let uid = self.account(72, |_| {}).await?;
        let name = self.bucket("broken")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(72, &name, "k", 3).await?;
        let meta = &ObjectMeta::default();
        let (bucket, key) = (&name, "k");
        for size_bytes in [4, LARGE as u64] {
            let new = NewObject { bucket, key, size_bytes, meta, source: &Broken };
            let stored = self.engine.write_object(&uid, &new).await;
            refused(stored, |e| matches!(e, Error::NotFound))?;
        }
        for size_bytes in [2, 4] {
            let new = NewObject { bucket, key, size_bytes, meta, source: &Again(vec![1; 3]) };
            refused(self.engine.write_object(&uid, &new).await, Error::is_transient)?;
        }
        let (_, body) = self.read(&uid, &name, "k").await.map_err(text)?;
        ensure(body == b"xxx", "what was there is not there any more")?;
        let left = self.engine.list_uploads(&uid, &name, None, 10).await.map_err(text)?;
        ensure(left.is_empty(), "parts are left of what broke off")
    }

    pub(super) async fn large_objects_are_read_and_written(&self) -> Outcome {
        let uid = self.account(73, |_| {}).await?;
        let name = self.bucket("large")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let (sent, meta) = (bytes_of(LARGE), ObjectMeta::default());
        let tag = self.write(&uid, (&name, "k"), &meta, sent.clone()).await.map_err(text)?;
        let (head, body) = self.read(&uid, &name, "k").await.map_err(text)?;
        ensure(body == sent, &format!("it has other bytes: {head:?}"))?;
        ensure(head.etag == tag, &format!("it was stored as {tag}, and is {head:?}"))?;
        let query = crate::ListQuery { max: 10, unbilled: true, ..Default::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let listed: Vec<_> = page.objects.iter().map(|o| (o.size_bytes, &o.etag)).collect();
        ensure(listed == [(LARGE as u64, &tag)], &format!("listed {listed:?}, stored {tag}"))?;
        let got = self.client.get(&self.keys(73, 0), &name, "k").await.map_err(text)?;
        ensure(got == sent, "it is other bytes to its customer")?;
        self.engine.delete_object(&uid, &name, "k").await.map_err(text)
    }

    /// An account that nobody gets into yet: without its keys where they may come later.
    pub(super) async fn account_is_filled_before_it_opens(&self) -> Outcome {
        let uid = self.uid(74)?;
        let mut spec = AccountSpec::new(uid.clone(), Vec::new());
        spec.access = AccountAccess::Suspended;
        self.ensure(74, &[0], spec.clone()).await?;
        if self.engine.capabilities().keys_reusable {
            let filled = AccountSpec::new(uid.clone(), Vec::new());
            self.engine.ensure_account(&filled).await.map_err(text)?;
        }
        let (name, meta) = (self.bucket("filled")?, ObjectMeta::default());
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.write(&uid, (&name, "k"), &meta, vec![b'x'; 3]).await.map_err(text)?;
        let shut = self.client.get(&self.keys(74, 0), &name, "k").await;
        refused(shut, |e| matches!(e, Error::Denied))?;
        spec.access = AccountAccess::Full;
        self.ensure(74, &[0], spec).await?;
        let got = self.client.get(&self.keys(74, 0), &name, "k").await.map_err(text)?;
        ensure(got == b"xxx", "the object changed when the account was opened")?;
        // All of it is the customer's own.
        self.put(74, &name, "k", 5).await?;
        self.put(74, &name, "more", 5).await?;
        let usage = self.engine.account_usage(&uid).await.map_err(text)?;
        ensure(usage.object_count == 2 && usage.stored_bytes == 10, &format!("{usage:?}"))
    }

    pub(super) async fn access_alone_changes(&self) -> Outcome {
        let uid = self.account(75, |spec| spec.quota = Quota::bytes(1_000_000)).await?;
        let name = self.bucket("access")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(75, &name, "k", 3).await?;
        let keys = self.keys(75, 0);
        for access in [AccountAccess::ReadOnly, AccountAccess::Suspended, AccountAccess::Full] {
            self.engine.set_access(&uid, access).await.map_err(text)?;
            let reads = access == AccountAccess::Full
                || (access == AccountAccess::ReadOnly && self.engine.capabilities().read_only);
            let read = self.client.get(&keys, &name, "k").await;
            match reads {
                true => ensure(read.map_err(text)?.len() == 3, "the object changed")?,
                false => refused(read, |e| matches!(e, Error::Denied))?,
            }
            let write = self.client.put(&keys, &name, "w", vec![1]).await;
            match access {
                AccountAccess::Full => write.map_err(text)?,
                _ => refused(write, |e| matches!(e, Error::Denied))?,
            }
            // Ours goes on.
            let (_, body) = self.read(&uid, &name, "k").await.map_err(text)?;
            ensure(body.len() == 3, "we read another object")?;
        }
        let nobody = self.engine.set_access(&self.uid(76)?, AccountAccess::Full).await;
        refused(nobody, |e| matches!(e, Error::NotFound))?;
        let listed = match self.engine.list_accounts(None, 1000).await {
            Err(Error::Unsupported) => return Ok(()),
            listed => listed.map_err(text)?,
        };
        let own = listed.iter().find(|info| info.uid == uid);
        let is_kept = |info: &crate::AccountInfo| {
            info.quota == Quota::bytes(1_000_000) && info.access_keys == [keys.access_key.clone()]
        };
        ensure(own.is_none_or(is_kept), &format!("something else changed: {own:?}"))
    }
}
