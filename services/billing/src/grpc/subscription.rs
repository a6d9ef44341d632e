//! `SubscriptionService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::billing as pb;
use stowage_proto::billing::subscription_service_server::SubscriptionService;
use stowage_provider::OrderKey;
use stowage_types::{Currency, CustomerId, S3uid, Violations, name, page, timestamp};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::plan;
use crate::domain::Billing;
use crate::domain::brief::Brief;
use crate::domain::subscription::{Buyer, OrderRequest, State, Subscription};
use crate::error::Error;

/// Names the listing of open subscriptions in page tokens.
const OPEN: &str = "open subscriptions";
/// Characters of a mail address (RFC 5321: 64, the sign, and 255).
const EMAIL_CHARS_MAX: usize = 320;
/// Most ids of one batch.
const BATCH_IDS_MAX: usize = 1000;

/// Serves `SubscriptionService`.
#[derive(Debug)]
pub(crate) struct SubscriptionGrpc(pub(crate) Arc<Billing>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SubscriptionService for SubscriptionGrpc {
    async fn quote_order(&self, request: Request<pb::QuoteOrderRequest>) -> Answer<pb::Quote> {
        let cx = RequestContext::of(&request)?;
        let buyer = Buyer::try_from(request.into_inner())?;
        let quote = self.0.quote_order(&cx, &buyer).await?;
        let provider = quote.billed_by;
        Ok(Response::new(pb::Quote { plan: Some(plan::to_proto(quote.plan)), provider }))
    }

    async fn place_order(
        &self,
        request: Request<pb::PlaceOrderRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let order = OrderRequest::try_from(request.into_inner())?;
        let placed = self.0.place_order(&cx, &order).await?;
        self.answer(placed)
    }

    async fn activate_subscription(
        &self,
        request: Request<pb::ActivateSubscriptionRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let key = read_key(&request.into_inner().order_key)?;
        let active = self.0.activate(&cx, &key).await?;
        self.answer(active)
    }

    async fn undo_order(
        &self,
        request: Request<pb::UndoOrderRequest>,
    ) -> Answer<pb::UndoOrderResponse> {
        let cx = RequestContext::of(&request)?;
        let key = read_key(&request.into_inner().order_key)?;
        self.0.undo_order(&cx, &key).await?;
        Ok(Response::new(pb::UndoOrderResponse {}))
    }

    async fn terminate_subscription(
        &self,
        request: Request<pb::TerminateSubscriptionRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let ended = self.0.terminate(&cx, id).await?;
        self.answer(ended)
    }

    async fn change_subscription_plan(
        &self,
        request: Request<pb::ChangeSubscriptionPlanRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let pb::ChangeSubscriptionPlanRequest { name, plan, plan_version, change_key } = request;
        let mut violations = Violations::default();
        let id = violations.check("name", name::parse_subscription(&name));
        let plan = violations.check("plan", name::parse_plan(&plan));
        if plan_version < 1 {
            violations.push("plan_version", "is not a positive number");
        }
        violations.check_length("change_key", &change_key, OrderKey::LENGTH_MAX);
        let (Some(id), Some(plan), true) = (id, plan, violations.is_empty()) else {
            return Err(unread(violations).into());
        };
        let changed = self.0.change_plan(&cx, id, (&change_key, (plan, plan_version))).await?;
        self.answer(changed)
    }

    async fn schedule_cancellation(
        &self,
        request: Request<pb::ScheduleSubscriptionCancellationRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let scheduled = self.0.schedule_cancellation(&cx, id).await?;
        self.answer(scheduled)
    }

    async fn withdraw_cancellation(
        &self,
        request: Request<pb::WithdrawSubscriptionCancellationRequest>,
    ) -> Answer<pb::Subscription> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let withdrawn = self.0.withdraw_cancellation(&cx, id).await?;
        self.answer(withdrawn)
    }

    async fn list_open_subscriptions(
        &self,
        request: Request<pb::ListOpenSubscriptionsRequest>,
    ) -> Answer<pb::ListOpenSubscriptionsResponse> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let size = page::size(request.page_size, 100, 1000, &mut violations);
        let after = violations.check("page_token", page::decode(OPEN, "", &request.page_token));
        let (Some(after), true) = (after, violations.is_empty()) else {
            return Err(unread(violations).into());
        };
        let mut found = self.0.list_open(&cx, &after.unwrap_or_default(), size + 1).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let is_last = found.len() <= size;
        found.truncate(size);
        let last = found.last().filter(|_| !is_last);
        let next_page_token = last.map(|last| page::encode(OPEN, "", last.key.as_str()));
        let next_page_token = next_page_token.unwrap_or_default();
        let now = self.0.now();
        let subscriptions = found.into_iter().map(|found| to_proto(found, now)).collect();
        Ok(Response::new(pb::ListOpenSubscriptionsResponse { subscriptions, next_page_token }))
    }

    async fn batch_get_subscriptions(
        &self,
        request: Request<pb::BatchGetSubscriptionsRequest>,
    ) -> Answer<pb::BatchGetSubscriptionsResponse> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let (view, ids) = (request.view(), request.service_ids);
        if ids.len() > BATCH_IDS_MAX {
            let why = format!("has more than {BATCH_IDS_MAX} ids");
            return Err(Error::from(Violations::of("service_ids", why)).into());
        }
        let now = self.0.now();
        let subscriptions = match view {
            pb::SubscriptionView::Unspecified | pb::SubscriptionView::Full => {
                let found = self.0.batch_get_subscriptions(&cx, &ids).await?;
                found.into_iter().map(|found| to_proto(found, now)).collect()
            }
            pb::SubscriptionView::Basic => {
                let found = self.0.batch_get_briefs(&cx, &ids).await?;
                found.into_iter().map(|found| brief_to_proto(found, now)).collect()
            }
        };
        Ok(Response::new(pb::BatchGetSubscriptionsResponse { subscriptions }))
    }
}

impl SubscriptionGrpc {
    fn answer(&self, subscription: Subscription) -> Answer<pb::Subscription> {
        Ok(Response::new(to_proto(subscription, self.0.now())))
    }
}

fn read_key(text: &str) -> Result<OrderKey, Error> {
    OrderKey::parse(text).map_err(|bad| Violations::of("order_key", bad.why).into())
}

fn read_name(text: &str) -> Result<i64, Error> {
    name::parse_subscription(text).map_err(|bad| Violations::of("name", bad.why).into())
}

/// Reads who wants what; `None` when something was noted.
fn read_buyer(request: pb::QuoteOrderRequest, violations: &mut Violations) -> Option<Buyer> {
    if request.customer_id <= 0 {
        violations.push("customer_id", "is not a positive number");
    }
    let currency = violations.check("currency", Currency::parse(&request.currency));
    let plan = violations.check("plan", name::parse_plan(&request.plan));
    let location = violations.check("location", name::parse_location(&request.location));
    violations.check_length("customer_email", &request.customer_email, EMAIL_CHARS_MAX);
    Some(Buyer {
        customer: CustomerId(request.customer_id),
        currency: currency?,
        plan: plan?,
        location: location?,
        email: request.customer_email,
    })
}

/// What a request that could not be read ends as.
fn unread(violations: Violations) -> Error {
    Error::Invalid(violations)
}

impl TryFrom<pb::QuoteOrderRequest> for Buyer {
    type Error = Error;

    fn try_from(request: pb::QuoteOrderRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        match read_buyer(request, &mut violations) {
            Some(buyer) if violations.is_empty() => Ok(buyer),
            _ => Err(unread(violations)),
        }
    }
}

impl TryFrom<pb::PlaceOrderRequest> for OrderRequest {
    type Error = Error;

    fn try_from(request: pb::PlaceOrderRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let key = violations.check("order_key", OrderKey::parse(&request.order_key));
        let plan_version = request.plan_version;
        if plan_version < 1 {
            violations.push("plan_version", "is not a positive number");
        }
        let s3uid = violations.check("s3uid", S3uid::parse(&request.s3uid));
        let quoted = pb::QuoteOrderRequest {
            customer_id: request.customer_id,
            currency: request.currency,
            plan: request.plan,
            location: request.location,
            customer_email: request.customer_email,
        };
        match (key, s3uid, read_buyer(quoted, &mut violations)) {
            (Some(key), Some(s3uid), Some(buyer)) if violations.is_empty() => {
                Ok(Self { key, buyer, plan_version, s3uid })
            }
            _ => Err(unread(violations)),
        }
    }
}

fn state_to_proto(state: State) -> pb::SubscriptionState {
    match state {
        State::Ordering | State::Pending => pb::SubscriptionState::Pending,
        State::Active => pb::SubscriptionState::Active,
        State::Cancelled => pb::SubscriptionState::Cancelled,
        State::Terminated => pb::SubscriptionState::Terminated,
    }
}

fn to_proto(subscription: Subscription, now: OffsetDateTime) -> pb::Subscription {
    let placed = subscription.placed;
    pb::Subscription {
        order_id: placed.map_or(0, |placed| placed.order_id),
        invoice_id: placed.map_or(0, |placed| placed.invoice_id),
        provider: subscription.billed_by().to_owned(),
        order_key: subscription.key.to_string(),
        customer_id: subscription.customer.0,
        plan_id: subscription.plan.0,
        plan_version: subscription.plan_version,
        create_time: Some(timestamp(subscription.create_time)),
        ..brief_to_proto(subscription.brief(), now)
    }
}

fn brief_to_proto(brief: Brief, now: OffsetDateTime) -> pb::Subscription {
    let period = brief.current_period(now);
    pb::Subscription {
        name: name::subscription(brief.service_id),
        service_id: brief.service_id,
        s3uid: brief.s3uid.to_string(),
        state: state_to_proto(brief.state).into(),
        period_price: Some(brief.period_price.to_proto()),
        period: plan::period_to_proto(brief.period).into(),
        period_start_time: period.as_ref().map(|span| timestamp(span.start)),
        period_end_time: period.as_ref().map(|span| timestamp(span.end)),
        next_charge_time: brief.next_charge_time(now).map(timestamp),
        cancel_time: brief.cancel_time.map(timestamp),
        base_price: Some(brief.base_price.to_proto()),
        ..pb::Subscription::default()
    }
}
