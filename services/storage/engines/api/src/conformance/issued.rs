//! Keys that an engine makes itself, and what becomes of those that are lost on their way.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Outcome, Suite, ensure, refused, text};
use crate::{AccountSpec, Error, KeyPair};

/// How often a key is asked for anew: each time one may be lost on its way.
const ASKED_MAX: usize = 5;

/// Keys by the numbers of their account and of their own.
#[derive(Default)]
pub(super) struct Issued(Mutex<BTreeMap<(u32, u32), KeyPair>>);

impl Issued {
    pub(super) fn get(&self, number: u32, generation: u32) -> Option<KeyPair> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(number, generation)).cloned()
    }

    fn put(&self, number: u32, generation: u32, pair: KeyPair) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert((number, generation), pair);
    }

    /// Those of these that were made.
    fn of(&self, number: u32, generations: &[u32]) -> Vec<KeyPair> {
        generations.iter().filter_map(|generation| self.get(number, *generation)).collect()
    }
}

impl Suite<'_> {
    /// Makes an account be so, with these keys.
    pub(super) async fn ensure(
        &self,
        number: u32,
        generations: &[u32],
        mut spec: AccountSpec,
    ) -> Outcome {
        if self.engine.capabilities().issues_keys {
            for generation in generations {
                if self.issued.get(number, *generation).is_none() {
                    spec.keys = self.issued.of(number, generations);
                    let pair = self.issue(&spec).await?;
                    self.issued.put(number, *generation, pair);
                }
            }
        }
        spec.keys = generations.iter().map(|at| self.keys(number, *at)).collect();
        self.engine.ensure_account(&spec).await.map_err(text)
    }

    /// Has a key made beside those that are known, as whoever keeps them does: what nobody knows is
    /// removed before.
    async fn issue(&self, spec: &AccountSpec) -> Result<KeyPair, String> {
        for _ in 0..ASKED_MAX {
            self.engine.ensure_account(spec).await.map_err(text)?;
            match self.engine.issue_key(&spec.uid).await {
                Err(Error::LimitReached) => {}
                issued => return issued.map_err(text),
            }
        }
        Err("there is never room for a key".to_owned())
    }

    pub(super) async fn keys_are_made_by_one_side(&self) -> Outcome {
        let uid = self.account(80, |_| {}).await?;
        if !self.engine.capabilities().issues_keys {
            return refused(self.engine.issue_key(&uid).await, |e| matches!(e, Error::Unsupported));
        }
        let nobodys = self.engine.issue_key(&self.uid(81)?).await;
        refused(nobodys, |e| matches!(e, Error::NotFound))?;
        let name = self.bucket("issued")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        // One that was made elsewhere is refused, and nothing changes.
        let keys = vec![self.keys(80, 0), self.keys(80, 9)];
        let spec = AccountSpec { bucket_max: Some(1), ..AccountSpec::new(uid.clone(), keys) };
        let foreign = self.engine.ensure_account(&spec).await;
        refused(foreign, |e| matches!(e, Error::Invalid { .. }))?;
        self.put(80, &name, "k", 3).await?;
        self.engine.create_bucket(&uid, &self.bucket("issued-too")?).await.map_err(text)
    }

    pub(super) async fn key_that_nobody_knows_is_removed(&self) -> Outcome {
        if !self.engine.capabilities().issues_keys {
            return Ok(());
        }
        let uid = self.account(82, |_| {}).await?;
        let name = self.bucket("unknown")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(82, &name, "k", 3).await?;
        let known = AccountSpec::new(uid.clone(), vec![self.keys(82, 0)]);
        let lost = self.issue(&known).await?;
        self.client.get(&lost, &name, "k").await.map_err(text)?;
        if self.engine.capabilities().keys_max == Some(2) {
            let third = self.engine.issue_key(&uid).await;
            refused(third, |e| matches!(e, Error::LimitReached))?;
        }
        self.engine.ensure_account(&known).await.map_err(text)?;
        let read = self.client.get(&lost, &name, "k").await;
        refused(read, |e| matches!(e, Error::Denied))?;
        let owner = self.engine.key_owner(&lost.access_key).await.map_err(text)?;
        ensure(owner.is_none(), "a key that was removed has an owner")?;
        self.with_keys(82, &[0, 1], false).await?;
        for generation in 0..2 {
            self.client.get(&self.keys(82, generation), &name, "k").await.map_err(text)?;
        }
        Ok(())
    }
}
