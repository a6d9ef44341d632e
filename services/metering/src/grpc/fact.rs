//! `FactService`.

use std::pin::Pin;

use futures_util::StreamExt as _;
use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_proto::metering::fact_service_server::FactService;
use stowage_types::{Malformed, S3uid, Violations, from_timestamp, page, timestamp};
use time::OffsetDateTime;
use tonic::{Request, Response, Status, Streaming};

use super::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::{
    Batch, Conflict, Difference, Fact, Item, Metering, Outcome, Place, Rebuild, Rebuilt, What,
};
use crate::error::Error;
use crate::store::conflict::Wanted;

/// Facts of a message.
const FACTS_MAX: usize = 10_000;
/// Facts of a call: what became of each is told at its end.
const FACTS_OF_CALL_MAX: usize = 500_000;
/// Characters of a source.
const SOURCE_MAX: usize = 200;
/// Characters of a reason.
const REASON_MAX: usize = 500;
/// Accounts that are named in one request.
const NAMED_MAX: usize = 1000;
/// What sources of our own begin with.
const OURS: &str = "stowage/";

const CONFLICTS: &str = "factConflicts";
const ROLLUPS: &str = "rollups";

pub(crate) struct Facts(pub(crate) Metering);

#[tonic::async_trait]
impl FactService for Facts {
    async fn record_facts(
        &self,
        request: Request<Streaming<pb::RecordFactsRequest>>,
    ) -> Result<Response<pb::RecordFactsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let mut messages: Pin<Box<Streaming<_>>> = Box::pin(request.into_inner());
        let mut answer = pb::RecordFactsResponse::default();
        while let Some(message) = messages.next().await {
            let batch = read_batch(message?, answer.outcomes.len()).map_err(Error::from)?;
            let outcomes = self.0.record(&cx, &batch).await?;
            outcomes.into_iter().for_each(|outcome| tell(&mut answer, outcome));
        }
        Ok(Response::new(answer))
    }

    async fn list_fact_conflicts(
        &self,
        request: Request<pb::ListFactConflictsRequest>,
    ) -> Result<Response<pb::ListFactConflictsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = request.source.clone();
        let mut wanted = read_wanted(request)?;
        let size = usize::try_from(wanted.max).unwrap_or(0);
        wanted.max += 1;
        let mut found = self.0.list_conflicts(&cx, &wanted).await?;
        let mut next_page_token = String::new();
        if found.len() > size {
            found.truncate(size);
            let place = found.last().map(place_of).unwrap_or_default();
            next_page_token = page::encode(CONFLICTS, &scope, &place);
        }
        let conflicts = found.into_iter().map(wire_conflict).collect();
        Ok(Response::new(pb::ListFactConflictsResponse { conflicts, next_page_token }))
    }

    async fn rebuild_rollups(
        &self,
        request: Request<pb::RebuildRollupsRequest>,
    ) -> Result<Response<pb::RebuildRollupsResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = format!("{} {}", request.verify_only, request.s3uids.join(" "));
        let rebuild = read_rebuild(request, &scope)?;
        let rebuilt = self.0.rebuild(&cx, &rebuild).await?;
        Ok(Response::new(wire_rebuilt(rebuilt, &scope)))
    }
}

/// Reads a message. What is wrong with one fact is told of that fact.
fn read_batch(wire: pb::RecordFactsRequest, before: usize) -> Result<Batch, Violations> {
    let mut violations = Violations::default();
    let pb::RecordFactsRequest { source, facts, correction, reason } = wire;
    violations.check_length("source", &source, SOURCE_MAX);
    violations.check_length("reason", &reason, REASON_MAX);
    if source.is_empty() {
        violations.push("source", "is required");
    }
    if source.starts_with(OURS) {
        violations.push("source", "is one of Stowage's own");
    }
    if facts.len() > FACTS_MAX {
        violations.push("facts", format!("has more than {FACTS_MAX}"));
    }
    if before + facts.len() > FACTS_OF_CALL_MAX {
        violations.push("facts", format!("is more than {FACTS_OF_CALL_MAX} in one call"));
    }
    if correction && reason.trim().is_empty() {
        violations.push("reason", "is required with a correction");
    }
    violations.finish()?;
    let items = facts.into_iter().map(read_fact).collect();
    Ok(Batch { source, items, correction: correction.then_some(reason) })
}

fn read_fact(wire: pb::Fact) -> Item {
    let kind = i64::from(wire.kind);
    let is_stored = wire.kind() == pb::FactKind::Stored;
    if !is_stored && wire.object_count != 0 {
        return Err(Malformed::new("has objects, and is not of what is stored"));
    }
    let what = Fact::decode((kind, wire.value, wire.object_count));
    let what = what.ok_or_else(|| Malformed::new("is of no known kind"))?;
    if what == What::Deleted && wire.value != 0 {
        return Err(Malformed::new("has a value, and its bucket is gone"));
    }
    let s3uid = S3uid::parse(&wire.s3uid)
        .map_err(|bad| Malformed::new(format!("has an s3uid that {}", bad.why)))?;
    let time = wire.time.as_ref().ok_or_else(|| Malformed::new("has no time"))?;
    // As exact as a database keeps it: what is read again is the same.
    let time = from_timestamp(time)?.truncate_to_microsecond();
    Ok(Fact { id: wire.id, s3uid, bucket: wire.bucket, time, what })
}

fn tell(answer: &mut pb::RecordFactsResponse, outcome: Outcome) {
    let (status, count, why) = match outcome {
        Outcome::Stored => (pb::FactStatus::Stored, &mut answer.stored_count, String::new()),
        Outcome::Duplicate => {
            (pb::FactStatus::Duplicate, &mut answer.duplicate_count, String::new())
        }
        Outcome::Refused(refused) => {
            (pb::FactStatus::Refused, &mut answer.refused_count, refused.why)
        }
    };
    *count += 1;
    answer.outcomes.push(pb::FactOutcome { status: status.into(), why });
}

fn read_wanted(wire: pb::ListFactConflictsRequest) -> Result<Wanted, Error> {
    let mut violations = Violations::default();
    violations.check_length("source", &wire.source, SOURCE_MAX);
    let max = page::size(wire.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    violations.finish()?;
    let place = page::decode(CONFLICTS, &wire.source, &wire.page_token);
    let place = place.map_err(|_| Error::PageTokenInvalid)?;
    let after = match place {
        Some(place) => Some(read_place(&place).ok_or(Error::PageTokenInvalid)?),
        None => None,
    };
    Ok(Wanted { source: wire.source, after, max })
}

/// The place of a conflict in its listing.
fn place_of(conflict: &Conflict) -> String {
    let Conflict { last_time, source, id, .. } = conflict;
    format!("{}\n{source}\n{id}", last_time.unix_timestamp_nanos())
}

fn read_place(text: &str) -> Option<(OffsetDateTime, String, String)> {
    let (time, rest) = text.split_once('\n')?;
    let (source, id) = rest.split_once('\n')?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(time.parse().ok()?).ok()?;
    Some((time, source.to_owned(), id.to_owned()))
}

fn wire_conflict(conflict: Conflict) -> pb::FactConflict {
    pb::FactConflict {
        source: conflict.source,
        id: conflict.id,
        s3uid: conflict.s3uid,
        refused: conflict.refused,
        count: conflict.count,
        last_time: Some(timestamp(conflict.last_time)),
    }
}

fn read_rebuild(wire: pb::RebuildRollupsRequest, scope: &str) -> Result<Rebuild, Error> {
    let mut violations = Violations::default();
    if wire.s3uids.len() > NAMED_MAX {
        violations.push("s3uids", format!("has more than {NAMED_MAX}"));
    }
    let mut s3uids = Vec::new();
    for (index, text) in wire.s3uids.iter().take(NAMED_MAX).enumerate() {
        s3uids.extend(violations.check(&format!("s3uids[{index}]"), S3uid::parse(text)));
    }
    let max = page::size(wire.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    violations.finish()?;
    let place = page::decode(ROLLUPS, scope, &wire.page_token);
    let place = match place.map_err(|_| Error::PageTokenInvalid)? {
        Some(text) => Some(read_reached(&text).ok_or(Error::PageTokenInvalid)?),
        None => None,
    };
    let max = usize::try_from(max).unwrap_or(0);
    Ok(Rebuild { s3uids, verify_only: wire.verify_only, place, max })
}

/// An account, and the second until which it is done; behind the whole account nothing.
fn reached_text(place: &Place) -> String {
    let until = place.until.map(|time| time.unix_timestamp().to_string());
    format!("{} {}", place.s3uid, until.unwrap_or_default())
}

fn read_reached(text: &str) -> Option<Place> {
    let (s3uid, until) = text.split_once(' ')?;
    let s3uid = S3uid::parse(s3uid).ok()?;
    let until = match until {
        "" => None,
        until => Some(OffsetDateTime::from_unix_timestamp(until.parse().ok()?).ok()?),
    };
    Some(Place { s3uid, until })
}

fn wire_rebuilt(rebuilt: Rebuilt, scope: &str) -> pb::RebuildRollupsResponse {
    let next = rebuilt.next.map(|place| page::encode(ROLLUPS, scope, &reached_text(&place)));
    pb::RebuildRollupsResponse {
        account_count: i32::try_from(rebuilt.accounts).unwrap_or(i32::MAX),
        fact_count: rebuilt.facts,
        difference_count: rebuilt.difference_count,
        differences: rebuilt.differences.into_iter().map(wire_difference).collect(),
        next_page_token: next.unwrap_or_default(),
        from_time: Some(timestamp(rebuilt.from)),
    }
}

fn wire_difference(difference: Difference) -> pb::RollupDifference {
    pb::RollupDifference {
        s3uid: difference.s3uid.as_str().to_owned(),
        bucket: difference.bucket,
        step_seconds: difference.step.length().whole_seconds(),
        start_time: Some(timestamp(difference.start)),
        field: difference.field.to_owned(),
        stored: difference.stored,
        computed: difference.computed,
    }
}
