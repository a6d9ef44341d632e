//! `UsageService`.

use stowage_auth::RequestContext;
use stowage_proto::storage as pb;
use stowage_proto::storage::usage_service_server::UsageService;
use stowage_request::Once;
use stowage_types::{Malformed, Violations, from_timestamp, hour_of, name, timestamp};
use tonic::{Request, Response, Status};

use super::{Api, complete, signed};
use crate::domain::engine_usage::{
    EngineHour, EngineQuestion, EngineStored, EngineUsage, EngineWindow,
};
use crate::error::Error;

/// Windows of one call.
const WINDOWS_MAX: usize = 500;

#[tonic::async_trait]
impl UsageService for Api {
    async fn collect_usage(
        &self,
        request: Request<pb::CollectUsageRequest>,
    ) -> Result<Response<pb::CollectUsageResponse>, Status> {
        let read = |request: pb::CollectUsageRequest| {
            let mut violations = Violations::default();
            let uid = violations.check("name", name::parse_account(&request.name));
            complete(uid, violations)
        };
        let work = async |cx, uid, _once: Once<_>| {
            let stored = self.0.storage.collect_account(&cx, &uid).await?;
            Ok(pb::CollectUsageResponse {
                stored_bytes: signed(stored.stored_bytes),
                object_count: signed(stored.object_count),
                collect_time: Some(timestamp(stored.collect_time)),
            })
        };
        self.0.storage.requests.once(request, read, work).await
    }

    async fn sum_engine_usage(
        &self,
        request: Request<pb::SumEngineUsageRequest>,
    ) -> Result<Response<pb::SumEngineUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let question = read_question(request.into_inner()).map_err(Error::from)?;
        let usages = self.0.storage.engine_usage(&cx, &question).await?;
        let usages = usages.into_iter().map(wire_usage).collect();
        Ok(Response::new(pb::SumEngineUsageResponse { usages }))
    }
}

fn read_question(wire: pb::SumEngineUsageRequest) -> Result<EngineQuestion, Violations> {
    if wire.windows.len() > WINDOWS_MAX {
        return Err(Violations::of("windows", format!("has more than {WINDOWS_MAX}")));
    }
    let mut violations = Violations::default();
    let mut windows = Vec::with_capacity(wire.windows.len());
    for (index, window) in wire.windows.into_iter().enumerate() {
        let field = |name: &str| format!("windows[{index}].{name}");
        let uid = violations.check(&field("name"), name::parse_account(&window.name));
        let mut hour = |name: &str, time: Option<Result<_, Malformed>>| {
            let time = time.unwrap_or_else(|| Err(Malformed::new("is required")));
            violations.check(&field(name), time).map(hour_of)
        };
        let from = hour("from_time", window.from_time.as_ref().map(from_timestamp));
        let to = hour("to_time", window.to_time.as_ref().map(from_timestamp));
        if from > to && to.is_some() {
            violations.push(field("to_time"), "is before from_time");
        }
        if let (Some(uid), Some(from), Some(to)) = (uid, from, to) {
            windows.push(EngineWindow { uid, from, to });
        }
    }
    violations.finish()?;
    let pb::SumEngineUsageRequest { with_hours, with_stored, collect_first, .. } = wire;
    Ok(EngineQuestion { windows, with_hours, with_stored, collect_first })
}

fn wire_usage(usage: EngineUsage) -> pb::EngineUsage {
    let hour = |(hour, of): (time::OffsetDateTime, EngineHour)| pb::EngineHour {
        hour: Some(timestamp(hour)),
        received_bytes: of.moved.received_bytes,
        sent_bytes: of.moved.sent_bytes,
        read_requests: of.moved.read_requests,
        write_requests: of.moved.write_requests,
        sampled_buckets: of.sampled_buckets,
        sampled_bytes: of.sampled_bytes,
    };
    let (stored, stored_unknown) = match usage.stored {
        Some(Ok(EngineStored { stored_bytes, time, is_told_late })) => {
            let time = Some(timestamp(time));
            (Some(pb::EngineStored { stored_bytes, time, is_told_late }), String::new())
        }
        Some(Err(why)) => (None, why.to_owned()),
        None => (None, String::new()),
    };
    pb::EngineUsage {
        received_bytes: usage.moved.received_bytes,
        sent_bytes: usage.moved.sent_bytes,
        read_requests: usage.moved.read_requests,
        write_requests: usage.moved.write_requests,
        hours: usage.hours.into_iter().map(hour).collect(),
        counted_from_time: usage.counted_from.map(timestamp),
        report_time: usage.report_time.map(timestamp),
        stored,
        stored_unknown,
        is_waiting: usage.is_waiting,
        sampled_from_time: usage.sampled_from.map(timestamp),
    }
}
