//! Who has signed the certificates of servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use stowage_engine::BoxError;

/// The authorities that a server's certificate may be of.
#[derive(Debug, Clone, Default)]
pub enum Authorities {
    /// Those that the system trusts.
    #[default]
    System,
    /// Those of a file in PEM. It is read with each connection, so that they can be renewed.
    File(Arc<Path>),
    /// Those of a text in PEM.
    Pem(Arc<str>),
}

impl From<Option<PathBuf>> for Authorities {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::System, |path| Self::File(path.into()))
    }
}

impl Authorities {
    /// TLS with a server whose certificate is of one of them.
    pub(crate) fn tls(&self) -> Result<ClientConfig, BoxError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::File(path) => {
                for certificate in CertificateDer::pem_file_iter(path)? {
                    roots.add(certificate?)?;
                }
            }
            Self::Pem(text) => {
                for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                    roots.add(certificate?)?;
                }
            }
            // One that cannot be read is no reason to do without the others.
            Self::System => {
                let certificates = rustls_native_certs::load_native_certs().certs;
                let _ = roots.add_parsable_certificates(certificates);
            }
        }
        if roots.is_empty() {
            return Err("there is no certificate of an authority".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
