//! The one configuration of the program: defaults, then a TOML file, then the environment.
//!
//! This is the only file that reads the environment; everything else is handed an
//! [`Environment`] or the [`Config`] made of it, so that tests never change their process.
//! The one exception are the variables `OTEL_*`, whose meaning is not ours: what is not in
//! `config/otlp.rs` OpenTelemetry's SDK reads itself, where an exporter is made.
//! Each setting is first tried alone, whatever else is wrong, so that one run names every fault
//! (`config/file.rs`).

mod file;
mod keyring;
mod locations;
mod otlp;
mod sections;
mod servers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use stowage_runtime::telemetry::LogFormat;
use toml::{Table, Value};

use crate::engines::LOCATION;
use file::{set, try_alone};

pub use crate::opener::EngineKind;
pub use keyring::Keyring;
pub use locations::{FrontSection, LocationSection};
pub use sections::{Gateway, Listener, RoleSection, S3, Tls, reachable};
pub use servers::{Amqp, Database};

/// Variables that are no settings of the server: the file itself, and those of the command line.
const NOT_SETTINGS: &[&str] = &["STOWAGE_CONFIG", "STOWAGE_ADDR", "STOWAGE_TOKEN"];

/// Sections that a variable `STOWAGE_<SECTION>_<KEY>` can name.
const SECTIONS: &[&str] = &[
    "gateway", "s3", "accounts", "storage", "billing", "metering", "database", "amqp", "tls",
    "keyring", "log",
];

/// Settings outside of sections, which `STOWAGE_<KEY>` names.
const KEYS: &[&str] = &["data_dir", "secrets_dir", "insecure"];

/// A setting whose variable is the name of its section: the text of master keys itself.
const KEYRING_TEXT: (&str, [&str; 2]) = ("keyring", ["keyring", "text"]);

/// The variables whose names begin with `STOWAGE_` or `OTEL_`. An empty one counts as not set.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        std::env::vars_os().filter_map(readable).collect()
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `STOWAGE_TOKEN`: the token of the command line.
    #[must_use]
    pub fn token(&self) -> Option<SecretString> {
        self.get("STOWAGE_TOKEN").map(SecretString::from)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let ours = |(name, value): &(String, String)| {
            let is_ours = name.starts_with("STOWAGE_") || name.starts_with("OTEL_");
            is_ours && !value.trim().is_empty()
        };
        Self(variables.into_iter().filter(ours).collect())
    }
}

impl fmt::Debug for Environment {
    /// Shows names only: a value may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Every fault of the configuration, found in one go.
#[derive(Debug, thiserror::Error)]
pub struct Faults(Vec<String>);

impl Faults {
    /// The faults, each a sentence that begins with the setting.
    #[must_use]
    pub fn list(&self) -> &[String] {
        &self.0
    }
}

impl From<Vec<String>> for Faults {
    fn from(faults: Vec<String>) -> Self {
        Self(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration has a fault:\n  - {one}"),
            many => {
                write!(f, "the configuration has {} faults:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
            }
        }
    }
}

/// All settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything durable is kept. Default `./stowage-data`.
    pub data_dir: PathBuf,
    /// Where the secrets are that all processes share, made by `stowage secrets make`. Default: the
    /// data folder, and then the first start of all roles in one process makes them.
    pub secrets_dir: Option<PathBuf>,
    /// Whether anything may listen without TLS on an address that is not loopback. Default
    /// `false`.
    #[serde(deserialize_with = "sections::switch")]
    pub insecure: bool,
    /// The HTTP facade and gRPC on one port.
    pub gateway: Gateway,
    /// The embedded engine and its S3 endpoint.
    pub s3: S3,
    /// Places whose engines are other servers, by code.
    pub location: BTreeMap<String, LocationSection>,
    /// The role accounts.
    pub accounts: RoleSection<stowage_accounts::Config>,
    /// The role storage.
    pub storage: RoleSection<stowage_storage::Config>,
    /// The role billing.
    pub billing: RoleSection<stowage_billing::Config>,
    /// The role metering.
    pub metering: RoleSection<stowage_metering::Config>,
    /// The database of production. Default: SQLite in the data folder.
    pub database: Database,
    /// The broker of production. Default: events stay in the process.
    pub amqp: Amqp,
    /// TLS between roles.
    pub tls: Tls,
    /// The master keys. Default: a file beside the other secrets.
    pub keyring: Keyring,
    /// What is logged, and how.
    pub log: Log,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or filters by module such as
    /// `info,stowage_accounts=debug`. Default `info`.
    pub level: String,
    /// Default `text`.
    pub format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./stowage-data"),
            secrets_dir: None,
            insecure: false,
            gateway: Gateway::default(),
            s3: S3::default(),
            location: BTreeMap::new(),
            accounts: RoleSection::default(),
            storage: RoleSection::default(),
            billing: RoleSection::default(),
            metering: RoleSection::default(),
            database: Database::default(),
            amqp: Amqp::default(),
            tls: Tls::default(),
            keyring: Keyring::default(),
            log: Log::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// Reads the file that `STOWAGE_CONFIG` names, if any, lays the environment over it, and
    /// checks the result.
    ///
    /// # Errors
    /// Every fault there is, those of the file, of the environment and of the values together.
    pub fn load(environment: &Environment) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut table = match environment.get("STOWAGE_CONFIG") {
            Some(path) => file::read(Path::new(path), &mut faults),
            None => Table::new(),
        };
        overlay(&mut table, environment, &mut faults);
        match table.try_into::<Self>() {
            Ok(config) => config.checked(faults),
            Err(error) => {
                if faults.is_empty() {
                    faults.push(error.message().to_owned());
                }
                Err(Faults(faults))
            }
        }
    }

    /// Checks the values of all sections.
    ///
    /// # Errors
    /// Every fault, those found `before` first.
    pub fn checked(self, before: Vec<String>) -> Result<Self, Faults> {
        let mut faults = before;
        self.check(&mut faults);
        if faults.is_empty() { Ok(self) } else { Err(Faults(faults)) }
    }

    /// Where the secrets are: a folder of their own, else the data folder.
    #[must_use]
    pub fn secrets_folder(&self) -> &Path {
        self.secrets_dir.as_deref().unwrap_or(&self.data_dir)
    }

    fn check(&self, faults: &mut Vec<String>) {
        if self.data_dir.as_os_str().is_empty() {
            faults.push("data_dir: is empty".to_owned());
        }
        for listener in self.listeners() {
            faults.extend(listener.check(self.insecure));
        }
        if self.s3.enabled && self.gateway.addr == self.s3.addr && self.s3.addr.port() != 0 {
            let addr = self.s3.addr;
            faults.push(format!("s3.addr: is {addr}, the same as gateway.addr; take another port"));
        }
        let mut section = |name: &str, found: Vec<String>| {
            let prefix = format!("{name}.");
            let named = |fault: String| match fault.starts_with(&prefix) {
                true => fault,
                false => format!("{prefix}{fault}"),
            };
            faults.extend(found.into_iter().map(named));
        };
        section("gateway", self.gateway.check());
        section("s3", self.s3.check());
        for (code, location) in &self.location {
            section(&format!("location.{code}"), location.check(code));
            if self.s3.enabled && code == LOCATION {
                let why = format!("{code}: is the embedded engine's; take another code");
                section("location", vec![why]);
            }
        }
        let has_tls = self.tls.ca.is_some();
        section("accounts", self.accounts.check(self.accounts.own.check(), has_tls));
        section("storage", self.storage.check(self.storage.own.check(), has_tls));
        section("billing", self.billing.check(self.billing.own.check(), has_tls));
        section("metering", self.metering.check(self.metering.own.check(), has_tls));
        section("database", self.database.check());
        section("amqp", self.amqp.check());
        section("tls", self.tls.check());
        section("keyring", self.keyring.check());
        section("log", self.log.check());
    }

    /// Everything that may listen.
    fn listeners(&self) -> Vec<Listener> {
        let roles = self.tls.identity().is_some();
        let at = |section: &str, addr, has_tls| Listener {
            section: section.to_owned(),
            addr,
            has_tls,
            plaintext: false,
        };
        let (gateway, s3) = (&self.gateway, &self.s3);
        let fronts = self.location.iter();
        let fronts = fronts.filter_map(|(code, at)| at.front.as_ref()?.listener(code));
        let mut all = vec![
            Listener {
                plaintext: gateway.plaintext,
                ..at("gateway", gateway.addr, gateway.identity().is_some())
            },
            // What does not listen needs no TLS.
            Listener {
                plaintext: s3.plaintext || !s3.enabled,
                ..at("s3", s3.addr, s3.identity().is_some())
            },
            at("accounts", self.accounts.addr, roles),
            at("storage", self.storage.addr, roles),
            at("billing", self.billing.addr, roles),
            at("metering", self.metering.addr, roles),
        ];
        all.extend(fronts);
        all
    }
}

impl Log {
    /// Stricter than the filter's own parser, which takes a misspelt level for a module's name.
    fn check(&self) -> Vec<String> {
        let is_level =
            |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text.trim());
        let is_good = |part: &str| match part.split_once('=') {
            Some((module, level)) => !module.trim().is_empty() && is_level(level),
            None => is_level(part),
        };
        let level = &self.level;
        if level.split(',').all(is_good) {
            return Vec::new();
        }
        vec![format!(
            "level: {level:?} is neither error, warn, info, debug, trace nor a list such as \
             info,stowage_accounts=debug"
        )]
    }
}

/// Lays the settings of the environment over `table`. A faulty one is reported and left out.
fn overlay(table: &mut Table, environment: &Environment, faults: &mut Vec<String>) {
    for (name, text) in &environment.0 {
        if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with("OTEL_") {
            continue;
        }
        let Some(path) = path_of(name) else {
            faults.push(format!("{name}: there is no such setting"));
            continue;
        };
        match typed(&path, text) {
            Ok(value) => set(table, &path, value),
            Err(why) => faults.push(format!("{name}: {why}")),
        }
    }
}

/// `STOWAGE_GATEWAY_ADDR` is `gateway.addr`.
fn path_of(variable: &str) -> Option<Vec<String>> {
    let name = variable.strip_prefix("STOWAGE_")?.to_ascii_lowercase();
    if KEYS.contains(&name.as_str()) {
        return Some(vec![name]);
    }
    if name == KEYRING_TEXT.0 {
        return Some(KEYRING_TEXT.1.map(str::to_owned).to_vec());
    }
    let (section, key) = name.split_once('_')?;
    SECTIONS.contains(&section).then(|| vec![section.to_owned(), key.to_owned()])
}

/// The value as the setting takes it: as it stands, or else read as a TOML number, boolean or
/// array.
fn typed(path: &[String], text: &str) -> Result<Value, String> {
    let as_text = Value::String(text.to_owned());
    let why = match try_alone(path, &as_text) {
        Ok(()) => return Ok(as_text),
        Err(why) => why,
    };
    let literal = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    match literal.filter(|value| !value.is_str() && !value.is_table()) {
        Some(value) => try_alone(path, &value).map(|()| value),
        None => Err(why),
    }
}
