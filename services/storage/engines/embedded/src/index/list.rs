//! Listing: an ordered range scan that rolls keys up to common prefixes.
//!
//! A page costs about as many rows as it shows: when a batch of rows ends inside a common prefix,
//! the next one starts behind the prefix, however many keys are under it.

use stowage_db::args;
use time::OffsetDateTime;

use super::{BucketRef, Index};
use crate::error::Error;

/// Rows of a batch when nothing has to be skipped, at most.
const BATCH_MAX: usize = 1001;
/// Rows of a batch after a prefix was skipped.
const BATCH_AFTER_SKIP: usize = 16;

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// At the first key.
    Start,
    /// After this key; a prefix that holds later keys is shown.
    Key(Vec<u8>),
    /// After the last item of a page. If that was a common prefix, after all of its keys.
    Item(Vec<u8>),
}

/// What to list.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) prefix: Vec<u8>,
    /// Empty: nothing is rolled up.
    pub(crate) delimiter: Vec<u8>,
    pub(crate) after: After,
    pub(crate) max: usize,
}

/// A page.
#[derive(Debug, Clone)]
pub(crate) struct Page<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) prefixes: Vec<Vec<u8>>,
    /// The last item, when more follow.
    pub(crate) next: Option<Vec<u8>>,
}

/// An object in a listing.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ListedObject {
    pub(crate) key: Vec<u8>,
    pub(crate) size_bytes: i64,
    pub(crate) update_time: OffsetDateTime,
    pub(crate) etag: String,
}

/// An unfinished upload in a listing.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ListedUpload {
    pub(crate) key: Vec<u8>,
    pub(crate) id: String,
    pub(crate) create_time: OffsetDateTime,
}

/// A place in the order of rows: key, then upload id. Rows at or after it are meant.
pub(crate) type Place = (Vec<u8>, String);

/// A row that can be rolled up.
pub(crate) trait Listed {
    fn key(&self) -> &[u8];
    /// The place right after this row.
    fn after(&self) -> Place;
}

impl Listed for ListedObject {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn after(&self) -> Place {
        (just_after(&self.key), String::new())
    }
}

impl Listed for ListedUpload {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn after(&self) -> Place {
        (self.key.clone(), just_after_upload(&self.id))
    }
}

/// A text behind an upload's id and before every other's: ids are of one length, and databases take
/// no NUL.
pub(crate) fn just_after_upload(id: &str) -> String {
    format!("{id}\u{1}")
}

/// The smallest key greater than `key`.
pub(crate) fn just_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The smallest byte string greater than all that begin with `prefix`. Keys are UTF-8, in which
/// no byte is 0xff, so the last byte can always be raised.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    match bytes.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => bytes.push(0xff),
    }
    bytes
}

/// The common prefix that `key` belongs to: up to and with the first delimiter after the prefix.
fn roll<'a>(key: &'a [u8], prefix: &[u8], delimiter: &[u8]) -> Option<&'a [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.get(prefix.len()..)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

impl Query {
    fn roll<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        roll(key, &self.prefix, &self.delimiter)
    }

    fn start(&self) -> Vec<u8> {
        let after = match &self.after {
            After::Start => Vec::new(),
            After::Key(key) => just_after(key),
            After::Item(item) if item.starts_with(&self.prefix) => match self.roll(item) {
                Some(prefix) if prefix == item.as_slice() => successor(item),
                _ => just_after(item),
            },
            After::Item(item) => just_after(item),
        };
        after.max(self.prefix.clone())
    }
}

/// Where rows come from.
pub(crate) trait Source: Sync {
    type Row: Listed + Send;

    /// Reads up to `limit` rows in order, from a place up to a key that is not meant itself.
    fn fetch(
        &self,
        from: Place,
        end: Vec<u8>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;
}

/// Collects a page from batches of rows.
pub(crate) async fn collect<S: Source>(
    query: &Query,
    start: Option<Place>,
    source: &S,
) -> Result<Page<S::Row>, Error> {
    let mut page = Page { rows: Vec::new(), prefixes: Vec::new(), next: None };
    if query.max == 0 {
        return Ok(page);
    }
    let end = successor(&query.prefix);
    let mut from = start.unwrap_or_else(|| (query.start(), String::new()));
    let mut limit = (query.max + 1).min(BATCH_MAX);
    let mut last = Vec::new();
    while from.0 < end {
        let rows = source.fetch(from, end.clone(), limit).await?;
        let is_end = rows.len() < limit;
        let mut place = (end.clone(), String::new());
        for row in rows {
            let prefix = query.roll(row.key()).map(<[u8]>::to_vec);
            place = prefix.as_ref().map_or_else(|| row.after(), |p| (successor(p), String::new()));
            if prefix.is_some() && prefix.as_ref() == page.prefixes.last() {
                limit = BATCH_AFTER_SKIP;
                continue;
            }
            if page.rows.len() + page.prefixes.len() == query.max {
                page.next = Some(last);
                return Ok(page);
            }
            limit = (limit * 2).min(BATCH_MAX);
            match prefix {
                Some(prefix) => {
                    last.clone_from(&prefix);
                    page.prefixes.push(prefix);
                }
                None => {
                    last = row.key().to_vec();
                    page.rows.push(row);
                }
            }
        }
        if is_end {
            break;
        }
        from = place;
    }
    Ok(page)
}

struct Objects<'a>(&'a Index, i64);

impl Source for Objects<'_> {
    type Row = ListedObject;

    async fn fetch(
        &self,
        from: Place,
        end: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, Error> {
        Ok(self
            .0
            .db
            .fetch_all(
                "SELECT key, size_bytes, update_time, etag FROM object
                 WHERE bucket_id = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4",
                args![self.1, from.0, end, super::signed(limit as u64)],
            )
            .await?)
    }
}

struct Uploads<'a>(&'a Index, i64);

impl Source for Uploads<'_> {
    type Row = ListedUpload;

    async fn fetch(
        &self,
        from: Place,
        end: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<ListedUpload>, Error> {
        Ok(self
            .0
            .db
            .fetch_all(
                "SELECT key, id, create_time FROM upload
                 WHERE bucket_id = $1 AND (key, id) >= ($2, $3) AND key < $4
                 ORDER BY key, id LIMIT $5",
                args![self.1, from.0, from.1, end, super::signed(limit as u64)],
            )
            .await?)
    }
}

impl Index {
    /// Lists a page of a bucket's objects.
    pub(crate) async fn list_objects(
        &self,
        bucket: &BucketRef,
        query: &Query,
    ) -> Result<Page<ListedObject>, Error> {
        collect(query, None, &Objects(self, bucket.id)).await
    }

    /// Lists a page of a bucket's unfinished uploads. `start`: where, when it is inside a key.
    pub(crate) async fn list_uploads(
        &self,
        bucket: &BucketRef,
        query: &Query,
        start: Option<Place>,
    ) -> Result<Page<ListedUpload>, Error> {
        collect(query, start, &Uploads(self, bucket.id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use stowage_keyring::Keyring;
    use stowage_types::{SystemClock, SystemRandom};

    fn listed(key: &str) -> ListedObject {
        let update_time = OffsetDateTime::UNIX_EPOCH;
        ListedObject { key: key.into(), size_bytes: 0, update_time, etag: String::new() }
    }

    impl Source for BTreeMap<Vec<u8>, ()> {
        type Row = ListedObject;

        async fn fetch(
            &self,
            from: Place,
            end: Vec<u8>,
            limit: usize,
        ) -> Result<Vec<ListedObject>, Error> {
            let rows = self.range(from.0..).take_while(|(key, ())| **key < end).take(limit);
            Ok(rows.map(|(key, ())| listed(std::str::from_utf8(key).unwrap())).collect())
        }
    }

    /// Reads all pages of `max` items through [`collect`].
    async fn walk(keys: &impl Source<Row = ListedObject>, query: &Query) -> Vec<Vec<u8>> {
        let mut query = query.clone();
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            let page = collect(&query, None, keys).await.unwrap();
            let mut items: Vec<_> = page.rows.into_iter().map(|row| row.key).collect();
            items.extend(page.prefixes);
            items.sort();
            assert!(items.len() <= query.max, "a page is too long");
            assert!(page.next.is_none() || page.next.as_ref() == items.last(), "{items:?}");
            seen.extend(items);
            match page.next {
                Some(next) => query.after = After::Item(next),
                None => return seen,
            }
        }
        panic!("the listing does not end");
    }

    /// What a listing shows, said in the plainest way.
    fn model(keys: &BTreeMap<Vec<u8>, ()>, query: &Query) -> Vec<Vec<u8>> {
        let mut items = BTreeSet::new();
        let after = match &query.after {
            After::Key(key) => key.clone(),
            _ => Vec::new(),
        };
        for key in keys.keys().filter(|key| key.starts_with(&query.prefix) && **key > after) {
            let rest = String::from_utf8(key[query.prefix.len()..].to_vec()).unwrap();
            let delimiter = std::str::from_utf8(&query.delimiter).unwrap();
            match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => {
                    let length = query.prefix.len() + at + delimiter.len();
                    items.insert(key[..length].to_vec());
                }
                None => {
                    items.insert(key.clone());
                }
            }
        }
        items.into_iter().collect()
    }

    /// Puts the keys into a new bucket and returns its id.
    async fn fill(index: &Index, keys: &BTreeMap<Vec<u8>, ()>) -> i64 {
        let mut tx = index.db.begin().await.unwrap();
        let bucket = stowage_db::next_id(&mut tx, "bucket").await.unwrap();
        for key in keys.keys() {
            let sql = "INSERT INTO object
                (bucket_id, key, etag, size_bytes, update_time, content, meta)
                VALUES ($1, $2, '', 0, '2026-01-01T00:00:00.000000Z', '', '')";
            tx.execute(sql, args![bucket, key]).await.unwrap();
        }
        tx.commit().await.unwrap();
        bucket
    }

    async fn check(
        index: &Index,
        keys: BTreeSet<String>,
        query: Query,
    ) -> Result<(), TestCaseError> {
        let keys: BTreeMap<_, _> = keys.into_iter().map(|key| (key.into_bytes(), ())).collect();
        let expected = model(&keys, &query);
        prop_assert_eq!(&walk(&keys, &query).await, &expected);
        let bucket = fill(index, &keys).await;
        prop_assert_eq!(&walk(&Objects(index, bucket), &query).await, &expected);
        Ok(())
    }

    #[test]
    fn every_listing_equals_the_model() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        let db = runtime.block_on(stowage_db::Db::open(&path, &crate::index::MIGRATOR)).unwrap();
        let keyring = Keyring::load_or_create(&folder.path().join("keyring"), &SystemRandom);
        let index = Index {
            db,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            keyring: Arc::new(keyring.unwrap()),
        };
        let delimiter = prop_oneof![Just(""), Just("/"), Just("a"), Just("b/"), Just("é")];
        let query = ("[ab/]{0,2}", delimiter, proptest::option::of("[ab/é]{1,4}"), 1_usize..20);
        let query = query.prop_map(|(prefix, delimiter, after, max)| Query {
            prefix: prefix.into_bytes(),
            delimiter: delimiter.as_bytes().to_vec(),
            after: after.map_or(After::Start, |key| After::Key(key.into_bytes())),
            max,
        });
        let keys = proptest::collection::btree_set("[ab/é]{1,6}", 0..60);
        let config = Config { failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config)
            .run(&(keys, query), |(keys, query)| runtime.block_on(check(&index, keys, query)));
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}
