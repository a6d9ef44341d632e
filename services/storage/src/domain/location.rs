//! Places where accounts can be.

use stowage_auth::{PrincipalRole, RequestContext};
use stowage_types::page;

use super::{Site, Storage};
use crate::config::{LocationConfig, LocationState};
use crate::error::Error;
use crate::store;

const LISTING: &str = "locations";

/// A place with an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) code: String,
    /// Kind of its engine.
    pub(crate) engine: String,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) storage_types: Vec<String>,
    /// Whether it takes orders, by all that says so.
    pub(crate) state: LocationState,
    pub(crate) origin: Origin,
    /// Whether its engine makes access keys by itself.
    pub(crate) issues_keys: bool,
}

/// Where a location comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Configured,
    Added,
}

impl Origin {
    pub(crate) fn of(text: &str) -> Self {
        if text == "ADDED" { Self::Added } else { Self::Configured }
    }
}

/// A location that was added, with how its engine is reached.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) location: Location,
    pub(crate) sealed: Vec<u8>,
    pub(crate) generation: i64,
}

/// A page of locations.
#[derive(Debug)]
pub(crate) struct LocationPage {
    pub(crate) locations: Vec<Location>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

impl Location {
    pub(crate) fn configured(config: LocationConfig, site: &Site) -> Self {
        Self {
            code: config.code,
            engine: site.engine.capabilities().engine.to_owned(),
            endpoint: config.endpoint,
            region: config.region,
            storage_types: config.storage_types,
            state: config.state,
            origin: Origin::Configured,
            issues_keys: site.engine.capabilities().issues_keys,
        }
    }

    /// As it would be configured.
    pub(crate) fn config(&self) -> LocationConfig {
        LocationConfig {
            code: self.code.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            storage_types: self.storage_types.clone(),
            state: self.state,
        }
    }
}

/// Whether the caller sees only locations that take orders.
fn sees_only_open(cx: &RequestContext) -> bool {
    cx.principal.role == PrincipalRole::Customer
}

impl Storage {
    /// Writes the configured locations to the database. Locations that are configured no longer
    /// keep their accounts and take no new ones.
    ///
    /// # Errors
    /// [`Error::LocationExists`]: one was added by an administrator. Its accounts would be looked
    /// for at another engine from then on.
    pub(crate) async fn write_locations(&self, configured: &[Location]) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        // Replicas that start together do this one after the other: each locks all rows, in the
        // order of its own settings.
        stowage_db::next_id(&mut tx, "locations").await?;
        store::location::close_all(&mut tx, now).await?;
        for location in configured {
            let known = store::location::find(&mut tx, &location.code).await?;
            if known.is_some_and(|known| known.origin == Origin::Added) {
                let (location, what) = (location.code.clone(), "added by an administrator");
                return Err(Error::LocationExists { location, what });
            }
            store::location::upsert(&mut tx, location, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn location(
        &self,
        cx: &RequestContext,
        code: &str,
    ) -> Result<Location, Error> {
        let location = store::location::find(&self.db, code).await?;
        location
            .filter(|found| !sees_only_open(cx) || found.state == LocationState::Open)
            .ok_or(Error::LocationNotFound)
    }

    pub(crate) async fn locations(
        &self,
        cx: &RequestContext,
        page_size: i64,
        page_token: &str,
    ) -> Result<LocationPage, Error> {
        let after = page::decode(LISTING, "", page_token).map_err(|_| Error::PageTokenInvalid)?;
        let after = after.unwrap_or_default();
        let only_open = sees_only_open(cx);
        let mut locations =
            store::location::list(&self.db, &after, only_open, page_size + 1).await?;
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let mut next_page_token = String::new();
        if locations.len() > size {
            locations.truncate(size);
            if let Some(last) = locations.last() {
                next_page_token = page::encode(LISTING, "", &last.code);
            }
        }
        Ok(LocationPage { locations, next_page_token })
    }
}
