//! The one configuration of the program: defaults, then a TOML file, then the environment.
//!
//! This is the only file that reads the environment; everything else is handed an
//! [`Environment`] or the [`Config`] made of it, so that tests never change their process.
//! Each setting is first tried alone, whatever else is wrong, so that one run names every fault.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de};
use stowage_db::{CONNECTIONS_DEFAULT, Server};
use stowage_runtime::telemetry::LogFormat;
use toml::{Table, Value};

/// Variables that are no settings of the server: the file itself, and those of the command line.
const NOT_SETTINGS: &[&str] = &["STOWAGE_CONFIG", "STOWAGE_ADDR", "STOWAGE_TOKEN"];

/// Sections that a variable `STOWAGE_<SECTION>_<KEY>` can name.
const SECTIONS: &[&str] =
    &["database", "gateway", "s3", "accounts", "storage", "billing", "metering", "log"];

/// The variables whose names begin with `STOWAGE_`. An empty one counts as not set.
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
            name.starts_with("STOWAGE_") && !value.trim().is_empty()
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
    /// Where the roles keep their tables.
    pub database: Database,
    /// The HTTP facade and gRPC on one port.
    pub gateway: Gateway,
    /// The embedded S3 endpoint.
    pub s3: S3,
    /// The role accounts.
    pub accounts: stowage_accounts::Config,
    /// The role storage.
    pub storage: stowage_storage::Config,
    /// The role billing.
    pub billing: stowage_billing::Config,
    /// The role metering.
    pub metering: stowage_metering::Config,
    /// What is logged, and how.
    pub log: Log,
}

/// `[database]`: PostgreSQL for the roles' tables; without it each role has a SQLite file in the
/// data folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host:port/database?sslmode=verify-full`. Each role has a schema of
    /// its own name there. Default: none.
    #[serde(deserialize_with = "secret")]
    pub url: Option<SecretString>,
    /// Connections of each role, at most. Default 16, at least 2, at most 1000.
    pub connections_max: u32,
}

/// `[gateway]`: where it listens, and the settings of the gateway itself beside it.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub addr: SocketAddr,
    /// Whether it may listen without TLS on an address that is not loopback. Default `false`.
    pub plaintext: bool,
    /// Every other key of the section.
    pub facade: stowage_gateway::Config,
}

/// `[s3]`: the embedded engine's endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:9000`.
    #[serde(deserialize_with = "address")]
    pub addr: SocketAddr,
    /// Whether it may listen without TLS on an address that is not loopback. Default `false`.
    pub plaintext: bool,
    /// URL that customers reach it at. Default `http://` and the address.
    pub endpoint: Option<String>,
    /// Region that S3 clients sign for. Default `us-east-1`.
    pub region: String,
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
            database: Database::default(),
            gateway: Gateway::default(),
            s3: S3::default(),
            accounts: stowage_accounts::Config::default(),
            storage: stowage_storage::Config::default(),
            billing: stowage_billing::Config::default(),
            metering: stowage_metering::Config::default(),
            log: Log::default(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, connections_max: CONNECTIONS_DEFAULT }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        Self { addr, plaintext: false, facade: stowage_gateway::Config::default() }
    }
}

impl Default for S3 {
    fn default() -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
        Self { addr, plaintext: false, endpoint: None, region: "us-east-1".to_owned() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl<'de> Deserialize<'de> for Gateway {
    /// Takes its own keys out and gives the rest to the gateway, which refuses unknown ones;
    /// serde's `flatten` and `deny_unknown_fields` do not work together.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let mut gateway = Self::default();
        if let Some(addr) = table.remove("addr") {
            gateway.addr = address(addr).map_err(de::Error::custom)?;
        }
        if let Some(plaintext) = table.remove("plaintext") {
            gateway.plaintext = plaintext.try_into().map_err(de::Error::custom)?;
        }
        gateway.facade = table.try_into().map_err(|error: toml::de::Error| {
            let own = "expected one of `addr`, `plaintext`, ";
            de::Error::custom(error.message().replace("expected one of ", own))
        })?;
        Ok(gateway)
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Some(String::deserialize(deserializer)?.into()))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!("{text:?} is not an address and port such as 127.0.0.1:8080"))
    })
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
            Some(path) => read_file(Path::new(path), &mut faults),
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

    fn check(&self, faults: &mut Vec<String>) {
        if self.data_dir.as_os_str().is_empty() {
            faults.push("data_dir: is empty".to_owned());
        }
        check_listener("gateway", self.gateway.addr, self.gateway.plaintext, faults);
        check_listener("s3", self.s3.addr, self.s3.plaintext, faults);
        if self.gateway.addr == self.s3.addr && self.s3.addr.port() != 0 {
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
        section("database", self.database.check());
        section("gateway", self.gateway.facade.check());
        section("s3", self.s3.check().collect());
        section("accounts", self.accounts.check());
        section("storage", self.storage.check());
        section("billing", self.billing.check());
        section("metering", self.metering.check());
        section("log", self.log.check());
    }
}

impl Database {
    /// The server, if one is set.
    pub(crate) fn server(&self) -> Option<Result<Server, stowage_db::OpenError>> {
        let server = Server::new(self.url.as_ref()?.expose_secret());
        Some(server.map(|server| server.with_connections_max(self.connections_max)))
    }

    fn check(&self) -> Vec<String> {
        let bad = self.server().and_then(Result::err).map(|error| format!("url: {error}"));
        let is_bound = (2..=1000).contains(&self.connections_max);
        let bound = (!is_bound).then(|| "connections_max: must be from 2 to 1000".to_owned());
        bad.into_iter().chain(bound).collect()
    }
}

impl S3 {
    fn check(&self) -> impl Iterator<Item = String> {
        let endpoint = self.endpoint.as_deref().filter(|url| !is_http_url(url));
        let endpoint = endpoint.map(|url| {
            format!("endpoint: {url:?} is not a URL such as https://s3.example.com, without a path")
        });
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_region = (1..=64).contains(&self.region.len()) && self.region.chars().all(named);
        let region = (!is_region).then(|| {
            let region = &self.region;
            format!("region: {region:?} is not a region such as us-east-1")
        });
        let is_nowhere = self.addr.ip().is_unspecified() && self.endpoint.is_none();
        let unsaid = is_nowhere.then(|| {
            let addr = self.addr;
            format!("endpoint: must be set, since customers cannot be told to go to {addr}")
        });
        endpoint.into_iter().chain(region).chain(unsaid)
    }

    /// URL that customers reach the endpoint at, once it listens at `bound`.
    #[must_use]
    pub fn public_endpoint(&self, bound: SocketAddr) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("http://{bound}"))
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

fn check_listener(section: &str, addr: SocketAddr, plaintext: bool, faults: &mut Vec<String>) {
    if !addr.ip().is_loopback() && !plaintext {
        faults.push(format!(
            "{section}.addr: {addr} is not a loopback address, and without TLS tokens and keys \
             would travel in the clear; put a TLS proxy in front of a loopback address, or set \
             {section}.plaintext = true if the network is yours"
        ));
    }
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c))
    })
}

/// Reads the file, and tries each of its settings alone. A faulty one is reported and left out.
fn read_file(path: &Path, faults: &mut Vec<String>) -> Table {
    let shown = path.display();
    let parsed = std::fs::read_to_string(path)
        .map_err(|error| format!("STOWAGE_CONFIG: {shown} cannot be read: {error}"))
        .and_then(|text| {
            text.parse::<Table>().map_err(|e| format!("{shown} is not TOML: {}", e.message()))
        });
    let file = match parsed {
        Ok(file) => file,
        Err(fault) => {
            faults.push(fault);
            return Table::new();
        }
    };
    let mut table = Table::new();
    for (path, value) in leaves(&file) {
        match try_alone(&path, &value) {
            Ok(()) => set(&mut table, &path, value),
            Err(why) => faults.push(format!("{shown}: {}: {why}", path.join("."))),
        }
    }
    table
}

/// Lays the settings of the environment over `table`. A faulty one is reported and left out.
fn overlay(table: &mut Table, environment: &Environment, faults: &mut Vec<String>) {
    for (name, text) in &environment.0 {
        if NOT_SETTINGS.contains(&name.as_str()) {
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
    if name == "data_dir" {
        return Some(vec![name]);
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

/// Every setting of a file with its path. An empty section counts, so that an unknown one is seen.
fn leaves(table: &Table) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                for (mut path, leaf) in leaves(inner) {
                    path.insert(0, key.clone());
                    found.push((path, leaf));
                }
            }
            other => found.push((vec![key.clone()], other.clone())),
        }
    }
    found
}

fn try_alone(path: &[String], value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    set(&mut table, path, value.clone());
    match table.try_into::<Config>() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message().trim().replace('\n', " ")),
    }
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}
