//! `stowage admin keyring …`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::accounts::keyring_service_client::KeyringServiceClient as Accounts;
use stowage_proto::common::{ErrorReason, MasterKey, Rewrapped, RoleKeyring};
use stowage_proto::storage::keyring_service_client::KeyringServiceClient as Storage;
use stowage_proto::{accounts, storage};
use stowage_types::{Clock as _, SystemClock, from_timestamp};
use tonic::Status;

use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session};

const FLAGS: Flags = &[("version", "VERSION")];

/// Longest that a new master key is waited for, beyond its time.
const WAIT_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const ROLES: [Role; 2] = [Role::Accounts, Role::Storage];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the master keys and what each role has under them
    Status,
    /// Add a master key, wait until all use it, and move every secret under it
    ///
    /// Calls go on meanwhile. Stopping this command loses nothing: `rewrap` goes on.
    Rotate,
    /// Move every secret under the newest master key
    ///
    /// Exit code 1: some secrets do not open; the log of the role names them.
    Rewrap,
    /// Remove a master key that nothing is under any more, for good
    ///
    /// Databases of backups from before need it: keep a copy of the keyring with them.
    Retire {
        /// Its number
        version: u32,
    },
}

/// A role that seals.
#[derive(Debug, Clone, Copy)]
enum Role {
    Accounts,
    Storage,
}

#[derive(Serialize)]
struct KeyRow {
    role: String,
    version: u32,
    state: &'static str,
    usable_time: Option<String>,
    /// Records by what they are.
    records: BTreeMap<String, i64>,
}

#[derive(Serialize)]
struct MovedRow {
    role: &'static str,
    version: u32,
    moved: i64,
    refused: i64,
}

#[derive(Serialize)]
struct RetiredRow {
    version: u32,
    retired: bool,
}

impl Row for KeyRow {
    const COLUMNS: &'static [&'static str] = &["ROLE", "VERSION", "STATE", "USED FROM", "RECORDS"];

    fn cells(&self) -> Vec<String> {
        let records = self.records.iter().map(|(kind, count)| format!("{count} {kind}"));
        vec![
            self.role.clone(),
            self.version.to_string(),
            self.state.to_owned(),
            self.usable_time.clone().unwrap_or_default(),
            records.collect::<Vec<_>>().join(", "),
        ]
    }
}

impl Row for MovedRow {
    const COLUMNS: &'static [&'static str] = &["ROLE", "VERSION", "MOVED", "REFUSED"];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.version.to_string(), self.moved.to_string(), self.refused.to_string()];
        [&[self.role.to_owned()][..], &numbers].concat()
    }
}

impl Row for RetiredRow {
    const COLUMNS: &'static [&'static str] = &["VERSION", "RETIRED"];

    fn cells(&self) -> Vec<String> {
        vec![self.version.to_string(), "yes".to_owned()]
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Storage => "storage",
        }
    }

    async fn keyring(self, session: &Session) -> Result<RoleKeyring, Error> {
        let api = session.client.api();
        let answer = match self {
            Self::Accounts => Accounts::new(api).get_keyring(accounts::GetKeyringRequest {}).await,
            Self::Storage => Storage::new(api).get_keyring(storage::GetKeyringRequest {}).await,
        };
        answer.map(tonic::Response::into_inner).map_err(|status| explain(session, &status))
    }

    async fn rewrap(self, session: &Session, page_token: String) -> Result<Rewrapped, Error> {
        let api = session.client.api();
        let answer = match self {
            Self::Accounts => {
                let request = accounts::RewrapRecordsRequest { page_token };
                Accounts::new(api).rewrap_records(request).await
            }
            Self::Storage => {
                let request = storage::RewrapRecordsRequest { page_token };
                Storage::new(api).rewrap_records(request).await
            }
        };
        answer.map(tonic::Response::into_inner).map_err(|status| {
            let error = explain(session, &status);
            Error::Failed(format!("{error}; `stowage admin keyring rewrap` goes on"))
        })
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Status => print_status(session).await,
        Command::Rotate => {
            let call = async |api, request_id| {
                let request = accounts::RotateMasterKeyRequest { request_id };
                Accounts::new(api).rotate_master_key(request).await
            };
            let made = session.client.change(call).await;
            let made = made.map_err(|status| explain(session, &status))?;
            eprintln!("master key {} is made", made.version);
            let key = MasterKey { version: made.version, usable_time: made.usable_time };
            move_all(session, key).await
        }
        Command::Rewrap => {
            let keyring = Role::Accounts.keyring(session).await?;
            let newest = keyring.master_keys.into_iter().next_back();
            let newest = newest.ok_or_else(|| Error::Failed("there is no master key".to_owned()));
            move_all(session, newest?).await
        }
        Command::Retire { version } => {
            let call = async |api, request_id| {
                let request = accounts::RetireMasterKeyRequest { version, request_id };
                Accounts::new(api).retire_master_key(request).await
            };
            let done = session.client.change(call).await;
            done.map_err(|status| explain(session, &status))?;
            output::one(session.output, &RetiredRow { version, retired: true })
        }
    }
}

async fn print_status(session: &Session) -> Result<(), Error> {
    let mut rows = Vec::new();
    for role in ROLES {
        rows.extend(rows_of(role.keyring(session).await?));
    }
    output::list(session.output, &rows)
}

/// A row for each master key, and for each version that records are under without there being one.
fn rows_of(keyring: RoleKeyring) -> Vec<KeyRow> {
    let mut rows: BTreeMap<u32, KeyRow> = BTreeMap::new();
    let row = |version, state, usable_time| KeyRow {
        role: keyring.role.clone(),
        version,
        state,
        usable_time,
        records: BTreeMap::new(),
    };
    for key in &keyring.master_keys {
        let state = match key.version.cmp(&keyring.sealing_version) {
            std::cmp::Ordering::Less => "old",
            std::cmp::Ordering::Equal => "in use",
            std::cmp::Ordering::Greater => "waits",
        };
        rows.insert(key.version, row(key.version, state, output::time(key.usable_time)));
    }
    for records in &keyring.records {
        let state = if records.version == 0 { "damaged" } else { "lost" };
        let found = rows.entry(records.version);
        let found = found.or_insert_with(|| row(records.version, state, None));
        *found.records.entry(records.kind.clone()).or_default() += records.count;
    }
    rows.into_values().collect()
}

/// Moves the records of all roles under a master key, once all use it.
async fn move_all(session: &Session, key: MasterKey) -> Result<(), Error> {
    await_use(session, &key).await?;
    let mut rows = Vec::new();
    for role in ROLES {
        let mut row = MovedRow { role: role.name(), version: key.version, moved: 0, refused: 0 };
        let mut page_token = String::new();
        loop {
            let part = role.rewrap(session, page_token).await?;
            row.moved += part.moved;
            row.refused += part.refused;
            if part.moved > 0 {
                // For those who wait; standard output is for the answer.
                eprintln!("{}: {} moved", row.role, row.moved);
            }
            page_token = part.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        rows.push(row);
    }
    output::list(session.output, &rows)?;
    match rows.iter().map(|row| row.refused).sum::<i64>() {
        0 => Ok(()),
        left => Err(Error::Failed(format!("{left} secrets do not open; the log names them"))),
    }
}

/// Waits until every role seals under a master key.
async fn await_use(session: &Session, key: &MasterKey) -> Result<(), Error> {
    let usable = key.usable_time.and_then(|time| from_timestamp(&time).ok());
    let until_usable = usable.map_or(Duration::ZERO, |time| {
        Duration::try_from(time - SystemClock.now()).unwrap_or_default()
    });
    if until_usable > WAIT_MAX {
        let from = output::time(key.usable_time).unwrap_or_default();
        return Err(Error::Failed(format!(
            "master key {} is used from {from} on; run `stowage admin keyring rewrap` then",
            key.version
        )));
    }
    if until_usable > Duration::ZERO {
        eprintln!("it is used in {} s, when every process has read it", until_usable.as_secs() + 1);
        tokio::time::sleep(until_usable).await;
    }
    let patience = tokio::time::Instant::now() + WAIT_MAX;
    for role in ROLES {
        loop {
            // 0: it seals nothing.
            let sealing = role.keyring(session).await?.sealing_version;
            if sealing == 0 || sealing >= key.version {
                break;
            }
            if tokio::time::Instant::now() > patience {
                return Err(Error::Failed(format!(
                    "{} does not use master key {} yet: it has not got it from its keyring; mend \
                     that, then run `stowage admin keyring rewrap`",
                    role.name(),
                    key.version
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Why it was refused, and what to do instead.
fn explain(session: &Session, status: &Status) -> Error {
    let message = status.message();
    let instead = match stowage_runtime::reason_of(status) {
        Some(ErrorReason::MasterKeyNotFound) => "`stowage admin keyring status` shows which are",
        Some(ErrorReason::MasterKeyInUse) => {
            "nothing was changed; `stowage admin keyring status` shows what is under it"
        }
        Some(ErrorReason::KeyringReadOnly) => {
            "nothing was changed; after a new key `stowage admin keyring rewrap` does the rest"
        }
        Some(ErrorReason::MasterKeyLost) => {
            "put its line back into the keyring, from a copy of the time of the databases"
        }
        Some(ErrorReason::KeyringFull) => "retire old ones: `stowage admin keyring retire VERSION`",
        _ => return session.client.explain(status, FLAGS),
    };
    Error::Failed(format!("{message}; {instead}"))
}
