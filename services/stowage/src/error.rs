//! Why the server does not start, in words for the person at the terminal: what is wrong, where,
//! and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use stowage_db::OpenError;
use stowage_runtime::TlsError;

use crate::config::Faults;

/// Any error, as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the server does not start. Nothing keeps running behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}\nnothing was started")]
    Config(#[from] Faults),
    /// A listener cannot be bound.
    #[error(
        "cannot listen on {addr} for {what}: {source}; \
         set another address with {setting} ({variable})"
    )]
    Listen {
        /// `HTTP and gRPC`.
        what: &'static str,
        /// Where it should listen.
        addr: SocketAddr,
        /// `gateway.addr`.
        setting: &'static str,
        /// `STOWAGE_GATEWAY_ADDR`.
        variable: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the data folder.
    #[error(
        "another Stowage{} uses the data folder {path:?}; stop it, or set another folder with \
         data_dir (STOWAGE_DATA_DIR)",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// The other process, if it is known.
        pid: Option<u32>,
    },
    /// The data folder, or a file in it, cannot be made or written.
    #[error(
        "{path:?} cannot be {deed}: {source}; make room or give this user the right to it, or set \
         another folder with data_dir (STOWAGE_DATA_DIR)"
    )]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// `made`, `written to`, `locked`.
        deed: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The databases of the data folder are not those in use any more.
    #[error(
        "the databases in {path:?} were copied to {to}; set STOWAGE_DATABASE_URL to it. To go back \
         to the files, and lose what happened since, remove the file databases-moved there"
    )]
    Moved {
        /// The data folder.
        path: PathBuf,
        /// Where they are now.
        to: String,
    },
    /// A secret is refused.
    #[error("the secret in {path:?} {why}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// A sentence without its subject.
        why: String,
    },
    /// A file of TLS is of no use.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A database is refused.
    #[error("{source}; {advice}. No data was touched")]
    Database {
        /// Which file, and why.
        source: OpenError,
        /// What to do.
        advice: &'static str,
    },
    /// A part does not come up.
    #[error("{part} does not start: {source}")]
    Part {
        /// `accounts`, `the embedded engine`.
        part: &'static str,
        /// Why.
        source: BoxError,
    },
}

impl StartError {
    /// The exit code: 2 for a wrong configuration, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Tls(_) => 2,
            _ => 1,
        }
    }
}
