//! What engines of ours have sealed under the master keys. The keys are the engines' own affair:
//! this role only asks.

use std::ops::Bound;

use stowage_auth::RequestContext;
use stowage_engine::{EngineKeyring, Rewrapped};

use super::{Storage, check_operator};
use crate::error::Error;

/// Records looked at by one call: some milliseconds of the engine's writer.
const BATCH: u32 = 200;

/// What those are refused who act for a customer.
const WHAT: &str = "operate the keyring";

/// Where a rewrap goes on: at a location, after a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) location: String,
    pub(crate) after: String,
}

impl Storage {
    /// The master keys as each engine knows them, by location. Engines that keep their secrets by
    /// themselves are left out.
    pub(crate) async fn keyrings(
        &self,
        cx: &RequestContext,
    ) -> Result<Vec<(String, EngineKeyring)>, Error> {
        check_operator(cx, WHAT)?;
        let mut found = Vec::new();
        for (code, site) in &*self.sites.all() {
            found.extend(site.engine.keyring().await?.map(|keyring| (code.clone(), keyring)));
        }
        Ok(found)
    }

    /// Moves some records. The cursor is where to go on.
    pub(crate) async fn rewrap(
        &self,
        cx: &RequestContext,
        from: Cursor,
    ) -> Result<(Rewrapped, Option<Cursor>), Error> {
        check_operator(cx, WHAT)?;
        let sites = self.sites.all();
        let Some((code, site)) = sites.range(from.location.clone()..).next() else {
            return Ok((Rewrapped::default(), None));
        };
        let after = if *code == from.location { from.after.as_str() } else { "" };
        let done = site.engine.rewrap(after, BATCH).await?;
        let here = done.next.clone().map(|after| (code.clone(), after));
        let after_here = (Bound::Excluded(code.clone()), Bound::Unbounded);
        let elsewhere = || {
            let (code, _) = sites.range::<String, _>(after_here).next()?;
            Some((code.clone(), String::new()))
        };
        let next = here.or_else(elsewhere);
        Ok((done, next.map(|(location, after)| Cursor { location, after })))
    }
}
