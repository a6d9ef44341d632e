//! Plans and subscriptions.

use prost::Message as _;
use stowage_proto::billing as pb;

use super::table::Foreign::{AsMissing, NotFound, Shared};
use super::table::{Foreign, Need, OPERATORS, READERS, ROLES, Row};
use super::world::plan_of;

const NO_SUBSCRIPTION: Foreign = NotFound("SUBSCRIPTION_NOT_FOUND");

pub(super) const ROWS: &[Row] = &[
    Row::new("/stowage.billing.v1.PlanService/CreatePlan", OPERATORS, Shared, |n| {
        let plan = plan_of(&format!("Plan {}", n.serial));
        pb::CreatePlanRequest { plan: Some(plan), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.PlanService/GetPlan", READERS, Shared, |n| {
        pb::GetPlanRequest { name: n.plan(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.PlanService/ListPlans", READERS, Shared, |_| {
        pb::ListPlansRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.PlanService/UpdatePlan", OPERATORS, Shared, |n| {
        let plan = pb::Plan {
            name: n.own_plan.clone(),
            title: format!("Renamed {}", n.serial),
            ..Default::default()
        };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["title".to_owned()] });
        pb::UpdatePlanRequest { plan: Some(plan), update_mask, ..Default::default() }
            .encode_to_vec()
    })
    .needs(Need::Plan),
    Row::new("/stowage.billing.v1.PlanService/ArchivePlan", OPERATORS, Shared, |n| {
        let name = n.own_plan.clone();
        pb::ArchivePlanRequest { name, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Plan),
    Row::new("/stowage.billing.v1.SubscriptionService/QuoteOrder", ROLES, AsMissing, |n| {
        let quote = pb::QuoteOrderRequest {
            customer_id: n.customer,
            currency: "EUR".to_owned(),
            plan: n.plan(),
            location: "locations/NL".to_owned(),
        };
        quote.encode_to_vec()
    }),
    Row::new("/stowage.billing.v1.SubscriptionService/PlaceOrder", ROLES, AsMissing, |n| {
        let order = pb::PlaceOrderRequest {
            order_key: format!("matrix-{}", n.serial),
            customer_id: n.customer,
            currency: "EUR".to_owned(),
            plan: n.plan(),
            plan_version: 1,
            location: "locations/NL".to_owned(),
            s3uid: format!("{:0>32}", n.serial),
        };
        order.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ActivateSubscription",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::ActivateSubscriptionRequest { order_key: n.order_key.clone() }.encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new("/stowage.billing.v1.SubscriptionService/UndoOrder", ROLES, AsMissing, |n| {
        pb::UndoOrderRequest { order_key: n.order_key.clone() }.encode_to_vec()
    }),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/TerminateSubscription",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::TerminateSubscriptionRequest { name: n.subscription() }.encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ChangeSubscriptionPlan",
        ROLES,
        NO_SUBSCRIPTION,
        |n| {
            let (name, plan) = (n.subscription(), n.other_plan());
            pb::ChangeSubscriptionPlanRequest { name, plan, plan_version: 1 }.encode_to_vec()
        },
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ScheduleCancellation",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::ScheduleSubscriptionCancellationRequest { name: n.subscription() }.encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/WithdrawCancellation",
        ROLES,
        NO_SUBSCRIPTION,
        |n| pb::WithdrawSubscriptionCancellationRequest { name: n.subscription() }.encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/ListOpenSubscriptions",
        OPERATORS,
        AsMissing,
        |_| pb::ListOpenSubscriptionsRequest::default().encode_to_vec(),
    ),
    Row::new(
        "/stowage.billing.v1.SubscriptionService/BatchGetSubscriptions",
        READERS,
        AsMissing,
        |n| {
            let service_ids = vec![n.service_id];
            pb::BatchGetSubscriptionsRequest { service_ids }.encode_to_vec()
        },
    ),
];
