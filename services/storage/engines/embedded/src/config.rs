//! What the engine has to know.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of the embedded engine.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Folder of all its data. Created if absent; one process at a time.
    pub root: PathBuf,
    /// Region that clients are told. It is not checked in signatures.
    pub region: String,
    /// Objects up to this many bytes lie in the index itself. Default 16 KiB.
    pub inline_bytes_max: u64,
    /// How often counted traffic is written into the index. Default 250 ms.
    pub flush_interval: Duration,
    /// How long a client may take to send a request's headers. Default 30 s.
    pub header_timeout: Duration,
    /// How long running requests may go on at shutdown. Default 10 s.
    pub drain_timeout: Duration,
    /// Connections at the same time. Default 1024; each may hold about 1 MiB of bodies.
    pub connections_max: usize,
}

impl EmbeddedConfig {
    /// The defaults, for data in `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, region: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            region: region.into(),
            inline_bytes_max: 16 * 1024,
            flush_interval: Duration::from_millis(250),
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            connections_max: 1024,
        }
    }
}
