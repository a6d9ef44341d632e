//! An installation that bills by WHMCS: the whole product beside a simulator of it.

mod links;
mod reconcile;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use stowage_billing::{ProviderKind, Whmcs};
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{InvoiceState, ListInvoicesRequest, RecordPaymentRequest};
use stowage_testkit::{Account, Kit, Site, eventually, program};
use stowage_types::SystemClock;
use stowage_whmcs_simulator::{Cents, Chances, Settings, Simulator, Trouble};

use crate::hooks::{SECRET, secret_file, signed};

/// How long what is done in the background may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of the provider's, who is a customer of ours.
const CLIENT: &str = "anna@example.com";

/// An installation with one client and one product.
async fn a_simulator() -> Simulator {
    let simulator = Simulator::start(Settings::default(), Arc::new(SystemClock)).await;
    {
        let mut state = simulator.state();
        let euro = state.add_currency("EUR");
        state.add_client(CLIENT, euro);
        state.add_product("S3", &[(euro, "monthly", Cents(980))]);
    }
    simulator
}

struct Shop {
    kit: Kit,
    simulator: Simulator,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// With what the test sets besides, given the settings of an installation.
    async fn start_with(set: impl FnOnce(&mut stowage_billing::Config, &Whmcs)) -> Self {
        let simulator = a_simulator().await;
        let folder = tempfile::tempdir().expect("a folder");
        let whmcs = Whmcs {
            url: simulator.url(),
            identifier: "identifier".to_owned(),
            secret_file: secret_file(folder.path(), "secret", "secret"),
            access_key_file: None,
            ca: None,
            payment_method: "banktransfer".to_owned(),
            products: BTreeMap::from([("1".to_owned(), 1)]),
            overrides_price: true,
            module_terminate: false,
            mirror_ends: true,
            calls_per_second: 1000,
            number: 0,
            locations: Vec::new(),
            hook_secret_file: Some(secret_file(folder.path(), "hook", SECRET)),
        };
        let kit = Kit::start_with(|config| {
            config.billing.own.provider = ProviderKind::Whmcs;
            set(&mut config.billing.own, &whmcs);
            config.billing.own.whmcs = Some(whmcs);
            config.billing.own.suspend_after_days = Some(0);
            // No timer looks within a test: what is seen was told of.
            config.billing.own.dunning_interval_ms = 600_000;
        });
        Self { kit: kit.await, simulator, _folder: folder }
    }

    /// The status and the domain of every service there.
    fn services(&self) -> Vec<(String, String)> {
        let state = self.simulator.state();
        let service = |service: &stowage_whmcs_simulator::Service| {
            (service.status.clone(), service.domain.clone())
        };
        state.services.values().map(service).collect()
    }
}

/// Runs a command against the server of this process; answers its exit code and what it printed.
async fn admin(site: &Site, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program()).arg("admin").args(arguments).env_clear();
    command.env("STOWAGE_TOKEN", &site.admin_token);
    command.env("STOWAGE_ADDR", format!("http://{}", site.gateway));
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it can be waited for").expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().expect("it ended by itself"), printed)
}

async fn put(account: &Account, key: &str) -> bool {
    let put = account.s3().put_object().bucket(&account.bucket).key(key);
    put.body(Bytes::from_static(b"kept").into()).send().await.is_ok()
}

#[tokio::test]
async fn an_account_is_ordered_paid_and_ended_at_whmcs() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let anna = site.customer(CLIENT, "EUR").await;
    let plan_id = site.plans().await.0;
    // Answers are lost on the way; one order is one order all the same.
    shop.simulator.set_chances(Chances { drop_answer: 200, ..Chances::default() }, 7);
    let account = site.order(&anna.token, plan_id, "annas-bucket").await;
    shop.simulator.set_chances(Chances::default(), 7);
    assert!(put(&account, "one").await);
    let services = shop.services();
    assert_eq!(services.len(), 1, "{services:?}");
    assert_eq!(services[0].0, "Active");
    assert!(services[0].1.ends_with(".s3.invalid"), "{services:?}");
    let users = site.facade.action("get_users", &anna.token, &[]).await.success();
    assert_eq!(users["s3_users"][0]["billing"], "whmcs", "{users}");

    let mut invoices = InvoiceServiceClient::new(site.as_admin());
    let listing = ListInvoicesRequest { state: InvoiceState::Open.into(), ..Default::default() };
    let open = invoices.list_invoices(listing).await.expect("they are listed").into_inner();
    assert_eq!(open.invoices.len(), 1, "{open:?}");
    let invoice = &open.invoices[0];
    assert_eq!(invoice.s3uid, account.s3uid);
    let payment = RecordPaymentRequest {
        name: invoice.name.clone(),
        reference: "BANK-1".to_owned(),
        ..Default::default()
    };
    let paid = invoices.record_payment(payment).await.expect("it is booked").into_inner();
    assert_eq!(paid.state(), InvoiceState::Paid);

    let s3uid = [("s3uid", account.s3uid.as_str())];
    site.facade.action("delete_account", &anna.token, &s3uid).await.success();
    eventually("the service has ended", PATIENCE, async || {
        let services = shop.services();
        if services[0].0 == "Terminated" { Ok(()) } else { Err(format!("{services:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_location_is_billed_by_its_own_installation() {
    let dutch = a_simulator().await;
    let shop = Shop::start_with(|config, first| {
        let locations = vec!["NL".to_owned()];
        let other = Whmcs { url: dutch.url(), number: 7, locations, ..first.clone() };
        config.whmcs_at.insert("dutch".to_owned(), other);
    });
    let shop = shop.await;
    let site = &shop.kit.site;
    let anna = site.customer(CLIENT, "EUR").await;
    let plan_id = site.plans().await.0;
    let account = site.order(&anna.token, plan_id, "annas-bucket").await;
    assert!(put(&account, "one").await);
    assert_eq!(shop.services(), [], "the first bills what no other does");
    let domains: Vec<String> =
        dutch.state().services.values().map(|service| service.domain.clone()).collect();
    assert_eq!(domains.len(), 1, "{domains:?}");
    for (billing, count) in [("dutch", 1), ("whmcs", 0)] {
        let filter = [("billing", billing)];
        let users = site.facade.action("get_users", &anna.token, &filter).await.success();
        let users = users["s3_users"].as_array().expect("a list").clone();
        assert_eq!(users.len(), count, "{users:?}");
        assert!(users.iter().all(|user| user["billing"] == billing), "{users:?}");
    }
    let mut invoices = InvoiceServiceClient::new(site.as_admin());
    let listed = invoices.list_invoices(ListInvoicesRequest::default()).await;
    let listed = listed.expect("they are listed").into_inner().invoices;
    assert_eq!(listed[0].name, "invoices/7000000000001");
    let payment = RecordPaymentRequest {
        name: listed[0].name.clone(),
        reference: "BANK-1".to_owned(),
        ..Default::default()
    };
    let paid = invoices.record_payment(payment).await.expect("it is booked").into_inner();
    assert_eq!((paid.state(), paid.s3uid), (InvoiceState::Paid, account.s3uid));
}

#[tokio::test]
async fn who_is_no_client_is_refused_and_nothing_is_left_of_his_order() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let stranger = site.customer("stranger@example.com", "EUR").await;
    let plan_id = site.plans().await.0.to_string();
    let order = [("plan_id", plan_id.as_str()), ("bucket_name", "strange-bucket")];
    let refused = site.facade.action("create_order", &stranger.token, &order).await.failure();
    assert!(refused.contains("client"), "{refused}");
    assert_eq!(shop.services(), []);
}

#[tokio::test]
async fn an_outage_of_whmcs_stops_new_orders_and_nothing_else() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let anna = site.customer(CLIENT, "EUR").await;
    let plan_id = site.plans().await.0;
    let account = site.order(&anna.token, plan_id, "first-bucket").await;
    shop.simulator.set_chances(Chances { bad_gateway: 1000, ..Chances::default() }, 7);
    let id = plan_id.to_string();
    let order = [("plan_id", id.as_str()), ("bucket_name", "second-bucket")];
    let refused = site.facade.action("create_order", &anna.token, &order).await;
    assert_eq!(refused.status.as_u16(), 503, "{refused:?}");
    assert!(put(&account, "during").await);
    site.facade.action("list_plans", &anna.token, &[]).await.success();
    site.facade.action("get_users", &anna.token, &[]).await.success();
    shop.simulator.set_chances(Chances::default(), 7);
    assert_eq!(shop.services().len(), 1);
}

const HOOK: &str = "/hooks/whmcs/whmcs";

impl Shop {
    /// Tells of an event as the file in WHMCS does; answers the status, and whether it was told
    /// before.
    async fn tell(&self, event: &str, ids: serde_json::Value) -> (u16, bool) {
        let mut body = json!({"event": event, "nonce": event});
        let ids = ids.as_object().cloned().unwrap_or_default();
        body.as_object_mut().expect("an object").extend(ids);
        let request = signed(HOOK, 0, &body.to_string());
        let answer = self.kit.site.facade.send(request).await;
        (answer.status.as_u16(), answer.value()["repeated"] == true)
    }

    async fn comes_to(&self, token: &str, wanted: &str) {
        eventually(wanted, PATIENCE, async || {
            let users = self.kit.site.facade.action("get_users", token, &[]).await.success();
            let status = users["s3_users"][0]["status"].as_str().unwrap_or_default().to_owned();
            if status == wanted { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whmcs_tells_of_an_invoice_is_looked_at_now() {
    let shop = Shop::start().await;
    let anna = shop.kit.site.customer(CLIENT, "EUR").await;
    let plan_id = shop.kit.site.plans().await.0;
    shop.kit.site.order(&anna.token, plan_id, "annas-bucket").await;
    shop.comes_to(&anna.token, "active").await;
    let now = stowage_types::Clock::now(&SystemClock);
    let set = |status: &str| {
        let mut state = shop.simulator.state();
        let invoice = state.invoices.get_mut(&1).expect("it is there");
        status.clone_into(&mut invoice.status);
        invoice.due = time::Date::from_calendar_date(2026, time::Month::January, 1).expect("a day");
        invoice.paid = (status == "Paid").then_some(now);
    };
    // It says paid: what counts is what WHMCS says when it is asked.
    set("Unpaid");
    assert_eq!(shop.tell("InvoicePaid", json!({"invoiceid": 1})).await, (200, false));
    shop.comes_to(&anna.token, "suspended").await;
    set("Paid");
    assert_eq!(shop.tell("OrderPaid", json!({"invoiceid": "1", "orderid": 1})).await, (200, false));
    shop.comes_to(&anna.token, "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_has_ended_in_whmcs_is_told_of() {
    let shop = Shop::start().await;
    let anna = shop.kit.site.customer(CLIENT, "EUR").await;
    let plan_id = shop.kit.site.plans().await.0;
    shop.kit.site.order(&anna.token, plan_id, "annas-bucket").await;
    // Nothing differs yet, and what is not ours is no matter.
    for (event, ids) in [
        ("ServiceEdit", json!({"serviceid": 1})),
        ("AcceptOrder", json!({"orderid": 1})),
        ("ServiceEdit", json!({"serviceid": 77})),
        ("InvoicePaid", json!({"invoiceid": 77})),
        ("DailyCronJob", json!({})),
    ] {
        assert_eq!(shop.tell(event, ids).await.0, 200, "{event}");
    }
    "Terminated".clone_into(&mut shop.simulator.state().services.get_mut(&1).unwrap().status);
    let told = shop.tell("AfterModuleTerminate", json!({"serviceid": "1", "userid": 1})).await;
    assert_eq!(told, (200, false));
    let wanted = r#"stowage_billing_findings_total{kind="ended_there"} 1"#;
    eventually("it is told of", PATIENCE, async || {
        let metrics = shop.kit.site.facade.get("/metrics", &[]).await.text();
        if metrics.contains(wanted) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let metrics = shop.kit.site.facade.get("/metrics", &[]).await.text();
    assert_eq!(metrics.matches("stowage_billing_findings_total{").count(), 1, "and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_followed_is_taken_when_it_comes_again() {
    let shop = Shop::start().await;
    let anna = shop.kit.site.customer(CLIENT, "EUR").await;
    let plan_id = shop.kit.site.plans().await.0;
    shop.kit.site.order(&anna.token, plan_id, "annas-bucket").await;
    let body = r#"{"event":"InvoicePaid","nonce":"a","invoiceid":1}"#;
    // The same message, to the byte: one that is signed anew is another.
    let message = signed(HOOK, -1, body);
    let send = async || shop.kit.site.facade.send(message.clone()).await;
    shop.simulator.set_chances(Chances { bad_gateway: 1000, ..Chances::default() }, 7);
    let away = send().await;
    assert_eq!(away.status.as_u16(), 503, "{}", away.text());
    assert_eq!(away.headers["retry-after"], "5");
    shop.simulator.set_chances(Chances::default(), 7);
    for repeated in [false, true] {
        let answer = send().await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        assert_eq!(answer.value()["repeated"], repeated);
    }
    // What was changed, is stale, or for another installation is not believed.
    let other = signed("/hooks/whmcs/other", 0, body);
    let mut tampered = signed(HOOK, 0, body);
    *tampered.body_mut() = Bytes::from_static(br#"{"event":"InvoicePaid","invoiceid":2}"#);
    let nameless = signed(HOOK, 0, r#"{"invoiceid":1}"#);
    let long = signed(HOOK, 0, &format!("{body}{}", " ".repeat(16 * 1024)));
    for (request, status) in [
        (tampered, 401),
        (signed(HOOK, -310, body), 401),
        (nameless, 400),
        (other, 404),
        (long, 413),
    ] {
        let answer = shop.kit.site.facade.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_in_whmcs_is_heard() {
    let shop = Shop::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let whmcs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/billing/providers/whmcs");
    let hooks = folder.path().join("includes/hooks");
    std::fs::create_dir_all(&hooks).expect("a folder");
    std::fs::copy(format!("{whmcs}/hook/stowage.php"), hooks.join("stowage.php")).expect("a file");
    let url = format!("http://{}{HOOK}", shop.kit.site.gateway);
    let config = format!("<?php return ['url' => '{url}', 'secret' => '{SECRET}'];");
    std::fs::write(folder.path().join("includes/stowage.config.php"), config).expect("a file");
    let fire = include_str!("../../../whmcs-simulator/tests/it/hook/fire.php");
    let mut command = Command::new("timeout");
    command.args(["60", "php", "-r", fire]).arg(folder.path()).env("no_proxy", "*");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it can be waited for").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.is_empty(), "is PHP there? {said} {output:?}");
    let metrics = shop.kit.site.facade.get("/metrics", &[]).await.text();
    let taken = r#"stowage_gateway_hook_messages_total{hook="whmcs",status="200"} 18"#;
    assert!(metrics.contains(taken), "all eighteen points are heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_processor_reports_is_booked_in_whmcs_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = secret_file(folder.path(), "processors", SECRET);
    let set = |config: &mut stowage_billing::Config, _: &Whmcs| {
        config.payment_hook_secret_file = Some(file);
    };
    let shop = Shop::start_with(set).await;
    let anna = shop.kit.site.customer(CLIENT, "EUR").await;
    let plan_id = shop.kit.site.plans().await.0;
    shop.kit.site.order(&anna.token, plan_id, "annas-bucket").await;
    let report = async |payment: serde_json::Value| {
        let request = signed("/hooks/payments", 0, &payment.to_string());
        shop.kit.site.facade.send(request).await
    };
    let of = |amount: &str| {
        let reference = "PSP-1";
        json!({"reference": reference, "invoice": "1", "amount": amount, "currency": "EUR"})
    };
    // It is booked, and the answer is lost on the way.
    shop.simulator.will_for("AddInvoicePayment", Trouble::DropAnswer);
    let lost = report(of("9.80")).await;
    assert_eq!(lost.status.as_u16(), 503, "{}", lost.text());
    assert_eq!(report(of("9.81")).await.status.as_u16(), 409);
    for repeated in [false, true] {
        let answer = report(of("9.80")).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        assert_eq!(answer.value()["repeated"], repeated);
    }
    let (transactions, status) = {
        let state = shop.simulator.state();
        (state.transactions.len(), state.invoices[&1].status.clone())
    };
    assert_eq!((transactions, status.as_str()), (1, "Paid"));
    // Credit is a transaction without an invoice, under the same rule.
    let credit =
        json!({"reference": "PSP-2", "customer": anna.id, "amount": "5", "currency": "EUR"});
    for repeated in [false, true] {
        assert_eq!(report(credit.clone()).await.value()["repeated"], repeated);
    }
    assert_eq!(shop.simulator.state().credit_of(1), Cents(500));
}
