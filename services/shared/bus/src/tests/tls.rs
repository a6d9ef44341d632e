//! TLS in front of the broker, by an authority that no system knows.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Ends TLS and passes on what it carries. Dropped, it is gone.
pub(super) struct Tls {
    pub(super) url: String,
    /// The authority's certificate.
    pub(super) ca: NamedTempFile,
    refused: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Tls {
    /// In front of the broker at `url`.
    pub(super) async fn start(url: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut ca = NamedTempFile::new().unwrap();
        ca.write_all(authority.pem().as_bytes()).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let broker = url.split("://").nth(1).unwrap().split('/').next().unwrap();
        let broker = broker.split('@').next_back().unwrap().to_owned();
        let url = url.replace(&broker, &own).replace("amqp://", "amqps://");
        let refused = Arc::default();
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, acceptor(&authority), broker, Arc::clone(&refused)));
        Self { url, ca, refused, _listening: listening }
    }

    /// How many callers did not trust it.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

fn acceptor(authority: &CertifiedIssuer<'_, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    broker: String,
    refused: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (acceptor, broker, refused) = (acceptor.clone(), broker.clone(), Arc::clone(&refused));
        connections.spawn(async move {
            let Ok(mut client) = acceptor.accept(client).await else {
                refused.fetch_add(1, Ordering::SeqCst);
                return;
            };
            let Ok(mut broker) = TcpStream::connect(broker).await else { return };
            // However it ends: the bus notices.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
        });
    }
}
