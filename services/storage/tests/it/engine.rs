//! An engine in memory, with faults on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stowage_engine::{
    AccountAccess, AccountInfo, AccountSpec, AccountUsage, Adopted, AdoptionSupport, BucketInfo,
    BucketNamespace, Capabilities, Engine, Error, Foreign, KeyPair, KeyUsage, ListQuery, NewObject,
    ObjectInfo, ObjectPage, OpenObject, Quota, QuotaSupport, StorageFigures, TrafficTotals,
    UploadCursor, UploadInfo, UsageBatch, UsageCursor,
};
use stowage_types::{BucketName, S3uid};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

/// An engine in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) capabilities: Capabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    /// What the next call to `ensure_account` ends with after it has done its work.
    ensure_fails_after: bool,
    accounts: BTreeMap<S3uid, AccountSpec>,
    foreign: BTreeMap<String, Foreign>,
    adopted: BTreeMap<S3uid, String>,
    buckets: BTreeMap<BucketName, Bucket>,
    /// Changes in order; the cursor counts them.
    changes: Vec<Change>,
    /// Cursors are made of this and a count; others are refused.
    epoch: u32,
    list_calls: u32,
    used_keys: Vec<String>,
    /// How many days after [`NOW`] it is.
    days: i64,
    /// How many objects the next call to `delete_objects` deletes before it fails.
    deletes_before_failure: Option<usize>,
    /// Holds up calls to `delete_objects` before their effect.
    gate: Option<Arc<Semaphore>>,
}

#[derive(Debug)]
struct Bucket {
    owner: S3uid,
    create_time: OffsetDateTime,
    objects: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
enum Change {
    Storage(StorageFigures),
    Traffic(TrafficTotals),
}

pub(crate) const NOW: OffsetDateTime = time::macros::datetime!(2026-11-20 12:34:56 UTC);

impl Default for Memory {
    fn default() -> Self {
        Self {
            capabilities: Capabilities {
                engine: "memory",
                quota: QuotaSupport::Absent,
                object_quota: QuotaSupport::Absent,
                bucket_quota: QuotaSupport::Absent,
                read_only: false,
                bucket_limit: true,
                traffic: true,
                immediate_figures: true,
                changes_at_once: true,
                deletions_at_once: true,
                keys_reusable: true,
                adopts: AdoptionSupport::Absent,
                issues_keys: false,
                keys_max: None,
                client_buckets: true,
                key_usage: false,
                cuts_transfers: true,
                unfinished_apart: true,
                slash_keys: true,
                namespace: BucketNamespace::Engine,
                presign: false,
                capacity: false,
            },
            state: Mutex::default(),
        }
    }
}

impl Memory {
    fn up(&self) -> Result<std::sync::MutexGuard<'_, State>, Error> {
        let state = self.state.lock().unwrap();
        if state.is_down { Err(Error::unavailable("told to be down")) } else { Ok(state) }
    }

    fn adopting_state(&self) -> Result<std::sync::MutexGuard<'_, State>, Error> {
        if self.capabilities.adopts == AdoptionSupport::Bounded {
            self.up()
        } else {
            Err(Error::Unsupported)
        }
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Loses an account behind the role's back.
    pub(crate) fn forget_account(&self, uid: &S3uid) {
        self.state.lock().unwrap().accounts.remove(uid);
    }

    pub(crate) fn use_key(&self, access_key: &str) {
        self.state.lock().unwrap().used_keys.push(access_key.to_owned());
    }

    pub(crate) fn pass_a_day(&self) {
        self.state.lock().unwrap().days += 1;
    }

    /// Lets the next batch of deletions break off after so many.
    pub(crate) fn cut_off_deletes_after(&self, count: usize) {
        self.state.lock().unwrap().deletes_before_failure = Some(count);
    }

    /// Lets the next batch of deletions wait for a permit of the gate.
    pub(crate) fn hold_up_deletes(&self, gate: &Arc<Semaphore>) {
        self.state.lock().unwrap().gate = Some(Arc::clone(gate));
    }

    pub(crate) fn fail_after_next_ensure(&self) {
        self.state.lock().unwrap().ensure_fails_after = true;
    }

    pub(crate) fn account(&self, uid: &S3uid) -> Option<AccountSpec> {
        self.state.lock().unwrap().accounts.get(uid).cloned()
    }

    /// Puts an account behind the role's back.
    pub(crate) fn insert_account(&self, spec: AccountSpec) {
        self.state.lock().unwrap().accounts.insert(spec.uid.clone(), spec);
    }

    /// One that adopts who is on it.
    pub(crate) fn adopting(foreign: Vec<Foreign>) -> Self {
        let mut engine = Self::default();
        engine.capabilities.adopts = AdoptionSupport::Bounded;
        let named = foreign.into_iter().map(|foreign| (foreign.name.clone(), foreign));
        engine.state.lock().unwrap().foreign.extend(named);
        engine
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, size: u64) {
        self.put_all(bucket, [key.to_owned()], size);
    }

    pub(crate) fn put_all(&self, bucket: &str, keys: impl IntoIterator<Item = String>, size: u64) {
        let mut state = self.state.lock().unwrap();
        let name = BucketName::new(bucket).unwrap();
        let bucket = state.buckets.get_mut(&name).unwrap();
        bucket.objects.extend(keys.into_iter().map(|key| (key, size)));
        let figures = figures(&name, bucket);
        state.changes.push(Change::Storage(figures));
    }

    /// Reports absolute totals of an hour.
    pub(crate) fn report(&self, totals: TrafficTotals) {
        self.state.lock().unwrap().changes.push(Change::Traffic(totals));
    }

    /// Forgets what cursors mean, as an engine restored from a copy does.
    pub(crate) fn forget_cursors(&self) {
        self.state.lock().unwrap().epoch += 1;
    }

    pub(crate) fn list_calls(&self) -> u32 {
        self.state.lock().unwrap().list_calls
    }
}

fn figures(name: &BucketName, bucket: &Bucket) -> StorageFigures {
    StorageFigures {
        uid: bucket.owner.clone(),
        bucket: name.as_str().to_owned(),
        stored_bytes: bucket.objects.values().sum(),
        object_count: bucket.objects.len() as u64,
        sample_time: NOW,
        deleted: false,
    }
}

impl State {
    fn owned(&mut self, uid: &S3uid, bucket: &BucketName) -> Result<&mut Bucket, Error> {
        self.buckets.get_mut(bucket).filter(|found| found.owner == *uid).ok_or(Error::NotFound)
    }
}

#[async_trait]
impl Engine for Memory {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn ensure_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        let mut state = self.up()?;
        state.accounts.insert(spec.uid.clone(), spec.clone());
        if std::mem::take(&mut state.ensure_fails_after) {
            return Err(Error::unavailable("the answer was lost"));
        }
        Ok(())
    }

    async fn issue_key(&self, uid: &S3uid) -> Result<KeyPair, Error> {
        let (is_able, keys_max) = (self.capabilities.issues_keys, self.capabilities.keys_max);
        let mut state = self.up()?;
        let spec = state.accounts.get_mut(uid).filter(|_| is_able).ok_or(Error::Unsupported)?;
        let count = u32::try_from(spec.keys.len()).unwrap();
        if keys_max.is_some_and(|max| count >= max) {
            return Err(Error::LimitReached);
        }
        let (access_key, secret_key) = (format!("ISSUED{count:014}"), "hush".to_owned().into());
        let made = KeyPair { access_key, secret_key };
        spec.keys.push(made.clone());
        Ok(made)
    }

    async fn set_access(&self, uid: &S3uid, access: AccountAccess) -> Result<(), Error> {
        let mut state = self.up()?;
        state.accounts.get_mut(uid).ok_or(Error::NotFound)?.access = access;
        Ok(())
    }

    async fn read_object(&self, _: &S3uid, _: &BucketName, _: &str) -> Result<OpenObject, Error> {
        // It keeps sizes only.
        Err(Error::Unsupported)
    }

    async fn write_object(&self, _: &S3uid, _: &NewObject<'_>) -> Result<String, Error> {
        Err(Error::Unsupported)
    }

    async fn remove_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let mut state = self.up()?;
        if purge {
            state.buckets.retain(|_, bucket| bucket.owner != *uid);
        }
        if state.buckets.values().any(|bucket| bucket.owner == *uid) {
            return Err(Error::NotEmpty);
        }
        state.accounts.remove(uid);
        Ok(())
    }

    async fn list_accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        let state = self.up()?;
        let later = state.accounts.values().filter(|spec| after.is_none_or(|a| spec.uid > *a));
        let info = |spec: &AccountSpec| AccountInfo {
            uid: spec.uid.clone(),
            access_keys: spec.keys.iter().map(|key| key.access_key.clone()).collect(),
            quota: spec.quota,
            bucket_max: spec.bucket_max,
            access: spec.access,
            bucket_count: state.buckets.values().filter(|b| b.owner == spec.uid).count() as u64,
        };
        Ok(later.take(max as usize).map(info).collect())
    }

    async fn key_usage(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        let state = self.up()?;
        let spec = state.accounts.get(uid).ok_or(Error::NotFound)?;
        let usage = |key: &KeyPair| KeyUsage {
            access_key: key.access_key.clone(),
            last_use_time: state.used_keys.contains(&key.access_key).then_some(NOW),
        };
        Ok(spec.keys.iter().map(usage).collect())
    }

    async fn key_owner(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        let state = self.up()?;
        let has = |spec: &&AccountSpec| spec.keys.iter().any(|key| key.access_key == access_key);
        Ok(state.accounts.values().find(has).map(|spec| spec.uid.clone()))
    }

    async fn list_foreign(&self, after: Option<&str>, max: u32) -> Result<Vec<Foreign>, Error> {
        let state = self.adopting_state()?;
        let later = state.foreign.values().filter(|f| after.is_none_or(|after| &*f.name > after));
        Ok(later.take(max as usize).cloned().collect())
    }

    async fn find_foreign(&self, name: &str) -> Result<Option<Foreign>, Error> {
        Ok(self.adopting_state()?.foreign.get(name).cloned())
    }

    async fn adopt(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        let mut state = self.adopting_state()?;
        if state.adopted.get(uid).is_none_or(|known| known != name) {
            let foreign = state.foreign.remove(name).ok_or(Error::NotFound)?;
            let key = |access_key: String| KeyPair { access_key, secret_key: "hush".into() };
            let spec = AccountSpec {
                uid: uid.clone(),
                keys: foreign.access_keys.into_iter().map(key).collect(),
                quota: foreign.quota,
                bucket_max: foreign.bucket_max,
                access: foreign.access,
            };
            state.accounts.insert(uid.clone(), spec);
            state.adopted.insert(uid.clone(), name.to_owned());
        }
        let AccountSpec { keys, quota, bucket_max, access, .. } = state.accounts[uid].clone();
        Ok(Adopted { keys, quota, bucket_max, access })
    }

    async fn create_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let mut state = self.up()?;
        let spec = state.accounts.get(uid).ok_or(Error::NotFound)?;
        if let Some(found) = state.buckets.get(bucket) {
            return if found.owner == *uid { Ok(()) } else { Err(Error::AlreadyExists) };
        }
        let count = state.buckets.values().filter(|found| found.owner == *uid).count();
        if self.capabilities.bucket_limit
            && spec.bucket_max.is_some_and(|max| count >= max as usize)
        {
            return Err(Error::LimitReached);
        }
        let create_time = NOW + time::Duration::days(state.days);
        let made = Bucket { owner: uid.clone(), create_time, objects: BTreeMap::new() };
        state.buckets.insert(bucket.clone(), made);
        Ok(())
    }

    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Result<(), Error> {
        let mut state = self.up()?;
        if !state.owned(uid, bucket)?.objects.is_empty() {
            return Err(Error::NotEmpty);
        }
        state.buckets.remove(bucket);
        Ok(())
    }

    async fn bucket_owner(&self, bucket: &BucketName) -> Result<Option<S3uid>, Error> {
        Ok(self.up()?.buckets.get(bucket).map(|found| found.owner.clone()))
    }

    async fn list_buckets(
        &self,
        uid: &S3uid,
        after: Option<&BucketName>,
        max: u32,
    ) -> Result<Vec<BucketInfo>, Error> {
        let state = self.up()?;
        if !state.accounts.contains_key(uid) {
            return Err(Error::NotFound);
        }
        let info = |(name, bucket): (&BucketName, &Bucket)| BucketInfo {
            bucket: name.clone(),
            create_time: bucket.create_time,
            object_count: bucket.objects.len() as u64,
            stored_bytes: bucket.objects.values().sum(),
            received_bytes: 0,
            sent_bytes: 0,
            quota: Quota::default(),
        };
        let owned = state.buckets.iter().filter(|(_, bucket)| bucket.owner == *uid);
        let later = owned.filter(|(name, _)| after.is_none_or(|after| *name > after));
        Ok(later.take(max as usize).map(info).collect())
    }

    async fn list_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ObjectPage, Error> {
        let mut state = self.up()?;
        state.list_calls += 1;
        let objects = &state.owned(uid, bucket)?.objects;
        let mut page = ObjectPage::default();
        let mut last = None;
        for (key, size) in objects.iter().filter(|(key, _)| key.starts_with(&query.prefix)) {
            let rest = &key[query.prefix.len()..];
            let level = query.delimiter.and_then(|delimiter| rest.split_once(delimiter));
            let shown = match level {
                Some((level, _)) => format!("{}{level}/", query.prefix),
                None => key.clone(),
            };
            let is_seen = page.prefixes.last() == Some(&shown);
            if is_seen || query.after.as_ref().is_some_and(|after| shown <= *after) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() >= query.max as usize {
                page.next = last;
                break;
            }
            last = Some(shown.clone());
            if level.is_some() {
                page.prefixes.push(shown);
            } else {
                let etag = "d41d8cd98f00b204e9800998ecf8427e".to_owned();
                let size_bytes = *size;
                page.objects.push(ObjectInfo { key: shown, size_bytes, update_time: NOW, etag });
            }
        }
        Ok(page)
    }

    async fn delete_object(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        key: &str,
    ) -> Result<(), Error> {
        self.up()?.owned(uid, bucket)?.objects.remove(key);
        Ok(())
    }

    async fn delete_objects(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<(), Error> {
        let gate = self.up()?.gate.take();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let mut state = self.up()?;
        let done = state.deletes_before_failure.take();
        let objects = &mut state.owned(uid, bucket)?.objects;
        for key in keys.iter().take(done.unwrap_or(usize::MAX)) {
            objects.remove(key);
        }
        if done.is_some() { Err(Error::unavailable("cut off")) } else { Ok(()) }
    }

    async fn list_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        _: Option<&UploadCursor>,
        _: u32,
    ) -> Result<Vec<UploadInfo>, Error> {
        self.up()?.owned(uid, bucket).map(|_| Vec::new())
    }

    async fn abort_uploads(
        &self,
        uid: &S3uid,
        bucket: &BucketName,
        _: Option<OffsetDateTime>,
        _: u32,
    ) -> Result<u32, Error> {
        self.up()?.owned(uid, bucket).map(|_| 0)
    }

    async fn collect_usage(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        let state = self.up()?;
        let epoch = state.epoch.to_string();
        let start = match after.as_str().split_once(':') {
            None if after.as_str().is_empty() => 0,
            Some((of, count)) if of == epoch => count.parse().unwrap(),
            _ => return Err(Error::Invalid { why: "the cursor is of another epoch".to_owned() }),
        };
        let end = state.changes.len().min(start + max as usize);
        let mut batch = UsageBatch {
            next: UsageCursor::from_text(format!("{epoch}:{end}")),
            more: end < state.changes.len(),
            ..UsageBatch::default()
        };
        for change in &state.changes[start..end] {
            match change.clone() {
                Change::Storage(figures) => batch.storage.push(figures),
                Change::Traffic(totals) => batch.traffic.push(totals),
            }
        }
        Ok(batch)
    }

    async fn account_usage(&self, uid: &S3uid) -> Result<AccountUsage, Error> {
        let state = self.up()?;
        let owned = state.buckets.values().filter(|bucket| bucket.owner == *uid);
        Ok(owned.fold(AccountUsage::default(), |mut usage, bucket| {
            usage.bucket_count += 1;
            usage.object_count += bucket.objects.len() as u64;
            usage.stored_bytes += bucket.objects.values().sum::<u64>();
            usage
        }))
    }

    async fn health(&self) -> Result<(), Error> {
        self.up().map(|_| ())
    }
}
