//! `[location.<CODE>]`: places whose engine is another server.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use stowage_storage::{LocationConfig, LocationState};

use crate::data::read_secret;
use crate::error::StartError;

/// The kinds of engines that are other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum EngineKind {
    /// Ceph RADOS Gateway.
    #[serde(rename = "ceph-rgw")]
    CephRgw,
}

/// A place and its engine. Fields without a default must be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocationSection {
    /// What kind of server it is.
    pub engine: Option<EngineKind>,
    /// URL that customers reach S3 at.
    pub endpoint: Option<String>,
    /// Region that S3 clients sign for. Default `us-east-1`.
    pub region: String,
    /// Classes of storage it offers. Default `standard`.
    pub storage_types: Vec<String>,
    /// `open`, or `draining`: it keeps its accounts and takes no new ones. Default `open`.
    pub state: LocationState,
    /// URL of its administration. Default: `endpoint`.
    pub admin_endpoint: Option<String>,
    /// URL at which this program reaches S3. Default: `endpoint`.
    pub s3_endpoint: Option<String>,
    /// Access key of its administrator.
    pub access_key: Option<String>,
    /// File of the secret of that key.
    pub secret_key_file: Option<PathBuf>,
    /// Certificates of the authority that has signed the server's, in PEM. Default: those that the
    /// system trusts.
    pub ca: Option<PathBuf>,
    /// Marks the users there that are ours: installations that share a server have different ones.
    /// Default `stowage`.
    pub marker: String,
}

impl Default for LocationSection {
    fn default() -> Self {
        Self {
            engine: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            storage_types: vec!["standard".to_owned()],
            state: LocationState::Open,
            admin_endpoint: None,
            s3_endpoint: None,
            access_key: None,
            secret_key_file: None,
            ca: None,
            marker: "stowage".to_owned(),
        }
    }
}

impl LocationSection {
    /// The location, if all that must be set is.
    pub(super) fn check(&self, code: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, is_set) in [
            ("engine", self.engine.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("access_key", self.access_key.is_some()),
            ("secret_key_file", self.secret_key_file.is_some()),
        ] {
            if !is_set {
                faults.push(format!("{key}: must be set"));
            }
        }
        if self.marker.is_empty() {
            faults.push("marker: must not be empty".to_owned());
        }
        if self.endpoint.is_some() {
            faults.extend(self.location(code).check());
        }
        faults
    }

    /// What customers see of it.
    #[must_use]
    pub fn location(&self, code: &str) -> LocationConfig {
        LocationConfig {
            code: code.to_owned(),
            endpoint: self.endpoint.clone().unwrap_or_default(),
            region: self.region.clone(),
            storage_types: self.storage_types.clone(),
            state: self.state,
        }
    }

    /// The secret of its administrator.
    ///
    /// # Errors
    /// [`StartError::Secret`]: the file is not there or of no use.
    pub fn secret_key(&self) -> Result<SecretString, StartError> {
        let file = self.secret_key_file.as_deref().unwrap_or(Path::new(""));
        let missing = || StartError::Secret { path: file.to_owned(), why: "is missing".to_owned() };
        read_secret(file)?.ok_or_else(missing)
    }
}
