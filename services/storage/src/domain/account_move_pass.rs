//! A pass over an account on both sides: page by page, bucket by bucket, in the order of keys.
//!
//! Both listings are walked side by side up to a key that both have told all before. What differs
//! is copied, or deleted at the new side; a comparison changes nothing and notes it. A page is
//! stored when all of it is done, so that whoever goes on begins behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::{
    BucketInfo, Engine, Error as EngineError, ListQuery, ObjectInfo, ObjectPage, QuotaSupport,
};
use stowage_types::{BucketName, S3uid};

use super::account_copy::{Copied, Way};
use super::account_move::{AccountMove, Advance, State};
use super::account_move_job::{Stop, bounded};
use super::bucket_deletion::Amount;
use super::{Site, Storage, signed};
use crate::error::Error;
use crate::store;

/// Objects of a fault list.
pub(super) const FAULTS_MAX: usize = 20;
/// Objects written so shortly before they were copied are copied again: what was written twice with
/// the same bytes has the same tag and perhaps other metadata, and the engines' clocks differ.
const FRESH: Duration = Duration::from_secs(120);

/// In place of the last key that is done: all of them are. No object has it for a key.
const ALL: &str = "";
/// Uploads that are ended with one call.
const UPLOADS_PAGE: u32 = 1000;

/// What is done about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Todo {
    Copy(String),
    Delete(String),
    /// Sizes agree and tags do not, and no copy is noted that says why.
    Compare(ObjectInfo, String),
    Fault(String, &'static str),
}

/// A pass at where it is.
pub(super) struct Pass<'a> {
    pub(super) storage: &'a Storage,
    pub(super) job: &'a AccountMove,
    pub(super) from: &'a Site,
    pub(super) to: &'a Site,
}

/// What both sides say of the keys up to one.
struct Page {
    from: Vec<ObjectInfo>,
    to: Vec<ObjectInfo>,
    /// `None`: that was all.
    upto: Option<String>,
}

impl Pass<'_> {
    fn way<'b>(&'b self, bucket: &'b BucketName) -> Way<'b> {
        let (from, to) = (&*self.from.engine, &*self.to.engine);
        Way { from, to, uid: &self.job.uid, bucket }
    }

    fn at(&self, bucket: &BucketName, after: Option<String>) -> Advance {
        Advance {
            bucket: bucket.clone(),
            after,
            checked: Amount::default(),
            copied: Amount::default(),
            changes: 0,
            faults: self.job.faults.clone(),
            last_write_time: self.job.last_write_time,
        }
    }

    /// Takes one step; `None`: the pass is at its end.
    pub(super) async fn step(&self) -> Result<Option<Advance>, Stop> {
        if let Some(bucket) = self.job.bucket.as_ref().filter(|_| self.is_within()) {
            return Ok(Some(self.page(bucket).await?));
        }
        let Some((bucket, from, to)) = self.next_bucket().await? else { return Ok(None) };
        let mut advance = self.at(&bucket, None);
        match (self.job.state, from, to) {
            (State::Copying | State::Freezing, Some(from), to) => {
                self.enter(&from, to.as_ref()).await?;
            }
            (State::Copying | State::Freezing, None, _) => {
                advance.changes = self.remove(&bucket).await?;
                advance.after = Some(ALL.to_owned());
            }
            (_, Some(_), Some(_)) => {}
            (state, from, _) => {
                if state == State::Verifying {
                    let side = if from.is_none() { "old" } else { "new" };
                    let why = format!("is not there at the {side} side");
                    add_fault(&mut advance, &bucket, None, &why);
                }
                // What a customer has made or deleted at the new side is his affair.
                advance.after = Some(ALL.to_owned());
            }
        }
        Ok(Some(advance))
    }

    fn is_within(&self) -> bool {
        self.job.after.as_deref() != Some(ALL)
    }

    /// The next bucket that either side has, as each has it.
    async fn next_bucket(
        &self,
    ) -> Result<Option<(BucketName, Option<BucketInfo>, Option<BucketInfo>)>, Stop> {
        let (after, uid) = (self.job.bucket.as_ref(), &self.job.uid);
        let first = async |engine: &dyn Engine| {
            let page = bounded(engine.list_buckets(uid, after, 1)).await?;
            Ok::<_, EngineError>(page.into_iter().next())
        };
        let from = match first(&*self.from.engine).await {
            // Whoever was to delete it has died when he had, and before he could say so.
            Err(EngineError::NotFound) if self.job.state == State::Confirming => None,
            from => from?,
        };
        let to = first(&*self.to.engine).await?;
        let names = from.iter().chain(&to).map(|info| info.bucket.clone());
        let Some(bucket) = names.min() else { return Ok(None) };
        let of = |info: Option<BucketInfo>| info.filter(|info| info.bucket == bucket);
        let (from, to) = (of(from), of(to));
        Ok(Some((bucket, from, to)))
    }

    /// Begins a bucket: the new side has it too, with its quota.
    async fn enter(&self, from: &BucketInfo, to: Option<&BucketInfo>) -> Result<(), Stop> {
        let (uid, bucket, engine) = (&self.job.uid, &from.bucket, &*self.to.engine);
        if to.is_none() {
            match bounded(engine.create_bucket(uid, bucket)).await {
                Err(EngineError::AlreadyExists) => {
                    let why = format!("bucket name {} is taken there", bucket.as_str());
                    return Err(Error::AccountMoveRefused { why }.into());
                }
                made => made?,
            }
        }
        let has = to.map(|to| to.quota).unwrap_or_default();
        if from.quota != has && engine.capabilities().bucket_quota != QuotaSupport::Absent {
            bounded(engine.set_bucket_quota(uid, bucket, from.quota)).await?;
        }
        Ok(())
    }

    /// Deletes a bucket at the new side that the old one has no more; answers how much that was.
    async fn remove(&self, bucket: &BucketName) -> Result<i64, Stop> {
        let (uid, engine) = (&self.job.uid, &*self.to.engine);
        let mut changes = 1;
        loop {
            let page = self.listed(engine, bucket, None).await?;
            let keys: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
            if keys.is_empty() {
                break;
            }
            changes += signed(keys.len() as u64);
            bounded(engine.delete_objects(uid, bucket, &keys)).await?;
        }
        abort_uploads(engine, uid, bucket).await?;
        match bounded(engine.delete_bucket(uid, bucket)).await {
            Ok(()) | Err(EngineError::NotFound) => Ok(changes),
            Err(error) => Err(error.into()),
        }
    }

    async fn listed(
        &self,
        engine: &dyn Engine,
        bucket: &BucketName,
        after: Option<String>,
    ) -> Result<ObjectPage, EngineError> {
        let max = self.storage.config.move_page_max;
        let query = ListQuery { after, max, unbilled: true, ..ListQuery::default() };
        match bounded(engine.list_objects(&self.job.uid, bucket, &query)).await {
            // Deleted at this moment: the next pass sees it.
            Err(EngineError::NotFound) => Ok(ObjectPage::default()),
            page => page,
        }
    }

    /// What both sides say next.
    async fn sides(&self, bucket: &BucketName) -> Result<Page, EngineError> {
        let after = self.job.after.clone();
        let from = self.listed(&*self.from.engine, bucket, after.clone()).await?;
        let to = self.listed(&*self.to.engine, bucket, after).await?;
        let upto = from.next.iter().chain(&to.next).min().cloned();
        let within = |objects: Vec<ObjectInfo>| {
            let is_within =
                |object: &ObjectInfo| upto.as_ref().is_none_or(|upto| object.key <= *upto);
            objects.into_iter().filter(is_within).collect()
        };
        Ok(Page { from: within(from.objects), to: within(to.objects), upto })
    }

    async fn page(&self, bucket: &BucketName) -> Result<Advance, Stop> {
        let page = self.sides(bucket).await?;
        let noted = self.noted(bucket, page.upto.as_deref()).await?;
        let mut advance = self.at(bucket, page.upto.clone());
        for object in &page.from {
            advance.checked.objects += 1;
            advance.checked.bytes += signed(object.size_bytes);
            if self.job.state == State::Verifying {
                advance.last_write_time = advance.last_write_time.max(Some(object.update_time));
            }
        }
        let todo = match self.job.state {
            State::Confirming => self.late(&page),
            state => differences(&page, &noted, state == State::Verifying),
        };
        self.carry_out(bucket, todo, &mut advance).await?;
        if page.upto.is_none() {
            advance.after = Some(ALL.to_owned());
        }
        Ok(advance)
    }

    /// Copies whose tags are noted to differ from those of their originals.
    async fn noted(
        &self,
        bucket: &BucketName,
        upto: Option<&str>,
    ) -> Result<BTreeMap<String, (String, String)>, Stop> {
        let after = self.job.after.as_deref().unwrap_or_default();
        // Behind all keys, which are UTF-8.
        let upto = upto.map_or(&[u8::MAX][..], str::as_bytes);
        let (db, id) = (&self.storage.db, self.job.id);
        let range = (after.as_bytes(), upto);
        let noted =
            store::account_move::copies(db, (id, bucket), range).await.map_err(Error::from)?;
        Ok(noted.into_iter().collect())
    }

    /// What was stored at the old side after it was compared, unless its customer has written it
    /// anew at the new side.
    fn late(&self, page: &Page) -> Vec<Todo> {
        let to: BTreeMap<&str, &ObjectInfo> =
            page.to.iter().map(|object| (object.key.as_str(), object)).collect();
        let is_late = |object: &&ObjectInfo| {
            // Of an account that had nothing, everything is.
            let is_late = self.job.last_write_time.is_none_or(|last| object.update_time > last);
            let is_ours = |there: &&ObjectInfo| {
                self.job.switch_time.is_some_and(|switched| there.update_time < switched)
            };
            is_late && to.get(object.key.as_str()).is_none_or(is_ours)
        };
        page.from.iter().filter(is_late).map(|object| Todo::Copy(object.key.clone())).collect()
    }

    async fn carry_out(
        &self,
        bucket: &BucketName,
        todo: Vec<Todo>,
        advance: &mut Advance,
    ) -> Result<(), Stop> {
        let mut deleted = Vec::new();
        let mut copied = Vec::new();
        for item in todo {
            match item {
                Todo::Delete(key) => deleted.push(key),
                Todo::Copy(key) => copied.push(key),
                Todo::Fault(key, why) => add_fault(advance, bucket, Some(&key), why),
                Todo::Compare(object, to_etag) => {
                    if self.way(bucket).is_same_content(&object.key).await? {
                        self.note(bucket, &object.key, (&object.etag, &to_etag)).await?;
                    } else {
                        add_fault(advance, bucket, Some(&object.key), "has other bytes");
                    }
                }
            }
        }
        advance.changes += signed((deleted.len() + copied.len()) as u64);
        if !deleted.is_empty() {
            let (uid, engine) = (&self.job.uid, &*self.to.engine);
            bounded(engine.delete_objects(uid, bucket, &deleted)).await?;
        }
        self.copy_all(bucket, copied, advance).await
    }

    async fn copy_all(
        &self,
        bucket: &BucketName,
        keys: Vec<String>,
        advance: &mut Advance,
    ) -> Result<(), Stop> {
        let way = self.way(bucket);
        let at_once = usize::try_from(self.storage.config.move_copies_max).unwrap_or(1);
        let copies = keys.into_iter().map(async |key| {
            let copied = way.copy(&key).await?;
            Ok::<_, EngineError>((key, copied))
        });
        let mut copies = stream::iter(copies).buffer_unordered(at_once);
        while let Some((key, copied)) = copies.try_next().await? {
            match copied {
                Copied::Gone => {}
                Copied::Faulty(why) => add_fault(advance, bucket, Some(&key), &why),
                Copied::Done { bytes, from_etag, to_etag } => {
                    advance.copied.objects += 1;
                    advance.copied.bytes += signed(bytes);
                    if from_etag != to_etag {
                        self.note(bucket, &key, (&from_etag, &to_etag)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn note(&self, bucket: &BucketName, key: &str, etags: (&str, &str)) -> Result<(), Error> {
        let mut tx = self.storage.db.begin().await?;
        store::account_move::set_copy(&mut tx, (self.job.id, bucket, key), etags).await?;
        Ok(tx.commit().await?)
    }
}

/// What differs between both sides. A comparison only tells it.
fn differences(
    page: &Page,
    noted: &BTreeMap<String, (String, String)>,
    is_comparison: bool,
) -> Vec<Todo> {
    let mut to: BTreeMap<&str, &ObjectInfo> =
        page.to.iter().map(|object| (object.key.as_str(), object)).collect();
    let mut todo = Vec::new();
    for object in &page.from {
        let key = object.key.clone();
        let Some(there) = to.remove(object.key.as_str()) else {
            todo.push(match is_comparison {
                true => Todo::Fault(key, "is not there at the new side"),
                false => Todo::Copy(key),
            });
            continue;
        };
        let is_noted = noted.get(&key).is_some_and(|(from_etag, to_etag)| {
            *from_etag == object.etag && *to_etag == there.etag
        });
        let is_same =
            object.size_bytes == there.size_bytes && (object.etag == there.etag || is_noted);
        let is_fresh = object.update_time + FRESH > there.update_time;
        match (is_comparison, is_same) {
            (true, true) => {}
            (false, true) if !is_fresh => {}
            (false, _) => todo.push(Todo::Copy(key)),
            (true, false) if object.size_bytes != there.size_bytes => {
                todo.push(Todo::Fault(key, "has another size"));
            }
            (true, false) => todo.push(Todo::Compare(object.clone(), there.etag.clone())),
        }
    }
    todo.extend(to.into_keys().map(|key| match is_comparison {
        true => Todo::Fault(key.to_owned(), "is not there at the old side"),
        false => Todo::Delete(key.to_owned()),
    }));
    todo
}

fn add_fault(advance: &mut Advance, bucket: &BucketName, key: Option<&str>, why: &str) {
    advance.changes += 1;
    if advance.faults.len() < FAULTS_MAX {
        // A key may hold what no text of a database can.
        let key = key.map(|key| format!("/{}", key.escape_debug())).unwrap_or_default();
        advance.faults.push(format!("{}{key}: {why}", bucket.as_str()));
    }
}

/// Ends all unfinished uploads of a bucket.
pub(super) async fn abort_uploads(
    engine: &dyn Engine,
    uid: &S3uid,
    bucket: &BucketName,
) -> Result<(), EngineError> {
    loop {
        match bounded(engine.abort_uploads(uid, bucket, None, UPLOADS_PAGE)).await {
            Ok(aborted) if aborted >= UPLOADS_PAGE => {}
            Ok(_) | Err(EngineError::NotFound | EngineError::Unsupported) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::*;

    const OLD: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn object(key: &str, size_bytes: u64, etag: &str, update_time: OffsetDateTime) -> ObjectInfo {
        ObjectInfo { key: key.to_owned(), size_bytes, update_time, etag: etag.to_owned() }
    }

    #[test]
    fn what_differs_is_copied_or_deleted_and_a_comparison_only_tells() {
        let later = OLD + FRESH;
        let page = Page {
            from: vec![
                object("fresh", 1, "e", later),
                object("noted", 1, "a-2", OLD),
                object("other", 1, "x", OLD),
                object("same", 1, "e", OLD),
                object("size", 1, "e", OLD),
                object("only", 1, "e", OLD),
            ],
            to: vec![
                object("extra", 1, "e", later),
                object("fresh", 1, "e", later),
                object("noted", 1, "b", later),
                object("other", 1, "y", later),
                object("same", 1, "e", later),
                object("size", 2, "e", later),
            ],
            upto: None,
        };
        let noted = [("noted".to_owned(), ("a-2".to_owned(), "b".to_owned()))].into();
        let copy = |key: &str| Todo::Copy(key.to_owned());
        let expected = [
            copy("fresh"),
            copy("other"),
            copy("size"),
            copy("only"),
            Todo::Delete("extra".into()),
        ];
        assert_eq!(differences(&page, &noted, false), expected);
        let told = differences(&page, &noted, true);
        let compared = Todo::Compare(page.from[2].clone(), "y".to_owned());
        let expected = [
            compared,
            Todo::Fault("size".to_owned(), "has another size"),
            Todo::Fault("only".to_owned(), "is not there at the new side"),
            Todo::Fault("extra".to_owned(), "is not there at the old side"),
        ];
        assert_eq!(told, expected);
    }
}
