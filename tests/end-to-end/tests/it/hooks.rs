//! What payment processors report, over HTTP: by the script that the gateway's README shows, and
//! by a client that does what it should not.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{InvoiceState, ListInvoicesRequest};
use stowage_provider::signed::sign;
use stowage_testkit::{Answer, Kit, Site};
use stowage_types::{Clock as _, SystemClock};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file that nobody else may read.
pub(crate) fn secret_file(folder: &Path, name: &str, secret: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut file.expect("a file"), secret.as_bytes()).expect("written");
    path
}

/// A message signed so many seconds from now.
pub(crate) fn signed(path: &str, seconds: i64, body: &str) -> Request<Bytes> {
    let timestamp = (SystemClock.now().unix_timestamp() + seconds).to_string();
    let signature = sign(&SECRET.to_owned().into(), &timestamp, body.as_bytes());
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("x-stowage-timestamp", timestamp)
        .header("x-stowage-signature", signature);
    request.body(Bytes::from(body.to_owned())).expect("a request can be made")
}

async fn send(site: &Site, body: &Value) -> Answer {
    site.facade.send(signed("/hooks/payments", 0, &body.to_string())).await
}

/// The status, and the reason or the first bad field.
fn told(answer: &Answer) -> (u16, String) {
    let value = answer.value();
    let field = value["fields"][0]["field"].as_str();
    let what = field.or(value["reason"].as_str()).unwrap_or_default();
    (answer.status.as_u16(), what.to_owned())
}

async fn start(folder: &Path) -> Kit {
    let file = secret_file(folder, "processors", SECRET);
    Kit::start_with(|config| {
        config.billing.own.payment_hook_secret_file = Some(file);
    })
    .await
}

async fn invoices(site: &Site, state: InvoiceState) -> Vec<stowage_proto::billing::Invoice> {
    let mut client = InvoiceServiceClient::new(site.as_admin());
    let listing = ListInvoicesRequest { state: state.into(), ..Default::default() };
    client.list_invoices(listing).await.expect("they are listed").into_inner().invoices
}

/// The script in the README of the gateway, between its fences.
fn script() -> String {
    let readme = include_str!("../../../../gateway/README.md");
    let (_, rest) = readme.split_once("```python\n").expect("a script is shown");
    rest.split_once("```").expect("it ends").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_that_is_shown_reports_a_payment() {
    let folder = tempfile::tempdir().expect("a folder");
    let kit = start(folder.path()).await;
    let customer = kit.site.customer("pays@example.com", "EUR").await;
    let plan_id = kit.site.plans().await.0;
    kit.site.order(&customer.token, plan_id, "paid-by-script").await;
    let open = invoices(&kit.site, InvoiceState::Open).await.remove(0);
    let total = stowage_types::Money::from_proto(&open.total.clone().expect("a total"));
    let amount = total.expect("an amount").to_decimal_string();
    for repeated in ["false", "true"] {
        let mut command = Command::new("timeout");
        command.args(["60", "python3", "-c", &script()]);
        command.args(["PSP-1", &open.invoice_id.to_string(), &amount, "EUR"]);
        command.env("STOWAGE", format!("http://{}", kit.site.gateway));
        command.env("SECRET_FILE", folder.path().join("processors")).env("no_proxy", "*");
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("it can be waited for").expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "is Python there? {said} {errors}");
        assert!(said.contains(&format!(r#""repeated":{repeated}"#)), "{said}");
    }
    assert_eq!(invoices(&kit.site, InvoiceState::Open).await, []);
    let entries = crate::audit::entries_of(&kit.site.as_admin(), "").await;
    let of_payment: Vec<_> = entries.iter().filter(|own| own.event == "payment.recorded").collect();
    assert_eq!(of_payment.len(), 1, "{of_payment:?}");
    assert_eq!(of_payment[0].actor, "hooks/payments");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_booked_once_and_what_is_wrong_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let kit = start(folder.path()).await;
    let site = &kit.site;
    // He has never ordered: billing has not met him, accounts has.
    let customer = site.customer("new@example.com", "EUR").await;
    let credit = |reference: &str, customer: i64, amount: &str| {
        json!({ "reference": reference,
            "customer": customer, "amount": amount, "currency": "EUR" })
    };
    let good = credit("PSP-1", customer.id, "12.50");
    for repeated in [false, true, true] {
        let answer = send(site, &good).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        assert_eq!(answer.value()["repeated"], repeated);
    }
    for (body, expected) in [
        (credit("PSP-1", customer.id, "12.51"), (409, "PAYMENT_REFERENCE_REUSED")),
        (credit("PSP-2", 999_999, "1"), (404, "CUSTOMER_NOT_FOUND")),
        (credit("PSP-2", customer.id, "-1"), (400, "amount")),
        (credit("", customer.id, "1"), (400, "reference")),
        (json!({"reference": "PSP-2", "amount": "1", "currency": "EUR"}), (400, "invoice")),
        (
            json!({"reference": "PSP-2", "invoice": 99, "amount": "1", "currency": "EUR"}),
            (404, "INVOICE_NOT_FOUND"),
        ),
        (json!([]), (400, "body")),
    ] {
        let answer = send(site, &body).await;
        assert_eq!(told(&answer), (expected.0, expected.1.to_owned()), "{}", answer.text());
    }
    let path = "/hooks/payments";
    let body = credit("PSP-3", customer.id, "7").to_string();
    let (stale, early) = (signed(path, -310, &body), signed(path, 310, &body));
    let mut tampered = signed(path, 0, &body);
    *tampered.body_mut() = Bytes::from(body.replace('7', "700"));
    let mut unsigned = signed(path, 0, &body);
    unsigned.headers_mut().remove("x-stowage-signature");
    let long = signed(path, 0, &format!("{body}{}", " ".repeat(16 * 1024)));
    let reason = "SIGNATURE_INVALID";
    for (request, status, what) in [
        (stale, 401, reason),
        (early, 401, reason),
        (tampered, 401, reason),
        (unsigned, 400, "X-Stowage-Signature"),
        (long, 413, ""),
    ] {
        let answer = site.facade.send(request).await;
        assert_eq!(told(&answer), (status, what.to_owned()), "{}", answer.text());
    }
    // A message of before within its five minutes, again: it is the same payment.
    let again = signed(path, -280, &good.to_string());
    assert_eq!(site.facade.send(again).await.value()["repeated"], true);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nothing_is_taken() {
    let kit = Kit::start().await;
    for path in ["/hooks/payments", "/hooks/whmcs/whmcs", "/hooks/whmcs/ledger"] {
        let answer = kit.site.facade.send(signed(path, 0, "{}")).await;
        assert_eq!(told(&answer), (404, "HOOK_NOT_FOUND".to_owned()), "{path}");
    }
    kit.stop().await;
}
