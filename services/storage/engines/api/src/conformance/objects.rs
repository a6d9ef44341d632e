//! Listing and deleting objects.

use stowage_types::{Clock as _, SystemClock};

use super::{Outcome, Suite, ensure, refused, text};
use crate::{Error, ListQuery};

impl Suite<'_> {
    pub(super) async fn objects_are_listed(&self) -> Outcome {
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

    pub(super) async fn objects_are_deleted_together(&self) -> Outcome {
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

    pub(super) async fn empty_bucket_lists_nothing(&self) -> Outcome {
        let uid = self.account(40, |_| {}).await?;
        let name = self.bucket("empty")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        for delimiter in [None, Some('/')] {
            let query = ListQuery { delimiter, max: 10, ..ListQuery::default() };
            let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
            ensure(page == crate::ObjectPage::default(), &format!("listed {page:?}"))?;
        }
        Ok(())
    }

    pub(super) async fn pages_of_one_meet_every_object_once(&self) -> Outcome {
        let uid = self.account(41, |_| {}).await?;
        let name = self.bucket("one-by-one")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let keys = ["a", "a/", "a/1", "a/2", "a0", "b"];
        for key in keys {
            self.put(41, &name, key, 1).await?;
        }
        let mut seen = Vec::new();
        let mut query = ListQuery { max: 1, ..ListQuery::default() };
        for _ in 0..=keys.len() {
            let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
            ensure(page.objects.len() <= 1, "a page is too long")?;
            seen.extend(page.objects.into_iter().map(|object| object.key));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        ensure(seen == keys, &format!("listed {seen:?}"))?;
        // Any key can be where a page begins.
        query = ListQuery { after: Some("a/15".to_owned()), max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let seen: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
        ensure(seen == ["a/2", "a0", "b"], &format!("listed {seen:?}"))
    }

    pub(super) async fn odd_keys_are_themselves(&self) -> Outcome {
        let uid = self.account(42, |_| {}).await?;
        let name = self.bucket("odd-keys")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let long = "l".repeat(1000);
        let mut keys =
            vec!["..", "../up", "//", "a b+c", "a%20b", "a&b=c?d#e", "\"<'>\"", "ü/é/😀"];
        keys.push(&long);
        keys.retain(|key| *key != "//" || self.engine.capabilities().slash_keys);
        for key in &keys {
            self.put(42, &name, key, key.len()).await.map_err(|why| format!("{key}: {why}"))?;
        }
        keys.sort_unstable();
        let query = ListQuery { max: 100, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let seen: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        ensure(seen == keys, &format!("listed {seen:?}"))?;
        for key in &keys {
            let body = self.client.get(&self.keys(42, 0), &name, key).await.map_err(text)?;
            ensure(body.len() == key.len(), &format!("{key} is another object"))?;
            self.engine.delete_object(&uid, &name, key).await.map_err(text)?;
        }
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        ensure(page.objects.is_empty(), &format!("left {:?}", page.objects))
    }

    pub(super) async fn another_delimiter_rolls_up(&self) -> Outcome {
        let uid = self.account(43, |_| {}).await?;
        let name = self.bucket("delimiter")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        for key in ["a-1", "a-2", "b", "a/x-1"] {
            self.put(43, &name, key, 1).await?;
        }
        let query = ListQuery { delimiter: Some('-'), max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
        ensure(keys == ["b"] && page.prefixes == ["a-", "a/x-"], &format!("{:?}", page.prefixes))?;
        let query = ListQuery { prefix: "a-".to_owned(), ..query };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        ensure(page.objects.len() == 2 && page.prefixes.is_empty(), "below the prefix")
    }

    pub(super) async fn objects_tell_of_themselves(&self) -> Outcome {
        let uid = self.account(44, |_| {}).await?;
        let name = self.bucket("tell")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(44, &name, "k", 5).await?;
        self.put(44, &name, "k", 3).await?;
        self.put(44, &name, "nothing", 0).await?;
        let query = ListQuery { max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let seen: Vec<_> = page.objects.iter().map(|o| (o.size_bytes, o.etag.as_str())).collect();
        // MD5 of "xxx", and of nothing.
        let expected =
            [(3, "f561aaf6ef0bf14d4208bb46a4ccb3ad"), (0, "d41d8cd98f00b204e9800998ecf8427e")];
        ensure(seen == expected, &format!("listed {seen:?}"))?;
        let age = SystemClock.now() - page.objects[0].update_time;
        ensure(age.abs() < time::Duration::minutes(10), "it was written at another time")
    }

    pub(super) async fn foreign_objects_are_unknown(&self) -> Outcome {
        let uid = self.account(45, |_| {}).await?;
        let foreign = self.account(46, |_| {}).await?;
        let name = self.bucket("foreign")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(45, &name, "k", 5).await?;
        let query = ListQuery { max: 10, ..ListQuery::default() };
        let listed = self.engine.list_objects(&foreign, &name, &query).await;
        refused(listed, |e| matches!(e, Error::NotFound))?;
        let deleted = self.engine.delete_object(&foreign, &name, "k").await;
        refused(deleted, |e| matches!(e, Error::NotFound))?;
        let body = self.client.get(&self.keys(45, 0), &name, "k").await.map_err(text)?;
        ensure(body.len() == 5, "the object changed")
    }

    pub(super) async fn a_thousand_are_deleted_together(&self) -> Outcome {
        let uid = self.account(47, |_| {}).await?;
        let name = self.bucket("thousand")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        for key in ["00000", "00999", "kept"] {
            self.put(47, &name, key, 1).await?;
        }
        let keys: Vec<String> = (0..1000).map(|number| format!("{number:05}")).collect();
        self.engine.delete_objects(&uid, &name, &keys).await.map_err(text)?;
        let query = ListQuery { max: 10, ..ListQuery::default() };
        let page = self.engine.list_objects(&uid, &name, &query).await.map_err(text)?;
        let left: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
        ensure(left == ["kept"], &format!("left {left:?}"))
    }
}
