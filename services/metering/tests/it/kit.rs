//! The role over a temporary file, and what drives it.

use std::sync::Arc;

use prost::Message as _;
use stowage_auth::{ASSERTION_KEY, Principal, PrincipalRole, Signer};
use stowage_bus::{Bus, Event, PublishError};
use stowage_db::Db;
use stowage_db::testing::Scratch;
use stowage_metering::{Config, Deps, MIGRATOR, USAGE_COLLECTED, build};
use stowage_proto::metering as pb;
use stowage_proto::metering::dead_letter_service_client::DeadLetterServiceClient;
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::meter_service_client::MeterServiceClient;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_proto::storage::{StorageSample, Traffic, UsageCollected};
use stowage_runtime::{Role, RoleChannel};
use stowage_types::{Clock, CustomerId, FakeClock, SystemRandom, new_id, timestamp};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::property::Fact;

/// When the tests begin.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-23 15:30 UTC);
pub(crate) const GB: i64 = 1_000_000_000;

pub(crate) struct Kit {
    place: Scratch,
    pub(crate) db: Db,
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<FakeClock>,
    signer: Signer,
    pub(crate) role: Role,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// One that waits this long for fresh figures.
    pub(crate) async fn waiting(fresh_wait_ms_max: u64) -> Self {
        Self::with(Config { fresh_wait_ms_max, ..Config::default() }).await
    }

    /// One that serves so many who watch.
    pub(crate) async fn watched_by(watches_max: usize) -> Self {
        Self::with(Config { watches_max, ..Config::default() }).await
    }

    /// One that ranks by what it keeps in memory, however few accounts there are.
    pub(crate) async fn ranking_by_what_is_kept() -> Self {
        Self::with(Config { ranked_at_once_max: 0, ..Config::default() }).await
    }

    async fn with(config: Config) -> Self {
        let place = Scratch::new().await;
        let clock = Arc::new(FakeClock::at(NOW));
        let signer = Signer::from_seed(&[7; 32], "tests", clock.clone());
        let (db, bus, role) = start_role(&place, &clock, &signer, config).await;
        Self { place, db, bus, clock, signer, role }
    }

    /// The role again, as after a crash: whatever was under way has ended with the process.
    pub(crate) async fn restart(&mut self) {
        self.db.close().await;
        let (place, clock, signer) = (&self.place, &self.clock, &self.signer);
        let (db, bus, role) = start_role(place, clock, signer, Config::default()).await;
        (self.db, self.bus, self.role) = (db, bus, role);
    }

    /// A request of another role, acting for nobody.
    pub(crate) fn as_service<T>(&self, message: T) -> Request<T> {
        self.signed(&Principal::service("services/accounts", None), message)
    }

    pub(crate) fn as_customer<T>(&self, id: i64, message: T) -> Request<T> {
        let principal = Principal {
            role: PrincipalRole::Customer,
            subject: format!("customers/{id}"),
            customer: Some(CustomerId(id)),
            acted_for: None,
            currency: None,
        };
        self.signed(&principal, message)
    }

    fn signed<T>(&self, principal: &Principal, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let assertion = self.signer.sign(principal).1.parse().unwrap();
        request.metadata_mut().insert(ASSERTION_KEY, assertion);
        request
    }

    pub(crate) fn meters(&self) -> MeterServiceClient<RoleChannel> {
        MeterServiceClient::new(self.role.channel.clone())
    }

    pub(crate) fn dead_letters(&self) -> DeadLetterServiceClient<RoleChannel> {
        DeadLetterServiceClient::new(self.role.channel.clone())
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<RoleChannel> {
        UsageServiceClient::new(self.role.channel.clone())
    }

    pub(crate) fn clock_now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) async fn open(&self, dimensions: pb::Dimensions) {
        let request = pb::OpenMeterRequest { dimensions: Some(dimensions) };
        self.meters().open_meter(self.as_service(request)).await.unwrap();
    }

    pub(crate) async fn close(&self, n: u8) {
        let request = pb::CloseMeterRequest { s3uid: uid(n) };
        self.meters().close_meter(self.as_service(request)).await.unwrap();
    }

    /// Makes an event of these facts at this moment.
    pub(crate) fn event(&self, message: &UsageCollected) -> Event {
        Event {
            id: new_id(&*self.clock, &SystemRandom),
            source: "stowage/storage".to_owned(),
            kind: USAGE_COLLECTED.to_owned(),
            subject: format!("accounts/{}", message.s3uid),
            time: self.clock.now(),
            data: message.encode_to_vec(),
            trace: Default::default(),
        }
    }

    /// The same of facts of the property tests.
    pub(crate) fn event_of(&self, facts: &[Fact]) -> Event {
        let mut message = UsageCollected { s3uid: uid(1), ..Default::default() };
        for fact in facts.iter().cloned() {
            match fact {
                Fact::Sample(sample) => message.samples.push(sample),
                Fact::Traffic(traffic) => message.traffic.push(traffic),
            }
        }
        self.event(&message)
    }

    pub(crate) async fn send(&self, message: UsageCollected) -> Result<(), PublishError> {
        self.bus.publish(&self.event(&message)).await
    }

    pub(crate) async fn stores(&self, n: u8, samples: Vec<StorageSample>) {
        let message = UsageCollected { s3uid: uid(n), samples, traffic: vec![] };
        self.send(message).await.unwrap();
    }

    pub(crate) async fn moves(&self, n: u8, traffic: Vec<Traffic>) {
        let message = UsageCollected { s3uid: uid(n), samples: vec![], traffic };
        self.send(message).await.unwrap();
    }

    pub(crate) async fn account(&self, n: u8) -> pb::AccountUsage {
        self.account_in(n, None, None).await
    }

    pub(crate) async fn account_in(
        &self,
        n: u8,
        from: Option<OffsetDateTime>,
        to: Option<OffsetDateTime>,
    ) -> pb::AccountUsage {
        let request = pb::GetAccountUsageRequest {
            s3uid: uid(n),
            from_time: from.map(timestamp),
            to_time: to.map(timestamp),
        };
        self.usage().get_account_usage(self.as_service(request)).await.unwrap().into_inner()
    }

    pub(crate) async fn history(
        &self,
        (n, bucket): (u8, &str),
        step: pb::UsageStep,
        (from, to): (OffsetDateTime, OffsetDateTime),
    ) -> pb::QueryUsageResponse {
        let request = pb::QueryUsageRequest {
            s3uid: uid(n),
            bucket: bucket.to_owned(),
            from_time: Some(timestamp(from)),
            to_time: Some(timestamp(to)),
            step: step.into(),
        };
        self.usage().query_usage(self.as_service(request)).await.unwrap().into_inner()
    }

    pub(crate) fn facts(&self) -> FactServiceClient<RoleChannel> {
        FactServiceClient::new(self.role.channel.clone())
    }

    pub(crate) fn as_admin<T>(&self, message: T) -> Request<T> {
        let principal = Principal {
            role: PrincipalRole::Administrator,
            subject: "administrator".to_owned(),
            ..Principal::anonymous()
        };
        self.signed(&principal, message)
    }

    /// Has messages of facts taken.
    pub(crate) async fn record(
        &self,
        messages: Vec<pb::RecordFactsRequest>,
    ) -> Result<pb::RecordFactsResponse, Status> {
        let messages = self.as_service(futures_util::stream::iter(messages));
        Ok(self.facts().record_facts(messages).await?.into_inner())
    }

    /// The same for facts of one source: what became of each.
    pub(crate) async fn tell(&self, facts: Vec<pb::Fact>) -> Vec<(pb::FactStatus, String)> {
        let answer = self.record(vec![told(facts)]).await.unwrap();
        answer.outcomes.into_iter().map(|of| (of.status(), of.why)).collect()
    }

    pub(crate) async fn rebuild(
        &self,
        s3uids: &[String],
        verify_only: bool,
    ) -> pb::RebuildRollupsResponse {
        let s3uids = s3uids.to_vec();
        let request = pb::RebuildRollupsRequest { s3uids, verify_only, ..Default::default() };
        self.facts().rebuild_rollups(self.as_admin(request)).await.unwrap().into_inner()
    }

    /// What accounts used, each in a window.
    pub(crate) async fn summaries(
        &self,
        of: &[(u8, (OffsetDateTime, OffsetDateTime))],
    ) -> Vec<pb::UsageSummary> {
        let window = |(n, (from, to)): &(u8, (OffsetDateTime, OffsetDateTime))| pb::AccountWindow {
            s3uid: uid(*n),
            from_time: Some(timestamp(*from)),
            to_time: Some(timestamp(*to)),
        };
        let request = pb::SummarizeUsageRequest { windows: of.iter().map(window).collect() };
        let answer = self.usage().summarize_usage(self.as_service(request)).await;
        answer.unwrap().into_inner().summaries
    }
}

async fn start_role(
    place: &Scratch,
    clock: &Arc<FakeClock>,
    signer: &Signer,
    config: Config,
) -> (Db, Bus, Role) {
    let db = place.open("metering", &MIGRATOR).await.unwrap();
    let bus = Bus::in_process();
    let deps = Deps {
        db: db.clone(),
        bus: bus.clone(),
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        verifier: signer.verifier(),
        stop: CancellationToken::new(),
    };
    let role = build(config, deps).await.unwrap();
    (db, bus, role)
}

/// A message of a collector's.
pub(crate) fn told(facts: Vec<pb::Fact>) -> pb::RecordFactsRequest {
    pb::RecordFactsRequest { source: "log/front-1".to_owned(), facts, ..Default::default() }
}

/// A fact of account 1.
pub(crate) fn fact(id: &str, bucket: &str, kind: pb::FactKind, value: i64) -> pb::Fact {
    pb::Fact {
        id: id.to_owned(),
        s3uid: uid(1),
        bucket: bucket.to_owned(),
        time: Some(timestamp(NOW)),
        kind: kind.into(),
        value,
        object_count: 0,
    }
}

pub(crate) fn uid(n: u8) -> String {
    format!("{n:032x}")
}

/// Account `n` of customer `100 + n % 3`.
pub(crate) fn dimensions(n: u8) -> pb::Dimensions {
    let customer = 100 + i64::from(n % 3);
    pb::Dimensions {
        s3uid: uid(n),
        account_id: i64::from(n),
        customer_id: customer,
        email: format!("Customer{customer}@Example.org"),
        plan_id: 1 + i64::from(n % 2),
        location: if n.is_multiple_of(2) { "NL" } else { "DE" }.to_owned(),
        storage_type: "standard".to_owned(),
        billing: "ledger".to_owned(),
        gb_bytes: GB,
    }
}

pub(crate) fn sample(bucket: &str, time: OffsetDateTime, stored_bytes: i64) -> StorageSample {
    StorageSample {
        bucket: bucket.to_owned(),
        stored_bytes,
        object_count: 1,
        sample_time: Some(timestamp(time)),
        deleted: false,
    }
}

pub(crate) fn gone(bucket: &str, time: OffsetDateTime) -> StorageSample {
    StorageSample { deleted: true, ..sample(bucket, time, 0) }
}

pub(crate) fn traffic(bucket: &str, time: OffsetDateTime, sent_bytes: i64) -> Traffic {
    Traffic {
        bucket: bucket.to_owned(),
        hour: Some(timestamp(time)),
        received_bytes: 1,
        sent_bytes,
        read_requests: 2,
        write_requests: 3,
        refused_requests: 0,
        refused_bytes: 0,
    }
}

pub(crate) fn minutes_ago(minutes: i64) -> OffsetDateTime {
    NOW - Duration::minutes(minutes)
}
