//! `LimitService`.

use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_proto::metering::limit_service_server::LimitService;
use stowage_types::{S3uid, Violations, page, timestamp};
use tonic::{Request, Response, Status};

use super::meter::read_s3uid;
use super::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::{Alert, LimitKind, LimitsUsed, Metering, WantedAlerts};
use crate::error::Error;

const ALERTS: &str = "alerts";

pub(crate) struct LimitsGrpc(pub(crate) Metering);

#[tonic::async_trait]
impl LimitService for LimitsGrpc {
    async fn get_limits(
        &self,
        request: Request<pb::GetLimitsRequest>,
    ) -> Result<Response<pb::AccountLimits>, Status> {
        let cx = RequestContext::of(&request)?;
        let s3uid = read_s3uid("s3uid", &request.into_inner().s3uid)?;
        let used = self.0.limits(&cx, &s3uid).await?;
        Ok(Response::new(wire_limits(&s3uid, used)))
    }

    async fn list_alerts(
        &self,
        request: Request<pb::ListAlertsRequest>,
    ) -> Result<Response<pb::ListAlertsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = request.s3uid.clone();
        let mut wanted = read_wanted(&request)?;
        let size = usize::try_from(wanted.max).unwrap_or(0);
        wanted.max += 1;
        let mut found = self.0.list_alerts(&cx, wanted).await?;
        let mut next_page_token = String::new();
        if found.len() > size {
            found.truncate(size);
            let place = found.last().map(|(place, _)| place.to_string()).unwrap_or_default();
            next_page_token = page::encode(ALERTS, &scope, &place);
        }
        let alerts = found.into_iter().map(|(_, alert)| wire_alert(alert)).collect();
        Ok(Response::new(pb::ListAlertsResponse { alerts, next_page_token }))
    }
}

fn read_wanted(wire: &pb::ListAlertsRequest) -> Result<WantedAlerts, Error> {
    let mut violations = Violations::default();
    let s3uid = match wire.s3uid.as_str() {
        "" => None,
        text => violations.check("s3uid", S3uid::parse(text)),
    };
    let max = page::size(wire.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    violations.finish()?;
    let place = page::decode(ALERTS, &wire.s3uid, &wire.page_token);
    let before = match place.map_err(|_| Error::PageTokenInvalid)? {
        Some(place) => Some(place.parse().map_err(|_| Error::PageTokenInvalid)?),
        None => None,
    };
    Ok(WantedAlerts { s3uid, customer: None, before, max })
}

fn wire_kind(kind: LimitKind) -> i32 {
    pb::LimitKind::from(kind).into()
}

fn wire_limits(s3uid: &S3uid, used: LimitsUsed) -> pb::AccountLimits {
    let limit = |(kind, limit_bytes, used_bytes): (LimitKind, i64, i64)| {
        let percent = i128::from(used_bytes) * 100 / i128::from(limit_bytes.max(1));
        pb::Limit {
            kind: wire_kind(kind),
            limit_bytes,
            used_bytes,
            used_percent: i64::try_from(percent).unwrap_or(i64::MAX),
        }
    };
    pb::AccountLimits {
        s3uid: s3uid.to_string(),
        period_start_time: used.period.map(|span| timestamp(span.start)),
        period_end_time: used.period.map(|span| timestamp(span.end)),
        limits: used.limits.into_iter().map(limit).collect(),
        cap: used.capped.cap.map_or(0, wire_kind),
        cap_time: used.capped.time.map(timestamp),
        as_of_time: used.as_of.map(timestamp),
    }
}

fn wire_alert(alert: Alert) -> pb::Alert {
    pb::Alert {
        s3uid: alert.s3uid.to_string(),
        customer_id: alert.customer.0,
        kind: wire_kind(alert.kind),
        percent: i32::try_from(alert.percent).unwrap_or(i32::MAX),
        limit_bytes: alert.limit_bytes,
        used_bytes: alert.used_bytes,
        period_start_time: Some(timestamp(alert.period.start)),
        period_end_time: Some(timestamp(alert.period.end)),
        raise_time: Some(timestamp(alert.time)),
    }
}
