//! Master keys: their rotation and retirement, and the move of this role's records.
//!
//! The file of master keys is no part of the database, so that each change is told in history
//! twice: before it is begun and when it is done. A crash between the two leaves the first.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::json;
use stowage_auth::RequestContext;
use stowage_keyring::{Keyring, Source, Version, version_of};
use stowage_request::Once;

use super::history::{Cause, Entry, Event};
use super::{Domain, access_key, check_operator};
use crate::error::Error;
use crate::store;

/// Records looked at by one call: some milliseconds of the writer.
const BATCH: i64 = 200;

const ACCESS_KEY: &str = "access_key";
const ANSWER: &str = "answer";

/// Records under one master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) kind: &'static str,
    /// 0: they are damaged.
    pub(crate) version: u32,
    pub(crate) count: i64,
}

/// The master keys as this process knows them.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) versions: Vec<Version>,
    pub(crate) sealing_version: u32,
    pub(crate) records: Vec<Records>,
}

/// Where a rewrap stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Access keys after this one.
    AccessKeys { after: String },
    /// Answers after that of this request.
    Answers { scope: String, request_id: String },
}

/// What became of some records.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) moved: i64,
    pub(crate) refused: i64,
    pub(crate) next: Option<Cursor>,
}

/// A new master key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotated(pub(crate) Version);

/// A retired master key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retired;

impl Domain {
    /// The master keys, and what of this role is under each.
    pub(crate) async fn get_keyring(&self, cx: &RequestContext) -> Result<View, Error> {
        check_operator(cx, "operate the keyring")?;
        let keyring = &self.shared.keyring;
        Ok(View {
            versions: keyring.versions(),
            sealing_version: keyring.sealing_version(),
            records: self.sealed_records().await?,
        })
    }

    /// Adds a master key.
    pub(crate) async fn rotate_master_key(
        &self,
        cx: &RequestContext,
        once: &Once<Rotated>,
    ) -> Result<Rotated, Error> {
        check_operator(cx, "operate the keyring")?;
        let newest = self.newest();
        // An attempt before this one noted what was the newest then.
        let before = once.made().and_then(|made| made.parse().ok()).unwrap_or(newest.version);
        let made = match newest.version > before {
            true => newest,
            false => {
                self.check_writable(None)?;
                self.check_none_ahead(newest.version).await?;
                let state = json!({ "newest_version": before });
                let mut tx = self.telling((cx, Event::RotationBegun), state).await?;
                once.set_made(&mut tx, &before.to_string()).await?;
                tx.commit().await?;
                let random = Arc::clone(&self.shared.random);
                self.with_keyring(move |keyring| keyring.rotate(&*random)).await?
            }
        };
        let (state, made) = (json!({ "version": made.version }), Rotated(made));
        let mut tx = self.telling((cx, Event::MasterKeyRotated), state).await?;
        once.answer(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Removes a master key that nothing is sealed under any more.
    pub(crate) async fn retire_master_key(
        &self,
        cx: &RequestContext,
        version: u32,
        once: &Once<Retired>,
    ) -> Result<Retired, Error> {
        check_operator(cx, "operate the keyring")?;
        let has_it = self.shared.keyring.versions().iter().any(|key| key.version == version);
        // An attempt before this one may have got so far.
        if has_it || !once.resumes() {
            self.shared.keyring.check_retirement(version).map_err(refusal_of)?;
            self.check_unneeded(cx, version).await?;
            self.check_writable(Some(version))?;
            let state = json!({ "version": version });
            self.telling((cx, Event::RetirementBegun), state).await?.commit().await?;
            self.with_keyring(move |keyring| keyring.retire(version)).await?;
        }
        let state = json!({ "version": version });
        let mut tx = self.telling((cx, Event::MasterKeyRetired), state).await?;
        once.answer(&mut tx, &Retired).await?;
        tx.commit().await?;
        Ok(Retired)
    }

    /// Moves some records under the master key that new ones are sealed under.
    pub(crate) async fn rewrap_records(
        &self,
        cx: &RequestContext,
        from: Cursor,
    ) -> Result<Part, Error> {
        check_operator(cx, "operate the keyring")?;
        match from {
            Cursor::AccessKeys { after } => self.rewrap_access_keys(&after).await,
            Cursor::Answers { scope, request_id } => {
                let done = self.requests.rewrap((&scope, &request_id), BATCH).await?;
                let next = |(scope, request_id)| Cursor::Answers { scope, request_id };
                let (moved, refused) = (done.moved, done.refused);
                Ok(Part { moved, refused, next: done.next.map(next) })
            }
        }
    }

    async fn rewrap_access_keys(&self, after: &str) -> Result<Part, Error> {
        let (db, keyring) = (&self.shared.db, &self.shared.keyring);
        let rows = store::access_key::list_sealed(db, &keyring.header(), after, BATCH).await?;
        let mut part = Part { next: Some(Cursor::answers()), ..Part::default() };
        if let Some((last, _)) = rows.last()
            && i64::try_from(rows.len()).is_ok_and(|found| found == BATCH)
        {
            part.next = Some(Cursor::AccessKeys { after: last.clone() });
        }
        // Before the writer is held.
        let mut changed = Vec::with_capacity(rows.len());
        for (key, old) in rows {
            match keyring.rewrap(&old, &access_key::binding(&key)) {
                Ok(new) => changed.extend(new.map(|new| (key, (old, new)))),
                Err(error) => {
                    part.refused += 1;
                    tracing::warn!(%error, access_key = key, "a sealed secret does not open");
                }
            }
        }
        if changed.is_empty() {
            return Ok(part);
        }
        let mut tx = db.begin().await?;
        for (key, old_and_new) in changed {
            let is_moved = store::access_key::replace_sealed(&mut tx, &key, old_and_new).await?;
            part.moved += i64::from(is_moved);
        }
        tx.commit().await?;
        Ok(part)
    }

    /// Counts what is under each master key.
    async fn sealed_records(&self) -> Result<Vec<Records>, Error> {
        let keys = store::access_key::count_sealed(&self.shared.db).await?;
        let answers = self.requests.count_sealed().await?;
        let answers = answers.into_iter().map(|under| (under.header, under.count)).collect();
        let mut counts: BTreeMap<(&'static str, u32), i64> = BTreeMap::new();
        for (kind, rows) in [(ACCESS_KEY, keys), (ANSWER, answers)] {
            for (header, count) in rows {
                *counts.entry((kind, version_of(&header).unwrap_or(0))).or_default() += count;
            }
        }
        let records = |((kind, version), count)| Records { kind, version, count };
        Ok(counts.into_iter().map(records).collect())
    }

    /// Whether any role needs a master key.
    async fn check_unneeded(&self, cx: &RequestContext, version: u32) -> Result<(), Error> {
        let in_use = |why: String| Error::MasterKeyInUse { version, why };
        let mut records = self.sealed_records().await?.into_iter();
        if let Some(Records { kind, count, .. }) = records.find(|found| found.version == version) {
            return Err(in_use(format!("accounts has {count} records {kind} under it")));
        }
        let storage = self.shared.roles.sealed_under(cx, version).await?;
        if let Some((kind, count)) = storage.records.first() {
            return Err(in_use(format!("storage has {count} records {kind} under it")));
        }
        match storage.sealing_version {
            0 => Ok(()),
            sealing if sealing > version => Ok(()),
            _ => Err(in_use("storage still seals under it".to_owned())),
        }
    }

    /// Refuses a new master key under a version that records are under already: an older keyring
    /// was put in, and the records could not be told from damaged ones any more.
    async fn check_none_ahead(&self, newest: u32) -> Result<(), Error> {
        let ahead = self.sealed_records().await?.into_iter().map(|records| records.version).max();
        match ahead.filter(|version| *version > newest) {
            Some(version) => Err(Error::MasterKeyLost { version }),
            None => Ok(()),
        }
    }

    /// Refuses early where only the operator can change the master keys.
    fn check_writable(&self, unneeded: Option<u32>) -> Result<(), Error> {
        let source = self.shared.keyring.source();
        if matches!(source, Source::File(_)) {
            return Ok(());
        }
        let origin = source.origin();
        let why = match unneeded {
            Some(version) => format!(
                "they come from {origin}; nothing needs master key {version} any more, so remove \
                 its line there"
            ),
            None => format!(
                "they come from {origin}; add the line `{} <64 hex characters> <time>` there, the \
                 time (RFC 3339) from when on it is used: later than when all processes have read \
                 it",
                self.newest().version.saturating_add(1)
            ),
        };
        Err(Error::KeyringReadOnly { why })
    }

    fn newest(&self) -> Version {
        let versions = self.shared.keyring.versions();
        versions.last().copied().expect("a keyring is never empty")
    }

    /// Changes the file: off the threads that must not wait for a disk.
    async fn with_keyring<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Keyring) -> Result<T, stowage_keyring::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let keyring = Arc::clone(&self.shared.keyring);
        let changed = tokio::task::spawn_blocking(move || change(&keyring)).await;
        changed.map_err(Error::internal)?.map_err(refusal_of)
    }

    /// A transaction that tells what is done to the master keys.
    async fn telling(
        &self,
        (cx, event): (&RequestContext, Event),
        state: serde_json::Value,
    ) -> Result<stowage_db::Tx, Error> {
        let mut tx = self.shared.db.begin().await?;
        let entry = Entry::new(event, Cause::of(cx)).new_state(state);
        entry.write(&mut tx, self.shared.clock.now()).await?;
        Ok(tx)
    }
}

/// What an error means where a master key was named, not a record.
fn refusal_of(error: stowage_keyring::Error) -> Error {
    use stowage_keyring::Error as Of;
    match error {
        Of::UnknownVersion { version } => Error::MasterKeyNotFound { version },
        Of::Sealing { version } | Of::TooEarly { version, .. } => {
            Error::MasterKeyInUse { version, why: error.to_string() }
        }
        Of::Io { .. } => {
            tracing::error!(error = ?error, "the file of master keys cannot be changed");
            Error::KeyringReadOnly { why: error.to_string() }
        }
        error => error.into(),
    }
}

impl Cursor {
    fn answers() -> Self {
        Self::Answers { scope: String::new(), request_id: String::new() }
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::AccessKeys { after: String::new() }
    }
}

impl fmt::Display for Cursor {
    /// Neither scopes nor ids have line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessKeys { after } => write!(f, "{ACCESS_KEY}\n{after}"),
            Self::Answers { scope, request_id } => write!(f, "{ANSWER}\n{scope}\n{request_id}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('\n').collect();
        match parts[..] {
            [ACCESS_KEY, after] => Ok(Self::AccessKeys { after: after.to_owned() }),
            [ANSWER, scope, request_id] => {
                Ok(Self::Answers { scope: scope.to_owned(), request_id: request_id.to_owned() })
            }
            _ => Err(Error::PageTokenInvalid),
        }
    }
}
