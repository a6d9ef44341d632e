//! Why a keyring could not be used.

use time::OffsetDateTime;

use crate::{SECRET_BYTES_MAX, VERSIONS_MAX, text};

/// Why a keyring could not be loaded, or a record not sealed or opened. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of master keys is readable by others than its owner.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    ReadableByOthers {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The text of master keys is not one.
    #[error("{path} is not a text of master keys: line {line}: {why}")]
    Malformed {
        /// The file, the variable or the command.
        path: String,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The command did not answer the master keys.
    #[error("the command {program} {why}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What it did instead.
        why: String,
    },
    /// A master key that is in use was replaced by another one of the same version.
    #[error("master key {version} has become another key; the ones before stay in use")]
    Replaced {
        /// Its version.
        version: u32,
    },
    /// The source is not a file, so that only whoever fills it can change it.
    #[error("the master keys come from {origin}, which only you can change")]
    ReadOnly {
        /// `the environment` or `a command`.
        origin: &'static str,
    },
    /// The ring holds as many master keys as it may.
    #[error("the keyring holds {VERSIONS_MAX} master keys, the most it may")]
    Full,
    /// No master key of this ring has that version: the record cannot be opened with it.
    #[error("sealed under master key {version}, which this keyring has not")]
    UnknownVersion {
        /// The version in the record.
        version: u32,
    },
    /// New records are sealed under that master key.
    #[error("new records are sealed under master key {version}; rotate first")]
    Sealing {
        /// Its version.
        version: u32,
    },
    /// Another process, or a call under way, may still seal under that master key.
    #[error(
        "calls under way may still seal under master key {version}; retire it after {}",
        text::moment(*after)
    )]
    TooEarly {
        /// Its version.
        version: u32,
        /// From when on it can be retired.
        after: OffsetDateTime,
    },
    /// The record is damaged, was tampered with, or belongs to another binding.
    #[error("the sealed record is damaged or belongs elsewhere")]
    Refused,
    /// The secret is longer than [`SECRET_BYTES_MAX`].
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
}
