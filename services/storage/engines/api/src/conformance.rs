//! One suite for every engine. Plain code, so that an adapter runs it against a real server.
//!
//! The suite speaks to the engine through [`Engine`] and, where objects are needed, through an S3
//! client that the engine's own tests bring ([`ObjectClient`]): it needs no S3 library itself.
//! Accounts and buckets are named from `seed`, so suites can share one server.

mod limits;
mod uploads;

use async_trait::async_trait;
use secrecy::SecretString;
use stowage_types::{BucketName, S3uid};

use crate::{
    AccountAccess, AccountInfo, AccountSpec, BucketNamespace, Engine, Error, KeyPair, ListQuery,
    Quota, QuotaSupport, UsageCursor,
};

/// An S3 client for the engine's endpoint.
#[async_trait]
pub trait ObjectClient: Send + Sync {
    /// Puts an object with the credentials given.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error>;

    /// Gets an object with the credentials given.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error>;

    /// Begins an upload in parts, sends one part and leaves it so; answers its id.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn begin_upload(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        part: Vec<u8>,
    ) -> Result<String, Error>;

    /// Sends a body to a signed URL, or without one asks it for what it opens.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn send(&self, url: &SecretString, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error>;

    /// Where it reaches the endpoint, and the region that it signs for.
    fn endpoint(&self) -> (String, String);
}

/// A case that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("{case}: {why}")]
pub struct Failure {
    /// What the case states.
    pub case: &'static str,
    /// What was seen instead.
    pub why: String,
}

/// Runs every case and returns those that did not hold; an engine conforms when there are none.
///
/// `seed`: 1 to 12 lower-case hexadecimal digits that no other run on this engine uses.
pub async fn conformance(
    engine: &dyn Engine,
    client: &dyn ObjectClient,
    seed: &str,
) -> Vec<Failure> {
    let suite = Suite { engine, client, seed };
    let outcomes = [
        ("an account can be ensured twice", suite.account_is_idempotent().await),
        ("buckets have one owner and are counted", suite.buckets_have_one_owner().await),
        ("buckets are listed in pages", suite.buckets_are_paged().await),
        ("objects are listed in key order", suite.objects_are_listed().await),
        ("a full bucket is not deleted", suite.full_bucket_stays().await),
        ("keys not listed are removed", suite.keys_are_replaced().await),
        ("keys come and go one by one", suite.key_sets_change().await),
        ("a suspended account is shut and keeps its data", suite.suspension_holds().await),
        ("other accounts are kept out", suite.accounts_are_apart().await),
        ("a quota holds", suite.quota_holds().await),
        ("a quota may fall below what is stored", suite.quota_falls().await),
        ("many objects are deleted at once", suite.objects_are_deleted_together().await),
        ("accounts are listed as they are", suite.accounts_are_listed().await),
        ("keys tell when they were used", suite.key_usage_is_told().await),
        ("usage is absolute", suite.usage_is_absolute().await),
        ("a read-only account is read and not written", suite.read_only_holds().await),
        ("a quota of objects holds", suite.object_quota_holds().await),
        ("a bucket has a quota of its own", suite.bucket_quota_holds().await),
        ("unfinished uploads are shown and ended", suite.uploads_are_shown().await),
        ("a signed URL opens what it names", suite.signed_urls_open().await),
        ("an engine tells its room", suite.capacity_is_told().await),
        ("an account can be purged", suite.account_is_purged().await),
        ("the engine is healthy", engine.health().await.map_err(|e| e.to_string())),
    ];
    outcomes
        .into_iter()
        .filter_map(|(case, outcome)| outcome.err().map(|why| Failure { case, why }))
        .collect()
}

struct Suite<'a> {
    engine: &'a dyn Engine,
    client: &'a dyn ObjectClient,
    seed: &'a str,
}

type Outcome = Result<(), String>;

fn text(error: Error) -> String {
    format!("{error:?}")
}

fn ensure(holds: bool, why: &str) -> Outcome {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// `result` must be the error that `expected` accepts.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: fn(&Error) -> bool) -> Outcome {
    match result {
        Err(error) if expected(&error) => Ok(()),
        other => Err(format!("answered {other:?}")),
    }
}

impl Suite<'_> {
    fn uid(&self, number: u32) -> Result<S3uid, String> {
        S3uid::parse(&format!("{:0>24}{number:08x}", self.seed)).map_err(|e| e.to_string())
    }

    fn bucket(&self, name: &str) -> Result<BucketName, String> {
        BucketName::new(&format!("{name}-{}", self.seed)).map_err(|e| e.to_string())
    }

    fn keys(&self, number: u32, generation: u32) -> KeyPair {
        KeyPair {
            access_key: format!("CONF{:0>12}{number:02}{generation:02}", self.seed.to_uppercase()),
            secret_key: format!("secret-of-{}-{number:04}-{generation:04}-padding", self.seed)
                .into(),
        }
    }

    async fn account(&self, number: u32, change: fn(&mut AccountSpec)) -> Result<S3uid, String> {
        let uid = self.uid(number)?;
        let mut spec = AccountSpec::new(uid.clone(), vec![self.keys(number, 0)]);
        change(&mut spec);
        self.engine.ensure_account(&spec).await.map_err(text)?;
        Ok(uid)
    }

    async fn put(&self, number: u32, bucket: &BucketName, key: &str, size: usize) -> Outcome {
        let body = vec![b'x'; size];
        self.client.put(&self.keys(number, 0), bucket, key, body).await.map_err(text)
    }

    async fn account_is_idempotent(&self) -> Outcome {
        let uid = self.account(1, |_| {}).await?;
        self.account(1, |_| {}).await?;
        self.engine.remove_account(&uid, false).await.map_err(text)?;
        self.engine.remove_account(&uid, false).await.map_err(text)?;
        let none = self.engine.create_bucket(&uid, &self.bucket("none")?).await;
        refused(none, |e| matches!(e, Error::NotFound))
    }

    async fn buckets_have_one_owner(&self) -> Outcome {
        let first = self.account(2, |spec| spec.bucket_max = Some(1)).await?;
        let second = self.account(3, |_| {}).await?;
        let name = self.bucket("owned")?;
        self.engine.create_bucket(&first, &name).await.map_err(text)?;
        self.engine.create_bucket(&first, &name).await.map_err(text)?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.as_ref() == Some(&first), "bucket_owner is not its creator")?;
        let able = self.engine.capabilities();
        if able.namespace == BucketNamespace::Engine {
            let taken = self.engine.create_bucket(&second, &name).await;
            refused(taken, |e| matches!(e, Error::AlreadyExists))?;
        }
        if able.bucket_limit {
            let more = self.engine.create_bucket(&first, &self.bucket("more")?).await;
            refused(more, |e| matches!(e, Error::LimitReached))?;
        }
        let foreign = self.engine.delete_bucket(&second, &name).await;
        refused(foreign, |e| matches!(e, Error::NotFound))?;
        self.engine.delete_bucket(&first, &name).await.map_err(text)?;
        let gone = self.engine.delete_bucket(&first, &name).await;
        refused(gone, |e| matches!(e, Error::NotFound))?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.is_none(), "a deleted bucket has an owner")
    }

    async fn buckets_are_paged(&self) -> Outcome {
        let uid = self.account(4, |_| {}).await?;
        let names = [self.bucket("p-a")?, self.bucket("p-b")?, self.bucket("p-c")?];
        for name in names.iter().rev() {
            self.engine.create_bucket(&uid, name).await.map_err(text)?;
        }
        let page = self.engine.list_buckets(&uid, None, 2).await.map_err(text)?;
        let rest = self.engine.list_buckets(&uid, Some(&names[1]), 2).await.map_err(text)?;
        let seen: Vec<_> = page.iter().chain(&rest).map(|info| &info.bucket).collect();
        ensure(page.len() == 2 && seen == names.iter().collect::<Vec<_>>(), "wrong pages")
    }

    async fn objects_are_listed(&self) -> Outcome {
        let uid = self.account(5, |_| {}).await?;
        let name = self.bucket("listed")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        for key in ["a", "b/1", "b/2", "c/d/e", "é"] {
            self.put(5, &name, key, 3).await?;
        }
        let mut seen = Vec::new();
        let mut query = ListQuery { delimiter: Some('/'), max: 2, ..ListQuery::default() };
        for _ in 0..4 {
            let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
            let keys = page.objects.into_iter().map(|object| object.key);
            let mut items: Vec<_> = keys.chain(page.prefixes).collect();
            items.sort();
            seen.extend(items);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        ensure(seen == ["a", "b/", "c/", "é"], &format!("listed {seen:?}"))?;
        self.engine.delete_object(&uid, &name, "b/1").await.map_err(text)?;
        self.engine.delete_object(&uid, &name, "b/1").await.map_err(text)?;
        let query = ListQuery { prefix: "b/".to_owned(), max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let sizes: Vec<_> = page.objects.iter().map(|o| (o.key.as_str(), o.size_bytes)).collect();
        ensure(sizes == [("b/2", 3)], &format!("listed {sizes:?}"))
    }

    async fn full_bucket_stays(&self) -> Outcome {
        let uid = self.account(6, |_| {}).await?;
        let name = self.bucket("full")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(6, &name, "kept", 4).await?;
        refused(self.engine.delete_bucket(&uid, &name).await, |e| matches!(e, Error::NotEmpty))?;
        refused(self.engine.remove_account(&uid, false).await, |e| matches!(e, Error::NotEmpty))?;
        let body = self.client.get(&self.keys(6, 0), &name, "kept").await.map_err(text)?;
        ensure(body == b"xxxx", "the object changed")
    }

    async fn keys_are_replaced(&self) -> Outcome {
        let uid = self.account(7, |_| {}).await?;
        let name = self.bucket("keys")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(7, &name, "k", 1).await?;
        let spec = AccountSpec::new(uid, vec![self.keys(7, 1)]);
        self.engine.ensure_account(&spec).await.map_err(text)?;
        let old = self.client.get(&self.keys(7, 0), &name, "k").await;
        refused(old, |e| matches!(e, Error::Denied))?;
        self.client.get(&self.keys(7, 1), &name, "k").await.map_err(text)?;
        let stolen = AccountSpec { uid: self.uid(8)?, ..spec };
        refused(self.engine.ensure_account(&stolen).await, |e| matches!(e, Error::AlreadyExists))
    }

    /// The account with these keys, by generation.
    async fn with_keys(&self, number: u32, generations: &[u32], suspended: bool) -> Outcome {
        let keys = generations.iter().map(|generation| self.keys(number, *generation)).collect();
        let access = if suspended { AccountAccess::Suspended } else { AccountAccess::Full };
        let spec = AccountSpec { access, ..AccountSpec::new(self.uid(number)?, keys) };
        self.engine.ensure_account(&spec).await.map_err(text)
    }

    async fn key_sets_change(&self) -> Outcome {
        let uid = self.account(14, |_| {}).await?;
        let name = self.bucket("keyring")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(14, &name, "k", 1).await?;
        let is_reusable = self.engine.capabilities().keys_reusable;
        let sets: &[&[u32]] = &[&[0, 1], &[1], &[1, 2, 3], &[2, 3], &[], &[3, 0]];
        for set in sets.iter().take(if is_reusable { sets.len() } else { 4 }) {
            self.with_keys(14, set, false).await?;
            for generation in 0..4 {
                let got = self.client.get(&self.keys(14, generation), &name, "k").await;
                let opens = set.contains(&generation);
                match got {
                    Ok(_) if opens => {}
                    Err(Error::Denied) if !opens => {}
                    other => return Err(format!("{set:?}: key {generation} gave {other:?}")),
                }
            }
        }
        Ok(())
    }

    async fn suspension_holds(&self) -> Outcome {
        let uid = self.account(15, |_| {}).await?;
        let name = self.bucket("suspended")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(15, &name, "k", 20_000).await?;
        for _ in 0..2 {
            self.account(15, |spec| spec.access = AccountAccess::Suspended).await?;
            let keys = self.keys(15, 0);
            let read = self.client.get(&keys, &name, "k").await;
            refused(read, |e| matches!(e, Error::Denied))?;
            let write = self.client.put(&keys, &name, "more", vec![1]).await;
            refused(write, |e| matches!(e, Error::Denied))?;
        }
        // Another key changes nothing in that; what we ask of the engine ourselves goes on.
        self.with_keys(15, &[0, 1], true).await?;
        let read = self.client.get(&self.keys(15, 1), &name, "k").await;
        refused(read, |e| matches!(e, Error::Denied))?;
        let query = ListQuery { max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        ensure(page.objects.len() == 1, "the object of a suspended account is not listed")?;
        self.with_keys(15, &[0, 1], false).await?;
        let body = self.client.get(&self.keys(15, 0), &name, "k").await.map_err(text)?;
        ensure(body.len() == 20_000, "the object changed")?;
        self.put(15, &name, "more", 1).await?;
        // A suspended account can be purged.
        self.account(15, |spec| spec.access = AccountAccess::Suspended).await?;
        self.engine.remove_account(&uid, true).await.map_err(text)
    }

    async fn accounts_are_apart(&self) -> Outcome {
        let owner = self.account(9, |_| {}).await?;
        self.account(10, |_| {}).await?;
        let name = self.bucket("apart")?;
        self.engine.create_bucket(&owner, &name).await.map_err(text)?;
        self.put(9, &name, "mine", 2).await?;
        let read = self.client.get(&self.keys(10, 0), &name, "mine").await;
        refused(read, |e| matches!(e, Error::Denied))?;
        let write = self.client.put(&self.keys(10, 0), &name, "theirs", vec![1]).await;
        refused(write, |e| matches!(e, Error::Denied))
    }

    async fn quota_holds(&self) -> Outcome {
        if self.engine.capabilities().quota == QuotaSupport::Absent {
            return Ok(());
        }
        let uid = self.account(11, |spec| spec.quota = Quota::bytes(100_000)).await?;
        let name = self.bucket("quota")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(11, &name, "one", 60_000).await?;
        let over = self.client.put(&self.keys(11, 0), &name, "two", vec![0; 60_000]).await;
        refused(over, |e| matches!(e, Error::QuotaExceeded | Error::Denied))?;
        if self.engine.capabilities().quota == QuotaSupport::Exact {
            self.put(11, &name, "one", 100_000).await?;
            let over = self.client.put(&self.keys(11, 0), &name, "two", vec![0]).await;
            refused(over, |e| matches!(e, Error::QuotaExceeded))?;
        }
        self.engine.delete_object(&uid, &name, "one").await.map_err(text)?;
        self.put(11, &name, "two", 60_000).await
    }

    async fn quota_falls(&self) -> Outcome {
        let uid = self.account(16, |spec| spec.quota = Quota::bytes(200_000)).await?;
        let name = self.bucket("falling")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(16, &name, "one", 60_000).await?;
        self.put(16, &name, "two", 60_000).await?;
        self.account(16, |spec| spec.quota = Quota::bytes(100_000)).await?;
        let keys = self.keys(16, 0);
        let body = self.client.get(&keys, &name, "one").await.map_err(text)?;
        ensure(body.len() == 60_000, "what is stored changed")?;
        if self.engine.capabilities().quota != QuotaSupport::Absent {
            let over = self.client.put(&keys, &name, "three", vec![0; 5000]).await;
            refused(over, |e| matches!(e, Error::QuotaExceeded | Error::Denied))?;
        }
        self.engine.delete_object(&uid, &name, "one").await.map_err(text)?;
        self.put(16, &name, "three", 5000).await
    }

    async fn objects_are_deleted_together(&self) -> Outcome {
        let uid = self.account(17, |_| {}).await?;
        let name = self.bucket("together")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        for key in ["a", "b", "c/d", "é"] {
            self.put(17, &name, key, 2).await?;
        }
        let keys = ["a", "c/d", "not there", "é"].map(str::to_owned);
        for _ in 0..2 {
            self.engine.delete_objects(&uid, &name, &keys).await.map_err(text)?;
            let query = ListQuery { max: 10, ..ListQuery::default() };
            let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
            let left: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
            ensure(left == ["b"], &format!("left {left:?}"))?;
        }
        self.engine.delete_objects(&uid, &name, &[]).await.map_err(text)?;
        let aborted = self.engine.abort_uploads(&uid, &name, None, 10).await.map_err(text)?;
        ensure(aborted == 0, "an upload was aborted that nobody had begun")?;
        let foreign = self.uid(9)?;
        let keys = ["b".to_owned()];
        let theirs = self.engine.delete_objects(&foreign, &name, &keys).await;
        refused(theirs, |e| matches!(e, Error::NotFound))
    }

    async fn accounts_are_listed(&self) -> Outcome {
        let uid = self.account(18, |_| {}).await?;
        self.engine.create_bucket(&uid, &self.bucket("shown")?).await.map_err(text)?;
        let spec = AccountSpec {
            uid: uid.clone(),
            keys: vec![self.keys(18, 0), self.keys(18, 1)],
            quota: Quota::bytes(5_000_000),
            bucket_max: Some(7),
            access: AccountAccess::Suspended,
        };
        self.engine.ensure_account(&spec).await.map_err(text)?;
        let (mut after, mut found, mut is_in_order) = (None, None, true);
        for _ in 0..10_000 {
            let page = match self.engine.list_accounts(after.as_ref(), 2).await {
                Err(Error::Unsupported) => return Ok(()),
                page => page.map_err(text)?,
            };
            let Some(last) = page.last().map(|info| info.uid.clone()) else { break };
            is_in_order &= page.is_sorted_by(|a, b| a.uid < b.uid) && after.as_ref() < Some(&last);
            after = Some(last);
            found = page.into_iter().find(|info| info.uid == uid).or(found);
        }
        let expected = AccountInfo {
            uid,
            access_keys: vec![self.keys(18, 0).access_key, self.keys(18, 1).access_key],
            quota: Quota::bytes(5_000_000),
            bucket_max: Some(7),
            access: AccountAccess::Suspended,
            bucket_count: 1,
        };
        ensure(is_in_order, "accounts are not in order")?;
        ensure(found.as_ref() == Some(&expected), &format!("listed {found:?}"))
    }

    async fn key_usage_is_told(&self) -> Outcome {
        if !self.engine.capabilities().key_usage {
            return Ok(());
        }
        let uid = self.account(19, |_| {}).await?;
        self.with_keys(19, &[0, 1], false).await?;
        let name = self.bucket("key-usage")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(19, &name, "k", 1).await?;
        let usage = self.engine.key_usage(&uid).await.map_err(text)?;
        let seen: Vec<_> = usage.iter().map(|key| key.last_use_time.is_some()).collect();
        ensure(seen == [true, false], &format!("told {usage:?}"))
    }

    async fn usage_is_absolute(&self) -> Outcome {
        let uid = self.account(12, |_| {}).await?;
        let name = self.bucket("usage")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(12, &name, "k", 1000).await?;
        if !self.engine.capabilities().immediate_figures {
            return Ok(());
        }
        let mut cursor = UsageCursor::default();
        let mut stored = None;
        for _ in 0..1000 {
            let batch = self.engine.collect_usage(&cursor, 100).await.map_err(text)?;
            for row in batch.storage.iter().filter(|row| row.uid == uid) {
                stored = Some((row.stored_bytes, row.object_count, row.deleted));
            }
            cursor = batch.next;
            if !batch.more {
                break;
            }
        }
        ensure(stored == Some((1000, 1, false)), &format!("collected {stored:?}"))?;
        let usage = self.engine.account_usage(&uid).await.map_err(text)?;
        let seen = (usage.bucket_count, usage.object_count, usage.stored_bytes);
        ensure(seen == (1, 1, 1000), &format!("{usage:?}"))
    }

    async fn account_is_purged(&self) -> Outcome {
        let uid = self.account(13, |_| {}).await?;
        let name = self.bucket("purged")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(13, &name, "k", 20_000).await?;
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.is_none(), "a purged bucket has an owner")?;
        let read = self.client.get(&self.keys(13, 0), &name, "k").await;
        refused(read, |e| matches!(e, Error::Denied | Error::NotFound))
    }
}
