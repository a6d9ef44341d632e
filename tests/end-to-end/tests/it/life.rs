//! An account through its life, with the real engine: suspended and resumed, its keys rotated, its
//! plan changed, and all parts in agreement.

use bytes::Bytes;
use stowage_proto::Money;
use stowage_proto::accounts as pb;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{
    CreatePlanRequest, InvoiceState, ListInvoicesRequest, Plan, PlanPrice, RecordPaymentRequest,
};
use stowage_testkit::{Account, Customer, Kit, Site, eventually, s3_client};

use crate::walk::SHOWN_WITHIN;

/// Bytes that fit into the small plan once, and not twice.
const OBJECT_BYTES: usize = 700_000;

/// A plan of one million bytes.
async fn small_plan(site: &Site) -> i64 {
    let money = |units, nanos| Some(Money { currency_code: "EUR".to_owned(), units, nanos });
    let price = PlanPrice {
        period_price: money(1, 0),
        storage_overage_price: money(0, 50_000_000),
        traffic_overage_price: money(0, 10_000_000),
    };
    let plan = Plan {
        title: "Small".to_owned(),
        storage_type: "standard".to_owned(),
        location: "locations/NL".to_owned(),
        prices: vec![price],
        quota_bytes: 1_000_000,
        ..Plan::default()
    };
    let request = CreatePlanRequest { plan: Some(plan), ..CreatePlanRequest::default() };
    let mut plans = PlanServiceClient::new(site.as_admin());
    plans.create_plan(request).await.expect("a plan is created").into_inner().plan_id
}

async fn put(account: &Account, key: &str) -> bool {
    let put = account.s3().put_object().bucket(&account.bucket).key(key);
    put.body(Bytes::from(vec![1; OBJECT_BYTES]).into()).send().await.is_ok()
}

async fn can_read(account: &Account, (access_key, secret_key): (&str, &str)) -> bool {
    let s3 = s3_client(&account.endpoint, access_key, secret_key);
    s3.get_object().bucket(&account.bucket).key("kept").send().await.is_ok()
}

/// Nothing differs between accounts, the engine and billing.
async fn assert_agreement(site: &Site) {
    let mut page_token = String::new();
    loop {
        let request = pb::ReconcileRequest { dry_run: true, page_token };
        let part = ReconcileServiceClient::new(site.as_admin()).reconcile(request).await;
        let part = part.expect("a part is looked at").into_inner();
        assert_eq!(part.findings, []);
        page_token = part.next_page_token;
        if page_token.is_empty() {
            return;
        }
    }
}

struct Shop {
    kit: Kit,
    customer: Customer,
    account: Account,
    name: String,
}

impl Shop {
    async fn start() -> Self {
        let shop = Self::with(Kit::start().await).await;
        assert!(put(&shop.account, "kept").await);
        shop
    }

    async fn with(kit: Kit) -> Self {
        let customer = kit.site.customer("lively@example.com", "EUR").await;
        let plan_id = kit.site.plans().await.0;
        let account = kit.site.order(&customer.token, plan_id, "lively").await;
        let name = format!("accounts/{}", account.s3uid);
        Self { kit, customer, account, name }
    }

    fn keys(&self) -> (&str, &str) {
        (&self.account.access_key, &self.account.secret_key)
    }

    /// Waits until `get_users` shows this status.
    async fn comes_to(&self, wanted: &str) {
        let look = async || match self.status().await {
            status if status == wanted => Ok(()),
            status => Err(status),
        };
        eventually(wanted, SHOWN_WITHIN, look).await;
    }

    /// The status that `get_users` shows.
    async fn status(&self) -> String {
        let site = &self.kit.site;
        let answer = site.facade.action("get_users", &self.customer.token, &[]).await.success();
        answer["s3_users"][0]["status"].as_str().expect("a text").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_account_is_refused_by_the_engine_and_loses_nothing() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let mut accounts = AccountServiceClient::new(site.as_admin());
    let suspend = pb::SuspendAccountRequest { name: shop.name.clone(), ..Default::default() };
    accounts.suspend_account(suspend).await.expect("it is suspended");
    assert!(!can_read(&shop.account, shop.keys()).await);
    assert_eq!(shop.status().await, "suspended");
    assert_agreement(site).await;
    let bucket = [("s3uid", shop.account.s3uid.as_str()), ("bucket_name", "lively-2")];
    let refused = site.facade.action("create_bucket", &shop.customer.token, &bucket).await;
    assert!(refused.failure().to_lowercase().contains("suspended"), "{}", refused.text());

    let resume = pb::ResumeAccountRequest { name: shop.name.clone(), ..Default::default() };
    accounts.resume_account(resume).await.expect("it is resumed");
    assert!(can_read(&shop.account, shop.keys()).await);
    assert_eq!(shop.status().await, "active");
    assert_agreement(site).await;
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_invoice_holds_the_account_until_it_is_paid() {
    let kit = Kit::start_with(|config| {
        let billing = &mut config.billing.own;
        billing.invoice_due_days = 0;
        billing.suspend_after_days = Some(0);
        billing.dunning_interval_ms = 50;
    });
    let shop = Shop::with(kit.await).await;
    shop.comes_to("suspended").await;
    assert!(!put(&shop.account, "kept").await);

    let mut invoices = InvoiceServiceClient::new(shop.kit.site.as_admin());
    let list = ListInvoicesRequest { state: InvoiceState::Open.into(), ..Default::default() };
    let open = invoices.list_invoices(list).await.expect("they are listed").into_inner().invoices;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0].s3uid, open[0].overdue_time.is_some()), (&shop.account.s3uid, true));
    let payment = RecordPaymentRequest {
        name: open[0].name.clone(),
        reference: "BANK-1".to_owned(),
        ..Default::default()
    };
    let paid = invoices.record_payment(payment).await.expect("it is booked").into_inner();
    assert_eq!(paid.state(), InvoiceState::Paid);
    shop.comes_to("active").await;
    assert!(put(&shop.account, "kept").await);
    assert_agreement(&shop.kit.site).await;
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_works_beside_the_old_one_until_that_is_revoked() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let mut accounts = AccountServiceClient::new(site.with_token(&shop.customer.token));
    let rotate = pb::RotateAccessKeyRequest { name: shop.name.clone(), ..Default::default() };
    let new = accounts.rotate_access_key(rotate).await.expect("a key is made").into_inner();
    let new_keys = (new.access_key.as_str(), new.secret_key.as_str());
    assert!(can_read(&shop.account, new_keys).await);
    assert!(can_read(&shop.account, shop.keys()).await);
    // Clients that ask get the new one.
    let shown = site.show_key(&shop.customer.token, &shop.account.s3uid, "secret_key").await;
    assert_eq!(shown, new.secret_key);
    assert_agreement(site).await;
    eventually("both have been used", SHOWN_WITHIN, async || {
        let list = pb::ListAccessKeysRequest {
            parent: shop.name.clone(),
            with_usage: true,
            ..Default::default()
        };
        let keys = accounts.clone().list_access_keys(list).await.expect("keys are listed");
        let keys = keys.into_inner().access_keys;
        let is_used = |key: &pb::AccessKey| key.last_use_time.is_some();
        if keys.len() == 2 && keys.iter().all(is_used) { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
    let revoke = pb::RevokeAccessKeyRequest {
        name: shop.name.clone(),
        access_key: shop.account.access_key.clone(),
        ..Default::default()
    };
    accounts.revoke_access_key(revoke).await.expect("it is revoked");
    assert!(!can_read(&shop.account, shop.keys()).await);
    assert!(can_read(&shop.account, new_keys).await);
    assert_agreement(site).await;
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_plan_sets_the_quota_at_once_and_takes_nothing_away() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let plan_id = small_plan(site).await;
    let mut accounts = AccountServiceClient::new(site.with_token(&shop.customer.token));
    let change = |plan_id: i64| pb::ChangeAccountPlanRequest {
        name: shop.name.clone(),
        plan: format!("plans/{plan_id}"),
        ..Default::default()
    };
    let changed = accounts.change_account_plan(change(plan_id)).await.expect("it is moved");
    assert_eq!(changed.into_inner().quota_bytes, 1_000_000);
    assert!(can_read(&shop.account, shop.keys()).await);
    assert!(!put(&shop.account, "too-much").await);
    assert_agreement(site).await;
    let back = site.plans().await.0;
    accounts.change_account_plan(change(back)).await.expect("it is moved back");
    assert!(put(&shop.account, "fits-again").await);
    assert_agreement(site).await;
    shop.kit.stop().await;
}
