//! Engines of added locations, as this process has them open.
//!
//! Every process looks from time to time which locations there are, and at once when it is asked
//! for one that it has not open. What customers meet comes from the database each time; what is
//! late here is only that a site is closed, or reached by keys that were just renewed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;

use super::location::Added;
use super::{Site, Storage};
use crate::ENGINE_UP;
use crate::error::Error;
use crate::opener::EngineSettings;
use crate::store;

/// What the settings of a location are sealed for.
pub(super) fn binding(code: &str) -> String {
    format!("location/{code}")
}

impl Storage {
    /// The engine of a location.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] when the location is not configured any more, or cannot be
    /// opened.
    pub(crate) async fn site(&self, location: &str) -> Result<Arc<Site>, Error> {
        if let Some(site) = self.sites.get(location) {
            return Ok(site);
        }
        // Another process may have added it a moment ago.
        self.open_added(location).await?.ok_or_else(|| Error::EngineUnavailable {
            source: format!("location {location} is not configured").into(),
        })
    }

    /// Opens the engine of an added location as it is reached now; `None`: there is none.
    async fn open_added(&self, code: &str) -> Result<Option<Arc<Site>>, Error> {
        let Some(added) = store::location::find_added(&self.db, code).await? else {
            return Ok(None);
        };
        let settings = self.settings_of(&added)?;
        let engine = self.opener.open(&added.location.config(), &settings);
        let engine = engine.map_err(|bad| Error::EngineUnavailable { source: bad.into() })?;
        Ok(Some(self.sites.put(Site::added(code, &engine, added.generation))))
    }

    /// How the engine of an added location is reached.
    pub(super) fn settings_of(&self, added: &Added) -> Result<EngineSettings, Error> {
        let text = self.keyring.open(&added.sealed, &binding(&added.location.code));
        let text = text.map_err(|error| Error::EngineUnavailable { source: error.into() })?;
        EngineSettings::of_text(&text).map_err(|source| Error::Internal { source })
    }

    /// Opens what was added and closes what was removed, here or by another process. Those that
    /// cannot be opened are told once; `untold` has their codes.
    pub(crate) async fn follow_locations(
        &self,
        untold: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        // What is opened from here on is none of those that are closed below.
        let open = self.sites.all();
        let there = store::location::list_added(&self.db).await?;
        for site in open.values().filter(|site| site.generation.is_some()) {
            if !there.contains_key(&site.code) {
                self.sites.close(site);
                tracing::info!(location = site.code, "a location was removed");
            }
        }
        untold.retain(|code| there.contains_key(code));
        for (code, generation) in there {
            let has_it = |site: &Arc<Site>| site.generation.is_none_or(|of| of >= generation);
            if open.get(&code).is_some_and(has_it) {
                continue;
            }
            match self.open_added(&code).await {
                Ok(_) => {
                    untold.remove(&code);
                    tracing::info!(location = code, "the engine of a location is opened");
                }
                Err(error) if untold.insert(code.clone()) => {
                    metrics::gauge!(ENGINE_UP, "location" => code.clone()).set(0.0);
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, location = code, "a location cannot be opened");
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Follows what is added and removed, and collects the usage of what is there, for ever.
    pub(crate) async fn follow_locations_on(&self) {
        let mut collectors = FuturesUnordered::new();
        let mut running: BTreeMap<String, (Arc<Site>, AbortHandle)> = BTreeMap::new();
        let mut untold = BTreeSet::new();
        loop {
            if let Err(error) = self.follow_locations(&mut untold).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "locations are not looked at; those that are open go on");
            }
            let sites = self.sites.all();
            running.retain(|code, (site, handle)| {
                let stays = sites.get(code).is_some_and(|now| Arc::ptr_eq(now, site));
                if !stays {
                    handle.abort();
                }
                stays
            });
            for (code, site) in sites.iter().filter(|(_, site)| site.generation.is_some()) {
                if running.contains_key(code) {
                    continue;
                }
                let of = Arc::clone(site);
                let (collector, handle) = abortable(async move { self.collect_on(&of).await });
                collectors.push(collector);
                running.insert(code.clone(), (Arc::clone(site), handle));
            }
            let due = tokio::time::Instant::now() + self.config.locations_every();
            self.until_due(due, &mut collectors).await;
        }
    }

    /// Lets collectors work until it is time to look again.
    async fn until_due<F: Future>(
        &self,
        due: tokio::time::Instant,
        collectors: &mut FuturesUnordered<F>,
    ) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.location_due.notified() => return,
                // One that was aborted.
                Some(_) = collectors.next(), if !collectors.is_empty() => {}
            }
        }
    }
}
