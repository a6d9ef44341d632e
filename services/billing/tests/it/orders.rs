//! Orders: one key is one order, limits are exact, an undone key is spent.

use futures_util::future::join_all;
use stowage_auth::PrincipalRole;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::metadata_of;
use tonic::Code;

use crate::kit::{Kit, assert_reason, customer, money, order, plan, principal};

const FREE: i64 = 2;

fn activate(key: &str) -> pb::ActivateSubscriptionRequest {
    pb::ActivateSubscriptionRequest { order_key: key.to_owned() }
}

fn undo(key: &str) -> pb::UndoOrderRequest {
    pb::UndoOrderRequest { order_key: key.to_owned() }
}

fn terminate(service_id: i64) -> pb::TerminateSubscriptionRequest {
    pb::TerminateSubscriptionRequest { name: format!("subscriptions/{service_id}") }
}

fn quote(customer_id: i64, plan: i64) -> pb::QuoteOrderRequest {
    let order = order("unused", customer_id, plan);
    let pb::PlaceOrderRequest { currency, plan, location, customer_email, .. } = order;
    pb::QuoteOrderRequest { customer_id, currency, plan, location, customer_email }
}

#[tokio::test]
async fn an_order_is_quoted_placed_and_accepted() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    let quoted = sagas.quote_order(quote(7, 1)).await.unwrap().into_inner();
    assert_eq!(quoted.provider, "ledger");
    let prices = quoted.plan.unwrap().prices;
    assert_eq!(prices.len(), 1, "a quote has the customer's price only");
    assert_eq!(prices[0].period_price, Some(money("EUR", 9, 800_000_000)));

    let placed = sagas.place_order(order("k1", 7, 1)).await.unwrap().into_inner();
    assert_eq!(placed.state(), pb::SubscriptionState::Pending);
    assert_eq!((placed.service_id, placed.order_id, placed.invoice_id), (1, 1, 1));
    assert_eq!(placed.name, "subscriptions/1");
    assert_eq!((placed.provider.as_str(), placed.order_key.as_str()), ("ledger", "k1"));
    assert_eq!((placed.customer_id, placed.plan_id, placed.plan_version), (7, 1, 1));
    assert_eq!(placed.period_price, Some(money("EUR", 9, 800_000_000)));
    assert_eq!(placed.base_price, Some(money("", 10, 0)));
    assert_eq!(placed.period_start_time, None);

    let active = sagas.activate_subscription(activate("k1")).await.unwrap().into_inner();
    assert_eq!(active.state(), pb::SubscriptionState::Active);
    assert!(active.period_start_time.is_some() && active.next_charge_time.is_some());
    let again = sagas.activate_subscription(activate("k1")).await.unwrap().into_inner();
    assert_eq!(again, active);
    let repeated = sagas.place_order(order("k1", 7, 1)).await.unwrap().into_inner();
    assert_eq!(repeated, active, "the same key answers the same subscription");
}

#[tokio::test]
async fn a_free_order_has_no_invoice() {
    let kit = Kit::start().await;
    let placed = kit.sagas().place_order(order("k1", 7, FREE)).await.unwrap().into_inner();
    assert_eq!(placed.invoice_id, 0);
    assert_eq!(placed.period_price, Some(money("EUR", 0, 0)));
}

#[tokio::test]
async fn what_cannot_be_sold_is_refused_by_quote_and_order_alike() {
    let kit = Kit::start().await;
    let mut office = kit.office();
    office
        .create_plan(pb::CreatePlanRequest { plan: Some(plan("Old")), ..Default::default() })
        .await
        .unwrap();
    office
        .archive_plan(pb::ArchivePlanRequest { name: "plans/3".to_owned(), ..Default::default() })
        .await
        .unwrap();
    let mut sagas = kit.sagas();
    for (plan, currency, location, code, reason) in [
        (9, "EUR", "NL", Code::NotFound, ErrorReason::PlanNotFound),
        (3, "EUR", "NL", Code::FailedPrecondition, ErrorReason::PlanArchived),
        (1, "EUR", "US", Code::FailedPrecondition, ErrorReason::PlanNotOffered),
        (1, "GBP", "NL", Code::FailedPrecondition, ErrorReason::PlanNotPriced),
        (1, "??", "NL", Code::InvalidArgument, ErrorReason::InvalidField),
    ] {
        let mut asked = quote(7, plan);
        asked.currency = currency.to_owned();
        asked.location = format!("locations/{location}");
        assert_reason(sagas.quote_order(asked).await, code, reason);
        let mut placed = order("k1", 7, plan);
        placed.currency = currency.to_owned();
        placed.location = format!("locations/{location}");
        assert_reason(sagas.place_order(placed).await, code, reason);
    }
    let mut unknown_version = order("k1", 7, 1);
    unknown_version.plan_version = 2;
    let answer = sagas.place_order(unknown_version).await;
    assert_reason(answer, Code::NotFound, ErrorReason::PlanNotFound);
    // A key that was refused is not spent.
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
}

#[tokio::test]
async fn an_order_gets_the_version_it_was_quoted() {
    let kit = Kit::start().await;
    let mut change = plan("Dearer");
    change.name = "plans/1".to_owned();
    let update_mask = Some(prost_types::FieldMask { paths: vec!["prices".to_owned()] });
    let request = pb::UpdatePlanRequest { plan: Some(change), update_mask, ..Default::default() };
    kit.office().update_plan(request).await.unwrap();
    let old = kit.sagas().place_order(order("old", 7, 1)).await.unwrap().into_inner();
    let mut newer = order("new", 7, 1);
    newer.plan_version = 2;
    let new = kit.sagas().place_order(newer).await.unwrap().into_inner();
    assert_eq!(old.period_price, Some(money("EUR", 9, 800_000_000)));
    assert_eq!(new.period_price, Some(money("EUR", 1, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_with_one_key_are_one_order() {
    let kit = Kit::start().await;
    let calls = (0..40).map(|_| {
        let mut sagas = kit.sagas();
        tokio::spawn(async move { sagas.place_order(order("one", 7, FREE)).await })
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().unwrap().into_inner().service_id, 1);
    }
    let next = kit.sagas().place_order(order("two", 8, FREE)).await.unwrap().into_inner();
    assert_eq!((next.service_id, next.order_id), (2, 2), "no id was wasted or given twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_free_plan_holds_against_many_at_once() {
    let kit = Kit::start().await;
    let calls = (0..40).map(|number| {
        let mut sagas = kit.sagas();
        let order = order(&format!("k{number}"), 7 + number % 2, FREE);
        tokio::spawn(async move { sagas.place_order(order).await })
    });
    let mut placed = Vec::new();
    for answer in join_all(calls).await {
        match answer.unwrap() {
            Ok(subscription) => placed.push(subscription.into_inner()),
            Err(status) => {
                assert_eq!(metadata_of(&status, "limit").as_deref(), Some("1"));
                let code = Code::ResourceExhausted;
                assert_reason(Err::<(), _>(status), code, ErrorReason::FreePlanLimit);
            }
        }
    }
    placed.sort_by_key(|subscription| subscription.customer_id);
    let owners: Vec<_> = placed.iter().map(|subscription| subscription.customer_id).collect();
    assert_eq!(owners, [7, 8], "one account for each of the two customers");
}

#[tokio::test]
async fn a_free_account_may_be_replaced_after_it_ended() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("first", 7, FREE)).await.unwrap();
    let limit = (Code::ResourceExhausted, ErrorReason::FreePlanLimit);
    assert_reason(sagas.quote_order(quote(7, FREE)).await, limit.0, limit.1);
    sagas.undo_order(undo("first")).await.unwrap();
    let second = sagas.place_order(order("second", 7, FREE)).await.unwrap().into_inner();
    sagas.activate_subscription(activate("second")).await.unwrap();
    assert_reason(sagas.place_order(order("third", 7, FREE)).await, limit.0, limit.1);
    sagas.terminate_subscription(terminate(second.service_id)).await.unwrap();
    sagas.place_order(order("third", 7, FREE)).await.unwrap();
}

#[tokio::test]
async fn an_undone_key_is_spent_whether_its_order_came_or_not() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("placed", 7, 1)).await.unwrap();
    sagas.place_order(order("active", 7, 1)).await.unwrap();
    sagas.activate_subscription(activate("active")).await.unwrap();
    for key in ["placed", "active", "never"] {
        for _ in 0..2 {
            sagas.undo_order(undo(key)).await.unwrap();
        }
        let late = sagas.place_order(order(key, 7, 1)).await;
        assert_eq!(metadata_of(late.as_ref().unwrap_err(), "state").as_deref(), Some("cancelled"));
        assert_reason(late, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    }
    let ids = pb::BatchGetSubscriptionsRequest { service_ids: vec![1, 2, 3], ..Default::default() };
    let found = sagas.batch_get_subscriptions(ids).await.unwrap().into_inner().subscriptions;
    assert_eq!(found.len(), 2);
    for undone in found {
        assert_eq!(undone.state(), pb::SubscriptionState::Cancelled);
        assert_eq!(undone.next_charge_time, None);
        let answer = sagas.activate_subscription(activate(&undone.order_key)).await;
        assert_reason(answer, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    }
    let never = sagas.activate_subscription(activate("never")).await;
    assert_reason(never, Code::NotFound, ErrorReason::SubscriptionNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_races_its_order_wins() {
    let kit = Kit::start().await;
    let calls = (0..40).map(|number| {
        let (mut sagas, key) = (kit.sagas(), format!("race-{}", number % 10));
        tokio::spawn(async move {
            if number < 30 {
                sagas.place_order(order(&key, 7, 1)).await.map(|_| ())
            } else {
                sagas.undo_order(undo(&key)).await.map(|_| ())
            }
        })
    });
    for (number, answer) in join_all(calls).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        if number >= 30 || answer.is_ok() {
            answer.unwrap();
            continue;
        }
        assert_reason(answer, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    }
    let service_ids = (1..=40).collect();
    let ids = pb::BatchGetSubscriptionsRequest { service_ids, ..Default::default() };
    let found = kit.sagas().batch_get_subscriptions(ids).await.unwrap().into_inner();
    for left in found.subscriptions {
        assert_eq!(left.state(), pb::SubscriptionState::Cancelled, "{left:?}");
    }
    let open: (i64,) = kit
        .db
        .fetch_one("SELECT count(*) FROM ledger_order WHERE state <> 'undone'", stowage_db::args![])
        .await
        .unwrap();
    assert_eq!(open.0, 0, "the ledger keeps no order of an undone key");
}

#[tokio::test]
async fn a_key_is_good_for_one_order_only() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    let mut others = vec![order("k1", 8, 1), order("k1", 7, FREE)];
    others.push(pb::PlaceOrderRequest { currency: "USD".to_owned(), ..order("k1", 7, 1) });
    others.push(pb::PlaceOrderRequest { s3uid: "cd".repeat(16), ..order("k1", 7, 1) });
    for other in others {
        let answer = sagas.place_order(other).await;
        assert_reason(answer, Code::AlreadyExists, ErrorReason::RequestIdReused);
    }
}

#[tokio::test]
async fn a_subscription_ends_once() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("k1", 7, 1)).await.unwrap();
    sagas.activate_subscription(activate("k1")).await.unwrap();
    let ended = sagas.terminate_subscription(terminate(1)).await.unwrap().into_inner();
    assert_eq!(ended.state(), pb::SubscriptionState::Terminated);
    assert_eq!(ended.next_charge_time, None);
    let again = sagas.terminate_subscription(terminate(1)).await.unwrap().into_inner();
    assert_eq!(again, ended);
    let answer = sagas.activate_subscription(activate("k1")).await;
    assert_reason(answer, Code::FailedPrecondition, ErrorReason::SubscriptionState);
    sagas.undo_order(undo("k1")).await.unwrap();
    let ids = pb::BatchGetSubscriptionsRequest { service_ids: vec![1], ..Default::default() };
    let found = sagas.batch_get_subscriptions(ids).await.unwrap().into_inner().subscriptions;
    assert_eq!(found[0].state(), pb::SubscriptionState::Cancelled, "an undo goes back all the way");
    let absent = sagas.terminate_subscription(terminate(99)).await;
    assert_reason(absent, Code::NotFound, ErrorReason::SubscriptionNotFound);
}

#[tokio::test]
async fn subscriptions_are_seen_by_their_owner_and_those_who_see_everything() {
    let kit = Kit::start().await;
    for (key, owner) in [("a", 7), ("b", 8), ("c", 7)] {
        kit.sagas().place_order(order(key, owner, 1)).await.unwrap();
    }
    let admin = PrincipalRole::Administrator;
    for (who, expected) in [
        (customer(7, "EUR"), vec![1, 3]),
        (customer(8, "EUR"), vec![2]),
        (customer(9, "EUR"), vec![]),
        (principal(PrincipalRole::Customer, None), vec![]),
        (principal(PrincipalRole::Staff, None), vec![1, 2, 3]),
        (principal(admin, None), vec![1, 2, 3]),
        (principal(admin, Some(8)), vec![2]),
    ] {
        for view in [pb::SubscriptionView::Full, pb::SubscriptionView::Basic] {
            let service_ids = vec![3, 1, 2, 2, 77, -1];
            let request = pb::BatchGetSubscriptionsRequest { service_ids, view: view.into() };
            let found = kit.subscriptions(&who).batch_get_subscriptions(request).await.unwrap();
            let found = found.into_inner().subscriptions;
            let ids: Vec<_> = found.iter().map(|found| found.service_id).collect();
            assert_eq!(ids, expected, "{who:?} {view:?}");
        }
    }
    let mut for_another = kit.subscriptions(&principal(PrincipalRole::Service, Some(8)));
    let change = |service_id| pb::ChangeSubscriptionPlanRequest {
        name: format!("subscriptions/{service_id}"),
        plan: "plans/2".to_owned(),
        plan_version: 1,
        change_key: String::new(),
    };
    let foreign = for_another.change_subscription_plan(change(1)).await.unwrap_err();
    let absent = for_another.change_subscription_plan(change(99)).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (absent.code(), absent.message()));
    let foreign = for_another.terminate_subscription(terminate(1)).await.unwrap_err();
    let absent = for_another.terminate_subscription(terminate(99)).await.unwrap_err();
    assert_eq!(foreign.message(), absent.message(), "foreign and absent are told apart");
    let answer = for_another.place_order(order("d", 7, 1)).await;
    assert_reason(answer, Code::InvalidArgument, ErrorReason::InvalidField);
    for_another.undo_order(undo("a")).await.unwrap();
    kit.sagas().activate_subscription(activate("a")).await.unwrap();

    let request =
        pb::BatchGetSubscriptionsRequest { service_ids: vec![1; 1001], ..Default::default() };
    let answer = kit.sagas().batch_get_subscriptions(request).await;
    assert_reason(answer, Code::InvalidArgument, ErrorReason::InvalidField);
}
