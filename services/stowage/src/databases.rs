//! Where each role keeps its data: a file in the data folder, or a schema of a PostgreSQL server.

use sqlx::migrate::Migrator;
use stowage_db::{Db, OpenError, Server};
use stowage_types::ExposeSecret as _;

use crate::config::Database;
use crate::data::DataDir;
use crate::error::StartError;

/// Every role's name, which is its schema's, and its tables.
pub(crate) const ROLES: [(&str, &Migrator); 4] = [
    ("accounts", &stowage_accounts::MIGRATOR),
    ("storage", &stowage_storage::MIGRATOR),
    ("billing", &stowage_billing::MIGRATOR),
    ("metering", &stowage_metering::MIGRATOR),
];

/// Where databases are.
#[derive(Clone)]
pub(crate) enum Place<'a> {
    /// Files, held by this process alone.
    Files(&'a DataDir),
    /// A server, which other processes use too.
    Server(Box<Server>),
}

/// One database for each role.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    pub(crate) accounts: Db,
    pub(crate) storage: Db,
    pub(crate) billing: Db,
    pub(crate) metering: Db,
}

impl<'a> Place<'a> {
    /// The place that is configured; else the data folder, which is there then.
    pub(crate) fn of(config: &Database, data: Option<&'a DataDir>) -> Result<Self, StartError> {
        Ok(match (server(config)?, data) {
            (Some(server), _) => Self::Server(Box::new(server)),
            (None, Some(data)) => match data.moved_to()? {
                Some(to) => return Err(StartError::Moved { path: data.path().to_owned(), to }),
                None => Self::Files(data),
            },
            (None, None) => unreachable!("a process without a database server has a data folder"),
        })
    }

    /// Finds out whether a role's database would be refused, and changes nothing.
    async fn check(&self, role: &str, migrator: &'static Migrator) -> Result<(), StartError> {
        match self {
            Self::Files(data) => Db::check(&data.database(role), migrator).await,
            Self::Server(server) => server.check(role, migrator).await,
        }
        .map_err(refused)
    }

    /// Opens a role's database, and brings it up to date.
    pub(crate) async fn open(
        &self,
        role: &str,
        migrator: &'static Migrator,
    ) -> Result<Db, StartError> {
        match self {
            Self::Files(data) => Db::open(&data.database(role), migrator).await,
            Self::Server(server) => Db::connect(server, role, migrator).await,
        }
        .map_err(refused)
    }
}

impl Databases {
    /// Finds out whether any of them would be refused, before one is changed.
    pub(crate) async fn check(place: &Place<'_>) -> Result<(), StartError> {
        for (role, migrator) in ROLES {
            place.check(role, migrator).await?;
        }
        Ok(())
    }

    /// Opens all four, and brings each up to date.
    pub(crate) async fn open(place: &Place<'_>) -> Result<Self, StartError> {
        let (accounts, storage, billing, metering) = tokio::try_join!(
            place.open("accounts", &stowage_accounts::MIGRATOR),
            place.open("storage", &stowage_storage::MIGRATOR),
            place.open("billing", &stowage_billing::MIGRATOR),
            place.open("metering", &stowage_metering::MIGRATOR),
        )?;
        Ok(Self { accounts, storage, billing, metering })
    }

    /// Every database.
    pub(crate) fn all(&self) -> [&Db; 4] {
        [&self.accounts, &self.storage, &self.billing, &self.metering]
    }
}

/// The server that is configured.
pub(crate) fn server(config: &Database) -> Result<Option<Server>, StartError> {
    let url = config.full_url()?;
    let server = url.map(|url| Server::new(url.expose_secret())).transpose().map_err(refused)?;
    Ok(server.map(|server| server.with_connections_max(config.connections_max)))
}

/// Brings the schemas of all roles up to date; answers which they are.
pub(crate) async fn migrate(server: &Server) -> Result<Vec<&'static str>, StartError> {
    for (role, migrator) in ROLES {
        server.check(role, migrator).await.map_err(refused)?;
    }
    for (role, migrator) in ROLES {
        server.migrate(role, migrator).await.map_err(refused)?;
    }
    Ok(ROLES.map(|(role, _)| role).to_vec())
}

/// Adds what to do to what is wrong.
pub(crate) fn refused(source: OpenError) -> StartError {
    let advice = match &source {
        OpenError::Newer { .. } => {
            "start the newer program, or restore the data as it was before the upgrade"
        }
        OpenError::NotADatabase { .. } => "restore it from a backup",
        OpenError::NotWritable { .. } => "give this user the right to write it",
        OpenError::BadAddress => "set it as postgres://user:password@host/database",
        OpenError::Unreachable { .. } => "see whether the server runs and lets this user in",
        OpenError::Other { .. } => "see whether the disk is full; else restore it from a backup",
    };
    StartError::Database { source, advice }
}
