//! What the calls are about: a customer who owns things, another who does not, and the names of
//! things, made by real calls.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use stowage_proto::{Money, accounts, billing, storage};
use stowage_testkit::{Caller, Customer, Kit, Site, call_raw, eventually, s3_client};

use super::table::Need;

/// Names that a request may hold. Those of [`Names::missing`] are of nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// New for each call.
    pub(super) serial: String,
    pub(super) customer: i64,
    pub(super) plan: i64,
    pub(super) other_plan: i64,
    pub(super) s3uid: String,
    pub(super) account_id: i64,
    pub(super) service_id: i64,
    pub(super) invoice_id: i64,
    pub(super) order_key: String,
    pub(super) bucket: String,
    pub(super) deletion_id: String,
    pub(super) access_key: String,
    /// `plans/{plan_id}` of a plan that may be changed.
    pub(super) own_plan: String,
    /// `apiKeys/{id}`.
    pub(super) api_key: String,
    pub(super) api_secret: String,
    pub(super) token: String,
    /// `sagas/{id}`.
    pub(super) saga: String,
    /// The same of storage: a bucket that was made.
    pub(super) storage_saga: String,
}

impl Names {
    pub(super) fn account(&self) -> String {
        format!("accounts/{}", self.s3uid)
    }

    pub(super) fn bucket(&self) -> String {
        format!("{}/buckets/{}", self.account(), self.bucket)
    }

    pub(super) fn deletion(&self) -> String {
        format!("{}/bucketDeletions/{}", self.account(), self.deletion_id)
    }

    /// There is none.
    pub(super) fn account_move(&self) -> String {
        format!("{}/moves/0196d4ac-0000-7000-8000-000000000000", self.account())
    }

    pub(super) fn customer(&self) -> String {
        format!("customers/{}", self.customer)
    }

    pub(super) fn plan(&self) -> String {
        format!("plans/{}", self.plan)
    }

    pub(super) fn other_plan(&self) -> String {
        format!("plans/{}", self.other_plan)
    }

    pub(super) fn subscription(&self) -> String {
        format!("subscriptions/{}", self.service_id)
    }

    pub(super) fn invoice(&self) -> String {
        format!("invoices/{}", self.invoice_id)
    }

    /// The same things, as if they belonged to another's account.
    pub(super) fn under(&self, account: &Self) -> Self {
        Self { s3uid: account.s3uid.clone(), account_id: account.account_id, ..self.clone() }
    }

    /// The same, of things that do not exist. What is shared stays.
    pub(super) fn missing(&self) -> Self {
        const ID: &str = "01900000-0000-7000-8000-000000000000";
        Self {
            customer: 999_999_999,
            s3uid: "0".repeat(32),
            account_id: 999_999_999,
            service_id: 999_999_999,
            invoice_id: 999_999_999,
            order_key: "no-such-order".to_owned(),
            deletion_id: ID.to_owned(),
            access_key: "NOSUCHKEY00000000000".to_owned(),
            api_key: format!("apiKeys/{ID}"),
            ..self.clone()
        }
    }
}

/// What the owner has, in an order in which it can be made.
const FIXTURE: &[Need] =
    &[Need::Account, Need::Object, Need::Deletion, Need::Plan, Need::ApiKey, Need::Session];

/// A server with two customers. The first owns an account with all that belongs to one.
pub(super) struct World {
    pub(super) kit: Kit,
    pub(super) owner: Customer,
    pub(super) other: Customer,
    /// What the owner has.
    pub(super) names: Names,
    /// What the other has: an account.
    pub(super) others: Names,
    /// What only the owner, and who acts for him, may get to see.
    pub(super) private: Vec<String>,
    pub(super) secret_key: String,
}

static SERIAL: AtomicU32 = AtomicU32::new(1);

fn next_serial() -> String {
    SERIAL.fetch_add(1, Ordering::Relaxed).to_string()
}

impl World {
    pub(super) async fn start() -> Self {
        let kit = Kit::start_with(|config| {
            // More calls than one customer makes, and no faster than they are answered.
            config.gateway.facade.token_calls_per_second = 0;
            config.gateway.facade.address_calls_per_second = 0;
        })
        .await;
        let owner = kit.site.customer("owner@example.com", "EUR").await;
        let other = kit.site.customer("other@example.com", "EUR").await;
        let mut world = Self {
            kit,
            owner,
            other,
            names: Names::default(),
            others: Names::default(),
            private: Vec::new(),
            secret_key: String::new(),
        };
        world.names.customer = world.owner.id;
        (world.names.plan, world.names.other_plan) = world.plans().await;
        world.names.api_secret = world.owner.api_key.clone();
        for need in FIXTURE {
            world.names = world.fresh(*need).await;
        }
        world.deletion_ends().await;
        let as_other = world.site().with_token(&world.other.token);
        world.others = world.with_account_of(&as_other, world.fresh(Need::Serial).await).await;
        world.names.saga = world.saga().await;
        world.names.storage_saga = world.storage_saga().await;
        world.secret_key = keys(&world.as_owner(), &world.names).await.1;
        world.kit.settle().await;
        world.private = vec![
            world.names.s3uid.clone(),
            world.names.access_key.clone(),
            world.secret_key.clone(),
            world.owner.email.clone(),
        ];
        world
    }

    fn site(&self) -> &Site {
        &self.kit.site
    }

    fn as_owner(&self) -> Caller {
        self.site().with_token(&self.owner.token)
    }

    /// Two plans with the same period and location.
    async fn plans(&self) -> (i64, i64) {
        let mut ids = [0; 2];
        for (id, title) in ids.iter_mut().zip(["One", "Two"]) {
            *id = self.make_plan(title).await.plan_id;
        }
        (ids[0], ids[1])
    }

    async fn make_plan(&self, title: &str) -> billing::Plan {
        let create =
            billing::CreatePlanRequest { plan: Some(plan_of(title)), ..Default::default() };
        ask(&self.site().as_admin(), "billing.v1.PlanService/CreatePlan", create).await
    }

    /// Names for one call of a row that changes something.
    pub(super) async fn fresh(&self, need: Need) -> Names {
        let names = Names { serial: next_serial(), ..self.names.clone() };
        match need {
            Need::Serial => names,
            Need::Account => self.with_account(names).await,
            Need::Bucket => self.with_bucket(names).await,
            Need::Object => self.with_object(names).await,
            Need::SecondKey => self.with_second_key(names).await,
            Need::Deletion => self.with_deletion(names).await,
            Need::Plan => {
                let made = self.make_plan(&format!("Own {}", names.serial)).await;
                Names { own_plan: made.name, ..names }
            }
            Need::ApiKey => self.with_api_key(names).await,
            Need::Session => {
                let token = self.site().login(&self.owner.api_key).await;
                Names { token, ..names }
            }
        }
    }

    /// Asks as the owner.
    async fn ask<A: Message + Default>(&self, method: &str, message: impl Message) -> A {
        ask(&self.as_owner(), method, message).await
    }

    async fn with_account(&self, names: Names) -> Names {
        self.with_account_of(&self.as_owner(), names).await
    }

    async fn with_account_of(&self, caller: &Caller, mut names: Names) -> Names {
        let bucket = format!("bucket-{}", names.serial);
        let create = accounts::CreateAccountRequest {
            plan: names.plan(),
            bucket: bucket.clone(),
            ..Default::default()
        };
        let account: accounts::Account =
            ask(caller, "accounts.v1.AccountService/CreateAccount", create).await;
        names.s3uid = account.s3uid;
        names.account_id = account.account_id;
        names.service_id = account.service_id;
        names.bucket = bucket;
        let ids = vec![names.service_id];
        let get = billing::BatchGetSubscriptionsRequest { service_ids: ids, ..Default::default() };
        let path = "billing.v1.SubscriptionService/BatchGetSubscriptions";
        let got: billing::BatchGetSubscriptionsResponse = ask(caller, path, get).await;
        names.order_key = got.subscriptions[0].order_key.clone();
        names.invoice_id = got.subscriptions[0].invoice_id;
        names.access_key = keys(caller, &names).await.0;
        names
    }

    /// A bucket more in the account.
    async fn with_bucket(&self, names: Names) -> Names {
        let bucket = format!("more-{}", names.serial);
        let create = storage::CreateBucketRequest {
            parent: names.account(),
            bucket: bucket.clone(),
            ..Default::default()
        };
        let _: storage::Bucket = self.ask("storage.v1.BucketService/CreateBucket", create).await;
        Names { bucket, ..names }
    }

    /// A bucket more in the account, and its deletion, which may end at once.
    async fn with_deletion(&self, names: Names) -> Names {
        let bucket = self.with_bucket(names.clone()).await.bucket();
        let start = storage::StartBucketDeletionRequest { bucket, ..Default::default() };
        let path = "storage.v1.BucketDeletionService/StartBucketDeletion";
        let started: storage::BucketDeletion = self.ask(path, start).await;
        let deletion_id = started.name.rsplit('/').next().unwrap_or_default().to_owned();
        Names { deletion_id, ..names }
    }

    /// An object in the account's bucket.
    async fn with_object(&self, names: Names) -> Names {
        let (access_key, secret_key) = keys(&self.as_owner(), &names).await;
        let s3 = s3_client(&format!("http://{}", self.site().s3), &access_key, &secret_key);
        let put = s3.put_object().bucket(&names.bucket).key("diary");
        let body = Bytes::from_static(b"dear diary");
        put.body(body.into()).send().await.expect("an object is stored");
        names
    }

    /// An account with a key beside its first.
    async fn with_second_key(&self, names: Names) -> Names {
        let names = self.with_account(names).await;
        let overlap = prost_types::Duration { seconds: 86_400, nanos: 0 };
        let rotate = accounts::RotateAccessKeyRequest {
            name: names.account(),
            overlap: Some(overlap),
            ..Default::default()
        };
        let path = "accounts.v1.AccountService/RotateAccessKey";
        let _: accounts::AccessKey = self.ask(path, rotate).await;
        names
    }

    async fn with_api_key(&self, names: Names) -> Names {
        let create =
            accounts::CreateApiKeyRequest { customer: names.customer(), ..Default::default() };
        let path = "accounts.v1.SessionService/CreateApiKey";
        let made: accounts::CreateApiKeyResponse = ask(&self.site().as_admin(), path, create).await;
        Names { api_key: made.api_key.expect("a key").name, ..names }
    }

    /// Waits until the deletion of the bucket has run, so that nothing changes by itself.
    async fn deletion_ends(&self) {
        let done = i32::from(storage::BucketDeletionState::Done);
        eventually("the deletion ends", Duration::from_secs(20), async || {
            let get = storage::GetBucketDeletionRequest { name: self.names.deletion() };
            let path = "storage.v1.BucketDeletionService/GetBucketDeletion";
            let deletion: storage::BucketDeletion = self.ask(path, get).await;
            if deletion.state == done { Ok(()) } else { Err(format!("{deletion:?}")) }
        })
        .await;
    }

    async fn storage_saga(&self) -> String {
        let list = storage::ListSagasRequest::default();
        let path = "storage.v1.SagaService/ListSagas";
        let sagas: storage::ListSagasResponse = ask(&self.site().as_admin(), path, list).await;
        sagas.sagas[0].name.clone()
    }

    async fn saga(&self) -> String {
        let list = accounts::ListSagasRequest::default();
        let path = "accounts.v1.SagaService/ListSagas";
        let sagas: accounts::ListSagasResponse = ask(&self.site().as_admin(), path, list).await;
        sagas.sagas[0].name.clone()
    }
}

/// A plan that can be ordered, and changed for another of these.
pub(super) fn plan_of(title: &str) -> billing::Plan {
    let money = |units| Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 });
    let price = billing::PlanPrice {
        period_price: money(9),
        storage_overage_price: money(1),
        traffic_overage_price: money(1),
    };
    billing::Plan {
        title: title.to_owned(),
        storage_type: "standard".to_owned(),
        location: "locations/NL".to_owned(),
        prices: vec![price],
        ..Default::default()
    }
}

/// The account's first key pair.
async fn keys(caller: &Caller, names: &Names) -> (String, String) {
    let list = accounts::ListAccessKeysRequest {
        parent: names.account(),
        with_secrets: true,
        ..Default::default()
    };
    let path = "accounts.v1.AccountService/ListAccessKeys";
    let mut keys: accounts::ListAccessKeysResponse = ask(caller, path, list).await;
    let key = keys.access_keys.swap_remove(0);
    (key.access_key, key.secret_key)
}

/// Calls `accounts.v1.AccountService/GetAccount`, and such.
pub(super) async fn ask<A: Message + Default>(
    caller: &Caller,
    method: &str,
    message: impl Message,
) -> A {
    let path = format!("/stowage.{method}");
    let answer = call_raw(caller, &path, message.encode_to_vec().into()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{method}: {error:?}"));
    A::decode(answer).expect("an answer is its message")
}
