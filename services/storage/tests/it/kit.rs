//! Starts the role and calls it as anyone.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stowage_auth::{ASSERTION_KEY, Principal, PrincipalRole, Signer};
use stowage_bus::Bus;
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_engine::Engine;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::account_move_service_client::AccountMoveServiceClient;
use stowage_proto::storage::adoption_service_client::AdoptionServiceClient;
use stowage_proto::storage::bucket_deletion_service_client::BucketDeletionServiceClient;
use stowage_proto::storage::bucket_service_client::BucketServiceClient;
use stowage_proto::storage::engine_account_service_client::EngineAccountServiceClient;
use stowage_proto::storage::keyring_service_client::KeyringServiceClient;
use stowage_proto::storage::location_service_client::LocationServiceClient;
use stowage_proto::storage::object_service_client::ObjectServiceClient;
use stowage_proto::storage::upload_service_client::UploadServiceClient;
use stowage_proto::storage::usage_service_client::UsageServiceClient;
use stowage_runtime::{Role, RoleChannel, reason_of};
use stowage_storage::{Config, Deps, LocationConfig, LocationState, MIGRATOR, build};
use stowage_types::{Clock, CustomerId, S3uid, SystemClock, SystemRandom, name};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::engine::Memory;
pub(crate) use crate::meter::{Meter, Place, metered_bus};
use crate::servers::{Servers, keyring};

/// The customer that owns what the kit makes.
pub(crate) const OWNER: i64 = 1001;
/// Another customer.
pub(crate) const OTHER: i64 = 1002;

/// A running role.
pub(crate) struct Kit<E = Memory> {
    pub(crate) engine: Arc<E>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) role: Role,
    signer: Signer,
    db: Db,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _place: Arc<Scratch>,
}

pub(crate) fn location(code: &str) -> LocationConfig {
    LocationConfig {
        code: code.to_owned(),
        endpoint: "http://127.0.0.1:9000".to_owned(),
        region: "us-east-1".to_owned(),
        storage_types: vec!["standard".to_owned()],
        state: LocationState::Open,
    }
}

pub(crate) fn signer() -> Signer {
    Signer::from_seed(&[7; 32], "test", Arc::new(SystemClock))
}

pub(crate) async fn open(place: &Scratch) -> Db {
    place.open("storage", &MIGRATOR).await.unwrap()
}

/// Where a successor waits for the ends of leases, lets them come at once.
async fn end_leases(db: &Db) {
    if db.is_exclusive() {
        return;
    }
    let mut tx = db.begin().await.unwrap();
    for table in ["bucket_deletion", "request", "saga"] {
        let sql = format!("UPDATE {table} SET lease_until = '2000-01-01T00:00:00.000000Z'");
        tx.execute_built(sql, stowage_db::args![]).await.unwrap();
    }
    tx.execute("DELETE FROM lease", stowage_db::args![]).await.unwrap();
    tx.commit().await.unwrap();
}

/// What a test may want to be otherwise.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    /// Locations beside NL and FAR.
    pub(crate) more: Engines,
    /// Servers that locations can be added for.
    pub(crate) servers: Arc<Servers>,
    /// Versions of the master key.
    pub(crate) key_versions: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let config = Config {
            collect_every_ms: 2,
            deletion_batch_max: 5,
            move_settle_ms: 0,
            locations_every_ms: 5,
            removal_settle_ms: 0,
            ..Config::default()
        };
        Self {
            config,
            clock: Arc::new(SystemClock),
            more: Vec::new(),
            servers: Arc::default(),
            key_versions: 1,
        }
    }
}

pub(crate) type Engines = Vec<(LocationConfig, Arc<dyn Engine>)>;

pub(crate) fn deps_of(
    db: &Db,
    bus: &Bus,
    engines: Engines,
    (stop, clock): (&CancellationToken, Arc<dyn Clock>),
) -> Deps {
    Deps {
        db: db.clone(),
        bus: bus.clone(),
        clock,
        random: Arc::new(SystemRandom),
        verifier: signer().verifier(),
        page_key: signer().page_key(),
        stop: stop.clone(),
        engines,
        opener: Arc::new(Servers::default()),
        keyring: keyring(1),
        fronts: Vec::new(),
    }
}

pub(crate) async fn role_over(
    db: &Db,
    bus: &Bus,
    engines: Engines,
    stop: &CancellationToken,
) -> Role {
    let Settings { config, clock, .. } = Settings::default();
    build(config, deps_of(db, bus, engines, (stop, clock))).await.unwrap()
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(Memory::default()).await
    }

    pub(crate) async fn with(engine: Memory) -> Self {
        let place = Arc::new(Scratch::new().await);
        Self::over(Arc::new(engine), place, metered_bus()).await
    }
}

impl<E: Engine + 'static> Kit<E> {
    /// The role with its data in `folder`, and NL on `engine`.
    pub(crate) async fn over(engine: Arc<E>, place: Arc<Scratch>, bus: (Bus, Arc<Meter>)) -> Self {
        Self::set(engine, place, bus, Settings::default()).await
    }

    /// The same, with other settings.
    pub(crate) async fn set(
        engine: Arc<E>,
        place: Arc<Scratch>,
        (bus, meter): (Bus, Arc<Meter>),
        settings: Settings,
    ) -> Self {
        let db = open(&place).await;
        end_leases(&db).await;
        let stop = CancellationToken::new();
        let mut away = location("FAR");
        away.state = LocationState::Draining;
        let mut engines: Engines =
            vec![(location("NL"), Arc::<E>::clone(&engine)), (away, Arc::new(Memory::default()))];
        let Settings { config, clock, more, servers, key_versions } = settings;
        engines.extend(more);
        let mut deps = deps_of(&db, &bus, engines, (&stop, clock));
        (deps.opener, deps.keyring) = (servers, keyring(key_versions));
        let role = build(config, deps).await.unwrap();
        let tasks = Vec::new();
        Self { engine, meter, role, signer: signer(), db, stop, tasks, _place: place }
    }

    /// Lets the role's tasks run.
    pub(crate) fn run_tasks(&mut self) {
        let tasks = std::mem::take(&mut self.role.tasks);
        self.tasks.extend(tasks.into_iter().map(|task| tokio::spawn(task.future)));
    }

    /// Lets the tasks of that name run, and no others.
    pub(crate) fn run_tasks_of(&mut self, name: &str) {
        let tasks = std::mem::take(&mut self.role.tasks);
        let (run, kept) = tasks.into_iter().partition(|task| task.name == name);
        self.role.tasks = run;
        self.run_tasks();
        self.role.tasks = kept;
    }

    /// Runs tasks of that name of another process that has the same database and engine.
    pub(crate) async fn run_twin(&mut self, settings: Settings, name: &str) {
        let engines: Engines = vec![(location("NL"), Arc::<E>::clone(&self.engine))];
        let Settings { config, clock, more, .. } = settings;
        let engines: Engines = engines.into_iter().chain(more).collect();
        let (bus, _) = metered_bus();
        let deps = deps_of(&self.db, &bus, engines, (&self.stop, clock));
        let tasks = build(config, deps).await.unwrap().tasks;
        let tasks = tasks.into_iter().filter(|task| task.name == name);
        self.tasks.extend(tasks.map(|task| tokio::spawn(task.future)));
    }

    /// Another process that has the same database, and NL on the same engine.
    pub(crate) async fn twin(&self, settings: Settings) -> Self {
        let stop = CancellationToken::new();
        let engines: Engines = vec![(location("NL"), Arc::<E>::clone(&self.engine))];
        let Settings { config, clock, servers, key_versions, .. } = settings;
        let (bus, meter) = metered_bus();
        let mut deps = deps_of(&self.db, &bus, engines, (&stop, clock));
        (deps.opener, deps.keyring) = (servers, keyring(key_versions));
        let role = build(config, deps).await.unwrap();
        let (engine, db, place) = (Arc::clone(&self.engine), self.db.clone(), self._place.clone());
        Self { engine, meter, role, signer: signer(), db, stop, tasks: Vec::new(), _place: place }
    }

    /// Polls a task of another process that has the same database and engines, so often, and kills
    /// that.
    pub(crate) async fn run_killed(&self, settings: Settings, name: &str, polls: u32) {
        end_leases(&self.db).await;
        let mut engines: Engines = vec![(location("NL"), Arc::<E>::clone(&self.engine))];
        let Settings { config, clock, more, .. } = settings;
        engines.extend(more);
        let deps = deps_of(&self.db, &metered_bus().0, engines, (&self.stop, clock));
        let tasks = build(config, deps).await.unwrap().tasks;
        let task = tasks.into_iter().find(|task| task.name == name).unwrap();
        // What only waits for its time is killed waiting.
        let killed = killed_after(polls, task.future);
        let waits = Duration::from_millis(50 + 2 * u64::from(polls));
        let _ = tokio::time::timeout(waits, killed).await;
    }

    /// A count.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let (count,): (i64,) = self.db.fetch_one(sql, stowage_db::args![]).await.unwrap();
        count
    }

    /// Stops the role and lets go of its files.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            task.await.unwrap();
        }
        self.db.close().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    fn channel(&self) -> RoleChannel {
        self.role.channel.clone()
    }

    pub(crate) fn locations(&self) -> LocationServiceClient<RoleChannel> {
        LocationServiceClient::new(self.channel())
    }

    pub(crate) fn accounts(&self) -> EngineAccountServiceClient<RoleChannel> {
        EngineAccountServiceClient::new(self.channel())
    }

    pub(crate) fn buckets(&self) -> BucketServiceClient<RoleChannel> {
        BucketServiceClient::new(self.channel())
    }

    pub(crate) fn deletions(&self) -> BucketDeletionServiceClient<RoleChannel> {
        BucketDeletionServiceClient::new(self.channel())
    }

    pub(crate) fn moves(&self) -> AccountMoveServiceClient<RoleChannel> {
        AccountMoveServiceClient::new(self.channel())
    }

    pub(crate) fn adoptions(&self) -> AdoptionServiceClient<RoleChannel> {
        AdoptionServiceClient::new(self.channel())
    }

    pub(crate) fn objects(&self) -> ObjectServiceClient<RoleChannel> {
        ObjectServiceClient::new(self.channel())
    }

    pub(crate) fn uploads(&self) -> UploadServiceClient<RoleChannel> {
        UploadServiceClient::new(self.channel())
    }

    pub(crate) fn keyring(&self) -> KeyringServiceClient<RoleChannel> {
        KeyringServiceClient::new(self.channel())
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<RoleChannel> {
        UsageServiceClient::new(self.channel())
    }

    fn request<T>(&self, principal: &Principal, message: T) -> Request<T> {
        let (_, assertion) = self.signer.sign(principal);
        let mut request = Request::new(message);
        request.metadata_mut().insert(ASSERTION_KEY, assertion.parse().unwrap());
        request
    }

    pub(crate) fn as_customer<T>(&self, customer: i64, message: T) -> Request<T> {
        let principal = Principal {
            role: PrincipalRole::Customer,
            subject: format!("customers/{customer}"),
            customer: Some(CustomerId(customer)),
            acted_for: None,
            currency: None,
        };
        self.request(&principal, message)
    }

    pub(crate) fn as_service<T>(&self, message: T) -> Request<T> {
        self.request(&Principal::service("services/accounts", None), message)
    }

    pub(crate) fn as_staff<T>(&self, message: T) -> Request<T> {
        let role = PrincipalRole::Staff;
        self.request(&Principal { role, ..Principal::service("staff/1", None) }, message)
    }

    pub(crate) fn as_service_for<T>(&self, customer: i64, message: T) -> Request<T> {
        let customer = Some(CustomerId(customer));
        self.request(&Principal::service("services/accounts", customer), message)
    }

    pub(crate) fn as_administrator<T>(&self, message: T) -> Request<T> {
        let role = PrincipalRole::Administrator;
        self.request(&Principal { role, ..Principal::service("administrator", None) }, message)
    }

    pub(crate) fn as_administrator_for<T>(&self, customer: i64, message: T) -> Request<T> {
        let role = PrincipalRole::Administrator;
        let customer = Some(CustomerId(customer));
        self.request(&Principal { role, ..Principal::service("administrator", customer) }, message)
    }

    pub(crate) async fn ensure(
        &self,
        request: pb::EnsureEngineAccountRequest,
    ) -> Result<pb::EngineAccount, Status> {
        let answer = self.accounts().ensure_engine_account(self.as_service(request)).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn remove(&self, uid: &S3uid, purge: bool) -> Result<(), Status> {
        let request = pb::RemoveEngineAccountRequest { name: name::account(uid), purge };
        self.accounts().remove_engine_account(self.as_service(request)).await?;
        Ok(())
    }

    /// An account of [`OWNER`] at NL.
    pub(crate) async fn account(&self) -> S3uid {
        let uid = S3uid::generate(&SystemRandom);
        self.ensure(wanted(&uid)).await.unwrap();
        uid
    }

    pub(crate) async fn create_bucket(
        &self,
        customer: i64,
        uid: &S3uid,
        bucket: &str,
    ) -> Result<pb::Bucket, Status> {
        let (parent, bucket) = (name::account(uid), bucket.to_owned());
        let request = pb::CreateBucketRequest { parent, bucket, ..Default::default() };
        let request = self.as_customer(customer, request);
        Ok(self.buckets().create_bucket(request).await?.into_inner())
    }
}

impl<E> Drop for Kit<E> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What accounts would ask for.
pub(crate) fn wanted(uid: &S3uid) -> pb::EnsureEngineAccountRequest {
    pb::EnsureEngineAccountRequest {
        name: name::account(uid),
        customer_id: OWNER,
        location: "locations/NL".to_owned(),
        keys: vec![pb::EngineKey {
            access_key: format!("KEY{}", &uid.as_str()[..17].to_uppercase()),
            secret_key: "a-secret-of-a-fair-length-0123456789".to_owned(),
        }],
        quota_bytes: 1_000_000,
        bucket_max: 3,
        ..Default::default()
    }
}

#[track_caller]
pub(crate) fn assert_reason<T: std::fmt::Debug>(
    result: Result<T, Status>,
    code: Code,
    reason: ErrorReason,
) -> Status {
    let status = result.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{status:?}");
    status
}

/// Waits until `holds`, at most thirty seconds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it comes to be");
}

/// Runs a future for some polls only, and drops it: what a kill at that point leaves. `None`: it
/// did not end before.
pub(crate) async fn killed_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Start of the present hour.
pub(crate) fn this_hour() -> time::OffsetDateTime {
    let now = SystemClock.now();
    now.replace_minute(0)
        .and_then(|time| time.replace_second(0))
        .and_then(|time| time.replace_nanosecond(0))
        .unwrap()
}
