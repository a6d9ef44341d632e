//! The walk-through of the README: a newcomer's first order, step by step.
//!
//! The steps are data, so that other tests can do something between any two of them.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use stowage_testkit::{Account, Customer, Kit, Site, eventually};

/// How long figures may take to travel over the bus. The promise is 5 s, and `cargo xtask bench`
/// measures it; the tests leave room for a machine that is busy with all of them.
pub(crate) const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// What the walk-through stores.
const CONTENT_BYTES: usize = 3 * 1024 * 1024;
const GB: f64 = 1024.0 * 1024.0 * 1024.0;
const KEY: &str = "holiday photos/été 2026.jpg";

/// One step of the walk-through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    CreateCustomer,
    Login,
    ListPlans,
    CreateOrder,
    ShowKeys,
    PutObject,
    GetObject,
    ListObjects,
    GetFiles,
    UsageIsShown,
    GetBuckets,
    History,
    Cancel,
    Withdraw,
    DeleteObject,
    DeleteAccount,
}

impl Step {
    pub(crate) const ALL: [Self; 16] = [
        Self::CreateCustomer,
        Self::Login,
        Self::ListPlans,
        Self::CreateOrder,
        Self::ShowKeys,
        Self::PutObject,
        Self::GetObject,
        Self::ListObjects,
        Self::GetFiles,
        Self::UsageIsShown,
        Self::GetBuckets,
        Self::History,
        Self::Cancel,
        Self::Withdraw,
        Self::DeleteObject,
        Self::DeleteAccount,
    ];
}

/// What was got on the way.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    customer: Option<Customer>,
    plan_id: String,
    order: Value,
    account: Option<Account>,
    done: Vec<Step>,
    /// Whether the server is killed on the way. Then traffic that was counted in the last moment
    /// before is lost, which the engine says it may be; nothing else is.
    is_killed: bool,
}

impl Walk {
    /// A walk in which the server is killed between steps.
    pub(crate) fn with_kills() -> Self {
        Self { is_killed: true, ..Self::default() }
    }

    /// Does a step and checks what it answers.
    pub(crate) async fn run(&mut self, site: &Site, step: Step) {
        match step {
            Step::CreateCustomer => self.create_customer(site).await,
            Step::Login => self.login(site).await,
            Step::ListPlans => self.list_plans(site).await,
            Step::CreateOrder => self.create_order(site).await,
            Step::ShowKeys => self.show_keys(site).await,
            Step::PutObject => self.put_object().await,
            Step::GetObject => self.get_object().await,
            Step::ListObjects => self.list_objects().await,
            Step::GetFiles => self.get_files(site).await,
            Step::UsageIsShown => self.usage_is_shown(site).await,
            Step::GetBuckets => self.get_buckets(site).await,
            Step::History => self.history(site).await,
            Step::Cancel => self.cancel(site).await,
            Step::Withdraw => self.withdraw(site).await,
            Step::DeleteObject => self.delete_object(site).await,
            Step::DeleteAccount => self.delete_account(site).await,
        }
        self.done.push(step);
    }

    /// Checks that everything done so far is there.
    pub(crate) async fn check(&self, site: &Site) {
        let did = |step| self.done.contains(&step);
        if !did(Step::Login) {
            return;
        }
        let accounts = site.accounts(self.token()).await;
        let expected = usize::from(did(Step::CreateOrder) && !did(Step::DeleteAccount));
        assert_eq!(accounts.len(), expected, "after {:?}: {accounts:?}", self.done.last());
        let Some(account) = accounts.first() else {
            return;
        };
        assert_eq!(account.s3uid, text(&self.order, "s3uid"));
        assert_eq!(account.order_id.to_string(), text(&self.order, "order_id"));
        if did(Step::ShowKeys) {
            let key = site.show_key(self.token(), &account.s3uid, "secret_key").await;
            assert_eq!(key, self.account().secret_key);
        }
        if did(Step::PutObject) && !did(Step::DeleteObject) {
            self.get_object().await;
        }
    }

    fn token(&self) -> &str {
        &self.customer.as_ref().expect("the customer logged in").token
    }

    fn account(&self) -> &Account {
        self.account.as_ref().expect("the keys were shown")
    }

    /// Calls an action with the account and further parameters, and returns its success.
    async fn act(&self, site: &Site, action: &str, parameters: &[(&str, &str)]) -> Value {
        let s3uid = text(&self.order, "s3uid");
        let all = [&[("s3uid", s3uid.as_str())], parameters].concat();
        let answer = site.facade.action(action, self.token(), &all).await.success();
        assert_eq!(answer["action"], action);
        answer
    }

    async fn create_customer(&mut self, site: &Site) {
        let email = "newcomer@example.com".to_owned();
        let (id, api_key) = site.customer_without_token(&email, "EUR").await;
        self.customer = Some(Customer { id, email, api_key, token: String::new() });
    }

    async fn login(&mut self, site: &Site) {
        let customer = self.customer.as_mut().expect("the customer was created");
        let answer = site
            .facade
            .form("/auth.php", &[("action", "login"), ("key", &customer.api_key)])
            .await
            .value();
        let result = &answer["result"];
        assert_eq!(answer["action"], "login");
        assert_eq!(text(result, "email"), customer.email);
        assert_eq!(text(result, "customer_id"), customer.id.to_string());
        customer.token = text(result, "token");
        assert!(customer.token.len() >= 32, "{answer}");
    }

    async fn list_plans(&mut self, site: &Site) {
        let answer = site.facade.action("list_plans", self.token(), &[]).await.success();
        let plans = answer["plans"].as_array().expect("plans are a list");
        let paid = plans.iter().find(|plan| number(&plan["price"]["price"]["EUR"]) > 0.0);
        let paid = paid.unwrap_or_else(|| panic!("no paid plan in euro: {answer}"));
        assert_eq!(paid["name"], "Standard S3 Plan");
        assert_eq!(number(&paid["active"]), 1.0);
        assert_eq!(number(&paid["price"]["price"]["EUR"]), 9.8);
        let prices = paid["price"]["price"].as_object().expect("prices are by currency");
        assert_eq!(prices.len(), 1, "a customer sees his currency only: {answer}");
        self.plan_id = text(paid, "id");
    }

    async fn create_order(&mut self, site: &Site) {
        let parameters = [("plan_id", self.plan_id.as_str()), ("bucket_name", "walk-through")];
        let first = site.facade.action("create_order", self.token(), &parameters).await.success();
        assert_eq!(first["action"], "create_order");
        assert_eq!(text(&first, "s3uid").len(), 32, "{first}");
        for name in ["order_id", "service_id"] {
            assert!(number(&first[name]) > 0.0, "{name} in {first}");
        }
        for name in ["invoice_id", "status"] {
            assert!(!first[name].is_null(), "{name} in {first}");
        }
        assert!(text(&first, "endpoint").starts_with("http"), "{first}");
        // A client that saw no answer sends it again.
        let again = site.facade.action("create_order", self.token(), &parameters).await.success();
        assert_eq!(first, again);
        self.order = first;
    }

    async fn show_keys(&mut self, site: &Site) {
        let s3uid = text(&self.order, "s3uid");
        let access_key = site.show_key(self.token(), &s3uid, "access_key").await;
        let secret_key = site.show_key(self.token(), &s3uid, "secret_key").await;
        assert_eq!(access_key.len(), 20, "{access_key}");
        assert!(secret_key.len() >= 40);
        let endpoint = text(&self.order, "endpoint");
        let bucket = "walk-through".to_owned();
        self.account = Some(Account { s3uid, bucket, endpoint, access_key, secret_key });
    }

    async fn put_object(&self) {
        let account = self.account();
        let put = account.s3().put_object().bucket(&account.bucket).key(KEY);
        put.body(ByteStream::from(content())).send().await.expect("an object is stored");
    }

    async fn get_object(&self) {
        let account = self.account();
        let get = account.s3().get_object().bucket(&account.bucket).key(KEY);
        let object = get.send().await.expect("the object is there");
        let body = object.body.collect().await.expect("the object can be read");
        assert!(body.into_bytes() == content(), "the object is what was stored");
    }

    async fn list_objects(&self) {
        let account = self.account();
        let listing = account.s3().list_objects_v2().bucket(&account.bucket).send().await;
        let listing = listing.expect("objects are listed");
        let objects: Vec<_> = listing
            .contents()
            .iter()
            .map(|object| (object.key().unwrap_or_default(), object.size().unwrap_or_default()))
            .collect();
        assert_eq!(objects, [(KEY, i64::try_from(CONTENT_BYTES).expect("3 MiB are few"))]);
    }

    async fn get_files(&self, site: &Site) {
        let bucket = [("bucket_name", "walk-through")];
        let top = self.act(site, "get_files", &bucket).await;
        assert_eq!(top["files"].as_array().map(Vec::len), Some(0), "{top}");
        assert_eq!(text(&top["folders"][0], "prefix"), "holiday photos/", "{top}");
        let prefix = ("prefix", "holiday photos/");
        let below = self.act(site, "get_files", &[bucket[0], prefix]).await;
        assert_eq!(text(&below["files"][0], "key"), KEY, "{below}");
        assert_eq!(number(&below["files"][0]["size"]), bytes(CONTENT_BYTES), "{below}");
        let found = self.act(site, "get_files", &[bucket[0], ("search", "ÉTÉ")]).await;
        assert_eq!(text(&found["files"][0], "key"), KEY, "{found}");
    }

    async fn usage_is_shown(&self, site: &Site) {
        let stored_gb = bytes(CONTENT_BYTES) / GB;
        // This read counts for certain. So does all before it, if nothing was killed: once in and
        // once out at least.
        self.get_object().await;
        let moved_gb = if self.is_killed { stored_gb } else { 3.0 * stored_gb };
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.000_001;
        eventually("get_buckets_rmq shows what was stored and moved", SHOWN_WITHIN, async || {
            let answer = self.act(site, "get_buckets_rmq", &[]).await;
            let metering = &answer["metering"];
            let is_shown = text(&answer["message"][0], "name") == "walk-through"
                && number(&answer["message"][0]["usage"]) == 3.0
                && number(&answer["usage_storage"]) == 3.0
                && near(number(&metering["total_storage_gb"]), stored_gb)
                && number(&metering["total_traffic_gb"]) >= moved_gb - 0.000_001;
            if is_shown { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
        eventually("get_users shows what was stored and moved", SHOWN_WITHIN, async || {
            let answer = site.facade.action("get_users", self.token(), &[]).await.success();
            let row = &answer["s3_users"][0];
            let is_shown = text(row, "s3uid") == text(&self.order, "s3uid")
                && number(&answer["total"]) == 1.0
                && near(number(&row["total_storage_peak_gb"]), stored_gb)
                && number(&row["total_traffic_period_gb"]) >= moved_gb - 0.000_001;
            if is_shown { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }

    async fn get_buckets(&self, site: &Site) {
        let answer = self.act(site, "get_buckets", &[]).await;
        let bucket = &answer["buckets"][0];
        assert_eq!(text(bucket, "name"), "walk-through", "{answer}");
        assert_eq!(number(&bucket["usage"]), 3.0, "{answer}");
        assert_eq!(number(&bucket["objects"]), 1.0, "{answer}");
        let account = self.account();
        assert_eq!(text(&answer, "access_key"), account.access_key);
        assert_eq!(text(&answer, "endpoint"), account.endpoint);
    }

    async fn history(&self, site: &Site) {
        let parameters = [("id", self.plan_id.as_str())];
        let answer = site.facade.action("history", self.token(), &parameters).await.success();
        let entries = answer["history"].as_array().expect("the history is a list");
        let s3uid = text(&self.order, "s3uid");
        let is_activation = |entry: &&Value| {
            text(entry, "event") == "account.activated" && text(entry, "s3uid") == s3uid
        };
        assert_eq!(entries.iter().filter(is_activation).count(), 1, "{answer}");
        assert!(!answer.to_string().contains(&self.account().secret_key), "no secret in history");
    }

    async fn cancel(&self, site: &Site) {
        let first = self.act(site, "delete_payment_account", &[]).await;
        let date = text(&first, "cancel_date");
        let parts: Vec<usize> = date.split('-').map(str::len).collect();
        assert_eq!(parts, [4, 2, 2], "{first}");
        let again = self.act(site, "delete_payment_account", &[]).await;
        assert_eq!(again, first);
    }

    async fn withdraw(&self, site: &Site) {
        self.act(site, "cancel_payment_account_deletion", &[]).await;
        let accounts = site.accounts(self.token()).await;
        assert_eq!(accounts[0].cancel_time, None);
    }

    async fn delete_object(&self, site: &Site) {
        let parameters = [("bucket_name", "walk-through"), ("filename", KEY)];
        self.act(site, "delete_file", &parameters).await;
        let account = self.account();
        let get = account.s3().get_object().bucket(&account.bucket).key(KEY);
        let error = get.send().await.expect_err("the object is gone").into_service_error();
        assert!(error.is_no_such_key(), "{error:?}");
    }

    async fn delete_account(&self, site: &Site) {
        self.act(site, "delete_account", &[]).await;
        let account = self.account();
        let s3uid = [("s3uid", account.s3uid.as_str()), ("s3_key", "access_key")];
        let answer = site.facade.action("show_key", self.token(), &s3uid).await;
        assert_eq!(answer.failure(), "s3/show_key: customer not found");
        let listing = account.s3().list_objects_v2().bucket(&account.bucket).send().await;
        assert!(listing.is_err(), "the keys are good for nothing: {listing:?}");
    }
}

/// A field as text, whether it is one or a number.
pub(crate) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A number, also one sent as text; NaN if it is neither.
pub(crate) fn number(value: &Value) -> f64 {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.unwrap_or(f64::NAN)
}

fn bytes(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("test data is small"))
}

/// Bytes that no compression or sparse file makes fewer.
fn content() -> Vec<u8> {
    let mut state = 0x2545_F491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..CONTENT_BYTES).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ends_in_a_bucket_that_a_real_s3_client_uses() {
    let kit = Kit::start().await;
    let mut walk = Walk::default();
    for step in Step::ALL {
        walk.run(&kit.site, step).await;
        walk.check(&kit.site).await;
    }
    kit.stop().await;
}
