//! `UsageService`.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_proto::metering::usage_service_server::UsageService;
use stowage_request::{Once, Requests};
use stowage_types::{CustomerId, PlanId, S3uid, Violations, page, timestamp};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::meter::{read_s3uid, wire_dimensions};
use super::{PAGE_DEFAULT, PAGE_MAX, given, read_time};
use crate::domain::{
    AccountFigures, AccountWindow, BucketFigures, Collected, Every, HistoryOf, Metering, Period,
    RankBy, RankField, Ranked, Step, Summary, UsageStep, Watch,
};
use crate::error::Error;

/// Rows that a ranking may skip.
const SKIP_MAX: i32 = 1_000_000;
/// Windows of one request.
const WINDOWS_MAX: usize = 500;

pub(crate) struct Usage {
    pub(crate) metering: Metering,
    pub(crate) requests: Requests,
    /// Ends with the role.
    pub(crate) stop: CancellationToken,
}

type Span = (Option<OffsetDateTime>, Option<OffsetDateTime>);

#[tonic::async_trait]
impl UsageService for Usage {
    async fn get_account_usage(
        &self,
        request: Request<pb::GetAccountUsageRequest>,
    ) -> Result<Response<pb::AccountUsage>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let span = (
            read_time("from_time", request.from_time.as_ref(), &mut violations),
            read_time("to_time", request.to_time.as_ref(), &mut violations),
        );
        violations.finish().map_err(Error::from)?;
        let s3uid = read_s3uid("s3uid", &request.s3uid)?;
        let figures = self.metering.account_figures(&cx, &s3uid, span).await?;
        Ok(Response::new(wire_account(figures)))
    }

    async fn await_usage(
        &self,
        request: Request<pb::AwaitUsageRequest>,
    ) -> Result<Response<pb::AccountUsage>, Status> {
        let read = |request| read_collected(request).map_err(Error::from);
        let work = async |cx, collected, _once: Once<_>| {
            let figures = self.metering.fresh_figures(&cx, &collected).await?;
            Ok::<_, Error>(wire_account(figures))
        };
        self.requests.once(request, read, work).await
    }

    async fn query_usage(
        &self,
        request: Request<pb::QueryUsageRequest>,
    ) -> Result<Response<pb::QueryUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let (of, span) = read_query(request.into_inner()).map_err(Error::from)?;
        let history = self.metering.history(&cx, &of, span).await?;
        let now = history.now;
        Ok(Response::new(pb::QueryUsageResponse {
            windows: history.steps.into_iter().map(|step| wire_step(step, now)).collect(),
            as_of_time: history.as_of.map(timestamp),
            source: source_of(of.every).into(),
        }))
    }

    type WatchUsageStream = Pin<Box<dyn Stream<Item = Result<pb::AccountUsage, Status>> + Send>>;

    async fn watch_usage(
        &self,
        request: Request<pb::WatchUsageRequest>,
    ) -> Result<Response<Self::WatchUsageStream>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::WatchUsageRequest { s3uid, updates_max } = request.into_inner();
        let s3uid = read_s3uid("s3uid", &s3uid)?;
        let negative = |_| Error::from(Violations::of("updates_max", "must not be negative"));
        let most = u32::try_from(updates_max).map_err(negative)?;
        let updates_max = (most > 0).then_some(most);
        let watch = Watch { s3uid, updates_max, stop: self.stop.clone() };
        // Whoever may not see it is told so at once, and not within the stream.
        self.metering.check_visible(&cx, &watch.s3uid).await?;
        let figures = self.metering.watch(cx, watch)?;
        let told = figures.map(|figures| figures.map(wire_account).map_err(Status::from));
        Ok(Response::new(Box::pin(told)))
    }

    async fn summarize_usage(
        &self,
        request: Request<pb::SummarizeUsageRequest>,
    ) -> Result<Response<pb::SummarizeUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let windows = read_windows(request.into_inner().windows).map_err(Error::from)?;
        let summaries = self.metering.summarize(&cx, &windows).await?;
        let summaries = summaries.into_iter().map(wire_summary).collect();
        let source = pb::UsageSource::HourRollups.into();
        Ok(Response::new(pb::SummarizeUsageResponse { summaries, source }))
    }

    async fn sum_metered_usage(
        &self,
        request: Request<pb::SumMeteredUsageRequest>,
    ) -> Result<Response<pb::SumMeteredUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::SumMeteredUsageRequest { windows, with_hours } = request.into_inner();
        let windows = read_windows(windows).map_err(Error::from)?;
        let usages = self.metering.metered(&cx, &windows, with_hours).await?;
        let usages = usages.into_iter().map(super::metered::wire).collect();
        Ok(Response::new(pb::SumMeteredUsageResponse { usages }))
    }

    async fn rank_accounts(
        &self,
        request: Request<pb::RankAccountsRequest>,
    ) -> Result<Response<pb::RankAccountsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let (by, span, rows) = read_ranking(request.into_inner()).map_err(Error::from)?;
        let (accounts, total_size) = self.metering.rank(&cx, by, span, rows).await?;
        let accounts = accounts.into_iter().map(wire_ranked).collect();
        let source = pb::UsageSource::MonthRollups.into();
        Ok(Response::new(pb::RankAccountsResponse { accounts, total_size, source }))
    }
}

fn read_collected(wire: pb::AwaitUsageRequest) -> Result<Collected, Violations> {
    let mut violations = Violations::default();
    let collect_time = read_time("collect_time", wire.collect_time.as_ref(), &mut violations);
    let s3uid = violations.check("s3uid", S3uid::parse(&wire.s3uid));
    let pb::AwaitUsageRequest { stored_bytes, object_count, .. } = wire;
    match s3uid {
        Some(s3uid) if violations.is_empty() => {
            Ok(Collected { s3uid, collect_time, stored_bytes, object_count })
        }
        _ => Err(violations),
    }
}

fn read_query(wire: pb::QueryUsageRequest) -> Result<(HistoryOf, Span), Violations> {
    let mut violations = Violations::default();
    let s3uid = violations.check("s3uid", S3uid::parse(&wire.s3uid));
    let step = match wire.step() {
        pb::UsageStep::Hour => Some(Every::Step(Step::Hour)),
        pb::UsageStep::Day => Some(Every::Step(Step::Day)),
        pb::UsageStep::Month => Some(Every::Month),
        pb::UsageStep::Unspecified => {
            violations.push("step", "must be an hour, a day or a month");
            None
        }
    };
    let from = read_time("from_time", wire.from_time.as_ref(), &mut violations);
    let to = read_time("to_time", wire.to_time.as_ref(), &mut violations);
    let bucket = given("bucket", wire.bucket, &mut violations).unwrap_or_default();
    match (s3uid, step) {
        (Some(s3uid), Some(every)) if violations.is_empty() => {
            Ok((HistoryOf { s3uid, bucket, every }, (from, to)))
        }
        _ => Err(violations),
    }
}

fn read_windows(wire: Vec<pb::AccountWindow>) -> Result<Vec<AccountWindow>, Violations> {
    if wire.len() > WINDOWS_MAX {
        return Err(Violations::of("windows", format!("has more than {WINDOWS_MAX}")));
    }
    let mut violations = Violations::default();
    let mut windows = Vec::with_capacity(wire.len());
    for (index, window) in wire.into_iter().enumerate() {
        let field = |name: &str| format!("windows[{index}].{name}");
        let s3uid = violations.check(&field("s3uid"), S3uid::parse(&window.s3uid));
        let mut time = |name: &str, wire: Option<prost_types::Timestamp>| {
            if wire.is_none() {
                violations.push(field(name), "is required");
            }
            read_time(&field(name), wire.as_ref(), &mut violations)
        };
        let from = time("from_time", window.from_time);
        let to = time("to_time", window.to_time);
        if let (Some(s3uid), Some(from), Some(to)) = (s3uid, from, to) {
            windows.push(AccountWindow { s3uid, period: Period { from, to } });
        }
    }
    violations.finish()?;
    Ok(windows)
}

fn read_ranking(wire: pb::RankAccountsRequest) -> Result<(RankBy, Span, (i64, i64)), Violations> {
    let mut v = Violations::default();
    let field = match pb::RankField::try_from(wire.field) {
        Ok(pb::RankField::Unspecified | pb::RankField::Traffic) => RankField::Traffic,
        Ok(pb::RankField::StoragePeak) => RankField::StoragePeak,
        Err(_) => {
            v.push("field", "is unknown");
            RankField::default()
        }
    };
    let span = (
        read_time("from_time", wire.from_time.as_ref(), &mut v),
        read_time("to_time", wire.to_time.as_ref(), &mut v),
    );
    if !(0..=SKIP_MAX).contains(&wire.skip) {
        v.push("skip", "must be from 0 to 1000000");
    }
    let max = page::size(wire.page_size, PAGE_DEFAULT, PAGE_MAX, &mut v);
    let mut id = |field: &str, id: i64| {
        if id < 0 {
            v.push(field, "must not be negative");
        }
        (id > 0).then_some(id)
    };
    let (customer, plan) = (id("customer_id", wire.customer_id), id("plan_id", wire.plan_id));
    let account_id = id("account_id", wire.account_id);
    let s3uid = given("s3uid", wire.s3uid, &mut v);
    let by = RankBy {
        field,
        ascending: wire.ascending,
        s3uid: s3uid.and_then(|text| v.check("s3uid", S3uid::parse(&text))),
        account_id,
        customer: customer.map(CustomerId),
        email: given("email", wire.email, &mut v),
        plan: plan.map(PlanId),
        location: given("location", wire.location, &mut v),
        storage_type: given("storage_type", wire.storage_type, &mut v),
        billing: given("billing", wire.billing, &mut v),
        bucket: given("bucket", wire.bucket, &mut v),
    };
    v.finish()?;
    Ok((by, span, (wire.skip.into(), max)))
}

fn wire_account(figures: AccountFigures) -> pb::AccountUsage {
    pb::AccountUsage {
        dimensions: Some(wire_dimensions(figures.dimensions)),
        buckets: figures.buckets.into_iter().map(wire_bucket).collect(),
        stored_bytes: figures.stored_bytes,
        stored_bytes_peak: figures.stored_bytes_peak,
        received_bytes: figures.received_bytes,
        sent_bytes: figures.sent_bytes,
        as_of_time: figures.as_of.map(timestamp),
        source: pb::UsageSource::Latest.into(),
    }
}

fn source_of(every: Every) -> pb::UsageSource {
    match every {
        Every::Step(Step::Hour) => pb::UsageSource::HourRollups,
        Every::Step(Step::Day) | Every::Month => pb::UsageSource::DayRollups,
    }
}

fn wire_bucket(figures: BucketFigures) -> pb::BucketUsage {
    pb::BucketUsage {
        bucket: figures.bucket,
        stored_bytes: figures.stored_bytes,
        object_count: figures.object_count,
        as_of_time: Some(timestamp(figures.as_of)),
    }
}

fn wire_step(step: UsageStep, now: OffsetDateTime) -> pb::UsageWindow {
    pb::UsageWindow {
        start_time: Some(timestamp(step.start)),
        received_bytes: step.moved.received_bytes,
        sent_bytes: step.moved.sent_bytes,
        read_requests: step.moved.read_requests,
        write_requests: step.moved.write_requests,
        stored_bytes_peak: step.stored_bytes_peak,
        stored_bytes_last: step.stored_bytes_last,
        stored_byte_seconds: step.byte_seconds().to_string(),
        stored_bytes_average: step.stored_bytes_average(now),
        stored_bytes_p95: step.stored_bytes_p95,
        stored_byte_hours: step.byte_hours().to_string(),
        refused_requests: step.moved.refused_requests,
        refused_bytes: step.moved.refused_bytes,
    }
}

fn wire_summary(summary: Summary) -> pb::UsageSummary {
    pb::UsageSummary {
        received_bytes: summary.received_bytes,
        sent_bytes: summary.sent_bytes,
        stored_bytes_peak: summary.stored_bytes_peak,
        stored_bytes_last: summary.stored_bytes_last,
        stored_byte_seconds: summary.byte_seconds.to_string(),
        as_of_time: summary.as_of.map(timestamp),
    }
}

fn wire_ranked(row: Ranked) -> pb::RankedAccount {
    pb::RankedAccount {
        dimensions: Some(wire_dimensions(row.dimensions)),
        traffic_bytes: row.traffic_bytes,
        stored_bytes_peak: row.stored_bytes_peak,
        stored_bytes: row.stored_bytes,
        as_of_time: row.as_of.map(timestamp),
    }
}
