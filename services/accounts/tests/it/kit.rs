//! The role with real parts, beside the double of the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stowage_accounts::{Config, Deps, MIGRATOR, build, ensure_administrator_token};
use stowage_auth::{ASSERTION_KEY, Principal, PrincipalRole, Signer, hash_token};
use stowage_bus::{Audience, BoxError, Bus, Event, Handler, Subscription};
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_keyring::{Keyring, Rules, Source};
use stowage_proto::accounts as pb;
use stowage_proto::billing::invoice_service_server::InvoiceServiceServer;
use stowage_proto::billing::subscription_service_server::SubscriptionServiceServer;
use stowage_proto::common::ErrorReason;
use stowage_proto::metering::meter_service_server::MeterServiceServer;
use stowage_proto::metering::usage_service_server::UsageServiceServer as MeteredServiceServer;
use stowage_proto::storage::account_move_service_server::AccountMoveServiceServer;
use stowage_proto::storage::adoption_service_server::AdoptionServiceServer;
use stowage_proto::storage::bucket_service_server::BucketServiceServer;
use stowage_proto::storage::engine_account_service_server::EngineAccountServiceServer;
use stowage_proto::storage::keyring_service_server::KeyringServiceServer;
use stowage_proto::storage::location_service_server::LocationServiceServer;
use stowage_proto::storage::usage_service_server::UsageServiceServer;
use stowage_runtime::{RoleChannel, StackConfig, reason_of, role_stack};
use stowage_types::{
    Clock, Currency, CustomerId, FakeClock, SecretString, SystemClock, SystemRandom, name,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use pb::account_move_service_client::AccountMoveServiceClient;
use pb::account_service_client::AccountServiceClient;
use pb::audit_service_client::AuditServiceClient;
use pb::customer_service_client::CustomerServiceClient;
use pb::dead_letter_service_client::DeadLetterServiceClient;
use pb::saga_service_client::SagaServiceClient;
use pb::session_service_client::SessionServiceClient;
use pb::webhook_service_client::WebhookServiceClient;

use crate::double::World;

/// Bound of every wait: a disk that many share may stand still for long.
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) const ADMIN_TOKEN: &str = "the administrator's token of these tests";

/// What the role's database is called.
pub(crate) const DATABASE: &str = "accounts";

/// Everything of one installation that outlives the process.
pub(crate) struct Kit {
    place: Scratch,
    keyring: PathBuf,
    config: Config,
    signer: Signer,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) world: World,
    pub(crate) bus: Bus,
    pub(crate) db: Db,
    channel: RoleChannel,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default(), World::default()).await
    }

    /// On a file, whatever the tests run on.
    pub(crate) async fn on_file() -> Self {
        let place = Scratch::on_files();
        let mut kit = Self::unbuilt(Config::default(), World::default(), place).await;
        kit.build().await;
        kit
    }

    pub(crate) async fn with(config: Config, world: World) -> Self {
        let mut kit = Self::unbuilt(config, world, Scratch::new().await).await;
        kit.build().await;
        kit
    }

    /// Everything but the role, over a place that may hold its database already.
    pub(crate) async fn unbuilt(mut config: Config, world: World, place: Scratch) -> Self {
        config.sagas.backoff_first = Duration::from_millis(1);
        config.sagas.backoff_max = Duration::from_millis(2);
        config.sagas.resume_every = Duration::from_millis(20);
        let clock = Arc::new(FakeClock::at(SystemClock.now()));
        let signer = Signer::from_seed(&[7; 32], "test", clock.clone());
        let keyring = place.folder().join("master.keys");
        let db = place.open(DATABASE, &MIGRATOR).await.unwrap();
        let channel = role_stack(Routes::default(), stack(&signer));
        Self {
            place,
            keyring,
            config,
            signer,
            clock,
            world,
            bus: Bus::in_process(),
            db,
            channel,
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    /// The process dies and is started again on the same files.
    pub(crate) async fn restart(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.stop.cancel();
        self.db.close().await;
        self.stop = CancellationToken::new();
        self.bus = Bus::in_process();
        self.db = self.place.open(DATABASE, &MIGRATOR).await.unwrap();
        self.end_leases().await;
        self.build().await;
    }

    /// Where a successor waits for the ends of leases, lets them come at once.
    async fn end_leases(&self) {
        if self.db.is_exclusive() {
            return;
        }
        let mut tx = self.db.begin().await.unwrap();
        for table in ["saga", "request"] {
            let sql = format!("UPDATE {table} SET lease_until = '2000-01-01T00:00:00.000000Z'");
            tx.execute_built(sql, stowage_db::args![]).await.unwrap();
        }
        tx.execute("DELETE FROM lease", stowage_db::args![]).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn build(&mut self) {
        self.build_of(self.deps()).await;
    }

    /// Builds the role over other master keys than those in the file.
    pub(crate) async fn build_with(&mut self, keyring: Keyring) {
        let deps = Deps { keyring: Arc::new(keyring), ..self.deps() };
        self.build_of(deps).await;
    }

    async fn build_of(&mut self, deps: Deps) {
        let hash = hash_token(ADMIN_TOKEN);
        ensure_administrator_token(&self.db, hash, &*self.clock).await.unwrap();
        let role = build(self.config.clone(), deps).await.unwrap();
        (role.ready)().await.unwrap();
        self.channel = role.channel;
        self.tasks = role.tasks.into_iter().map(|task| tokio::spawn(task.future)).collect();
    }

    /// What the role is built of.
    pub(crate) fn deps(&self) -> Deps {
        let world = self.world.clone();
        let source = Source::File(self.keyring.clone());
        let clock = self.clock.clone();
        let keyring = Keyring::open_source(source, Rules::default(), clock, &SystemRandom);
        let storage = Routes::new(BucketServiceServer::new(world.clone()))
            .add_service(EngineAccountServiceServer::new(world.clone()))
            .add_service(AccountMoveServiceServer::new(world.clone()))
            .add_service(AdoptionServiceServer::new(world.clone()))
            .add_service(UsageServiceServer::new(world.clone()))
            .add_service(KeyringServiceServer::new(world.clone()))
            .add_service(LocationServiceServer::new(world.clone()));
        let billing = Routes::new(SubscriptionServiceServer::new(world.clone()))
            .add_service(InvoiceServiceServer::new(world.clone()));
        let metering = Routes::new(MeterServiceServer::new(world.clone()))
            .add_service(MeteredServiceServer::new(world));
        Deps {
            db: self.db.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom),
            verifier: self.signer.verifier(),
            signer: self.signer.clone(),
            keyring: Arc::new(keyring.unwrap()),
            storage: role_stack(storage, stack(&self.signer)),
            billing: role_stack(billing, stack(&self.signer)),
            metering: role_stack(metering, stack(&self.signer)),
            webhook_secrets: self.webhook_secrets(),
            stop: self.stop.clone(),
        }
    }

    /// As the program reads them from files.
    fn webhook_secrets(&self) -> BTreeMap<String, SecretString> {
        let secret = |name: &String| (name.clone(), SecretString::from(format!("{name}'s secret")));
        self.config.webhooks.keys().map(secret).collect()
    }

    /// As when it is taken out of the settings; after the next start.
    pub(crate) fn forget_webhook(&mut self, name: &str) {
        self.config.webhooks.remove(name);
    }

    pub(crate) fn webhooks(&self) -> WebhookServiceClient<RoleChannel> {
        WebhookServiceClient::new(self.channel.clone())
    }

    pub(crate) fn channel(&self) -> RoleChannel {
        self.channel.clone()
    }

    pub(crate) fn moves(&self) -> AccountMoveServiceClient<RoleChannel> {
        AccountMoveServiceClient::new(self.channel.clone())
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<RoleChannel> {
        AccountServiceClient::new(self.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<RoleChannel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub(crate) fn customers(&self) -> CustomerServiceClient<RoleChannel> {
        CustomerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn dead_letters(&self) -> DeadLetterServiceClient<RoleChannel> {
        DeadLetterServiceClient::new(self.channel.clone())
    }

    pub(crate) fn sagas(&self) -> SagaServiceClient<RoleChannel> {
        SagaServiceClient::new(self.channel.clone())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<RoleChannel> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// A request of a principal.
    pub(crate) fn by<T>(&self, principal: &Principal, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let (_, assertion) = self.signer.sign(principal);
        request.metadata_mut().insert(ASSERTION_KEY, assertion.parse().unwrap());
        request
    }

    /// A new customer, in euros.
    pub(crate) async fn customer(&self, email: &str) -> Principal {
        let customer =
            pb::Customer { email: email.into(), currency: "EUR".into(), ..Default::default() };
        let message =
            pb::CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
        let made = self.customers().create_customer(self.by(&admin(), message)).await;
        customer_principal(made.unwrap().into_inner().customer_id)
    }

    /// Orders an account.
    pub(crate) async fn order(
        &self,
        by: &Principal,
        bucket: &str,
        request_id: &str,
    ) -> Result<pb::Account, Status> {
        let message = self.by(by, order(bucket, request_id));
        self.accounts().create_account(message).await.map(tonic::Response::into_inner)
    }

    /// The events of a principal's history, readings of secrets included, oldest first.
    pub(crate) async fn history(&self, by: &Principal) -> Vec<String> {
        let message =
            pb::ListHistoryRequest { page_size: 1000, with_reads: true, ..Default::default() };
        let listed = self.accounts().list_history(self.by(by, message)).await.unwrap();
        listed.into_inner().entries.into_iter().rev().map(|entry| entry.event).collect()
    }

    pub(crate) fn clock_now(&self) -> time::OffsetDateTime {
        self.clock.now()
    }

    /// What an assertion says.
    pub(crate) fn verify(&self, assertion: &str) -> Principal {
        self.signer.verifier().verify(assertion).unwrap()
    }

    /// Collects the events of a kind.
    pub(crate) fn listen(&self, kind: &'static str) -> Arc<Mutex<Vec<Event>>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let handler = Arc::new(Listener(Arc::clone(&heard)));
        let kinds: &'static [&'static str] = Box::leak(Box::new([kind]));
        let audience = Audience::OneReplica;
        self.bus.subscribe(Subscription { consumer: "test", kinds, audience, handler });
        heard
    }

    /// All bytes of the database: of its files, or of all its rows.
    pub(crate) async fn database_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if stowage_db::testing::is_postgres() {
            let sql = "SELECT CAST(table_name AS text) FROM information_schema.tables \
                WHERE table_schema = current_schema()";
            let tables: Vec<(String,)> = self.db.fetch_all(sql, stowage_db::args![]).await.unwrap();
            for (table,) in tables {
                let sql = format!("SELECT CAST(t.* AS text) FROM {table} AS t");
                let rows: Vec<(String,)> =
                    self.db.fetch_all_built(sql, stowage_db::args![]).await.unwrap();
                rows.iter().for_each(|(row,)| bytes.extend(shown_bytes(row)));
            }
            return bytes;
        }
        for entry in std::fs::read_dir(self.place.folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("accounts.db") {
                bytes.extend(std::fs::read(path).unwrap());
            }
        }
        bytes
    }

    /// Waits until every event is sent.
    pub(crate) async fn drain(&self) {
        self.none_left("SELECT count(*) FROM outbox").await;
    }

    /// Waits until every saga has ended.
    pub(crate) async fn sagas_ended(&self) {
        self.none_left("SELECT count(*) FROM saga WHERE status = 'running'").await;
    }

    /// Waits until a count is one.
    pub(crate) async fn is_one(&self, sql: &'static str) {
        let poll = async {
            while self.count(sql).await != 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WITHIN, poll).await.expect(sql);
    }

    async fn none_left(&self, sql: &'static str) {
        let poll = async {
            while self.count(sql).await > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WITHIN, poll).await.expect(sql);
    }

    /// Changes the database behind the role's back.
    pub(crate) async fn tamper(&self, sql: &str) {
        let mut tx = self.db.begin().await.unwrap();
        for statement in sql.split(';') {
            tx.execute_built(statement.to_owned(), stowage_db::args![]).await.expect(statement);
        }
        tx.commit().await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let (count,): (i64,) = self.db.fetch_one(sql, stowage_db::args![]).await.unwrap();
        count
    }
}

/// A row as the server shows it, and what of it are bytes in hexadecimal digits also as bytes.
fn shown_bytes(row: &str) -> Vec<u8> {
    let mut bytes = row.as_bytes().to_vec();
    for part in row.split("\\x").skip(1) {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        bytes.extend(hex::decode(&part[..digits - digits % 2]).unwrap());
    }
    bytes
}

struct Listener(Arc<Mutex<Vec<Event>>>);

#[tonic::async_trait]
impl Handler for Listener {
    async fn handle(&self, event: &Event) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn stack(signer: &Signer) -> StackConfig {
    StackConfig {
        role: "accounts",
        verifier: signer.verifier(),
        call_timeout: Duration::from_secs(35),
    }
}

pub(crate) fn order(bucket: &str, request_id: &str) -> pb::CreateAccountRequest {
    pb::CreateAccountRequest {
        plan: "plans/1".into(),
        location: String::new(),
        bucket: bucket.into(),
        request_id: request_id.into(),
    }
}

pub(crate) fn customer_principal(id: i64) -> Principal {
    Principal {
        role: PrincipalRole::Customer,
        subject: name::customer(CustomerId(id)),
        customer: Some(CustomerId(id)),
        acted_for: None,
        currency: Currency::parse("EUR").ok(),
    }
}

pub(crate) fn admin() -> Principal {
    staff_of(PrincipalRole::Administrator, "administrator")
}

pub(crate) fn staff() -> Principal {
    staff_of(PrincipalRole::Staff, "staff/1")
}

pub(crate) fn service() -> Principal {
    staff_of(PrincipalRole::Service, "services/gateway")
}

/// An administrator who acts for a customer.
pub(crate) fn acting_for(customer: &Principal) -> Principal {
    Principal { acted_for: customer.customer, currency: customer.currency, ..admin() }
}

fn staff_of(role: PrincipalRole, subject: &str) -> Principal {
    Principal { role, subject: subject.into(), customer: None, acted_for: None, currency: None }
}

#[track_caller]
pub(crate) fn assert_reason(error: &Status, code: Code, reason: ErrorReason) {
    assert_eq!((error.code(), reason_of(error)), (code, Some(reason)), "{error:?}");
}

/// Polls until something is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, poll).await.expect("it happens in time");
}
