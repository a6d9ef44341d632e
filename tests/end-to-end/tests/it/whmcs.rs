//! An installation that bills by WHMCS: the whole product beside a simulator of it.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stowage_billing::{ProviderKind, Whmcs};
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{InvoiceState, ListInvoicesRequest, RecordPaymentRequest};
use stowage_testkit::{Account, Kit, eventually};
use stowage_types::SystemClock;
use stowage_whmcs_simulator::{Cents, Chances, Settings, Simulator};

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
        let secret_file = folder.path().join("secret");
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        let mut file = file.open(&secret_file).expect("a file");
        std::io::Write::write_all(&mut file, b"secret").expect("it is written");
        let whmcs = Whmcs {
            url: simulator.url(),
            identifier: "identifier".to_owned(),
            secret_file,
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
        };
        let kit = Kit::start_with(|config| {
            config.billing.own.provider = ProviderKind::Whmcs;
            set(&mut config.billing.own, &whmcs);
            config.billing.own.whmcs = Some(whmcs);
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
