//! Who was on an engine before us.

use stowage_types::BucketName;

use super::{Outcome, Suite, ensure, refused, text};
use crate::{AccountSpec, Adopted, AdoptionSupport, Error, Foreign, Quota};

impl Suite<'_> {
    fn adoption(&self) -> AdoptionSupport {
        self.engine.capabilities().adopts
    }

    /// What is kept of the bounds of who is given up.
    fn kept_bounds(&self) -> (Quota, Option<u32>) {
        match self.adoption() {
            AdoptionSupport::Bounded => (Quota::bytes(1 << 20), Some(7)),
            AdoptionSupport::Absent | AdoptionSupport::Unbounded => (Quota::default(), None),
        }
    }

    /// An account with a bucket and an object that was given up; answers what it is called.
    async fn given_up(&self, number: u32, bucket: &BucketName) -> Result<Foreign, String> {
        let bounds = |spec: &mut AccountSpec| {
            (spec.quota, spec.bucket_max) = (Quota::bytes(1 << 20), Some(7));
        };
        let uid = self.account(number, bounds).await?;
        self.engine.create_bucket(&uid, bucket).await.map_err(text)?;
        self.put(number, bucket, "k", 10).await?;
        self.engine.release(&uid).await.map_err(text)?;
        let access_key = self.keys(number, 0).access_key;
        self.foreign_with(&access_key).await?.ok_or_else(|| "it is nobody's, and not told".into())
    }

    async fn foreign_with(&self, access_key: &str) -> Result<Option<Foreign>, String> {
        let mut after: Option<String> = None;
        loop {
            let page = self.engine.list_foreign(after.as_deref(), 20).await.map_err(text)?;
            let names: Vec<_> = page.iter().map(|foreign| &foreign.name).collect();
            let is_sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
            let goes_on = names.first().is_none_or(|first| Some(*first) > after.as_ref());
            ensure(is_sorted && goes_on, &format!("after {after:?} come {names:?}"))?;
            let Some(last) = names.last() else { return Ok(None) };
            after = Some((*last).clone());
            let has_key = |foreign: &Foreign| foreign.access_keys.iter().any(|k| k == access_key);
            if let Some(found) = page.into_iter().find(has_key) {
                return Ok(Some(found));
            }
        }
    }

    pub(super) async fn account_is_given_up(&self) -> Outcome {
        if self.adoption() == AdoptionSupport::Absent {
            let released = self.engine.release(&self.uid(60)?).await;
            refused(released, |e| matches!(e, Error::Unsupported))?;
            let found = self.engine.find_foreign("who").await;
            refused(found, |e| matches!(e, Error::Unsupported))?;
            let listed = self.engine.list_foreign(None, 10).await;
            return refused(listed, |e| matches!(e, Error::Unsupported));
        }
        let (uid, name) = (self.uid(60)?, self.bucket("given-up")?);
        let foreign = self.given_up(60, &name).await?;
        ensure(foreign.obstacle.is_none(), &format!("it could not come back: {foreign:?}"))?;
        ensure(foreign.buckets == [name.as_str()], &format!("told as {foreign:?}"))?;
        ensure(foreign.quota == self.kept_bounds().0, &format!("told as {foreign:?}"))?;
        let found = self.engine.find_foreign(&foreign.name).await.map_err(text)?;
        ensure(found.as_ref() == Some(&foreign), &format!("by its name it is {found:?}"))?;
        self.engine.release(&uid).await.map_err(text)?;
        // What is not ours is not touched.
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        let listed = self.engine.list_buckets(&uid, None, 10).await;
        refused(listed, |e| matches!(e, Error::NotFound))?;
        let owner = self.engine.key_owner(&self.keys(60, 0).access_key).await.map_err(text)?;
        ensure(owner.is_none(), &format!("its key is told as {owner:?}"))?;
        let got = self.client.get(&self.keys(60, 0), &name, "k").await.map_err(text)?;
        ensure(got == [b'x'; 10], "its object is another")?;
        let back = self.engine.adopt(&foreign.name, &uid).await.map_err(text)?;
        self.is_as_it_was(60, &back)?;
        self.engine.remove_account(&uid, true).await.map_err(text)
    }

    fn is_as_it_was(&self, number: u32, adopted: &Adopted) -> Outcome {
        use secrecy::ExposeSecret as _;
        let had = self.keys(number, 0);
        let secrets: Vec<_> = adopted
            .keys
            .iter()
            .map(|key| (key.access_key.as_str(), key.secret_key.expose_secret()))
            .collect();
        ensure(
            secrets == [(had.access_key.as_str(), had.secret_key.expose_secret())],
            &format!("it has {} keys, or others", secrets.len()),
        )?;
        let bounds = (adopted.quota, adopted.bucket_max);
        ensure(bounds == self.kept_bounds(), &format!("its bounds are {bounds:?}"))
    }

    pub(super) async fn who_was_there_is_adopted(&self) -> Outcome {
        if self.adoption() == AdoptionSupport::Absent {
            let adopted = self.engine.adopt("who", &self.uid(61)?).await;
            return refused(adopted, |e| matches!(e, Error::Unsupported));
        }
        let (uid, name) = (self.uid(61)?, self.bucket("adopted")?);
        let foreign = self.given_up(61, &name).await?;
        for _ in 0..2 {
            let adopted = self.engine.adopt(&foreign.name, &uid).await.map_err(text)?;
            self.is_as_it_was(61, &adopted)?;
        }
        let other = self.engine.adopt(&foreign.name, &self.uid(62)?).await;
        refused(other, |e| matches!(e, Error::AlreadyExists))?;
        let left = self.foreign_with(&self.keys(61, 0).access_key).await?;
        ensure(left.is_none(), &format!("it is still told as {left:?}"))?;
        let left = self.engine.find_foreign(&foreign.name).await.map_err(text)?;
        ensure(left.is_none(), &format!("it is still found as {left:?}"))?;
        let buckets = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(buckets.len() == 1 && buckets[0].bucket == name, &format!("it has {buckets:?}"))?;
        self.with_keys(61, &[0, 1], false).await?;
        for generation in 0..2 {
            self.client.get(&self.keys(61, generation), &name, "k").await.map_err(text)?;
        }
        self.with_keys(61, &[0, 1], true).await?;
        let shut = self.client.get(&self.keys(61, 0), &name, "k").await;
        refused(shut, |e| matches!(e, Error::Denied))?;
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        let owner = self.engine.bucket_owner(&name).await.map_err(text)?;
        ensure(owner.is_none(), &format!("its bucket is left to {owner:?}"))
    }

    pub(super) async fn nobody_is_not_adopted(&self) -> Outcome {
        if self.adoption() == AdoptionSupport::Absent {
            return Ok(());
        }
        for odd in ["", "nobody-of-this-name", "a b&c=d/..", "\u{e4}\u{1f511}"] {
            let adopted = self.engine.adopt(odd, &self.uid(63)?).await;
            refused(adopted, |e| matches!(e, Error::NotFound))?;
            let found = self.engine.find_foreign(odd).await.map_err(text)?;
            ensure(found.is_none(), &format!("{odd:?} is found as {found:?}"))?;
        }
        self.engine.release(&self.uid(63)?).await.map_err(text)
    }
}
