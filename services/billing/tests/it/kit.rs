//! A running billing role, and callers of every kind.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use stowage_auth::{ASSERTION_KEY, Principal, PrincipalRole, Signer};
use stowage_billing::{Config, Deps, MIGRATOR, build, seed_catalogue};
use stowage_bus::{Audience, BoxError, Bus, Event, Handler, Subscription as Consumer};
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_proto::Money;
use stowage_proto::billing as pb;
use stowage_proto::billing::credit_service_client::CreditServiceClient;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::subscription_service_client::SubscriptionServiceClient;
use stowage_proto::common::ErrorReason;
use stowage_provider_ledger::Ledger;
use stowage_runtime::{RoleChannel, reason_of};
use stowage_types::{Currency, CustomerId, FakeClock, SystemClock, SystemRandom};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::metering::FakeMetering;
use crate::provider_trouble::Wobbly;

/// When every test begins.
pub(crate) const START: OffsetDateTime = datetime!(2026-01-31 10:00:00 UTC);

/// What payment processors sign with.
pub(crate) const PROCESSOR_SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(crate) type Credits = CreditServiceClient<RoleChannel>;
pub(crate) type Invoices = InvoiceServiceClient<RoleChannel>;
pub(crate) type Plans = PlanServiceClient<RoleChannel>;
pub(crate) type Subscriptions = SubscriptionServiceClient<RoleChannel>;

/// Keeps what comes over the bus.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<pb::PlanChanged>>);

#[async_trait::async_trait]
impl Handler for Heard {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        self.0.lock().await.push(event.message()?);
        Ok(())
    }
}

/// Keeps what is told.
#[derive(Debug, Default)]
pub(crate) struct Collected(Mutex<Vec<Event>>);

#[async_trait::async_trait]
impl Handler for Collected {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        self.0.lock().await.push(event.clone());
        Ok(())
    }
}

impl Collected {
    /// Waits until so many have come, and answers all of them.
    async fn first(&self, count: usize) -> Vec<Event> {
        for _ in 0..500 {
            let told = self.0.lock().await.clone();
            if told.len() >= count {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} events did not come in 5 s");
    }
}

pub(crate) struct Kit {
    deps: Deps,
    pub(crate) db: Db,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) provider: Arc<Wobbly>,
    pub(crate) metering: FakeMetering,
    heard: Arc<Heard>,
    dunned: Arc<Collected>,
    limits: Arc<Collected>,
    channel: RoleChannel,
    signer: Signer,
    stop: CancellationToken,
    _place: Scratch,
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Kit {
    /// A role with the first catalogue.
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let place = Scratch::new().await;
        let db = place.open("billing", &MIGRATOR).await.unwrap();
        let clock = Arc::new(FakeClock::at(START));
        seed_catalogue(&db, &*clock).await.unwrap();
        let provider = Arc::new(Wobbly::new(Ledger::new(
            db.clone(),
            clock.clone(),
            (config.invoice_due_after(), config.payment_terms()),
        )));
        // Callers live by the real clock, so that a test may move billing's own by years.
        let signer = Signer::from_seed(&[7; 32], "test", Arc::new(SystemClock));
        let (bus, stop) = (Bus::in_process(), CancellationToken::new());
        let heard = Arc::new(Heard::default());
        bus.subscribe(Consumer {
            consumer: "test",
            kinds: &["stowage.billing.plan.changed.v1"],
            audience: Audience::OneReplica,
            handler: heard.clone(),
        });
        let dunned = Arc::new(Collected::default());
        bus.subscribe(Consumer {
            consumer: "test.dunning",
            kinds: &[
                "stowage.billing.invoice.overdue.v1",
                "stowage.billing.invoice.eased.v1",
                "stowage.billing.invoice.settled.v1",
            ],
            audience: Audience::OneReplica,
            handler: dunned.clone(),
        });
        let limits = Arc::new(Collected::default());
        bus.subscribe(Consumer {
            consumer: "test.limits",
            kinds: &["stowage.billing.limits.changed.v1"],
            audience: Audience::OneReplica,
            handler: limits.clone(),
        });
        let metering = FakeMetering::default();
        let deps = Deps {
            db: db.clone(),
            bus,
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            verifier: signer.verifier(),
            stop: stop.clone(),
            provider: provider.clone(),
            signer: signer.clone(),
            metering: metering.channel(signer.verifier()),
            payment_hook_secret: Some(PROCESSOR_SECRET.to_owned().into()),
        };
        let role = build(config, deps.clone()).await.unwrap();
        (role.ready)().await.unwrap();
        for task in role.tasks {
            tokio::spawn(task.future);
        }
        Self {
            deps,
            db,
            clock,
            provider,
            metering,
            heard,
            dunned,
            limits,
            channel: role.channel,
            signer,
            stop,
            _place: place,
        }
    }

    /// The role as `principal` reaches it.
    pub(crate) fn channel(&self, principal: &Principal) -> RoleChannel {
        let assertion = HeaderValue::try_from(self.signer.sign(principal).1).unwrap();
        self.channel.clone().layered(move |mut request, next| {
            request.headers_mut().insert(ASSERTION_KEY, assertion.clone());
            next.run(request)
        })
    }

    pub(crate) fn plans(&self, principal: &Principal) -> Plans {
        PlanServiceClient::new(self.channel(principal))
    }

    pub(crate) fn subscriptions(&self, principal: &Principal) -> Subscriptions {
        SubscriptionServiceClient::new(self.channel(principal))
    }

    /// Subscriptions as accounts' sagas reach them.
    pub(crate) fn sagas(&self) -> Subscriptions {
        self.subscriptions(&Principal::service("services/accounts", None))
    }

    /// The catalogue as the administrator reaches it.
    pub(crate) fn office(&self) -> Plans {
        self.plans(&principal(PrincipalRole::Administrator, None))
    }

    /// Invoices as `principal` reaches them.
    pub(crate) fn invoices(&self, principal: &Principal) -> Invoices {
        InvoiceServiceClient::new(self.channel(principal))
    }

    /// Credit as `principal` reaches it.
    pub(crate) fn credits(&self, principal: &Principal) -> Credits {
        CreditServiceClient::new(self.channel(principal))
    }

    /// Another process that looks for overdue invoices, over the same database, until `stop`.
    pub(crate) async fn join(&self, config: Config, stop: CancellationToken) {
        let role = build(config, Deps { stop, ..self.deps.clone() }).await.unwrap();
        // One relay, as there is one of several processes: SQLite's takes itself for the only one.
        let dunning = role.tasks.into_iter().find(|task| task.name == "billing.dunning").unwrap();
        tokio::spawn(dunning.future);
    }

    /// Waits until so many things were told of invoices, and answers all of them: the event, the
    /// account and the invoice.
    pub(crate) async fn dunned(&self, count: usize) -> Vec<(String, String, i64)> {
        let told = self.told(count).await.into_iter().map(|event| {
            // All messages begin with the same fields.
            let pb::InvoiceEased { s3uid, invoice_id, .. } = event.message().unwrap();
            assert_eq!(event.subject, format!("accounts/{s3uid}"));
            let what = event.kind.trim_start_matches("stowage.billing.invoice.").to_owned();
            (what, s3uid, invoice_id)
        });
        told.collect()
    }

    /// Waits until so many things were told of invoices, and answers all of them.
    pub(crate) async fn told(&self, count: usize) -> Vec<Event> {
        self.dunned.first(count).await
    }

    /// Waits until so many limits were told of, and answers all of them.
    pub(crate) async fn limits(&self, count: usize) -> Vec<Event> {
        self.limits.first(count).await
    }

    /// The role as somebody without a token reaches it.
    pub(crate) fn open_channel(&self) -> RoleChannel {
        self.channel.clone()
    }

    /// Waits until `count` changes of plans have come over the bus.
    pub(crate) async fn hear(&self, count: usize) -> Vec<pb::PlanChanged> {
        for _ in 0..500 {
            let heard = self.heard.0.lock().await.clone();
            if heard.len() >= count {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} events did not come in 5 s");
    }
}

pub(crate) fn principal(role: PrincipalRole, customer: Option<i64>) -> Principal {
    let is_customer = role == PrincipalRole::Customer;
    let customer = customer.map(CustomerId);
    Principal {
        role,
        subject: "tester".to_owned(),
        customer: customer.filter(|_| is_customer),
        acted_for: customer.filter(|_| !is_customer),
        currency: None,
    }
}

/// A customer who pays in `currency`.
pub(crate) fn customer(id: i64, currency: &str) -> Principal {
    let currency = Currency::parse(currency).ok();
    Principal { currency, ..principal(PrincipalRole::Customer, Some(id)) }
}

/// An order of plan `plan` in euro at location NL.
pub(crate) fn order(key: &str, customer_id: i64, plan: i64) -> pb::PlaceOrderRequest {
    pb::PlaceOrderRequest {
        order_key: key.to_owned(),
        customer_id,
        currency: "EUR".to_owned(),
        plan: format!("plans/{plan}"),
        plan_version: 1,
        location: "locations/NL".to_owned(),
        s3uid: "ab".repeat(16),
        customer_email: "anna@example.org".to_owned(),
    }
}

pub(crate) fn money(currency: &str, units: i64, nanos: i32) -> Money {
    Money { currency_code: currency.to_owned(), units, nanos }
}

/// A good plan: 1 a month in euro.
pub(crate) fn plan(title: &str) -> pb::Plan {
    pb::Plan {
        title: title.to_owned(),
        storage_type: "standard".to_owned(),
        location: "locations/NL".to_owned(),
        prices: vec![pb::PlanPrice {
            period_price: Some(money("EUR", 1, 0)),
            storage_overage_price: Some(money("EUR", 0, 50_000_000)),
            traffic_overage_price: Some(money("EUR", 0, 10_000_000)),
        }],
        ..pb::Plan::default()
    }
}

#[track_caller]
pub(crate) fn assert_reason<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: ErrorReason,
) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{status:?}");
}
