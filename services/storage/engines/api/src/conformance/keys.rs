//! Access keys that come, go and change.

use stowage_types::S3uid;

use super::{Outcome, Suite, ensure, kept_out, refused, text};
use crate::{AccountAccess, AccountSpec, Error, KeyPair, KeyUsage};

impl Suite<'_> {
    pub(super) async fn keys_are_replaced(&self) -> Outcome {
        let uid = self.account(7, |_| {}).await?;
        let name = self.bucket("keys")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(7, &name, "k", 1).await?;
        self.with_keys(7, &[1], false).await?;
        let old = self.client.get(&self.keys(7, 0), &name, "k").await;
        refused(old, |e| matches!(e, Error::Denied))?;
        self.client.get(&self.keys(7, 1), &name, "k").await.map_err(text)?;
        let stolen = AccountSpec::new(self.uid(8)?, vec![self.keys(7, 1)]);
        refused(self.engine.ensure_account(&stolen).await, |e| matches!(e, Error::AlreadyExists))
    }

    /// The account with these keys, by generation.
    pub(super) async fn with_keys(
        &self,
        number: u32,
        generations: &[u32],
        suspended: bool,
    ) -> Outcome {
        let access = if suspended { AccountAccess::Suspended } else { AccountAccess::Full };
        let spec = AccountSpec { access, ..AccountSpec::new(self.uid(number)?, Vec::new()) };
        self.ensure(number, generations, spec).await
    }

    pub(super) async fn key_sets_change(&self) -> Outcome {
        let uid = self.account(14, |_| {}).await?;
        let name = self.bucket("keyring")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(14, &name, "k", 1).await?;
        let able = self.engine.capabilities();
        let sets: &[&[u32]] = match (able.keys_max, able.keys_reusable) {
            (None, true) => &[&[0, 1], &[1], &[1, 2, 3], &[2, 3], &[], &[3, 0]],
            (None, false) => &[&[0, 1], &[1], &[1, 2, 3], &[2, 3]],
            (Some(_), _) => &[&[0, 1], &[1], &[1, 2], &[2], &[], &[3]],
        };
        for set in sets {
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

    pub(super) async fn key_usage_is_told(&self) -> Outcome {
        if !self.engine.capabilities().key_usage {
            return Ok(());
        }
        let uid = self.account(19, |_| {}).await?;
        self.with_keys(19, &[0, 1], false).await?;
        let name = self.bucket("key-usage")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(19, &name, "k", 1).await?;
        let usage = self.engine.key_usage(&uid).await.map_err(text)?;
        let used = self.keys(19, 0).access_key;
        let is_sound = |key: &KeyUsage| key.last_use_time.is_some() == (key.access_key == used);
        ensure(usage.len() == 2 && usage.iter().all(is_sound), &format!("told {usage:?}"))
    }

    pub(super) async fn secret_is_replaced(&self) -> Outcome {
        if !self.engine.capabilities().keys_reusable {
            return Ok(());
        }
        let uid = self.account(29, |_| {}).await?;
        let name = self.bucket("secret")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(29, &name, "k", 5).await?;
        let access_key = self.keys(29, 0).access_key;
        let secret_key = self.keys(29, 1).secret_key;
        let renewed = KeyPair { access_key, secret_key };
        let spec = AccountSpec::new(uid, vec![renewed.clone()]);
        self.engine.ensure_account(&spec).await.map_err(text)?;
        self.client.get(&renewed, &name, "k").await.map_err(text)?;
        let old = self.client.get(&self.keys(29, 0), &name, "k").await;
        refused(old, |e| matches!(e, Error::Denied))
    }

    pub(super) async fn stolen_key_changes_nothing(&self) -> Outcome {
        self.account(30, |_| {}).await?;
        let thief = self.account(31, |_| {}).await?;
        let name = self.bucket("robbed")?;
        self.engine.create_bucket(&thief, &name).await.map_err(text)?;
        let keys = vec![self.keys(31, 0), self.keys(30, 0)];
        let spec = AccountSpec { bucket_max: Some(1), ..AccountSpec::new(thief.clone(), keys) };
        let stolen = self.engine.ensure_account(&spec).await;
        refused(stolen, |e| matches!(e, Error::AlreadyExists))?;
        self.put(31, &name, "k", 5).await?;
        let foreign = self.client.get(&self.keys(30, 0), &name, "k").await;
        kept_out(self.engine, foreign)
    }

    pub(super) async fn keys_of_nobody_are_unknown(&self) -> Outcome {
        let usage = self.engine.key_usage(&self.uid(32)?).await;
        match self.engine.capabilities().key_usage {
            true => refused(usage, |e| matches!(e, Error::NotFound)),
            false => refused(usage, |e| matches!(e, Error::Unsupported | Error::NotFound)),
        }
    }

    async fn owner(&self, number: u32, generation: u32) -> Result<Option<S3uid>, String> {
        let access_key = self.keys(number, generation).access_key;
        self.engine.key_owner(&access_key).await.map_err(text)
    }

    pub(super) async fn key_tells_whose_it_is(&self) -> Outcome {
        let (one, two) = (self.account(50, |_| {}).await?, self.account(51, |_| {}).await?);
        self.with_keys(51, &[0, 1], false).await?;
        for (number, generation, expected) in [(50, 0, &one), (51, 0, &two), (51, 1, &two)] {
            let owner = self.owner(number, generation).await?;
            let why = format!("key {generation} of account {number} is told as {owner:?}");
            ensure(owner.as_ref() == Some(expected), &why)?;
        }
        // What it moved before stays its own.
        self.with_keys(51, &[0, 1], true).await?;
        let owner = self.owner(51, 1).await?;
        ensure(owner == Some(two), &format!("a suspended account's is told as {owner:?}"))
    }

    pub(super) async fn key_that_is_gone_is_of_nobody(&self) -> Outcome {
        let never = self.owner(52, 7).await?;
        ensure(never.is_none(), &format!("one that never was is told as {never:?}"))?;
        for odd in ["", "?", "a b&c=d/..", "\u{e4}\u{1f511}"] {
            let owner = self.engine.key_owner(odd).await.map_err(text)?;
            ensure(owner.is_none(), &format!("{odd:?} is told as {owner:?}"))?;
        }
        let uid = self.account(52, |_| {}).await?;
        self.with_keys(52, &[0, 1], false).await?;
        self.with_keys(52, &[1], false).await?;
        let (gone, kept) = (self.owner(52, 0).await?, self.owner(52, 1).await?);
        ensure(gone.is_none() && kept.as_ref() == Some(&uid), &format!("{gone:?}, {kept:?}"))?;
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        let owner = self.owner(52, 1).await?;
        ensure(owner.is_none(), &format!("a removed account's is told as {owner:?}"))
    }
}
