//! RGW behind TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use stowage_engine::{Engine, Error};
use stowage_engine_ceph::{Ceph, CephOptions, OpenError};
use stowage_types::{SystemClock, SystemRandom};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::kit::{account, bucket, engine_with, options, url};

/// What providers have in front of RGW: it takes TLS off. Answers its address.
async fn front(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (String, JoinSet<()>) {
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let upstream = url().trim_start_matches("http://").to_owned();
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, serving)
}

fn at(address: &str, ca: &Path) -> CephOptions {
    let mut options = options();
    options.admin_endpoint = address.to_owned();
    options.s3_endpoint = address.to_owned();
    options.ca = Some(ca.to_owned()).into();
    options
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (ours, other) = (make(), make());
    let (address, _serving) = front(&ours).await;
    let [ca, wrong] = ["ca.pem", "wrong.pem"].map(|name| folder.path().join(name));
    fs::write(&ca, ours.cert.pem()).unwrap();
    fs::write(&wrong, other.cert.pem()).unwrap();
    let engine = engine_with(at(&address, &ca));
    let spec = account(&engine).await;
    let name = bucket();
    engine.create_bucket(&spec.uid, &name).await.unwrap();
    engine.delete_bucket(&spec.uid, &name).await.unwrap();
    let refused = engine_with(at(&address, &wrong)).health().await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    fs::write(&wrong, "nothing").unwrap();
    let opened = Ceph::new(at(&address, &wrong), Arc::new(SystemClock), Arc::new(SystemRandom));
    assert!(matches!(opened, Err(OpenError::Authorities { .. })), "{opened:?}");
}
