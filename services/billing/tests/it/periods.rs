//! Periods and scheduled ends, on a clock that the test moves.

use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use stowage_types::from_timestamp;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tonic::Code;

use crate::kit::{Kit, START, Subscriptions, assert_reason, order};

/// An active subscription of the standard plan; its service id is 1.
async fn active(kit: &Kit) -> Subscriptions {
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    let request = pb::ActivateSubscriptionRequest { order_key: "k1".to_owned() };
    sagas.activate_subscription(request).await.unwrap();
    sagas
}

/// The subscription; what is shown of it when little is asked for is the same.
async fn read(sagas: &mut Subscriptions) -> pb::Subscription {
    let mut of = async |view: pb::SubscriptionView| {
        let request = pb::BatchGetSubscriptionsRequest { service_ids: vec![1], view: view.into() };
        let mut found = sagas.batch_get_subscriptions(request).await.unwrap().into_inner();
        found.subscriptions.remove(0)
    };
    let full = of(pb::SubscriptionView::Full).await;
    let basic = pb::Subscription {
        order_id: 0,
        invoice_id: 0,
        provider: String::new(),
        order_key: String::new(),
        customer_id: 0,
        plan_id: 0,
        plan_version: 0,
        create_time: None,
        ..full.clone()
    };
    assert_eq!(of(pb::SubscriptionView::Basic).await, basic);
    full
}

async fn schedule(sagas: &mut Subscriptions) -> pb::Subscription {
    let name = "subscriptions/1".to_owned();
    let request = pb::ScheduleSubscriptionCancellationRequest { name };
    sagas.schedule_cancellation(request).await.unwrap().into_inner()
}

async fn withdraw(sagas: &mut Subscriptions) -> pb::Subscription {
    let name = "subscriptions/1".to_owned();
    let request = pb::WithdrawSubscriptionCancellationRequest { name };
    sagas.withdraw_cancellation(request).await.unwrap().into_inner()
}

fn time(wire: &Option<prost_types::Timestamp>) -> Option<OffsetDateTime> {
    wire.as_ref().map(|wire| from_timestamp(wire).unwrap())
}

#[tokio::test]
async fn periods_roll_from_the_day_of_purchase_without_anybody_calling() {
    let kit = Kit::start().await;
    let mut sagas = active(&kit).await;
    let february = datetime!(2026-02-28 10:00:00 UTC);
    let march = datetime!(2026-03-31 10:00:00 UTC);
    let april = datetime!(2026-04-30 10:00:00 UTC);
    for (now, start, end) in [
        (START, START, february),
        (february - Duration::microseconds(1), START, february),
        (february, february, march),
        (march + Duration::days(3), march, april),
        (
            datetime!(2028-03-01 00:00:00 UTC),
            datetime!(2028-02-29 10:00:00 UTC),
            datetime!(2028-03-31 10:00:00 UTC),
        ),
    ] {
        kit.clock.set(now);
        let shown = read(&mut sagas).await;
        assert_eq!(time(&shown.period_start_time), Some(start), "{now}");
        assert_eq!(time(&shown.period_end_time), Some(end), "{now}");
        assert_eq!(time(&shown.next_charge_time), Some(end), "{now}");
    }
}

#[tokio::test]
async fn a_cancellation_falls_due_at_the_end_of_the_period_it_is_asked_in() {
    let kit = Kit::start().await;
    let mut sagas = active(&kit).await;
    // The first period is long over; nobody has called since.
    kit.clock.set(datetime!(2026-05-15 00:00:00 UTC));
    let due = datetime!(2026-05-31 10:00:00 UTC);
    let scheduled = schedule(&mut sagas).await;
    assert_eq!(time(&scheduled.cancel_time), Some(due));
    assert_eq!(time(&scheduled.period_end_time), Some(due));
    assert_eq!(scheduled.next_charge_time, None);

    kit.clock.set(due + Duration::days(40));
    assert_eq!(schedule(&mut sagas).await, scheduled, "a repeat answers the same date");
    assert_eq!(read(&mut sagas).await, scheduled, "no period begins after its end");

    // It is ended late; it ended when it was due.
    let request = pb::TerminateSubscriptionRequest { name: "subscriptions/1".to_owned() };
    let ended = sagas.terminate_subscription(request).await.unwrap().into_inner();
    assert_eq!(time(&ended.period_end_time), Some(due));
    assert_eq!((ended.cancel_time, ended.next_charge_time), (None, None));
}

#[tokio::test]
async fn a_cancellation_is_withdrawn_and_asked_again() {
    let kit = Kit::start().await;
    let mut sagas = active(&kit).await;
    let before = read(&mut sagas).await;
    let first = schedule(&mut sagas).await;
    for _ in 0..2 {
        assert_eq!(withdraw(&mut sagas).await, before);
    }
    assert_eq!(schedule(&mut sagas).await, first);
    assert_eq!(time(&first.cancel_time), Some(datetime!(2026-02-28 10:00:00 UTC)));
}

#[tokio::test]
async fn only_an_active_subscription_is_cancelled() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    let name = || "subscriptions/1".to_owned();
    let schedule = || pb::ScheduleSubscriptionCancellationRequest { name: name() };
    let withdraw = || pb::WithdrawSubscriptionCancellationRequest { name: name() };
    let state = (Code::FailedPrecondition, ErrorReason::SubscriptionState);
    assert_reason(sagas.schedule_cancellation(schedule()).await, state.0, state.1);
    sagas.withdraw_cancellation(withdraw()).await.unwrap();
    let request = pb::TerminateSubscriptionRequest { name: name() };
    sagas.terminate_subscription(request).await.unwrap();
    assert_reason(sagas.schedule_cancellation(schedule()).await, state.0, state.1);
    assert_reason(sagas.withdraw_cancellation(withdraw()).await, state.0, state.1);
    let absent = pb::ScheduleSubscriptionCancellationRequest { name: "subscriptions/9".to_owned() };
    let answer = sagas.schedule_cancellation(absent).await;
    assert_reason(answer, Code::NotFound, ErrorReason::SubscriptionNotFound);
}

#[tokio::test]
async fn a_yearly_plan_runs_by_years() {
    let kit = Kit::start().await;
    let period = pb::BillingPeriod::Yearly.into();
    let change = pb::Plan { name: "plans/1".to_owned(), period, ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["period".to_owned()] });
    let request = pb::UpdatePlanRequest { plan: Some(change), update_mask, ..Default::default() };
    kit.office().update_plan(request).await.unwrap();
    let mut sagas = kit.sagas();
    let mut yearly = order("k1", 7, 1);
    yearly.plan_version = 2;
    sagas.place_order(yearly).await.unwrap();
    let request = pb::ActivateSubscriptionRequest { order_key: "k1".to_owned() };
    let active = sagas.activate_subscription(request).await.unwrap().into_inner();
    assert_eq!(active.period(), pb::BillingPeriod::Yearly);
    assert_eq!(time(&active.period_end_time), Some(datetime!(2027-01-31 10:00:00 UTC)));
}

/// A plan like the standard one, at another price, and with what differs.
async fn another_plan(kit: &Kit, title: &str, change: impl Fn(&mut pb::Plan)) -> pb::Plan {
    let name = "plans/1".to_owned();
    let standard = kit.office().get_plan(pb::GetPlanRequest { name, ..Default::default() }).await;
    let mut plan = standard.unwrap().into_inner();
    plan.title = title.to_owned();
    for price in &mut plan.prices {
        price.period_price.as_mut().unwrap().units += 5;
    }
    change(&mut plan);
    let request = pb::CreatePlanRequest { plan: Some(plan), ..Default::default() };
    kit.office().create_plan(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_subscription_moves_to_a_plan_of_its_kind_and_keeps_its_period() {
    let kit = Kit::start().await;
    let mut sagas = active(&kit).await;
    let before = read(&mut sagas).await;
    let dearer = another_plan(&kit, "Dearer", |_| {}).await;
    let yearly = another_plan(&kit, "Yearly", |plan| {
        plan.set_period(pb::BillingPeriod::Yearly);
    })
    .await;
    let cold = another_plan(&kit, "Cold", |plan| plan.storage_type = "archive".to_owned()).await;
    let elsewhere =
        another_plan(&kit, "There", |plan| plan.location = "locations/DE".to_owned()).await;
    let dollars = another_plan(&kit, "Dollars", |plan| {
        plan.prices.retain(|price| price.period_price.as_ref().unwrap().currency_code != "EUR");
    })
    .await;
    let request = |plan: &pb::Plan, plan_version| pb::ChangeSubscriptionPlanRequest {
        name: "subscriptions/1".to_owned(),
        plan: plan.name.clone(),
        plan_version,
        change_key: String::new(),
    };
    for _ in 0..2 {
        let changed = sagas.change_subscription_plan(request(&dearer, 1)).await.unwrap();
        let changed = changed.into_inner();
        assert_eq!((changed.plan_id, changed.plan_version), (dearer.plan_id, 1));
        let price = |of: &pb::Subscription| of.period_price.clone().unwrap().units;
        assert_eq!(price(&changed), price(&before) + 5);
        let span = |of: &pb::Subscription| (of.period_start_time, of.period_end_time);
        assert_eq!(span(&changed), span(&before));
        let ids = |of: &pb::Subscription| (of.service_id, of.order_id, of.invoice_id);
        assert_eq!((ids(&changed), changed.state()), (ids(&before), before.state()));
    }
    for (plan, version, code, reason) in [
        (&yearly, 1, Code::FailedPrecondition, ErrorReason::PlanMismatch),
        (&cold, 1, Code::FailedPrecondition, ErrorReason::PlanMismatch),
        (&elsewhere, 1, Code::FailedPrecondition, ErrorReason::PlanMismatch),
        (&dollars, 1, Code::FailedPrecondition, ErrorReason::PlanNotPriced),
        (&dearer, 2, Code::NotFound, ErrorReason::PlanNotFound),
        (&dearer, 0, Code::InvalidArgument, ErrorReason::InvalidField),
    ] {
        let refused = sagas.change_subscription_plan(request(plan, version)).await;
        assert_reason(refused, code, reason);
    }
    assert_eq!(read(&mut sagas).await.plan_id, dearer.plan_id);
    // And back, which is how accounts undoes a change.
    let standard = pb::Plan { name: "plans/1".to_owned(), ..Default::default() };
    let back = request(&standard, before.plan_version);
    assert_eq!(sagas.change_subscription_plan(back).await.unwrap().into_inner(), before);
    let end = pb::TerminateSubscriptionRequest { name: "subscriptions/1".to_owned() };
    sagas.terminate_subscription(end).await.unwrap();
    let ended = sagas.change_subscription_plan(request(&dearer, 1)).await;
    assert_reason(ended, Code::FailedPrecondition, ErrorReason::SubscriptionState);
}
