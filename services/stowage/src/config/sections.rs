//! The sections that name places: where things listen, whom they call, which files they show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use stowage_runtime::Identity;
use toml::{Table, Value};

/// `[gateway]`: where it listens, and the settings of the gateway itself beside it.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub addr: SocketAddr,
    /// Whether it may listen without TLS on an address that is not loopback. Default `false`.
    pub plaintext: bool,
    /// Certificate of the port, in PEM; together with `tls_key`. Default: in the clear.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Every other key of the section.
    pub facade: stowage_gateway::Config,
}

/// `[s3]`: the embedded engine's endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Whether there is an embedded engine. Where not, every location has one of another server.
    /// Default `true`.
    #[serde(deserialize_with = "switch")]
    pub enabled: bool,
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:9000`.
    #[serde(deserialize_with = "address")]
    pub addr: SocketAddr,
    /// Whether it may listen without TLS on an address that is not loopback. Default `false`.
    pub plaintext: bool,
    /// Certificate of the port, in PEM; together with `tls_key`. Default: in the clear.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// URL that customers reach it at. Default `http://` or `https://` and the address.
    pub endpoint: Option<String>,
    /// Region that S3 clients sign for. Default `us-east-1`.
    pub region: String,
}

/// `[accounts]`, `[storage]`, `[billing]`, `[metering]`: where a role listens when it has a process
/// of its own, where others find it then, and the settings of the role itself.
#[derive(Debug)]
pub struct RoleSection<C> {
    /// Where it listens; port 0 takes a free one. Default: loopback, 7101 and the following.
    pub addr: SocketAddr,
    /// Where others find it: URLs, in the environment separated by commas. Default: `addr`'s.
    pub url: Vec<String>,
    /// Every other key of the section.
    pub own: C,
}

/// `[tls]`: TLS between roles. With a certificate a role's port takes only callers that show one
/// of the same authority.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate of the authority that has signed all of them, in PEM.
    pub ca: Option<PathBuf>,
    /// Certificate of this process, in PEM; together with `key`.
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
}

/// Something that may listen.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The section that says where.
    pub section: String,
    /// Where.
    pub addr: SocketAddr,
    /// Whether by TLS.
    pub has_tls: bool,
    /// Whether its section allows that it is not.
    pub plaintext: bool,
}

impl Listener {
    /// Refuses to carry secrets in the clear over a network, unless told to in so many words.
    pub(super) fn check(self, insecure: bool) -> Option<String> {
        let Self { section, addr, has_tls, plaintext } = self;
        if addr.ip().is_loopback() || has_tls || plaintext || insecure {
            return None;
        }
        let has_own = section == "gateway" || section == "s3" || section.ends_with(".front");
        let how = match has_own {
            true => format!("{section}.tls_cert and {section}.tls_key"),
            false => "tls.ca, tls.cert and tls.key".to_owned(),
        };
        Some(format!(
            "{section}.addr: {addr} is not a loopback address, and without TLS tokens and keys \
             would travel in the clear; set {how}, or insecure = true (STOWAGE_INSECURE=1) if the \
             network is yours"
        ))
    }
}

impl Default for Gateway {
    fn default() -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let facade = stowage_gateway::Config::default();
        Self { addr, plaintext: false, tls_cert: None, tls_key: None, facade }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            enabled: true,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            plaintext: false,
            tls_cert: None,
            tls_key: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
        }
    }
}

impl<C> RoleSection<C> {
    /// Where others find it.
    #[must_use]
    pub fn urls(&self, has_tls: bool) -> Vec<String> {
        if !self.url.is_empty() {
            return self.url.clone();
        }
        let scheme = if has_tls { "https" } else { "http" };
        vec![format!("{scheme}://{}", reachable(self.addr))]
    }

    pub(super) fn check(&self, own: Vec<String>, has_ca: bool) -> Vec<String> {
        let mut faults = own;
        for url in &self.url {
            if !is_http_url(url)
                || !url.trim_end_matches('/').ends_with(|c: char| c.is_ascii_digit())
            {
                faults.push(format!("url: {url:?} is not a URL such as http://10.0.0.5:7101"));
            } else if url.starts_with("https://") && !has_ca {
                faults.push(format!("url: {url:?} needs TLS, and tls.ca is not set"));
            }
        }
        faults
    }
}

/// Takes what is beside the settings of a role or the gateway out of a section. `flatten` and
/// `deny_unknown_fields` of serde do not work together.
struct Beside {
    table: Table,
    names: &'static str,
}

impl Beside {
    fn of<'de, D: Deserializer<'de>>(input: D, names: &'static str) -> Result<Self, D::Error> {
        Ok(Self { table: Table::deserialize(input)?, names })
    }

    fn take<T, E>(&mut self, key: &str) -> Result<Option<T>, E>
    where
        T: de::DeserializeOwned,
        E: de::Error,
    {
        let value = self.table.remove(key);
        value.map(|value| value.try_into().map_err(E::custom)).transpose()
    }

    fn address<E: de::Error>(&mut self) -> Result<Option<SocketAddr>, E> {
        self.table.remove("addr").map(|addr| address(addr).map_err(E::custom)).transpose()
    }

    /// Reads the rest, which knows its own keys only.
    fn rest<C: de::DeserializeOwned, E: de::Error>(self) -> Result<C, E> {
        let own = format!(", expected one of {}, ", self.names);
        self.table.try_into().map_err(|error: toml::de::Error| {
            let message = error.message().replace("expected one of ", "expected ");
            E::custom(message.replace(", expected ", &own))
        })
    }
}

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = "`addr`, `plaintext`, `tls_cert`, `tls_key`";
        let mut beside = Beside::of(deserializer, names)?;
        let default = Self::default();
        Ok(Self {
            addr: beside.address()?.unwrap_or(default.addr),
            plaintext: beside.take("plaintext")?.unwrap_or(false),
            tls_cert: beside.take("tls_cert")?,
            tls_key: beside.take("tls_key")?,
            facade: beside.rest()?,
        })
    }
}

/// Port of a role, by the type of its settings.
trait DefaultPort {
    const PORT: u16;
}

impl DefaultPort for stowage_accounts::Config {
    const PORT: u16 = 7101;
}

impl DefaultPort for stowage_storage::Config {
    const PORT: u16 = 7102;
}

impl DefaultPort for stowage_billing::Config {
    const PORT: u16 = 7103;
}

impl DefaultPort for stowage_metering::Config {
    const PORT: u16 = 7104;
}

impl<C: DefaultPort + Default> Default for RoleSection<C> {
    fn default() -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, C::PORT));
        Self { addr, url: Vec::new(), own: C::default() }
    }
}

impl<'de, C: DefaultPort + Default + de::DeserializeOwned> Deserialize<'de> for RoleSection<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut beside = Beside::of(deserializer, "`addr`, `url`")?;
        let addr = beside.address()?.unwrap_or(Self::default().addr);
        let url = match beside.take("url")? {
            None => Vec::new(),
            // One that begins like this is read as a list afterwards.
            Some(Value::String(list)) if list.starts_with('[') => {
                return Err(de::Error::custom("expected URLs, separated by commas"));
            }
            Some(Value::String(list)) => list.split(',').map(|url| url.trim().to_owned()).collect(),
            Some(list) => list.try_into().map_err(de::Error::custom)?,
        };
        Ok(Self { addr, url, own: beside.rest()? })
    }
}

impl Gateway {
    /// What its port shows, if it has TLS.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(&self.tls_cert, &self.tls_key)
    }

    pub(super) fn check(&self) -> Vec<String> {
        let mut faults = self.facade.check();
        faults.extend(half("tls_cert", &self.tls_cert, "tls_key", &self.tls_key));
        faults
    }
}

impl S3 {
    /// What its port shows, if it has TLS.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(&self.tls_cert, &self.tls_key)
    }

    pub(super) fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(url) = self.endpoint.as_deref().filter(|url| !is_http_url(url)) {
            faults.push(format!(
                "endpoint: {url:?} is not a URL such as https://s3.example.com, without a path"
            ));
        }
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&self.region.len()) || !self.region.chars().all(named) {
            let region = &self.region;
            faults.push(format!("region: {region:?} is not a region such as us-east-1"));
        }
        if self.addr.ip().is_unspecified() && self.endpoint.is_none() {
            let addr = self.addr;
            faults.push(format!(
                "endpoint: must be set, since customers cannot be told to go to {addr}"
            ));
        }
        faults.extend(half("tls_cert", &self.tls_cert, "tls_key", &self.tls_key));
        faults
    }

    /// URL that customers reach the endpoint at, once it listens at `bound`.
    #[must_use]
    pub fn public_endpoint(&self, bound: SocketAddr) -> String {
        let scheme = if self.identity().is_some() { "https" } else { "http" };
        self.endpoint.clone().unwrap_or_else(|| format!("{scheme}://{bound}"))
    }
}

impl Tls {
    /// What this process shows to other roles.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(&self.cert, &self.key)
    }

    pub(super) fn check(&self) -> Vec<String> {
        let mut faults: Vec<_> = half("cert", &self.cert, "key", &self.key).into_iter().collect();
        if self.ca.is_none() && self.cert.is_some() {
            faults.push("ca: must be set with cert: callers are known by it".to_owned());
        }
        faults
    }
}

pub(super) fn identity(cert: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<Identity> {
    Some(Identity { cert: cert.clone()?, key: key.clone()? })
}

pub(super) fn half(
    one: &str,
    cert: &Option<PathBuf>,
    other: &str,
    key: &Option<PathBuf>,
) -> Option<String> {
    match (cert, key) {
        (Some(_), None) => Some(format!("{other}: must be set with {one}")),
        (None, Some(_)) => Some(format!("{one}: must be set with {other}")),
        _ => None,
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!("{text:?} is not an address and port such as 127.0.0.1:8080"))
    })
}

pub(super) fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    Ok(Some(SecretString::from(String::deserialize(deserializer)?)))
}

/// `true`, `1`, and their opposites.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Boolean(value) => Ok(value),
        Value::Integer(1) => Ok(true),
        Value::Integer(0) => Ok(false),
        _ => Err(de::Error::custom("expected true or false, 1 or 0")),
    }
}

/// Who listens everywhere listens on the loopback address too.
#[must_use]
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c))
    })
}
