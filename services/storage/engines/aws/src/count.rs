//! What buckets store, by listing them: S3 has no call that tells it, and what CloudWatch tells is
//! a day old.
//!
//! A thousand objects are one call. Who asks for figures gets those of a bucket of up to
//! [`PAGES_MAX`] calls as they are; of a larger one those of the last sweep of this process, or how
//! far it has come, which is less than there is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use stowage_engine::{Error, ListQuery};
use stowage_types::BucketName;

use crate::aws::Aws;

/// Objects of a call.
const PAGE: u32 = 1000;
/// Calls for one bucket when somebody waits for the answer.
pub(crate) const PAGES_MAX: u32 = 50;
/// Large buckets whose figures are kept.
const KEPT_MAX: usize = 10_000;

/// What a bucket stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// How far a bucket has been counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) amount: Amount,
    /// The key behind which it goes on; `None`: at the beginning, or it has ended.
    pub(crate) after: Option<String>,
}

/// Figures of large buckets, as they were last counted to the end.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<BTreeMap<String, Amount>>);

impl Counted {
    fn get(&self, bucket: &str) -> Option<Amount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).copied()
    }

    pub(crate) fn put(&self, bucket: &str, amount: Amount) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(bucket) {
            kept.pop_first();
        }
        kept.insert(bucket.to_owned(), amount);
    }

    pub(crate) fn forget(&self, bucket: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(bucket);
    }
}

impl Aws {
    /// Counts on from a part, by so many calls at most; `false`: there is more. `None`: the bucket
    /// is gone.
    pub(crate) async fn count_on(
        &self,
        bucket: &BucketName,
        part: &mut Part,
        calls: &mut u32,
    ) -> Result<Option<bool>, Error> {
        let hand = self.our_hand();
        while *calls > 0 {
            *calls -= 1;
            let query = ListQuery { max: PAGE, after: part.after.take(), ..ListQuery::default() };
            let page = match hand.list(bucket, &query).await {
                Err(Error::NotFound) => return Ok(None),
                page => page?,
            };
            for object in &page.objects {
                part.amount.objects += 1;
                part.amount.bytes = part.amount.bytes.saturating_add(object.size_bytes);
            }
            part.after = page.next;
            if part.after.is_none() {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// `None`: it is gone.
    pub(crate) async fn count(&self, bucket: &BucketName) -> Result<Option<Amount>, Error> {
        let (mut part, mut calls) = (Part::default(), PAGES_MAX);
        Ok(match self.count_on(bucket, &mut part, &mut calls).await? {
            None => None,
            Some(true) => Some(part.amount),
            Some(false) => {
                let kept = self.counted.get(bucket.as_str()).unwrap_or_default();
                let larger = if kept.objects > part.amount.objects { kept } else { part.amount };
                Some(larger)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_kept_of_so_many_buckets() {
        let counted = Counted::default();
        let amount = Amount { objects: 1, bytes: 2 };
        for number in 0..=KEPT_MAX {
            counted.put(&format!("{number:08}"), amount);
        }
        assert_eq!(counted.get("00000000"), None);
        assert_eq!(counted.get("00000001"), Some(amount));
        counted.forget("00000001");
        assert_eq!(counted.get("00000001"), None);
    }
}
