//! `PlanService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::Money as MoneyProto;
use stowage_proto::billing as pb;
use stowage_proto::billing::plan_service_server::PlanService;
use stowage_provider::Period;
use stowage_request::Requests;
use stowage_types::{
    Currency, Decimal, Malformed, Money, PlanId, Violations, from_timestamp, name, page, timestamp,
};
use tonic::{Request, Response, Status};

use crate::domain::Billing;
use crate::domain::plan::{Draft, Plan, PlanListing, PlanUpdate};
use crate::domain::terms::{
    Field, GB_BYTES_BINARY, KEY_MAX_DEFAULT, Price, PricePart, StorageMode, Terms,
};
use crate::error::Error;

const PAGE_SIZE_DEFAULT: i32 = 50;
const PAGE_SIZE_MAX: i32 = 1000;

/// Serves `PlanService`.
#[derive(Debug)]
pub(crate) struct PlanGrpc {
    pub(crate) billing: Arc<Billing>,
    pub(crate) requests: Requests,
}

#[tonic::async_trait]
impl PlanService for PlanGrpc {
    async fn create_plan(
        &self,
        request: Request<pb::CreatePlanRequest>,
    ) -> Result<Response<pb::Plan>, Status> {
        let read = |request: pb::CreatePlanRequest| {
            Ok(draft_of(request.plan.unwrap_or_default(), &|_| true))
        };
        let work = async |cx, draft, once| self.billing.create_plan(&cx, draft, &once).await;
        self.requests.once(request, read, work).await
    }

    async fn get_plan(
        &self,
        request: Request<pb::GetPlanRequest>,
    ) -> Result<Response<pb::Plan>, Status> {
        let cx = RequestContext::of(&request)?;
        let (id, version) = read_get(&request.into_inner())?;
        let plan = self.billing.get_plan(&cx, id, version).await?;
        Ok(Response::new(to_proto(plan)))
    }

    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let listing = PlanListing::try_from(request.into_inner())?;
        let (plans, next_page_token) = self.billing.list_plans(&cx, listing).await?;
        let plans = plans.into_iter().map(to_proto).collect();
        Ok(Response::new(pb::ListPlansResponse { plans, next_page_token }))
    }

    async fn update_plan(
        &self,
        request: Request<pb::UpdatePlanRequest>,
    ) -> Result<Response<pb::Plan>, Status> {
        let work = async |cx, update, once| self.billing.update_plan(&cx, update, &once).await;
        self.requests.once(request, PlanUpdate::try_from, work).await
    }

    async fn archive_plan(
        &self,
        request: Request<pb::ArchivePlanRequest>,
    ) -> Result<Response<pb::Plan>, Status> {
        let read = |request: pb::ArchivePlanRequest| read_name(&request.name);
        let work = async |cx, id, once| self.billing.archive_plan(&cx, id, &once).await;
        self.requests.once(request, read, work).await
    }
}

fn read_name(text: &str) -> Result<PlanId, Error> {
    name::parse_plan(text).map_err(|bad| Violations::of("name", bad.why).into())
}

fn read_get(request: &pb::GetPlanRequest) -> Result<(PlanId, Option<i32>), Error> {
    let mut violations = Violations::default();
    let id = violations.check("name", name::parse_plan(&request.name));
    if request.version < 0 {
        violations.push("version", "must not be negative");
    }
    violations.finish()?;
    let id = id.ok_or(Error::PlanNotFound)?;
    Ok((id, (request.version > 0).then_some(request.version)))
}

impl TryFrom<pb::ListPlansRequest> for PlanListing {
    type Error = Error;

    fn try_from(request: pb::ListPlansRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, &mut violations);
        let location = match request.location.as_str() {
            "" => None,
            named => violations.check("location", name::parse_location(named)),
        };
        violations.finish()?;
        Ok(Self { size, token: request.page_token, location })
    }
}

impl TryFrom<pb::UpdatePlanRequest> for PlanUpdate {
    type Error = Error;

    fn try_from(request: pb::UpdatePlanRequest) -> Result<Self, Error> {
        let plan = request.plan.unwrap_or_default();
        let mut violations = Violations::default();
        let id = violations.check("plan.name", name::parse_plan(&plan.name));
        if plan.version < 0 {
            violations.push("plan.version", "must not be negative");
        }
        let paths = request.update_mask.unwrap_or_default().paths;
        if paths.is_empty() {
            violations.push("update_mask", "must name the fields to change");
        }
        let mut fields = Vec::new();
        for path in paths {
            match Field::named(&path) {
                Some(field) if fields.contains(&field) => {}
                Some(field) => fields.push(field),
                None => violations.push("update_mask", format!("has no such path: {path:?}")),
            }
        }
        let version = (plan.version > 0).then_some(plan.version);
        let draft = draft_of(plan, &|field| fields.contains(&field));
        if violations.is_empty()
            && let Some(plan) = id
        {
            return Ok(Self { plan, version, draft, fields });
        }
        for (field, why) in draft.violations.iter() {
            violations.push(field, why);
        }
        Err(violations.into())
    }
}

/// Reads the wanted fields of a plan; what is bad is noted and left at a harmless value.
fn draft_of(plan: pb::Plan, wants: &dyn Fn(Field) -> bool) -> Draft {
    let mut violations = Violations::default();
    let mut location = String::new();
    if wants(Field::Location) {
        let read = violations.check("plan.location", name::parse_location(&plan.location));
        location = read.unwrap_or_default();
    }
    let mut base_price = Decimal::ZERO;
    if wants(Field::BasePrice) {
        let read = violations.check("plan.base_price", read_base(plan.base_price.as_ref()));
        base_price = read.unwrap_or(Decimal::ZERO);
    }
    let period = match plan.period() {
        pb::BillingPeriod::Yearly => Period::Yearly,
        pb::BillingPeriod::Monthly | pb::BillingPeriod::Unspecified => Period::Monthly,
    };
    if wants(Field::Period) && pb::BillingPeriod::try_from(plan.period).is_err() {
        violations.push("plan.period", "is not a period that we know");
    }
    let storage_mode = match plan.storage_mode() {
        pb::StorageMode::Average => StorageMode::Average,
        pb::StorageMode::Last => StorageMode::Last,
        pb::StorageMode::Peak | pb::StorageMode::Unspecified => StorageMode::Peak,
    };
    if wants(Field::StorageMode) && pb::StorageMode::try_from(plan.storage_mode).is_err() {
        violations.push("plan.storage_mode", "is not a way of counting that we know");
    }
    let free_parts = read_free_parts(&plan.free_parts, &mut violations);
    let mut prices = Vec::new();
    if wants(Field::Prices) {
        let left_out = |part| plan.free || free_parts.contains(&part);
        let read = |(index, price)| read_price((index, price), &left_out, &mut violations);
        prices = plan.prices.iter().enumerate().filter_map(read).collect();
    }
    let time = plan.effective_time.map(|wire| from_timestamp(&wire)).transpose();
    let effective_time = violations.check("plan.effective_time", time).flatten();
    let terms = Terms {
        title: plan.title,
        storage_type: plan.storage_type,
        location,
        base_price,
        prices,
        quota_bytes: plan.quota_bytes,
        bucket_max: plan.bucket_max,
        gb_bytes: if plan.gb_bytes == 0 { GB_BYTES_BINARY } else { plan.gb_bytes },
        included_storage_gb: plan.included_storage_gb,
        included_traffic_gb: plan.included_traffic_gb,
        storage_mode,
        period,
        free: plan.free,
        free_parts,
        key_max: if plan.key_max == 0 { KEY_MAX_DEFAULT } else { plan.key_max },
        storage_cap_gb: plan.storage_cap_gb,
        traffic_cap_gb: plan.traffic_cap_gb,
        account_max_per_customer: plan.account_max_per_customer,
    };
    Draft { terms, effective_time, violations }
}

/// The list price: absent is zero, a currency is refused.
fn read_base(wire: Option<&MoneyProto>) -> Result<Decimal, Malformed> {
    match wire {
        None => Ok(Decimal::ZERO),
        Some(wire) if !wire.currency_code.is_empty() => {
            Err(Malformed::new("must have no currency"))
        }
        Some(wire) => Decimal::from_proto(wire),
    }
}

/// The parts that cost nothing, each once, in their order.
fn read_free_parts(wire: &[i32], violations: &mut Violations) -> Vec<PricePart> {
    let read = |part: &i32| match pb::PricePart::try_from(*part) {
        Ok(pb::PricePart::Period) => Some(PricePart::Period),
        Ok(pb::PricePart::StorageOverage) => Some(PricePart::StorageOverage),
        Ok(pb::PricePart::TrafficOverage) => Some(PricePart::TrafficOverage),
        Ok(pb::PricePart::Unspecified) | Err(_) => None,
    };
    let parts: Vec<_> = wire.iter().filter_map(read).collect();
    let named: Vec<_> = PricePart::ALL.into_iter().filter(|part| parts.contains(part)).collect();
    if parts.len() < wire.len() {
        violations.push("plan.free_parts", "has a part that we do not know");
    } else if named.len() < parts.len() {
        violations.push("plan.free_parts", "has a part twice");
    }
    named
}

/// Reads one price, whose parts are all in the currency of the first. Overage may be left out
/// where it is nothing anyway.
fn read_price(
    (index, wire): (usize, &pb::PlanPrice),
    may_lack: &dyn Fn(PricePart) -> bool,
    violations: &mut Violations,
) -> Option<Price> {
    let field = |part: &str| format!("plan.prices[{index}].{part}");
    let period = wire.period_price.as_ref().ok_or_else(|| Malformed::new("is required"));
    let period = period.and_then(Money::from_proto);
    let period = violations.check(&field("period_price"), period);
    let currency = period.map(Money::currency);
    let may_lack_storage = may_lack(PricePart::StorageOverage);
    let storage = wire.storage_overage_price.as_ref();
    let storage = read_overage(storage, currency, may_lack_storage);
    let storage = violations.check(&field("storage_overage_price"), storage);
    let may_lack_traffic = may_lack(PricePart::TrafficOverage);
    let traffic = wire.traffic_overage_price.as_ref();
    let traffic = read_overage(traffic, currency, may_lack_traffic);
    let traffic = violations.check(&field("traffic_overage_price"), traffic);
    let period = period?;
    Some(Price {
        currency: period.currency(),
        period: period.amount(),
        storage_overage: storage?,
        traffic_overage: traffic?,
    })
}

fn read_overage(
    wire: Option<&MoneyProto>,
    currency: Option<Currency>,
    may_lack: bool,
) -> Result<Decimal, Malformed> {
    let Some(wire) = wire else {
        return if may_lack { Ok(Decimal::ZERO) } else { Err(Malformed::new("is required")) };
    };
    let price = Money::from_proto(wire)?;
    if currency.is_some_and(|currency| currency != price.currency()) {
        return Err(Malformed::new("must be in the currency of period_price"));
    }
    Ok(price.amount())
}

pub(super) fn period_to_proto(period: Period) -> pb::BillingPeriod {
    match period {
        Period::Monthly => pb::BillingPeriod::Monthly,
        Period::Yearly => pb::BillingPeriod::Yearly,
    }
}

pub(super) fn storage_mode_to_proto(mode: StorageMode) -> pb::StorageMode {
    match mode {
        StorageMode::Peak => pb::StorageMode::Peak,
        StorageMode::Average => pb::StorageMode::Average,
        StorageMode::Last => pb::StorageMode::Last,
    }
}

fn part_to_proto(part: PricePart) -> pb::PricePart {
    match part {
        PricePart::Period => pb::PricePart::Period,
        PricePart::StorageOverage => pb::PricePart::StorageOverage,
        PricePart::TrafficOverage => pb::PricePart::TrafficOverage,
    }
}

impl From<Plan> for pb::Plan {
    fn from(plan: Plan) -> Self {
        to_proto(plan)
    }
}

pub(super) fn to_proto(plan: Plan) -> pb::Plan {
    let Plan { id, version, active, terms, effective_time, update_time } = plan;
    let money =
        |amount: Decimal, currency| Some(Money::from_nanos(amount.nanos(), currency).to_proto());
    let price = |price: &Price| pb::PlanPrice {
        period_price: money(price.period, price.currency),
        storage_overage_price: money(price.storage_overage, price.currency),
        traffic_overage_price: money(price.traffic_overage, price.currency),
    };
    pb::Plan {
        name: name::plan(id),
        plan_id: id.0,
        version,
        active,
        prices: terms.prices.iter().map(price).collect(),
        title: terms.title,
        storage_type: terms.storage_type,
        location: name::location(&terms.location),
        base_price: Some(terms.base_price.to_proto()),
        quota_bytes: terms.quota_bytes,
        bucket_max: terms.bucket_max,
        gb_bytes: terms.gb_bytes,
        included_storage_gb: terms.included_storage_gb,
        included_traffic_gb: terms.included_traffic_gb,
        storage_mode: storage_mode_to_proto(terms.storage_mode).into(),
        period: period_to_proto(terms.period).into(),
        free: terms.free,
        free_parts: terms.free_parts.iter().map(|part| part_to_proto(*part).into()).collect(),
        key_max: terms.key_max,
        storage_cap_gb: terms.storage_cap_gb,
        traffic_cap_gb: terms.traffic_cap_gb,
        account_max_per_customer: terms.account_max_per_customer,
        effective_time: Some(timestamp(effective_time)),
        update_time: Some(timestamp(update_time)),
    }
}
