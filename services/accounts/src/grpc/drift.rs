//! `DriftService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::{Violations, from_timestamp, name, page, timestamp};
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use crate::domain::drift::{Drift, DriftListing};
use crate::domain::drift_rule::{Difference, Figure, Hour, Measure, Row};
use crate::error::Error;

const LISTING: &str = "drift";
/// Accounts of one call, at most.
const PAGE_MAX: i32 = 500;
/// Accounts of a call that asks for no number.
const PAGE_DEFAULT: i32 = 100;

#[async_trait]
impl pb::drift_service_server::DriftService for Service {
    async fn list_drift(
        &self,
        request: Request<pb::ListDriftRequest>,
    ) -> Result<Response<pb::ListDriftResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = scope_of(&request);
        let (listing, size) = read_listing(&request, &scope)?;
        let page = self.domain.list_drift(&cx, &listing, size).await?;
        let next = page.next.map(|after| page::encode(LISTING, &scope, &after.to_string()));
        let looked_at = i32::try_from(page.drifts.len()).unwrap_or(i32::MAX);
        let is_shown = |drift: &Drift| !request.drifting_only || drift.is_drifting();
        let shown = page.drifts.into_iter().filter(is_shown);
        Ok(Response::new(pb::ListDriftResponse {
            accounts: shown.map(pb::AccountDrift::from).collect(),
            looked_at,
            look_time: Some(timestamp(page.look_time)),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

/// What a token of this listing is bound to.
fn scope_of(request: &pb::ListDriftRequest) -> String {
    let moment = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().map_or_else(String::new, |time| format!("{}.{}", time.seconds, time.nanos))
    };
    let (from, to) = (moment(&request.from_time), moment(&request.to_time));
    format!("{}/{}/{from}/{to}", request.accounts.join(","), request.drifting_only)
}

fn read_listing(request: &pb::ListDriftRequest, scope: &str) -> Result<(DriftListing, i64), Error> {
    let mut violations = Violations::default();
    let size = page::size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    if request.accounts.len() > PAGE_MAX.unsigned_abs() as usize {
        violations.push("accounts", format!("has more than {PAGE_MAX}"));
    }
    let read = |(index, named): (usize, &String)| {
        violations.check(&format!("accounts[{index}]"), name::parse_account(named))
    };
    let s3uids = request.accounts.iter().enumerate().filter_map(read).collect();
    let mut time = |field: &str, wire: &Option<prost_types::Timestamp>| {
        violations.check(field, from_timestamp(wire.as_ref()?))
    };
    let from = time("from_time", &request.from_time);
    let to = time("to_time", &request.to_time);
    violations.finish()?;
    let after = page::decode(LISTING, scope, &request.page_token);
    let after = after.map_err(|_| Error::PageTokenInvalid)?;
    let after = after.map_or(Ok(0), |text| text.parse()).map_err(|_| Error::PageTokenInvalid)?;
    Ok((DriftListing { s3uids, from, to, after }, size))
}

impl From<Drift> for pb::AccountDrift {
    fn from(drift: Drift) -> Self {
        Self {
            account: name::account(&drift.account.s3uid),
            account_id: drift.account.account_id,
            customer_id: drift.account.customer.0,
            location: drift.account.location.clone(),
            is_drifting: drift.is_drifting(),
            rows: drift.rows.into_iter().map(pb::DriftRow::from).collect(),
        }
    }
}

impl From<Row> for pb::DriftRow {
    fn from(row: Row) -> Self {
        Self {
            measure: pb::DriftMeasure::from(row.measure).into(),
            from_time: row.span.map(|span| timestamp(span.from)),
            to_time: row.span.map(|span| timestamp(span.to)),
            engine: row.engine.map(Into::into),
            meter: Some(row.meter.into()),
            billed: row.billed.map(Into::into),
            meter_difference: row.meter_difference().map(Into::into),
            billed_difference: row.billed_difference().map(Into::into),
            is_drifting: row.is_drifting,
            hour_count: i32::try_from(row.hour_count).unwrap_or(i32::MAX),
            hours: row.hours.into_iter().map(Into::into).collect(),
            not_judged: row.not_judged.unwrap_or_default(),
        }
    }
}

impl From<Figure> for pb::DriftFigure {
    fn from(figure: Figure) -> Self {
        Self { value: figure.value, as_of_time: figure.as_of.map(timestamp) }
    }
}

impl From<Difference> for pb::DriftDifference {
    fn from(difference: Difference) -> Self {
        Self { value: difference.value, ppm: difference.ppm }
    }
}

impl From<Hour> for pb::DriftHour {
    fn from(hour: Hour) -> Self {
        let Hour { hour, engine, meter } = hour;
        Self { hour: Some(timestamp(hour)), engine, meter }
    }
}

impl From<Measure> for pb::DriftMeasure {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::StoredBytes => Self::StoredBytes,
            Measure::ReceivedBytes => Self::ReceivedBytes,
            Measure::SentBytes => Self::SentBytes,
            Measure::ReadRequests => Self::ReadRequests,
            Measure::WriteRequests => Self::WriteRequests,
            Measure::PeriodTrafficBytes => Self::PeriodTrafficBytes,
            Measure::PeriodStoredPeakBytes => Self::PeriodStoredPeakBytes,
            Measure::PeriodStoredAverageBytes => Self::PeriodStoredAverageBytes,
            Measure::SampledBytes => Self::SampledBytes,
            Measure::SampledBuckets => Self::SampledBuckets,
        }
    }
}
