//! The file that administrators install in WHMCS, run by PHP, and the side that believes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stowage_provider::Provider as _;
use stowage_provider::signed::{SIGNATURE_HEADER, SignedMessage, TIMESTAMP_HEADER};
use stowage_types::SystemClock;
use tokio::net::TcpListener;

use crate::kit::{Notes, open_at, options};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const HOOK: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/billing/providers/whmcs/hook/stowage.php");

/// What came in: two headers, and a body.
type Message = (String, String, Vec<u8>);

async fn serve(listener: TcpListener, messages: Arc<Mutex<Vec<Message>>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let messages = Arc::clone(&messages);
        let service = service_fn(move |request: Request<Incoming>| {
            let messages = Arc::clone(&messages);
            async move {
                let header = |name| {
                    let value = request.headers().get(name).and_then(|own| own.to_str().ok());
                    value.unwrap_or_default().to_owned()
                };
                let (timestamp, signature) = (header(TIMESTAMP_HEADER), header(SIGNATURE_HEADER));
                let body = request.into_body().collect().await?.to_bytes().to_vec();
                messages.lock().unwrap().push((timestamp, signature, body));
                let mut response = Response::new(Full::<bytes::Bytes>::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok::<_, hyper::Error>(response)
            }
        });
        let served = hyper::server::conn::http1::Builder::new();
        tokio::spawn(served.serve_connection(TokioIo::new(stream), service));
    }
}

/// Fires every point with PHP, as WHMCS does; answers what the activity log has.
async fn fire(folder: &Path, config: Option<&str>) -> String {
    std::fs::create_dir_all(folder.join("includes/hooks")).expect("a folder");
    std::fs::copy(HOOK, folder.join("includes/hooks/stowage.php")).expect("the file is there");
    if let Some(config) = config {
        std::fs::write(folder.join("includes/stowage.config.php"), config).expect("a file");
    }
    let mut command = Command::new("timeout");
    command.arg("60").arg("php").args(["-r", include_str!("hook/fire.php")]);
    command.arg(folder).env("no_proxy", "*");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("the command can be waited for").expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "is PHP there? run `cargo xtask test`: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_php_sends_is_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/whmcs", listener.local_addr().expect("an address"));
    let messages = Arc::new(Mutex::new(Vec::new()));
    let serving = tokio::spawn(serve(listener, Arc::clone(&messages)));
    let folder = std::env::temp_dir().join(format!("stowage-hook-{}", std::process::id()));
    let config = format!("<?php return ['url' => '{url}', 'secret' => '{SECRET}'];");
    assert_eq!(fire(&folder, Some(&config)).await, "", "nothing is to be complained of");
    let mut options = options("http://127.0.0.1:1");
    options.hook_secret = Some(SECRET.to_owned().into());
    let provider = open_at(options, &Arc::new(Notes::default()), Arc::new(SystemClock));
    let mut told = BTreeMap::new();
    for (timestamp, signature, body) in messages.lock().unwrap().iter() {
        let message = SignedMessage { timestamp, signature, body };
        let hint = provider.read_message("whmcs", message).unwrap();
        assert!(provider.read_message("other", message).is_err(), "of another installation");
        let changed = SignedMessage { body: b"{}", ..message };
        assert!(provider.read_message("whmcs", changed).is_err(), "not what was signed");
        told.insert(hint.event, [hint.invoice_id, hint.order_id, hint.service_id]);
    }
    let (invoice, order, service) = (Some(2), Some(3), Some(4));
    for (name, ids) in [
        ("InvoicePaid", [invoice, None, None]),
        ("InvoiceCreated", [invoice, None, None]),
        ("OrderPaid", [invoice, order, None]),
        ("CancelOrder", [None, order, None]),
        ("CancellationRequest", [None, None, service]),
        ("ServiceDelete", [None, None, service]),
        ("AfterModuleTerminate", [None, None, service]),
    ] {
        assert_eq!(told.get(name), Some(&ids), "{name}");
    }
    assert_eq!(told.len(), 18);
    // Nobody listens: WHMCS goes on, and its log says so.
    serving.abort();
    let gone = "<?php return ['url' => 'http://127.0.0.1:1/', 'secret' => 'x'];";
    assert!(fire(&folder, Some(gone)).await.contains("Stowage was not told of InvoicePaid"));
    std::fs::remove_file(folder.join("includes/stowage.config.php")).expect("it is there");
    assert_eq!(fire(&folder, None).await, "", "without settings it does nothing");
    std::fs::remove_dir_all(&folder).expect("it is there");
}
