//! `[location.<CODE>]`: places whose engine is another server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use stowage_engine::Capabilities;
use stowage_runtime::Identity;
use stowage_storage::{LocationConfig, LocationState};

use super::sections::{Listener, address, half, identity};
use crate::data::read_secret;
use crate::error::StartError;

/// The kinds of engines that are other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum EngineKind {
    /// Ceph RADOS Gateway.
    #[serde(rename = "ceph-rgw")]
    CephRgw,
    /// Garage.
    #[serde(rename = "garage")]
    Garage,
    /// S3 with the users of IAM.
    #[serde(rename = "aws")]
    Aws,
}

impl EngineKind {
    /// What it can do.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::CephRgw => stowage_engine_ceph::CAPABILITIES,
            Self::Garage => stowage_engine_garage::CAPABILITIES,
            Self::Aws => stowage_engine_aws::CAPABILITIES,
        }
    }
}

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
        let has_token = self.engine == Some(EngineKind::Garage);
        let [of_key, of_token] =
            if self.engine.is_none() { [None; 2] } else { [Some(!has_token), Some(has_token)] };
        for (key, is_set, is_wanted) in [
            ("engine", self.engine.is_some(), Some(true)),
            ("endpoint", self.endpoint.is_some(), Some(true)),
            ("access_key", self.access_key.is_some(), of_key),
            ("secret_key_file", self.secret_key_file.is_some(), of_key),
            ("admin_token_file", self.admin_token_file.is_some(), of_token),
            ("admin_endpoint", self.admin_endpoint.is_some(), self.wants_admin_endpoint()),
            ("iam_endpoint", self.iam_endpoint.is_some(), self.wants_iam_endpoint()),
        ] {
            match is_wanted {
                Some(true) if !is_set => faults.push(format!("{key}: must be set")),
                Some(false) if is_set => faults.push(format!("{key}: this engine has none")),
                _ => {}
            }
        }
        if self.marker.is_empty() {
            faults.push("marker: must not be empty".to_owned());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.engine == Some(EngineKind::Aws) && !self.marker.chars().all(is_plain) {
            let why = "marker: is part of a path in IAM: letters, digits, dashes, dots";
            faults.push(why.to_owned());
        }
        faults.extend(self.check_front());
        if self.endpoint.is_some() {
            faults.extend(self.location(code).check());
        }
        faults
    }

    /// Garage's other port has S3; and IAM is what administers users of AWS.
    fn wants_admin_endpoint(&self) -> Option<bool> {
        match self.engine? {
            EngineKind::Garage => Some(true),
            EngineKind::Aws => Some(false),
            EngineKind::CephRgw => None,
        }
    }

    fn wants_iam_endpoint(&self) -> Option<bool> {
        (self.engine? != EngineKind::Aws).then_some(false)
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

    /// Where this program reaches its administration, and S3.
    #[must_use]
    pub fn endpoints(&self) -> (String, String) {
        let of_server = |own: &Option<String>| own.clone().or_else(|| self.endpoint.clone());
        let [admin, s3] = [&self.admin_endpoint, &self.s3_endpoint].map(of_server);
        (admin.unwrap_or_default(), s3.unwrap_or_default())
    }

    /// The secret of its administrator.
    ///
    /// # Errors
    /// [`StartError::Secret`]: the file is not there or of no use.
    pub fn secret_key(&self) -> Result<SecretString, StartError> {
        secret_in(self.secret_key_file.as_deref())
    }

    /// The token of its administration.
    ///
    /// # Errors
    /// [`StartError::Secret`]: the file is not there or of no use.
    pub fn admin_token(&self) -> Result<SecretString, StartError> {
        secret_in(self.admin_token_file.as_deref())
    }
}

fn some_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

fn secret_in(file: Option<&Path>) -> Result<SecretString, StartError> {
    let file = file.unwrap_or(Path::new(""));
    let missing = || StartError::Secret { path: file.to_owned(), why: "is missing".to_owned() };
    read_secret(file)?.ok_or_else(missing)
}
