//! TLS on both sides.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stowage_engine::Engine as _;
use stowage_engine_remote::{Authorities, Connector, check_answers};
use stowage_runtime::{Identity, Protocols, ServerTls};
use stowage_storage_front::FrontOptions;
use stowage_types::BucketName;

use crate::kit::{Kit, Settings, bytes};

#[tokio::test]
async fn both_sides_may_have_tls() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let identity = Identity { cert: cert.clone(), key };
    let tls = ServerTls::load(identity, None, Protocols::Http1).unwrap();
    let options = FrontOptions { ca: Some(cert.clone()), ..FrontOptions::new("") };
    let kit = Kit::with(Settings { options, tls: Some(Arc::new(tls)), owners: None }).await;
    let account = kit.account().await;
    let bucket = BucketName::new("sealed").unwrap();
    kit.engine.create_bucket(&account.uid, &bucket).await.unwrap();
    let connector = Connector::new(Some(cert), ["https:"; 2], Duration::from_secs(3)).unwrap();
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let url = account.presigned_put("sealed", "k").await.replace("http://", "https://");
    let put = http::Request::put(url).body(Full::from(bytes(100_000))).unwrap();
    assert_eq!(client.request(put).await.unwrap().status(), 200);
    let url = account.presigned_get("sealed", "k").await.replace("http://", "https://");
    let got = client.request(http::Request::get(url).body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), bytes(100_000));
    // The same authority as a text.
    let url = account.presigned_get("sealed", "k").await.replace("http://", "https://");
    let url: http::Uri = url.parse().unwrap();
    let address = format!("https://{}", url.authority().unwrap());
    let text = |of: &rcgen::Certificate| Authorities::Pem(of.pem().into());
    check_answers(&address, text(&made.cert), Duration::from_secs(3)).await.unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    for wrong in [text(&other.cert), Authorities::Pem("nothing".into()), Authorities::System] {
        let refused = check_answers(&address, wrong.clone(), Duration::from_secs(3)).await;
        assert!(refused.is_err(), "{wrong:?}");
    }
    assert_eq!(kit.sum(&account.uid, "sealed").await, [100_000, 100_000, 1, 1]);
}
