//! What accounts and buckets may do and store.

use std::time::Duration;

use stowage_types::S3uid;

use super::{Outcome, Suite, ensure, refused, text};
use crate::{AccountAccess, Error, ListQuery, Quota, QuotaSupport};

/// Figures of a cluster may lag some moments behind.
const LOOKS_MAX: usize = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl Suite<'_> {
    pub(super) async fn quota_holds(&self) -> Outcome {
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

    pub(super) async fn quota_falls(&self) -> Outcome {
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

    pub(super) async fn read_only_holds(&self) -> Outcome {
        let uid = self.account(20, |_| {}).await?;
        let name = self.bucket("read-only")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(20, &name, "k", 20_000).await?;
        let is_kept = self.engine.capabilities().read_only;
        for _ in 0..2 {
            self.account(20, |spec| spec.access = AccountAccess::ReadOnly).await?;
            let keys = self.keys(20, 0);
            let read = self.client.get(&keys, &name, "k").await;
            match is_kept {
                true => ensure(read.map_err(text)?.len() == 20_000, "the object changed")?,
                // It is suspended instead: nothing is written by mistake.
                false => refused(read, |e| matches!(e, Error::Denied))?,
            }
            for key in ["k", "more"] {
                let write = self.client.put(&keys, &name, key, vec![1]).await;
                refused(write, |e| matches!(e, Error::Denied))?;
            }
            let begun = self.client.begin_upload(&keys, &name, "more", vec![1]).await;
            refused(begun, |e| matches!(e, Error::Denied))?;
        }
        // What we ask of the engine ourselves goes on.
        let query = ListQuery { max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        ensure(page.objects.len() == 1, "the object of a read-only account is not listed")?;
        self.engine.delete_object(&uid, &name, "k").await.map_err(text)?;
        self.account(20, |_| {}).await?;
        self.put(20, &name, "more", 1).await
    }

    pub(super) async fn object_quota_holds(&self) -> Outcome {
        let able = self.engine.capabilities().object_quota;
        if able == QuotaSupport::Absent {
            return Ok(());
        }
        let uid = self.account(21, |spec| spec.quota.objects = Some(2)).await?;
        let [one, two] = [self.bucket("count-a")?, self.bucket("count-b")?];
        for name in [&one, &two] {
            self.engine.create_bucket(&uid, name).await.map_err(text)?;
        }
        self.put(21, &one, "a", 10).await?;
        self.put(21, &two, "b", 10).await?;
        self.let_look(able, &uid, 2).await?;
        let over = self.client.put(&self.keys(21, 0), &one, "c", vec![0; 10]).await;
        refused(over, |e| matches!(e, Error::QuotaExceeded | Error::Denied))?;
        if able == QuotaSupport::Exact {
            // An object in place of another is no more of them.
            self.put(21, &one, "a", 30).await?;
        }
        self.engine.delete_object(&uid, &two, "b").await.map_err(text)?;
        self.let_look(able, &uid, 1).await?;
        self.put(21, &one, "c", 10).await?;
        self.account(21, |spec| spec.quota.objects = Some(1)).await?;
        let read = self.client.get(&self.keys(21, 0), &one, "c").await.map_err(text)?;
        ensure(read.len() == 10, "what is stored changed")
    }

    /// An engine that bounds buckets by samples takes one, once it sees so many objects.
    async fn let_look(&self, able: QuotaSupport, uid: &S3uid, objects: u64) -> Outcome {
        if able != QuotaSupport::Sampled {
            return Ok(());
        }
        for _ in 0..LOOKS_MAX {
            let usage = self.engine.account_usage(uid).await.map_err(text)?;
            if usage.object_count == objects {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("it does not see {objects} objects"))
    }

    pub(super) async fn bucket_quota_holds(&self) -> Outcome {
        let able = self.engine.capabilities().bucket_quota;
        let uid = self.account(22, |_| {}).await?;
        let [bound, free] = [self.bucket("bound")?, self.bucket("unbound")?];
        for name in [&bound, &free] {
            self.engine.create_bucket(&uid, name).await.map_err(text)?;
        }
        let quota = Quota { bytes: Some(100_000), objects: Some(3) };
        let set = self.engine.set_bucket_quota(&uid, &bound, quota).await;
        if able == QuotaSupport::Absent {
            return refused(set, |e| matches!(e, Error::Unsupported));
        }
        set.map_err(text)?;
        self.engine.set_bucket_quota(&uid, &bound, quota).await.map_err(text)?;
        let there = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        let quotas: Vec<_> = there.iter().map(|info| info.quota).collect();
        ensure(quotas == [quota, Quota::default()], &format!("listed {there:?}"))?;
        self.put(22, &bound, "one", 60_000).await?;
        let over = self.client.put(&self.keys(22, 0), &bound, "two", vec![0; 60_000]).await;
        refused(over, |e| matches!(e, Error::QuotaExceeded | Error::Denied))?;
        // Another bucket of the account is not bound by it.
        self.put(22, &free, "two", 120_000).await?;
        let none = Quota::default();
        self.engine.set_bucket_quota(&uid, &bound, none).await.map_err(text)?;
        self.put(22, &bound, "two", 60_000).await?;
        let missing = self.engine.set_bucket_quota(&uid, &self.bucket("missing")?, quota).await;
        refused(missing, |e| matches!(e, Error::NotFound))?;
        let foreign = self.engine.set_bucket_quota(&self.uid(9)?, &bound, quota).await;
        refused(foreign, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn capacity_is_told(&self) -> Outcome {
        let told = self.engine.capacity().await;
        if !self.engine.capabilities().capacity {
            return refused(told, |e| matches!(e, Error::Unsupported));
        }
        let room = told.map_err(text)?;
        let is_sound = room.total_bytes > 0 && room.free_bytes <= room.total_bytes;
        ensure(is_sound, &format!("told {room:?}"))
    }

    pub(super) async fn quota_is_lifted(&self) -> Outcome {
        if self.engine.capabilities().quota == QuotaSupport::Absent {
            return Ok(());
        }
        let uid = self.account(50, |spec| spec.quota = Quota::bytes(20_000)).await?;
        let name = self.bucket("lifted")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let over = self.client.put(&self.keys(50, 0), &name, "k", vec![0; 60_000]).await;
        refused(over, |e| matches!(e, Error::QuotaExceeded | Error::Denied))?;
        self.account(50, |spec| spec.quota = Quota::bytes(200_000)).await?;
        self.put(50, &name, "k", 60_000).await?;
        self.account(50, |_| {}).await?;
        self.put(50, &name, "more", 300_000).await
    }

    pub(super) async fn bucket_limit_falls(&self) -> Outcome {
        if !self.engine.capabilities().bucket_limit {
            return Ok(());
        }
        let uid = self.account(51, |spec| spec.bucket_max = Some(2)).await?;
        for name in ["limit-a", "limit-b"] {
            self.engine.create_bucket(&uid, &self.bucket(name)?).await.map_err(text)?;
        }
        self.account(51, |spec| spec.bucket_max = Some(1)).await?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(page.len() == 2, "a bucket went with the limit")?;
        let more = self.engine.create_bucket(&uid, &self.bucket("limit-c")?).await;
        refused(more, |e| matches!(e, Error::LimitReached))?;
        // One that is there is no more of them.
        self.engine.create_bucket(&uid, &self.bucket("limit-a")?).await.map_err(text)?;
        self.account(51, |_| {}).await?;
        self.engine.create_bucket(&uid, &self.bucket("limit-c")?).await.map_err(text)
    }
}
