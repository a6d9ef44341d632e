//! The sections of servers that are not ours: a database and a broker.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use stowage_db::connections_default;

use super::sections::secret;
use crate::data::read_secret;
use crate::error::StartError;

/// `[database]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// URL of a PostgreSQL database, in which each role has a schema of its own:
    /// `postgres://user:password@host/database`. Default: SQLite in the data folder.
    #[serde(deserialize_with = "secret")]
    pub url: Option<SecretString>,
    /// File of the password, where the URL has none.
    pub password_file: Option<PathBuf>,
    /// Connections of each role, at most; at least 2, at most 1000. Default: twice this machine's
    /// processors, 4 to 16. Twice the database server's are enough: more take turns on them, and
    /// the slowest answers take longer.
    pub connections_max: u32,
}

/// `[amqp]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    /// URL of a RabbitMQ broker: `amqp://user:password@host/vhost`. Default: events stay in the
    /// process, which only does where all roles are in it.
    #[serde(deserialize_with = "secret")]
    pub url: Option<SecretString>,
    /// File of the password, where the URL has none.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authority that has signed the broker's, in PEM, for `amqps://`. Default:
    /// those that the system trusts.
    pub ca: Option<PathBuf>,
    /// First part of all names at the broker, so that several installations can share a virtual
    /// host. Default `stowage`.
    pub namespace: Option<String>,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, password_file: None, connections_max: connections_default() }
    }
}

impl Database {
    pub(super) fn check(&self) -> Vec<String> {
        let form = ["postgres://", "postgresql://"];
        let mut faults =
            check_url(self.url.as_ref(), &form, "postgres://user:password@host/database");
        if !(2..=1000).contains(&self.connections_max) {
            faults.push("connections_max: must be between 2 and 1000".to_owned());
        }
        faults
    }

    /// The URL with the password in it.
    ///
    /// # Errors
    /// [`StartError::Secret`] of the password's file.
    pub fn full_url(&self) -> Result<Option<SecretString>, StartError> {
        full_url(self.url.as_ref(), self.password_file.as_deref())
    }
}

impl Amqp {
    pub(super) fn check(&self) -> Vec<String> {
        let form = "amqp://user:password@host/vhost";
        let mut faults = check_url(self.url.as_ref(), &["amqp://", "amqps://"], form);
        let is_tls = |url: &SecretString| url.expose_secret().starts_with("amqps:");
        if self.ca.is_some() && !self.url.as_ref().is_some_and(is_tls) {
            faults.push("ca: is of use only with a url that begins with amqps://".to_owned());
        }
        faults
    }

    /// The URL with the password in it.
    ///
    /// # Errors
    /// [`StartError::Secret`] of the password's file.
    pub fn full_url(&self) -> Result<Option<SecretString>, StartError> {
        full_url(self.url.as_ref(), self.password_file.as_deref())
    }
}

fn full_url(
    url: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, StartError> {
    let (Some(url), Some(file)) = (url, file) else { return Ok(url.cloned()) };
    let refused = |why: &str| StartError::Secret { path: file.to_owned(), why: why.to_owned() };
    let password = read_secret(file)?.ok_or_else(|| refused("is missing"))?;
    let with = with_password(url.expose_secret(), password.expose_secret());
    with.map(Some).ok_or_else(|| refused("is no use: the URL must name a user, and no password"))
}

/// Puts a password behind the user of a URL; `None` if there is no user, or a password already.
fn with_password(url: &str, password: &str) -> Option<SecretString> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, place) = rest.split_once('@')?;
    if user.is_empty() || user.contains(':') || user.contains('/') {
        return None;
    }
    let encoded: String = password
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    Some(SecretString::from(format!("{scheme}://{user}:{encoded}@{place}")))
}

/// Says nothing of the value: it may hold a password.
fn check_url(url: Option<&SecretString>, schemes: &[&str], form: &str) -> Vec<String> {
    let is_good =
        |url: &SecretString| schemes.iter().any(|scheme| url.expose_secret().starts_with(scheme));
    match url.is_none_or(is_good) {
        true => Vec::new(),
        false => vec![format!("url: is not a URL such as {form}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_behind_the_user_and_nowhere_else() {
        let with = |url| with_password(url, "p@ss/1:%");
        let full = with("postgres://stowage@db:5432/stowage?sslmode=require").unwrap();
        let expected = "postgres://stowage:p%40ss%2F1%3A%25@db:5432/stowage?sslmode=require";
        assert_eq!(full.expose_secret(), expected);
        for url in ["postgres://db/stowage", "postgres://a:b@db/x", "postgres://@db/x", "db"] {
            assert!(with(url).is_none(), "{url}");
        }
    }

    #[test]
    fn an_authority_of_the_broker_is_of_use_with_tls_alone() {
        let faults = |url: Option<&str>| {
            let url = url.map(|url| SecretString::from(url.to_owned()));
            Amqp { url, ca: Some("ca.pem".into()), ..Amqp::default() }.check()
        };
        assert_eq!(faults(Some("amqps://a@mq/%2f")), [""; 0]);
        for url in [Some("amqp://a@mq/%2f"), None] {
            assert!(faults(url)[0].starts_with("ca: "), "{url:?}");
        }
    }
}
