//! `AuditService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::{CustomerId, Malformed, PlanId, Violations, name, page, timestamp};
use tonic::{Request, Response, Status, async_trait};

use super::{Service, read_page};
use crate::domain::audit::{Break, BreakKind, Chained, Link, Listing, Verified, Walk};
use crate::domain::history::Recorded;
use crate::error::Error;

const LISTING: &str = "audit";
const VERIFICATION: &str = "audit_verification";
/// Whose chain it is that belongs to no customer.
const NOBODY: &str = "customers/0";
/// Entries that one call verifies: some tens of milliseconds of work.
const VERIFY_MAX: i32 = 10_000;

#[async_trait]
impl pb::audit_service_server::AuditService for Service {
    async fn list_audit_entries(
        &self,
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Result<Response<pb::ListAuditEntriesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ListAuditEntriesRequest { customer, page_size, page_token, newest_first } =
            request.into_inner();
        let customer_id = read_customer(&customer)?;
        let scope = format!("{customer}/{newest_first}");
        let (after, size) = read_page::<i64>((LISTING, &scope), page_size, &page_token)?;
        let listing = Listing { customer_id, after, newest_first, size };
        let page = self.domain.list_audit(&cx, listing).await?;
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token = last
            .map(|row| page::encode(LISTING, &scope, &row.recorded.id.to_string()))
            .unwrap_or_default();
        let entries = page.rows.into_iter().map(pb::AuditEntry::from).collect();
        Ok(Response::new(pb::ListAuditEntriesResponse { entries, next_page_token }))
    }

    async fn verify_audit(
        &self,
        request: Request<pb::VerifyAuditRequest>,
    ) -> Result<Response<pb::VerifyAuditResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::VerifyAuditRequest { customer, page_size, page_token } = request.into_inner();
        let mut violations = Violations::default();
        let max = page::size(page_size, VERIFY_MAX, VERIFY_MAX, &mut violations);
        violations.finish().map_err(Error::from)?;
        let customer_id = read_customer(&customer)?;
        let walk = read_walk(&customer, &page_token)?;
        let verified = self.domain.verify_audit(&cx, customer_id, (walk, max)).await?;
        let next_page_token = match verified.is_last {
            true => String::new(),
            false => page::encode(VERIFICATION, &customer, &write_walk(&verified.walk)),
        };
        let answer = pb::VerifyAuditResponse { next_page_token, ..verified.into() };
        Ok(Response::new(answer))
    }
}

/// The customer whose entries are asked for; `None`: the request does not say.
fn read_customer(text: &str) -> Result<Option<i64>, Error> {
    match text {
        "" => Ok(None),
        NOBODY => Ok(Some(0)),
        named => {
            let CustomerId(id) = name::parse_customer(named)
                .map_err(|Malformed { why }| Error::field("customer", &why))?;
            Ok(Some(id))
        }
    }
}

/// What a token of a verification says: how far it has come. Who forges one fools himself only.
fn write_walk(walk: &Walk) -> String {
    format!("{}/{}", walk.last.sequence, hex::encode(walk.last.hash))
}

fn read_walk(scope: &str, token: &str) -> Result<Walk, Error> {
    let cursor = page::decode(VERIFICATION, scope, token).map_err(|_| Error::PageTokenInvalid)?;
    let Some(cursor) = cursor else { return Ok(Walk::default()) };
    let read = || {
        let (sequence, hash) = cursor.split_once('/')?;
        let sequence: i64 = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        let hash = hex::decode(hash).ok()?.try_into().ok()?;
        Some(Walk { last: Link { sequence, hash } })
    };
    read().ok_or(Error::PageTokenInvalid)
}

/// `customers/{customer_id}`, also of nobody.
fn customer_name(id: i64) -> String {
    name::customer(CustomerId(id))
}

impl From<Chained> for pb::AuditEntry {
    fn from(chained: Chained) -> Self {
        let Recorded { id, create_time, entry } = chained.recorded;
        let acted_for = match entry.cause.acted_for {
            0 => String::new(),
            customer => customer_name(customer),
        };
        let plan = match entry.plan_id {
            0 => String::new(),
            plan => name::plan(PlanId(plan)),
        };
        Self {
            id,
            customer: customer_name(entry.customer_id),
            sequence: chained.sequence,
            create_time: Some(timestamp(create_time)),
            event: entry.event,
            actor: entry.cause.actor,
            acted_for,
            request_id: entry.cause.request_id,
            plan,
            s3uid: entry.s3uid,
            old_json: entry.old_json,
            new_json: entry.new_json,
            minor: entry.minor,
            encoding: i32::try_from(chained.encoding).unwrap_or(0),
            hash: chained.hash,
        }
    }
}

impl From<Verified> for pb::VerifyAuditResponse {
    fn from(verified: Verified) -> Self {
        // Places run from 1 without gaps, or the walk had not come so far.
        let Link { sequence, hash } = verified.walk.last;
        Self {
            customer: customer_name(verified.customer_id),
            entry_count: sequence,
            first_sequence: sequence.min(1),
            last_sequence: sequence,
            head_hash: if sequence == 0 { Vec::new() } else { hash.to_vec() },
            broken: verified.broken.map(pb::AuditBreak::from),
            next_page_token: String::new(),
        }
    }
}

impl From<Break> for pb::AuditBreak {
    fn from(found: Break) -> Self {
        let kind = match found.kind {
            BreakKind::Changed => pb::AuditBreakKind::Changed,
            BreakKind::Missing => pb::AuditBreakKind::Missing,
            BreakKind::CutOff => pb::AuditBreakKind::CutOff,
            BreakKind::HeadChanged => pb::AuditBreakKind::HeadChanged,
            BreakKind::HeadMissing => pb::AuditBreakKind::HeadMissing,
            BreakKind::Stray => pb::AuditBreakKind::Stray,
            BreakKind::Unreadable => pb::AuditBreakKind::Unreadable,
        };
        Self {
            kind: kind.into(),
            sequence: found.sequence,
            entry_id: found.entry_id,
            why: found.why,
        }
    }
}
