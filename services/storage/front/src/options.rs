//! What a front has to know.

use std::path::PathBuf;
use std::time::Duration;

/// Where a front passes requests on to, and its bounds.
#[derive(Debug, Clone)]
pub struct FrontOptions {
    /// Where the engine's S3 is: `http(s)://host:port`, without a path.
    pub s3_endpoint: String,
    /// Certificates of the authority that has signed the engine's, in PEM. `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Buckets are named in hosts below this one, as the engine has it too: `s3.example.com`.
    /// `None`: they are named in paths only.
    pub domain: Option<String>,
    /// Connections of clients at the same time. Each has one to the engine, at most. Default 1024.
    pub connections_max: usize,
    /// How long a client may take to send a request's headers, and be idle. Default 30 s.
    pub header_timeout: Duration,
    /// Longest time a connection to the engine may take, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time in which nothing of a body moves: of a request's, before it is answered, or of
    /// an answer's, from the engine. Default 60 s.
    pub idle_timeout: Duration,
    /// Longest time that the engine may think about a request that it has whole. Default 5 min.
    pub answer_timeout: Duration,
    /// How long running requests may go on at shutdown. Default 10 s.
    pub drain_timeout: Duration,
}

impl FrontOptions {
    /// The defaults, before an engine whose S3 is at this address.
    #[must_use]
    pub fn new(s3_endpoint: impl Into<String>) -> Self {
        Self {
            s3_endpoint: s3_endpoint.into(),
            ca: None,
            domain: None,
            connections_max: 1024,
            header_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
