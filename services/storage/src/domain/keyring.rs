//! What is sealed under the master keys: how the engines of added locations are reached, by this
//! role, and what engines of ours have sealed. Those keys are the engines' own affair: this role
//! only asks.

use std::collections::BTreeMap;
use std::ops::Bound;

use stowage_auth::RequestContext;
use stowage_engine::{EngineKeyring, MasterKey, Rewrapped};
use stowage_keyring::{Version, version_of};

use super::location_follow::binding;
use super::{Storage, check_operator};
use crate::error::Error;
use crate::store;

/// Records looked at by one call: some milliseconds of the engine's writer.
const BATCH: u32 = 200;

/// What those are refused who act for a customer.
const WHAT: &str = "operate the keyring";

/// Where a rewrap goes on: at a location, after a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Empty: with what this role has sealed.
    pub(crate) location: String,
    pub(crate) after: String,
}

/// The master keys as this role and its engines know them.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) master_keys: Vec<MasterKey>,
    pub(crate) sealing_version: u32,
    /// Locations whose settings are sealed, by version; 0: damaged, so that it cannot be told.
    pub(crate) settings: Vec<(u32, i64)>,
    /// By location. Engines that keep their secrets by themselves are left out.
    pub(crate) engines: Vec<(String, EngineKeyring)>,
}

impl Storage {
    pub(crate) async fn keyrings(&self, cx: &RequestContext) -> Result<View, Error> {
        check_operator(cx, WHAT)?;
        let mut engines = Vec::new();
        for (code, site) in &*self.sites.all() {
            engines.extend(site.engine.keyring().await?.map(|keyring| (code.clone(), keyring)));
        }
        let mut settings: BTreeMap<u32, i64> = BTreeMap::new();
        for (header, count) in store::location::count_sealed(&self.db).await? {
            *settings.entry(version_of(&header).unwrap_or(0)).or_default() += count;
        }
        let told = |key: Version| MasterKey { version: key.version, usable_time: key.usable_time };
        Ok(View {
            master_keys: self.keyring.versions().into_iter().map(told).collect(),
            sealing_version: self.keyring.sealing_version(),
            settings: settings.into_iter().collect(),
            engines,
        })
    }

    /// Moves some records. The cursor is where to go on.
    pub(crate) async fn rewrap(
        &self,
        cx: &RequestContext,
        from: Cursor,
    ) -> Result<(Rewrapped, Option<Cursor>), Error> {
        check_operator(cx, WHAT)?;
        let sites = self.sites.all();
        let first_after = |code: &str| {
            let after = (Bound::Excluded(code), Bound::Unbounded);
            let (code, _) = sites.range::<str, _>(after).next()?;
            Some(Cursor { location: code.clone(), after: String::new() })
        };
        let at = |done: &Rewrapped, location: &str| {
            let after = done.next.clone()?;
            Some(Cursor { location: location.to_owned(), after })
        };
        if from.location.is_empty() {
            let done = self.rewrap_settings(&from.after).await?;
            let next = at(&done, "").or_else(|| first_after(""));
            return Ok((done, next));
        }
        let Some((code, site)) = sites.range(from.location.clone()..).next() else {
            return Ok((Rewrapped::default(), None));
        };
        let after = if *code == from.location { from.after.as_str() } else { "" };
        let done = site.engine.rewrap(after, BATCH).await?;
        let next = at(&done, code).or_else(|| first_after(code));
        Ok((done, next))
    }

    /// Moves how the engines of added locations are reached, of those after a code.
    async fn rewrap_settings(&self, after: &str) -> Result<Rewrapped, Error> {
        let header = self.keyring.header();
        let rows = store::location::list_sealed(&self.db, &header, after, BATCH).await?;
        let mut done = Rewrapped::default();
        if u32::try_from(rows.len()).is_ok_and(|found| found == BATCH) {
            done.next = rows.last().map(|(code, _)| code.clone());
        }
        // Before the writer is held.
        let mut changed = Vec::with_capacity(rows.len());
        for (code, old) in rows {
            match self.keyring.rewrap(&old, &binding(&code)) {
                Ok(new) => changed.extend(new.map(|new| (code, (old, new)))),
                Err(error) => {
                    done.refused += 1;
                    tracing::warn!(%error, location = code, "settings of a location do not open");
                }
            }
        }
        if changed.is_empty() {
            return Ok(done);
        }
        let mut tx = self.db.begin().await?;
        for (code, old_and_new) in changed {
            let is_moved = store::location::replace_sealed(&mut tx, &code, old_and_new).await?;
            done.moved += u64::from(is_moved);
        }
        tx.commit().await?;
        Ok(done)
    }
}
