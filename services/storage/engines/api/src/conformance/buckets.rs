//! Buckets, their names and their figures.

use stowage_types::{BucketName, Clock as _, SystemClock};
use time::Duration;

use super::{Outcome, Suite, ensure, refused, text};
use crate::{BucketNamespace, Error};

impl Suite<'_> {
    pub(super) async fn buckets_have_one_owner(&self) -> Outcome {
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
        self.delete_bucket(&first, &name).await?;
        let gone = self.engine.delete_bucket(&first, &name).await;
        refused(gone, |e| matches!(e, Error::NotFound))?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.is_none(), "a deleted bucket has an owner")
    }

    pub(super) async fn buckets_are_paged(&self) -> Outcome {
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

    pub(super) async fn full_bucket_stays(&self) -> Outcome {
        let uid = self.account(6, |_| {}).await?;
        let name = self.bucket("full")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(6, &name, "kept", 4).await?;
        refused(self.engine.delete_bucket(&uid, &name).await, |e| matches!(e, Error::NotEmpty))?;
        refused(self.engine.remove_account(&uid, false).await, |e| matches!(e, Error::NotEmpty))?;
        let body = self.client.get(&self.keys(6, 0), &name, "kept").await.map_err(text)?;
        ensure(body == b"xxxx", "the object changed")
    }

    pub(super) async fn client_makes_buckets_too(&self) -> Outcome {
        let uid = self.account(33, |_| {}).await?;
        let name = self.bucket("by-client")?;
        let made = self.client.create_bucket(&self.keys(33, 0), &name).await;
        if !self.engine.capabilities().client_buckets {
            refused(made, |e| matches!(e, Error::Denied))?;
            let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
            return ensure(owner.is_none(), "a bucket that was refused is there");
        }
        made.map_err(text)?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.as_ref() == Some(&uid), "a client's bucket has another owner")?;
        self.put(33, &name, "k", 5).await?;
        // Made again by us it is the one that is there.
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(page.len() == 1 && page[0].bucket == name, &format!("listed {page:?}"))?;
        self.engine.delete_object(&uid, &name, "k").await.map_err(text)?;
        self.delete_bucket(&uid, &name).await
    }

    pub(super) async fn bounds_of_names_hold(&self) -> Outcome {
        let uid = self.account(34, |_| {}).await?;
        let longest = format!("{:x<50}-{:0>12}", "n", self.seed);
        for text_of in [longest.as_str(), &format!("a.b-{}", self.seed)] {
            let name = BucketName::new(text_of).map_err(|error| error.to_string())?;
            self.engine.create_bucket(&uid, &name).await.map_err(text)?;
            self.put(34, &name, "k", 5).await?;
            let body = self.client.get(&self.keys(34, 0), &name, "k").await.map_err(text)?;
            ensure(body.len() == 5, "the object changed")?;
        }
        Ok(())
    }

    pub(super) async fn bucket_tells_when_it_was_made(&self) -> Outcome {
        let uid = self.account(35, |_| {}).await?;
        self.engine.create_bucket(&uid, &self.bucket("made")?).await.map_err(text)?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        let info = page.first().ok_or("it is not listed")?;
        let age = SystemClock.now() - info.create_time;
        // Another machine's clock.
        ensure(age.abs() < Duration::minutes(10), &format!("made {}", info.create_time))
    }

    pub(super) async fn figures_follow(&self) -> Outcome {
        if !self.engine.capabilities().immediate_figures {
            return Ok(());
        }
        let uid = self.account(36, |_| {}).await?;
        let name = self.bucket("figures")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let steps = [
            ("a", Some(1000), (1, 1000)),
            ("a", Some(400), (1, 400)),
            ("b", Some(30_000), (2, 30_400)),
            ("c", Some(0), (3, 30_400)),
            ("b", None, (2, 400)),
            ("b", None, (2, 400)),
        ];
        for (key, size, expected) in steps {
            match size {
                Some(size) => self.put(36, &name, key, size).await?,
                None => self.engine.delete_object(&uid, &name, key).await.map_err(text)?,
            }
            let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
            let seen = page.first().map(|info| (info.object_count, info.stored_bytes));
            ensure(seen == Some(expected), &format!("{key}: {seen:?}, not {expected:?}"))?;
        }
        Ok(())
    }

    pub(super) async fn name_of_a_deleted_bucket_is_free(&self) -> Outcome {
        let (first, second) = (self.account(37, |_| {}).await?, self.account(38, |_| {}).await?);
        let name = self.bucket("handed-on")?;
        self.engine.create_bucket(&first, &name).await.map_err(text)?;
        self.put(37, &name, "k", 5).await?;
        self.engine.delete_object(&first, &name, "k").await.map_err(text)?;
        self.delete_bucket(&first, &name).await?;
        self.engine.create_bucket(&second, &name).await.map_err(text)?;
        let read = self.client.get(&self.keys(37, 0), &name, "k").await;
        refused(read, |e| matches!(e, Error::Denied | Error::NotFound))?;
        self.put(38, &name, "k", 5).await
    }

    pub(super) async fn bucket_of_nobody_is_unknown(&self) -> Outcome {
        let uid = self.account(39, |_| {}).await?;
        let name = self.bucket("nobody")?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.is_none(), "a bucket that is not there has an owner")?;
        let unknown: [Result<(), Error>; 4] = [
            self.engine.delete_bucket(&uid, &name).await,
            self.engine.delete_object(&uid, &name, "k").await,
            self.engine.list_uploads(&uid, &name, None, 10).await.map(drop),
            self.engine.abort_uploads(&uid, &name, None, 10).await.map(drop),
        ];
        unknown.into_iter().try_for_each(|result| refused(result, |e| matches!(e, Error::NotFound)))
    }
}
