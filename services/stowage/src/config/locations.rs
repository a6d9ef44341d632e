//! `[location.<CODE>]`: places whose engine is another server.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use stowage_runtime::Identity;
use stowage_storage::{EngineSettings, LocationConfig, LocationState};

use super::EngineKind;
use super::sections::{Listener, address, half, identity};
use crate::data::secret_in;
use crate::error::StartError;
use crate::opener::Given;

/// `[location.<CODE>.front]`: a port before the engine's S3 that counts what moves.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontSection {
    /// Where it listens; port 0 takes a free one. Must be set.
    #[serde(deserialize_with = "some_address")]
    pub addr: Option<SocketAddr>,
    /// Whether it may listen without TLS on an address that is not loopback. Default `false`.
    pub plaintext: bool,
    /// Certificate of the port, in PEM; together with `tls_key`. Default: in the clear.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Buckets are named in hosts below this one, as the engine has it too: `s3.fr.example.com`.
    /// Default: in paths only.
    pub domain: Option<String>,
}

impl FrontSection {
    /// What its port shows, if it has TLS.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(&self.tls_cert, &self.tls_key)
    }

    pub(super) fn listener(&self, code: &str) -> Option<Listener> {
        Some(Listener {
            section: format!("location.{code}.front"),
            addr: self.addr?,
            has_tls: self.identity().is_some(),
            plaintext: self.plaintext,
        })
    }

    fn check(&self) -> Vec<String> {
        let mut faults: Vec<_> =
            half("tls_cert", &self.tls_cert, "tls_key", &self.tls_key).into_iter().collect();
        if self.addr.is_none() {
            faults.push("addr: must be set".to_owned());
        }
        let is_part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if let Some(domain) = self.domain.as_deref().filter(|name| !name.split('.').all(is_part)) {
            faults.push(format!("domain: {domain:?} is not a host such as s3.example.com"));
        }
        faults
    }
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
    /// URL of IAM, where users are made by it: `aws`. Default `https://iam.amazonaws.com`.
    pub iam_endpoint: Option<String>,
    /// URL at which this program reaches S3. Default: `endpoint`.
    pub s3_endpoint: Option<String>,
    /// Access key of its administrator, where the engine has one: `ceph-rgw`, `aws`.
    pub access_key: Option<String>,
    /// File of the secret of that key.
    pub secret_key_file: Option<PathBuf>,
    /// File of the token of its administration, where the engine has one: `garage`.
    pub admin_token_file: Option<PathBuf>,
    /// Certificates of the authority that has signed the server's, in PEM. Default: those that the
    /// system trusts.
    pub ca: Option<PathBuf>,
    /// Counts traffic, where the engine does not: `garage`. `endpoint` is its then. Default: none.
    pub front: Option<FrontSection>,
    /// Marks the users or keys there that are ours: installations that share a server have
    /// different ones. Default `stowage`.
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
            iam_endpoint: None,
            s3_endpoint: None,
            access_key: None,
            secret_key_file: None,
            admin_token_file: None,
            ca: None,
            front: None,
            marker: "stowage".to_owned(),
        }
    }
}

impl LocationSection {
    /// The location, if all that must be set is.
    pub(super) fn check(&self, code: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, is_set) in
            [("engine", self.engine.is_some()), ("endpoint", self.endpoint.is_some())]
        {
            if !is_set {
                faults.push(format!("{key}: must be set"));
            }
        }
        let given = Given {
            access_key: self.access_key.is_some(),
            secret_key: self.secret_key_file.is_some(),
            admin_token: self.admin_token_file.is_some(),
            admin_endpoint: self.admin_endpoint.is_some(),
            iam_endpoint: self.iam_endpoint.is_some(),
        };
        for (setting, why) in self.engine.map(|kind| kind.faults(given)).unwrap_or_default() {
            // Secrets come from files.
            let file = if matches!(setting, "secret_key" | "admin_token") { "_file" } else { "" };
            faults.push(format!("{setting}{file}: {why}"));
        }
        if self.marker.is_empty() {
            faults.push("marker: must not be empty".to_owned());
        }
        let marker = self.engine.and_then(|kind| kind.fault_of_marker(&self.marker));
        faults.extend(marker.map(|why| format!("marker: {why}")));
        faults.extend(self.check_front());
        if self.endpoint.is_some() {
            faults.extend(self.location(code).check());
        }
        faults
    }

    fn check_front(&self) -> Vec<String> {
        let Some(front) = &self.front else { return Vec::new() };
        let named = |fault: String| format!("front.{fault}");
        let mut faults: Vec<_> = front.check().into_iter().map(named).collect();
        if self.engine.is_some_and(|kind| kind.capabilities().traffic) {
            let why = "front: this engine counts traffic itself, so that it would count twice";
            faults.push(why.to_owned());
        }
        if self.s3_endpoint.is_none() {
            let why = "s3_endpoint: must be set with front, which passes on to it: endpoint is \
                       the front's own";
            faults.push(why.to_owned());
        } else if self.s3_endpoint == self.endpoint {
            let why = "s3_endpoint: is the same as endpoint, so that customers would pass by the \
                       front";
            faults.push(why.to_owned());
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

    /// How its engine is reached, without secrets. `None`: no engine is named.
    #[must_use]
    pub fn reached(&self) -> Option<EngineSettings> {
        Some(EngineSettings {
            engine: self.engine?.name().to_owned(),
            admin_endpoint: self.admin_endpoint.clone(),
            s3_endpoint: self.s3_endpoint.clone(),
            iam_endpoint: self.iam_endpoint.clone(),
            access_key: self.access_key.clone(),
            secret_key: None,
            admin_token: None,
            ca_pem: None,
            marker: self.marker.clone(),
        })
    }

    /// The same, with secrets.
    ///
    /// # Errors
    /// [`StartError::Secret`]: a file is not there or of no use.
    pub fn settings(&self) -> Result<Option<EngineSettings>, StartError> {
        let Some(reached) = self.reached() else { return Ok(None) };
        let secret = |file: &Option<PathBuf>| file.as_deref().map(secret_in).transpose();
        let (secret_key, admin_token) =
            (secret(&self.secret_key_file)?, secret(&self.admin_token_file)?);
        Ok(Some(EngineSettings { secret_key, admin_token, ..reached }))
    }
}

fn some_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}
