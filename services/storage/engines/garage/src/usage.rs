//! Figures for metering: what every bucket stores, now and then.
//!
//! The same look bounds each bucket by what its account may still store, and follows what
//! customers did over S3.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::{Error, StorageFigures, UsageBatch, UsageCursor};
use stowage_engine_remote::ASKED_AT_ONCE;
use stowage_types::S3uid;

use crate::cursor::Place;
use crate::garage::Garage;
use crate::look::Lists;
use crate::record::{HISTORY, Log, Record, Role, log_id, steward_id};

/// Accounts looked at for one batch.
const ACCOUNTS_MAX: u32 = 100;
/// Rows that an account is reckoned to have.
const ROWS_OF_ACCOUNT: u32 = 5;

/// An account as the list of keys has it.
#[derive(Default)]
struct Listed {
    record: Option<Record>,
    log: Log,
}

impl Garage {
    pub(crate) async fn collect(&self, after: &UsageCursor, max: u32) -> Result<UsageBatch, Error> {
        let mut place = Place::of(after)?;
        place.wake(self.clock.now(), self.options.stored_every);
        let mut batch = UsageBatch::default();
        if place.after.is_some() {
            self.sweep(&mut place, max, &mut batch).await?;
        }
        batch.more = place.after.is_some();
        batch.next = place.cursor()?;
        Ok(batch)
    }

    /// Looks at a page of accounts.
    async fn sweep(
        &self,
        place: &mut Place,
        max: u32,
        batch: &mut UsageBatch,
    ) -> Result<(), Error> {
        let lists = self.lists().await?;
        let page = usize::try_from((max / ROWS_OF_ACCOUNT).clamp(1, ACCOUNTS_MAX)).unwrap_or(1);
        let mut accounts: BTreeMap<S3uid, Listed> = BTreeMap::new();
        for key in &lists.keys {
            match self.names.read(&key.id, &key.name) {
                Some((uid, role)) if place.is_behind(&uid) => match role {
                    Role::Steward(record) => accounts.entry(uid).or_default().record = Some(record),
                    Role::Log(log) => accounts.entry(uid).or_default().log = log,
                    Role::Customer { .. } => {}
                },
                _ => {}
            }
        }
        let is_last = accounts.len() <= page;
        let page: Vec<_> = accounts.into_iter().take(page).collect();
        let last = page.last().map(|(uid, _)| uid.as_str().to_owned());
        let (lists, since) = (&lists, place.since());
        let asked = page
            .into_iter()
            .map(|(uid, listed)| async move { self.figures(&uid, &listed, (lists, since)).await });
        let asked: Vec<_> = asked.collect();
        let rows: Vec<Vec<_>> = stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await?;
        batch.storage.extend(rows.into_iter().flatten());
        place.after = last.filter(|_| !is_last);
        Ok(())
    }

    /// What the buckets of an account store, and those that it has had and has no more.
    async fn figures(
        &self,
        uid: &S3uid,
        listed: &Listed,
        (lists, since): (&Lists, i64),
    ) -> Result<Vec<StorageFigures>, Error> {
        let sample_time = self.clock.now();
        let row = |bucket: &str, stored: Option<(u64, u64)>| StorageFigures {
            uid: uid.clone(),
            bucket: bucket.to_owned(),
            stored_bytes: stored.map_or(0, |(bytes, _)| bytes),
            object_count: stored.map_or(0, |(_, objects)| objects),
            sample_time,
            deleted: stored.is_none(),
        };
        let mut rows = Vec::new();
        let is_live = listed.record.as_ref().is_some_and(|record| record.removed.is_none());
        if is_live {
            let Some(held) = self.settle_for_figures(uid, lists).await? else {
                return Ok(rows);
            };
            for (name, bytes, objects) in &held {
                rows.push(row(name, Some((*bytes, *objects))));
            }
        }
        // What a sweep has deleted itself is told by the next one.
        let gone = listed.log.since(since).filter(|name| rows.iter().all(|r| r.bucket != *name));
        let gone: Vec<_> = gone.map(|name| row(name, None)).collect();
        rows.extend(gone);
        self.forget(uid, listed).await?;
        Ok(rows)
    }

    /// `None`: it has just gone, or cannot be settled; another sweep tells. One account that is
    /// odd must not hold up all others.
    async fn settle_for_figures(
        &self,
        uid: &S3uid,
        lists: &Lists,
    ) -> Result<Option<Vec<(String, u64, u64)>>, Error> {
        let _turn = self.locks.hold(uid).await;
        match self.settle(uid, Some(lists)).await {
            Ok(settled) => {
                let held = settled.buckets.into_iter();
                Ok(Some(held.map(|h| (h.name, h.info.bytes, h.info.objects)).collect()))
            }
            Err(Error::NotFound) => Ok(None),
            Err(error @ (Error::Denied | Error::Unavailable { .. })) => Err(error),
            Err(error) => {
                tracing::warn!(account = %uid, %error, "an account on Garage cannot be settled");
                Ok(None)
            }
        }
    }

    /// Deletes our own keys of an account that was removed so long ago that nobody is told of it.
    async fn forget(&self, uid: &S3uid, listed: &Listed) -> Result<(), Error> {
        let removed = listed.record.as_ref().and_then(|record| record.removed);
        if removed.is_some_and(|time| self.clock.now().unix_timestamp() - time > HISTORY) {
            self.admin.delete_key(&log_id(uid)).await?;
            self.admin.delete_key(&steward_id(uid)).await?;
        }
        Ok(())
    }
}
