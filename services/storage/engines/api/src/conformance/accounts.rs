//! Accounts, from the first call to the purge.

use super::{Outcome, Suite, ensure, kept_out, refused, text};
use crate::{AccountAccess, AccountInfo, AccountSpec, Error, ListQuery, Quota};

impl Suite<'_> {
    pub(super) async fn account_is_idempotent(&self) -> Outcome {
        let uid = self.account(1, |_| {}).await?;
        self.account(1, |_| {}).await?;
        self.engine.remove_account(&uid, false).await.map_err(text)?;
        self.engine.remove_account(&uid, false).await.map_err(text)?;
        let none = self.engine.create_bucket(&uid, &self.bucket("none")?).await;
        refused(none, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn accounts_are_apart(&self) -> Outcome {
        let owner = self.account(9, |_| {}).await?;
        self.account(10, |_| {}).await?;
        let name = self.bucket("apart")?;
        self.engine.create_bucket(&owner, &name).await.map_err(text)?;
        self.put(9, &name, "mine", 2).await?;
        let read = self.client.get(&self.keys(10, 0), &name, "mine").await;
        kept_out(self.engine, read)?;
        let write = self.client.put(&self.keys(10, 0), &name, "theirs", vec![1]).await;
        kept_out(self.engine, write)
    }

    pub(super) async fn accounts_are_listed(&self) -> Outcome {
        let uid = self.account(18, |_| {}).await?;
        self.engine.create_bucket(&uid, &self.bucket("shown")?).await.map_err(text)?;
        let spec = AccountSpec {
            uid: uid.clone(),
            keys: Vec::new(),
            quota: Quota::bytes(5_000_000),
            bucket_max: Some(7),
            access: AccountAccess::Suspended,
        };
        self.ensure(18, &[0, 1], spec).await?;
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
        let mut access_keys = [0, 1].map(|at| self.keys(18, at).access_key).to_vec();
        access_keys.sort_unstable();
        let expected = AccountInfo {
            uid,
            access_keys,
            quota: Quota::bytes(5_000_000),
            bucket_max: Some(7),
            access: AccountAccess::Suspended,
            bucket_count: 1,
        };
        ensure(is_in_order, "accounts are not in order")?;
        ensure(found.as_ref() == Some(&expected), &format!("listed {found:?}"))
    }

    pub(super) async fn account_is_purged(&self) -> Outcome {
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

    pub(super) async fn suspension_holds(&self) -> Outcome {
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

    pub(super) async fn account_without_keys_is_shut(&self) -> Outcome {
        let uid = self.account(25, |_| {}).await?;
        let name = self.bucket("keyless")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(25, &name, "k", 5).await?;
        self.with_keys(25, &[], false).await?;
        let read = self.client.get(&self.keys(25, 0), &name, "k").await;
        refused(read, |e| matches!(e, Error::Denied))?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(page.len() == 1, "a bucket went with the keys")
    }

    pub(super) async fn what_never_was_is_removed(&self) -> Outcome {
        let uid = self.uid(26)?;
        for purge in [false, true] {
            self.engine.remove_account(&uid, purge).await.map_err(text)?;
        }
        let usage = self.engine.account_usage(&uid).await;
        refused(usage, |e| matches!(e, Error::NotFound))?;
        let buckets = self.engine.list_buckets(&uid, None, 10).await;
        refused(buckets, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn purged_account_begins_anew(&self) -> Outcome {
        let uid = self.account(27, |_| {}).await?;
        let name = self.bucket("anew")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(27, &name, "k", 5).await?;
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        if !self.engine.capabilities().keys_reusable {
            return Ok(());
        }
        self.account(27, |_| {}).await?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(page.is_empty(), &format!("a new account has {page:?}"))?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        let read = self.client.get(&self.keys(27, 0), &name, "k").await;
        refused(read, |e| matches!(e, Error::NotFound))
    }

    pub(super) async fn suspended_account_is_managed(&self) -> Outcome {
        let uid = self.account(28, |_| {}).await?;
        let name = self.bucket("managed")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(28, &name, "k", 5).await?;
        self.account(28, |spec| spec.access = AccountAccess::Suspended).await?;
        self.engine.delete_object(&uid, &name, "k").await.map_err(text)?;
        let page = self.engine.list_buckets(&uid, None, 10).await.map_err(text)?;
        ensure(page.len() == 1, "the bucket of a suspended account is not listed")?;
        self.delete_bucket(&uid, &name).await?;
        self.engine.remove_account(&uid, false).await.map_err(text)
    }

    pub(super) async fn accounts_end(&self) -> Outcome {
        let last = "f".repeat(32);
        let last = stowage_types::S3uid::parse(&last).map_err(|error| error.to_string())?;
        match self.engine.list_accounts(Some(&last), 10).await {
            Err(Error::Unsupported) => Ok(()),
            page => ensure(page.map_err(text)?.is_empty(), "there is an account after the last"),
        }
    }
}
