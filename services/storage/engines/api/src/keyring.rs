//! Secrets that an engine of ours has sealed under the master keys of the installation.

use time::OffsetDateTime;

/// A master key as it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterKey {
    /// Its number.
    pub version: u32,
    /// From when on records are sealed under it. `None`: from the beginning.
    pub usable_time: Option<OffsetDateTime>,
}

/// The master keys as an engine knows them, and what is sealed under each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineKeyring {
    /// Oldest first.
    pub master_keys: Vec<MasterKey>,
    /// The one that new records are sealed under.
    pub sealing_version: u32,
    /// Secrets of access keys by version; 0: damaged, so that it cannot be told.
    pub access_keys: Vec<(u32, u64)>,
}

/// What became of some records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Those that were moved.
    pub moved: u64,
    /// Those that do not open; they stay as they are, and the log names them.
    pub refused: u64,
    /// Where to go on. `None`: that was all.
    pub next: Option<String>,
}
