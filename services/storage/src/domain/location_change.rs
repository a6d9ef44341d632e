//! Locations as administrators change them while all is served.
//!
//! Invariants: an engine is asked before it is written that it is there, so that what is written
//! can be opened. How it is reached is in the database sealed and nowhere else. Whether a location
//! is empty is looked at with its row held, and whoever notes a new account there looks at the row
//! again once his own row, which refers to it, is written: of the two one waits for the other.

use std::sync::Arc;

use serde_json::json;
use stowage_auth::RequestContext;
use stowage_db::Tx;
use stowage_engine::Engine;
use stowage_request::Once;
use stowage_types::name;
use time::OffsetDateTime;

use super::change::Told;
use super::location::{Added, Location, Origin};
use super::location_follow::binding;
use super::{Site, Storage, check_operator};
use crate::config::{LocationConfig, LocationState};
use crate::error::Error;
use crate::opener::EngineSettings;
use crate::{events, store};

/// What those are refused who act for a customer.
const WHAT: &str = "administer locations";
/// Most locations that are there by having been added.
const ADDED_MAX: usize = 1000;
/// Batches of usage that the removal of a location takes. Whoever finds more comes again.
const BATCHES_MAX: usize = 1000;

/// A location to be added.
#[derive(Debug)]
pub(crate) struct NewLocation {
    pub(crate) config: LocationConfig,
    pub(crate) settings: EngineSettings,
}

/// What is new in how an engine is reached.
#[derive(Debug)]
pub(crate) struct NewSettings {
    pub(crate) settings: EngineSettings,
    /// Which of them.
    pub(crate) fields: Vec<Field>,
}

/// What of an engine's settings can be changed. Another kind of engine, or another marker, would
/// be another engine, without the accounts that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    AdminEndpoint,
    S3Endpoint,
    IamEndpoint,
    AccessKey,
    SecretKey,
    AdminToken,
    Ca,
}

impl Field {
    const ALL: [(Self, &'static str); 7] = [
        (Self::AdminEndpoint, "admin_endpoint"),
        (Self::S3Endpoint, "s3_endpoint"),
        (Self::IamEndpoint, "iam_endpoint"),
        (Self::AccessKey, "access_key"),
        (Self::SecretKey, "secret_key"),
        (Self::AdminToken, "admin_token"),
        (Self::Ca, "ca_pem"),
    ];

    pub(crate) fn named(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == path).map(|(field, _)| field)
    }

    fn text(self) -> &'static str {
        Self::ALL.into_iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    fn take(self, to: &mut EngineSettings, from: &EngineSettings) {
        match self {
            Self::AdminEndpoint => to.admin_endpoint.clone_from(&from.admin_endpoint),
            Self::S3Endpoint => to.s3_endpoint.clone_from(&from.s3_endpoint),
            Self::IamEndpoint => to.iam_endpoint.clone_from(&from.iam_endpoint),
            Self::AccessKey => to.access_key.clone_from(&from.access_key),
            Self::SecretKey => to.secret_key.clone_from(&from.secret_key),
            Self::AdminToken => to.admin_token.clone_from(&from.admin_token),
            Self::Ca => to.ca_pem.clone_from(&from.ca_pem),
        }
    }
}

/// A location that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removed;

/// All that is known of a location, removed or not.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) location: Location,
    pub(crate) is_drained: bool,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) generation: i64,
    pub(crate) is_removed: bool,
}

/// What is at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupants {
    pub(crate) accounts: i64,
    /// Moves from or to it that have not ended.
    pub(crate) moves: i64,
    /// Deletions of buckets that have not ended.
    pub(crate) deletions: i64,
    /// Changes of buckets that have not ended.
    pub(crate) changes: i64,
    /// When the last account was removed, or the last move ended.
    pub(crate) last_left_time: Option<OffsetDateTime>,
}

impl Occupants {
    /// What is there; empty: nothing.
    fn told(self) -> String {
        let all = [
            (self.accounts, "account", "accounts"),
            (self.moves, "move of an account", "moves of accounts"),
            (self.deletions, "deletion of a bucket", "deletions of buckets"),
            (self.changes, "change of a bucket", "changes of buckets"),
        ];
        let there = all.into_iter().filter(|(count, ..)| *count > 0);
        let told = there.map(|(count, one, many)| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// A location as history shows it.
fn shown(location: &Location) -> serde_json::Value {
    let state = match location.state {
        LocationState::Open => "open",
        LocationState::Draining => "draining",
    };
    json!({
        "location": location.code,
        "engine": location.engine,
        "endpoint": location.endpoint,
        "region": location.region,
        "storage_types": location.storage_types,
        "state": state,
    })
}

/// What happened to a location.
struct Change<'a> {
    event: &'static str,
    code: &'a str,
    old: Option<serde_json::Value>,
    new: Option<serde_json::Value>,
}

impl Storage {
    /// Adds a location.
    pub(crate) async fn add_location(
        &self,
        cx: &RequestContext,
        new: NewLocation,
        once: &Once<Location>,
    ) -> Result<Location, Error> {
        check_operator(cx, WHAT)?;
        // One that is there is not asked anew: it may be away in this moment.
        let engine = match store::location::find(&self.db, &new.config.code).await? {
            None => Some(self.tried(&new.config, &new.settings).await?),
            Some(_) => None,
        };
        let mut tx = self.db.begin().await?;
        // One after the other, and not beside a start.
        stowage_db::next_id(&mut tx, "locations").await?;
        if let Some(same) = self.known(&mut tx, &new).await? {
            once.answer(&mut tx, &same).await?;
            tx.commit().await?;
            return Ok(same);
        }
        self.check_apart(&mut tx, (&new.config, &new.settings)).await?;
        let gone = || Error::LocationChanged { location: new.config.code.clone() };
        let engine = engine.ok_or_else(gone)?;
        let location = added(&new.config, &*engine);
        let sealed = self.sealed(&location.code, &new.settings)?;
        let now = self.clock.now();
        let generation = store::location::insert_added(&mut tx, &location, &sealed, now).await?;
        let (code, new) = (location.code.as_str(), Some(shown(&location)));
        let change = Change { event: "location.added", code, old: None, new };
        self.push_location(&mut tx, cx, change).await?;
        once.answer(&mut tx, &location).await?;
        tx.commit().await?;
        self.drive(code, &engine, generation);
        Ok(location)
    }

    /// Opens an engine and asks it.
    async fn tried(
        &self,
        config: &LocationConfig,
        settings: &EngineSettings,
    ) -> Result<Arc<dyn Engine>, Error> {
        let engine = self.opener.open(config, settings)?;
        self.opener.try_out(config, settings, &*engine).await?;
        Ok(engine)
    }

    /// The location of a code, if it is just the one that is to be added; `None`: there is none.
    async fn known(&self, tx: &mut Tx, new: &NewLocation) -> Result<Option<Location>, Error> {
        let code = &new.config.code;
        let exists = |what| Error::LocationExists { location: code.clone(), what };
        let Some(standing) = store::location::lock(tx, code).await?.filter(|at| !at.is_removed)
        else {
            return Ok(None);
        };
        if standing.location.origin == Origin::Configured {
            return Err(exists(match self.configured.contains(code) {
                true => "in the configuration",
                false => "left of an earlier configuration; remove it first",
            }));
        }
        let Standing { location, sealed, generation, .. } = standing;
        let known = Added { location, sealed: sealed.unwrap_or_default(), generation };
        let state = known.location.state;
        let is_same = known.location.config() == LocationConfig { state, ..new.config.clone() }
            && self.settings_of(&known)?.is_same(&new.settings);
        if is_same { Ok(Some(known.location)) } else { Err(exists("with other settings")) }
    }

    /// Refuses an engine that another location has: each would count what moves at both.
    async fn check_apart(
        &self,
        tx: &mut Tx,
        (config, settings): (&LocationConfig, &EngineSettings),
    ) -> Result<(), Error> {
        let mut others = store::location::list_all_added(&mut *tx).await?;
        others.retain(|added| added.location.code != config.code);
        if others.len() >= ADDED_MAX {
            let why = format!("would be more than the {ADDED_MAX} locations that may be added");
            return Err(Error::field("code", why));
        }
        // What cannot be opened is no reason to refuse another.
        let is_same = |added: &&Added| {
            let endpoint = added.location.endpoint.as_str();
            let known = self.settings_of(added);
            known.is_ok_and(|known| settings.is_at_same(&config.endpoint, (&known, endpoint)))
        };
        let added = || others.iter().find(is_same).map(|added| added.location.code.clone());
        let other = self.opener.find_configured(config, settings).or_else(added);
        let Some(code) = other else { return Ok(()) };
        let field = match settings.admin_endpoint {
            Some(_) => "engine.admin_endpoint",
            None => "endpoint",
        };
        let why = format!("is the server of location {code}; what moves there would count twice");
        Err(Error::field(field, why))
    }

    fn sealed(&self, code: &str, settings: &EngineSettings) -> Result<Vec<u8>, Error> {
        let text = settings.to_text().map_err(|source| Error::Internal { source })?;
        self.keyring.seal(&text, &binding(code)).map_err(|error| match error {
            stowage_keyring::Error::TooLong => Error::field("engine.ca_pem", "is too long"),
            other => Error::internal(other),
        })
    }

    /// Has an engine open from now on.
    fn drive(&self, code: &str, engine: &Arc<dyn Engine>, generation: i64) {
        self.sites.put(Site::added(code, engine, generation));
        self.location_due.notify_one();
    }

    /// Changes how the engine of an added location is reached.
    pub(crate) async fn update_location(
        &self,
        cx: &RequestContext,
        (code, new): (&str, NewSettings),
        once: &Once<Location>,
    ) -> Result<Location, Error> {
        check_operator(cx, WHAT)?;
        let Some(known) = store::location::find_added(&self.db, code).await? else {
            store::location::find(&self.db, code).await?.ok_or(Error::LocationNotFound)?;
            let why = "its engine is reached as the configuration says";
            return Err(Error::LocationConfigured { location: code.to_owned(), why });
        };
        let mut settings = self.settings_of(&known)?;
        new.fields.iter().for_each(|field| field.take(&mut settings, &new.settings));
        let config = known.location.config();
        let engine = self.tried(&config, &settings).await?;
        let sealed = self.sealed(code, &settings)?;
        let mut tx = self.db.begin().await?;
        stowage_db::next_id(&mut tx, "locations").await?;
        let standing = store::location::lock(&mut tx, code).await?;
        if standing.is_none_or(|at| at.is_removed || at.generation != known.generation) {
            return Err(Error::LocationChanged { location: code.to_owned() });
        }
        self.check_apart(&mut tx, (&config, &settings)).await?;
        let now = self.clock.now();
        let generation = store::location::set_settings(&mut tx, code, &sealed, now).await?;
        // Which of them, not what they are.
        let changed: Vec<_> = new.fields.iter().map(|field| field.text()).collect();
        let new = Some(json!({ "location": code, "changed": changed }));
        let change = Change { event: "location.updated", code, old: None, new };
        self.push_location(&mut tx, cx, change).await?;
        let location = known.location;
        once.answer(&mut tx, &location).await?;
        tx.commit().await?;
        self.drive(code, &engine, generation);
        Ok(location)
    }

    /// Drains a location, or lets it take orders again.
    pub(crate) async fn set_drained(
        &self,
        cx: &RequestContext,
        (code, is_drained): (&str, bool),
        once: &Once<Location>,
    ) -> Result<Location, Error> {
        check_operator(cx, WHAT)?;
        let mut tx = self.db.begin().await?;
        let standing = store::location::lock(&mut tx, code).await?.filter(|at| !at.is_removed);
        let Standing { location: old, is_drained: was_drained, .. } =
            standing.ok_or(Error::LocationNotFound)?;
        store::location::set_drained(&mut tx, code, is_drained, self.clock.now()).await?;
        let location = store::location::find(&mut tx, code).await?;
        let location = location.ok_or(Error::LocationNotFound)?;
        if !is_drained && location.state != LocationState::Open {
            let why = match self.configured.contains(code) {
                true => "the configuration drains it",
                false => "it is in the configuration no more",
            };
            return Err(Error::LocationConfigured { location: code.to_owned(), why });
        }
        if is_drained != was_drained {
            let event = if is_drained { "location.drained" } else { "location.undrained" };
            let (old, new) = (Some(shown(&old)), Some(shown(&location)));
            self.push_location(&mut tx, cx, Change { event, code, old, new }).await?;
        }
        once.answer(&mut tx, &location).await?;
        tx.commit().await?;
        Ok(location)
    }

    /// Removes a location that is empty.
    pub(crate) async fn remove_location(
        &self,
        cx: &RequestContext,
        (code, abandons_usage): (&str, bool),
        once: &Once<Removed>,
    ) -> Result<Removed, Error> {
        check_operator(cx, WHAT)?;
        if self.configured.contains(code) {
            let why = "take it out of the configuration, and start storage again";
            return Err(Error::LocationConfigured { location: code.to_owned(), why });
        }
        store::location::find(&self.db, code).await?.ok_or(Error::LocationNotFound)?;
        let there = store::location::occupants(&self.db, code).await?;
        self.check_empty(code, there, abandons_usage)?;
        if !abandons_usage {
            self.collect_last(code).await?;
        }
        let mut tx = self.db.begin().await?;
        let standing = store::location::lock(&mut tx, code).await?.filter(|at| !at.is_removed);
        let old = standing.ok_or(Error::LocationNotFound)?.location;
        // Whoever was noting an account has committed, and whoever comes now waits.
        let there = store::location::occupants(&mut tx, code).await?;
        self.check_empty(code, there, abandons_usage)?;
        store::location::set_removed(&mut tx, code, self.clock.now()).await?;
        let old = Some(shown(&old));
        let change = Change { event: "location.removed", code, old, new: None };
        self.push_location(&mut tx, cx, change).await?;
        once.answer(&mut tx, &Removed).await?;
        tx.commit().await?;
        if let Some(site) = self.sites.get(code) {
            self.sites.close(&site);
        }
        self.location_due.notify_one();
        Ok(Removed)
    }

    /// Refuses while something is at a location, or may have counted there a moment ago.
    fn check_empty(&self, code: &str, there: Occupants, abandons: bool) -> Result<(), Error> {
        let location = code.to_owned();
        let told = there.told();
        if !told.is_empty() {
            return Err(Error::LocationNotEmpty { location, why: told });
        }
        let Some(left) = there.last_left_time.filter(|_| !abandons) else { return Ok(()) };
        let rest = left + self.config.removal_settle() - self.clock.now();
        if !rest.is_positive() {
            return Ok(());
        }
        let seconds = rest.whole_seconds().max(1);
        let why = format!(
            "its last account left a moment ago, and what that has used is collected in {seconds} s"
        );
        Err(Error::LocationNotEmpty { location, why })
    }

    /// Collects all that the engine of a location has counted.
    async fn collect_last(&self, code: &str) -> Result<(), Error> {
        let site = self.site(code).await?;
        site.engine.health().await?;
        for _ in 0..BATCHES_MAX {
            if !self.collect(&site).await? {
                return Ok(());
            }
        }
        let (location, why) = (code.to_owned(), "usage that waits to be collected".to_owned());
        Err(Error::LocationNotEmpty { location, why })
    }

    /// Tells history what was done to a location.
    async fn push_location(
        &self,
        tx: &mut Tx,
        cx: &RequestContext,
        change: Change<'_>,
    ) -> Result<(), Error> {
        let text =
            |json: Option<serde_json::Value>| json.map_or(String::new(), |it| it.to_string());
        let Told { actor, request_id } = Told::of(cx);
        let message = stowage_proto::storage::LocationChanged {
            location: change.code.to_owned(),
            event: change.event.to_owned(),
            actor,
            request_id,
            old_json: text(change.old),
            new_json: text(change.new),
        };
        let subject = name::location(change.code);
        self.outbox.push(tx, events::LOCATION_CHANGED, &subject, &message).await?;
        Ok(())
    }
}

/// A location as it is added, with its engine.
fn added(config: &LocationConfig, engine: &dyn Engine) -> Location {
    Location {
        code: config.code.clone(),
        engine: engine.capabilities().engine.to_owned(),
        endpoint: config.endpoint.clone(),
        region: config.region.clone(),
        storage_types: config.storage_types.clone(),
        state: LocationState::Open,
        origin: Origin::Added,
        issues_keys: engine.capabilities().issues_keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_a_location_is_told_in_words() {
        let empty =
            Occupants { accounts: 0, moves: 0, deletions: 0, changes: 0, last_left_time: None };
        assert_eq!(empty.told(), "");
        let some = Occupants { accounts: 3, moves: 1, changes: 2, ..empty };
        assert_eq!(some.told(), "3 accounts, 1 move of an account, 2 changes of buckets");
    }

    #[test]
    fn fields_are_named_as_in_requests() {
        for (field, name) in Field::ALL {
            assert_eq!((Field::named(name), field.text()), (Some(field), name));
        }
        assert_eq!(Field::named("marker"), None);
    }
}
