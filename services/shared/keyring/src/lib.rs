//! Seals secrets that must be readable again: those of access keys, and credentials of outside
//! systems.
//!
//! Each record is encrypted with AES-256-GCM under a data key of its own; the data key is wrapped
//! by a versioned master key. Rotation adds a master key and rewraps data keys while serving: the
//! secrets themselves are not touched. Then the old master key is retired, and what is still
//! sealed under it does not open any more.
//!
//! # Several processes
//! All processes of an installation have the same master keys, each from its own [`Source`].
//! - A process that meets a version it does not know looks at its source once more before it
//!   refuses.
//! - Nothing is sealed under a new version before its time ([`Rules::usable_after`]), so that
//!   everybody has read it by then; a source that is copied to other machines needs that. Clocks
//!   that differ by less than this harm nothing.
//! - A version is not retired before its successor has been in use for [`Rules::retire_after`]:
//!   what was sealed under the old one by a call under way is in the database by then, and counted.
//!
//! # Invariants
//! - A sealed record opens only under the binding it was sealed with, so that a record moved to
//!   another row or purpose is refused.
//! - Master keys and data keys are wiped from memory on drop, and nothing here prints one.
//! - The file of master keys is readable by its owner only; a file that others can read is refused.
//! - A source that has become unusable, or whose keys are other ones, leaves those before in use.
//!
//! # Rejected
//! - One key for all records: a rotation would rewrite every secret, and one key would see too
//!   many random nonces.
//! - A key derived from a passphrase: an unattended start has none.
//! - The database's own encryption: its dumps and replicas would be readable.
//! - Looking at the source whenever a record is sealed or opened: a command may take seconds, and
//!   its callers run on threads that must not wait.
//!
//! Bytes of a record, format 1: `1`, master key version (u32, big-endian), nonce (12), wrapped data
//! key (48), nonce (12), ciphertext with tag. Both encryptions authenticate the binding and the
//! format; that of the data key the version too.

mod command;
mod error;
mod file;
mod keyring;
mod ring;
mod source;
mod text;

pub use error::Error;
pub use keyring::{Keyring, Rules, Version};
pub use ring::version_of;
pub use source::Source;

/// Most master keys a ring holds: a yearly rotation for the life of any installation.
pub const VERSIONS_MAX: usize = 64;

/// Most bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Bytes at the beginning of a record that say what it is sealed under; see [`version_of`].
pub const HEADER_BYTES: usize = 5;

#[cfg(test)]
mod tests;
