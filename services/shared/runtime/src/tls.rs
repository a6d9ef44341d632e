//! TLS from files, which are read again when they change: certificates are renewed while serving.
//!
//! A change that cannot be read leaves what was there in use, and is told in the log. Files are
//! looked at when a connection is made, once a second at most.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::BoxError;
use crate::port::Protocols;

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct TlsError {
    /// Which.
    pub path: PathBuf,
    /// Why: not there, not readable, not PEM, a key that does not fit …
    pub source: BoxError,
}

/// Who one is: the files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and the authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// TLS of a port.
pub struct ServerTls(Reloaded<ServerConfig>);

/// TLS of a caller.
pub struct ClientTls(Reloaded<ClientConfig>);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0.files).finish()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.files).finish()
    }
}

impl ServerTls {
    /// TLS with this identity. Where there is an authority, who calls must show a certificate that
    /// it has signed.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(
        identity: Identity,
        callers_ca: Option<PathBuf>,
        protocols: Protocols,
    ) -> Result<Self, TlsError> {
        let mut files = vec![identity.cert.clone(), identity.key.clone()];
        files.extend(callers_ca.clone());
        let build = move || server_config(&identity, callers_ca.as_deref(), protocols);
        Reloaded::new(files, build).map(Self)
    }

    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.get()).accept(stream).await
    }
}

impl ClientTls {
    /// Trusts what the authority has signed. Shows an identity where there is one.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(ca: PathBuf, identity: Option<Identity>) -> Result<Self, TlsError> {
        let mut files = vec![ca.clone()];
        files.extend(identity.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]));
        Reloaded::new(files, move || client_config(&ca, identity.as_ref())).map(Self)
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(self.0.get()).connect(name, stream).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(
    identity: &Identity,
    callers_ca: Option<&Path>,
    protocols: Protocols,
) -> Result<ServerConfig, TlsError> {
    let (chain, key) = read_identity(identity)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&identity.cert, error))?;
    let builder = match callers_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(read_roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| refused(ca, error))?)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| refused(&identity.cert, error))?;
    config.alpn_protocols = match protocols {
        Protocols::Http1 => vec![b"http/1.1".to_vec()],
        Protocols::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(config)
}

fn client_config(ca: &Path, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(ca, error))?
        .with_root_certificates(read_roots(ca)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| refused(&identity.cert, error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

type Chain = Vec<CertificateDer<'static>>;

fn read_identity(identity: &Identity) -> Result<(Chain, PrivateKeyDer<'static>), TlsError> {
    let key = PrivateKeyDer::from_pem_file(&identity.key);
    Ok((read_chain(&identity.cert)?, key.map_err(|error| refused(&identity.key, error))?))
}

fn read_chain(path: &Path) -> Result<Chain, TlsError> {
    let chain: Result<Chain, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| refused(path, error))?;
    match chain.is_empty() {
        true => Err(refused(path, "holds no certificate")),
        false => Ok(chain),
    }
}

/// Certificates of authorities, in PEM, for a client that is not ours.
///
/// # Errors
/// The file is not there, or holds none.
pub fn read_authorities(path: &Path) -> Result<String, TlsError> {
    read_roots(path)?;
    std::fs::read_to_string(path).map_err(|error| refused(path, error))
}

/// Certificates of authorities in a file.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|error| refused(path, error))?;
    }
    Ok(roots)
}

fn refused(path: &Path, source: impl Into<BoxError>) -> TlsError {
    TlsError { path: path.to_owned(), source: source.into() }
}

type Build<T> = Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>;

/// Something made of files, made anew when they change.
struct Reloaded<T> {
    files: Vec<PathBuf>,
    build: Build<T>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    value: Arc<T>,
    /// What the files looked like when they were last read, for good or bad.
    seen: Vec<Option<(SystemTime, u64)>>,
    next_look: Instant,
}

impl<T> Reloaded<T> {
    fn new(
        files: Vec<PathBuf>,
        build: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let seen = look(&files);
        let value = Arc::new(build()?);
        let current = Current { value, seen, next_look: Instant::now() + LOOK_EVERY };
        Ok(Self { files, build: Box::new(build), current: Mutex::new(current) })
    }

    fn get(&self) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= current.next_look {
            current.next_look = now + LOOK_EVERY;
            let seen = look(&self.files);
            if seen != current.seen {
                current.seen = seen;
                match (self.build)() {
                    Ok(value) => {
                        current.value = Arc::new(value);
                        tracing::info!(files = ?self.files, "read changed files of TLS");
                    }
                    Err(error) => {
                        tracing::error!(%error, "changed files of TLS are of no use; the old stay");
                    }
                }
            }
        }
        Arc::clone(&current.value)
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &PathBuf| {
        let file = path.metadata().ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    files.iter().map(stamp).collect()
}
