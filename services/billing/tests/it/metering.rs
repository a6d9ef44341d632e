//! Metering as billing calls it: facts that the test puts in, summed up anew for each question.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use stowage_auth::Verifier;
use stowage_proto::metering as pb;
use stowage_proto::metering::usage_service_server::{UsageService, UsageServiceServer};
use stowage_runtime::{RoleChannel, StackConfig, role_stack};
use stowage_types::from_timestamp;
use time::OffsetDateTime;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What is known of one account.
#[derive(Debug, Default, Clone)]
struct Facts {
    /// Bytes that moved, and when.
    moved: Vec<(OffsetDateTime, i64)>,
    /// Bytes that are stored from a moment on, in order.
    stored: Vec<(OffsetDateTime, i64)>,
}

/// Facts by account. Clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct FakeMetering {
    facts: Arc<Mutex<BTreeMap<String, Facts>>>,
    is_away: Arc<Mutex<bool>>,
}

impl FakeMetering {
    /// So many bytes move at that time.
    pub(crate) fn moves(&self, s3uid: &str, time: OffsetDateTime, bytes: i64) {
        let mut facts = self.facts.lock().unwrap();
        facts.entry(s3uid.to_owned()).or_default().moved.push((time, bytes));
    }

    /// So many bytes are stored from that time on.
    pub(crate) fn stores(&self, s3uid: &str, time: OffsetDateTime, bytes: i64) {
        let mut facts = self.facts.lock().unwrap();
        let stored = &mut facts.entry(s3uid.to_owned()).or_default().stored;
        stored.push((time, bytes));
        stored.sort();
    }

    /// Bytes that an account moved in a window.
    pub(crate) fn moved(&self, s3uid: &str, from: OffsetDateTime, to: OffsetDateTime) -> i64 {
        let facts = self.facts.lock().unwrap();
        let moved = facts.get(s3uid).map(|facts| facts.moved.as_slice()).unwrap_or_default();
        moved.iter().filter(|(time, _)| from <= *time && *time < to).map(|(_, bytes)| bytes).sum()
    }

    /// Whether it answers nobody.
    pub(crate) fn set_away(&self, is_away: bool) {
        *self.is_away.lock().unwrap() = is_away;
    }

    /// The role behind its layers.
    pub(crate) fn channel(&self, verifier: Verifier) -> RoleChannel {
        let call_timeout = std::time::Duration::from_secs(5);
        let routes = Routes::new(UsageServiceServer::new(self.clone()));
        role_stack(routes, StackConfig { role: "metering", verifier, call_timeout })
    }

    fn summary(&self, window: &pb::AccountWindow) -> pb::UsageSummary {
        let time = |wire: &Option<prost_types::Timestamp>| {
            from_timestamp(wire.as_ref().expect("both times are sent")).unwrap()
        };
        let (from, to) = (time(&window.from_time), time(&window.to_time));
        assert_eq!((from.minute(), to.minute()), (0, 0), "windows are of whole hours");
        let facts = self.facts.lock().unwrap();
        let Some(facts) = facts.get(&window.s3uid).cloned() else {
            let stored_byte_seconds = "0".to_owned();
            return pb::UsageSummary { stored_byte_seconds, ..Default::default() };
        };
        let within = |time: OffsetDateTime| from <= time && time < to;
        let moved = facts.moved.iter().filter(|(time, _)| within(*time));
        let ends = facts.stored.iter().skip(1).map(|(time, _)| *time);
        let ends = ends.chain([OffsetDateTime::UNIX_EPOCH + time::Duration::days(400_000)]);
        let (mut peak, mut last, mut byte_micros) = (0, 0, 0_i128);
        for ((start, bytes), end) in facts.stored.iter().zip(ends) {
            let (start, end) = ((*start).max(from), end.min(to));
            if start < end {
                (peak, last) = (peak.max(*bytes), *bytes);
                byte_micros += i128::from(*bytes) * (end - start).whole_microseconds();
            }
        }
        pb::UsageSummary {
            received_bytes: moved.map(|(_, bytes)| bytes).sum(),
            sent_bytes: 0,
            stored_bytes_peak: peak,
            stored_bytes_last: last,
            stored_byte_seconds: (byte_micros / 1_000_000).to_string(),
            as_of_time: window.to_time,
        }
    }
}

#[tonic::async_trait]
impl UsageService for FakeMetering {
    async fn summarize_usage(
        &self,
        request: Request<pb::SummarizeUsageRequest>,
    ) -> Result<Response<pb::SummarizeUsageResponse>, Status> {
        if *self.is_away.lock().unwrap() {
            return Err(Status::unavailable("away"));
        }
        let windows = request.into_inner().windows;
        let summaries = windows.iter().map(|window| self.summary(window)).collect();
        Ok(Response::new(pb::SummarizeUsageResponse { summaries, ..Default::default() }))
    }

    async fn get_account_usage(
        &self,
        _: Request<pb::GetAccountUsageRequest>,
    ) -> Result<Response<pb::AccountUsage>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }

    async fn await_usage(
        &self,
        _: Request<pb::AwaitUsageRequest>,
    ) -> Result<Response<pb::AccountUsage>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }

    type WatchUsageStream =
        futures_util::stream::BoxStream<'static, Result<pb::AccountUsage, Status>>;

    async fn watch_usage(
        &self,
        _: Request<pb::WatchUsageRequest>,
    ) -> Result<Response<Self::WatchUsageStream>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }

    async fn query_usage(
        &self,
        _: Request<pb::QueryUsageRequest>,
    ) -> Result<Response<pb::QueryUsageResponse>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }

    async fn sum_metered_usage(
        &self,
        _: Request<pb::SumMeteredUsageRequest>,
    ) -> Result<Response<pb::SumMeteredUsageResponse>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }

    async fn rank_accounts(
        &self,
        _: Request<pb::RankAccountsRequest>,
    ) -> Result<Response<pb::RankAccountsResponse>, Status> {
        Err(Status::unimplemented("billing does not call this"))
    }
}
