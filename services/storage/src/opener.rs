//! Engines of locations that are added while the role runs. What they are is the binary's affair;
//! this role keeps how they are reached, sealed, and has them opened.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stowage_engine::{BoxError, Engine};
use stowage_types::{ExposeSecret as _, SecretString, Violations};

use crate::LocationConfig;

/// How the engine of a location is reached, where that is another server.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What kind of server it is, as its `Capabilities::engine` says: `ceph-rgw`.
    pub engine: String,
    /// URL of its administration. `None`: the location's endpoint.
    pub admin_endpoint: Option<String>,
    /// URL at which this program reaches S3. `None`: the location's endpoint.
    pub s3_endpoint: Option<String>,
    /// URL of IAM, where users are made by it. `None`: AWS's own.
    pub iam_endpoint: Option<String>,
    /// Access key of its administrator, where the engine has one.
    pub access_key: Option<String>,
    /// Secret of that key.
    pub secret_key: Option<SecretString>,
    /// Token of its administration, where the engine has one.
    pub admin_token: Option<SecretString>,
    /// Certificates of the authority that has signed the server's, in PEM. `None`: as configured,
    /// or those that the system trusts.
    pub ca_pem: Option<String>,
    /// Marks the users or keys there that are ours.
    pub marker: String,
}

/// Opens engines.
#[async_trait]
pub trait EngineOpener: Send + Sync + std::fmt::Debug {
    /// Makes an engine. Nothing is asked of its server.
    ///
    /// # Errors
    /// What is wrong, by the path of the field in a request: `engine.secret_key`.
    fn open(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
    ) -> Result<Arc<dyn Engine>, Violations>;

    /// Asks the server of an engine whether all that it is reached by is right. Takes some seconds
    /// at most.
    ///
    /// # Errors
    /// What is wrong, by the path of the field in a request.
    async fn try_out(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
        engine: &dyn Engine,
    ) -> Result<(), Violations>;

    /// The code of a location in the configuration that is at the same server. Each of them would
    /// count all that moves there, whatever marks whose it is.
    fn find_configured(
        &self,
        location: &LocationConfig,
        settings: &EngineSettings,
    ) -> Option<String>;
}

impl EngineSettings {
    /// Where the administration is, of a location with that endpoint.
    #[must_use]
    pub fn admin_of<'a>(&'a self, endpoint: &'a str) -> &'a str {
        self.admin_endpoint.as_deref().unwrap_or(endpoint)
    }

    /// Where this program reaches S3, of a location with that endpoint.
    #[must_use]
    pub fn s3_of<'a>(&'a self, endpoint: &'a str) -> &'a str {
        self.s3_endpoint.as_deref().unwrap_or(endpoint)
    }

    /// Whether another engine is the same server, as far as addresses tell; each with the endpoint
    /// of its location.
    #[must_use]
    pub fn is_at_same(&self, endpoint: &str, (other, others): (&Self, &str)) -> bool {
        let bare = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        bare(self.admin_of(endpoint)) == bare(other.admin_of(others))
    }

    /// Whether all of it is the same, secrets included.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Stored::of(self) == Stored::of(other)
    }

    /// As it is sealed.
    pub(crate) fn to_text(&self) -> Result<SecretString, BoxError> {
        Ok(SecretString::from(serde_json::to_string(&Stored::of(self))?))
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(crate) fn of_text(text: &SecretString) -> Result<Self, BoxError> {
        let stored: Stored = serde_json::from_str(text.expose_secret())?;
        Ok(Self {
            engine: stored.engine,
            admin_endpoint: stored.admin_endpoint,
            s3_endpoint: stored.s3_endpoint,
            iam_endpoint: stored.iam_endpoint,
            access_key: stored.access_key,
            secret_key: stored.secret_key.map(SecretString::from),
            admin_token: stored.admin_token.map(SecretString::from),
            ca_pem: stored.ca_pem,
            marker: stored.marker,
        })
    }
}

/// The form of the sealed text. Fields are only ever added, each with a default.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    engine: String,
    admin_endpoint: Option<String>,
    s3_endpoint: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    admin_token: Option<String>,
    ca_pem: Option<String>,
    marker: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iam_endpoint: Option<String>,
}

impl Stored {
    fn of(settings: &EngineSettings) -> Self {
        let plain = |secret: &Option<SecretString>| {
            secret.as_ref().map(|secret| secret.expose_secret().to_owned())
        };
        Self {
            engine: settings.engine.clone(),
            admin_endpoint: settings.admin_endpoint.clone(),
            s3_endpoint: settings.s3_endpoint.clone(),
            iam_endpoint: settings.iam_endpoint.clone(),
            access_key: settings.access_key.clone(),
            secret_key: plain(&settings.secret_key),
            admin_token: plain(&settings.admin_token),
            ca_pem: settings.ca_pem.clone(),
            marker: settings.marker.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EngineSettings {
        EngineSettings {
            engine: "ceph-rgw".to_owned(),
            admin_endpoint: Some("https://rgw.internal:7480".to_owned()),
            s3_endpoint: None,
            iam_endpoint: None,
            access_key: Some("AK".to_owned()),
            secret_key: Some(SecretString::from("hush")),
            admin_token: None,
            ca_pem: Some("-----BEGIN\nx".to_owned()),
            marker: "stowage".to_owned(),
        }
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let text = settings().to_text().unwrap();
        let read = EngineSettings::of_text(&text).unwrap();
        assert!(read.is_same(&settings()));
        let other = EngineSettings { secret_key: Some(SecretString::from("other")), ..read };
        assert!(!other.is_same(&settings()), "another secret is another setting");
        assert!(!format!("{other:?}").contains("other\""), "secrets are not printed");
    }

    /// What is sealed in databases already must be read by every later version.
    #[test]
    fn the_stored_form_is_what_it_was() {
        let text = concat!(
            r#"{"engine":"garage","admin_endpoint":"http://10.0.0.5:3903","s3_endpoint":null,"#,
            r#""access_key":null,"secret_key":null,"admin_token":"hush","ca_pem":null,"#,
            r#""marker":"stowage"}"#,
        );
        let read = EngineSettings::of_text(&SecretString::from(text)).unwrap();
        assert_eq!((read.engine.as_str(), read.marker.as_str()), ("garage", "stowage"));
        assert_eq!(read.to_text().unwrap().expose_secret(), text);
    }

    #[test]
    fn a_server_is_told_by_the_address_of_its_administration() {
        let (of, there) = (settings(), "https://s3.de.example");
        let marker = "second".to_owned();
        let same = EngineSettings { admin_endpoint: None, marker, ..settings() };
        assert!(of.is_at_same(there, (&same, "https://RGW.internal:7480/")));
        assert!(!of.is_at_same(there, (&same, "https://other.internal:7480")));
    }
}
