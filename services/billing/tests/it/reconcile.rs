//! What is billed here beside what the ledger has, each difference made on purpose.

use std::time::Duration;

use stowage_auth::PrincipalRole;
use stowage_db::args;
use stowage_proto::billing as pb;
use stowage_proto::billing::FindingKind as K;
use stowage_proto::billing::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::common::ErrorReason;
use time::macros::datetime;
use tonic::{Code, Status};

use crate::invoices::accept;
use crate::kit::{Kit, assert_reason, order, principal};
use crate::provider_trouble::Trouble;
use crate::shop::{EURO, GB, Shop};

/// A whole round.
async fn reconcile(kit: &Kit, mend: bool) -> Result<Vec<pb::Finding>, Status> {
    let channel = kit.channel(&principal(PrincipalRole::Administrator, None));
    let mut service = ReconcileServiceClient::new(channel);
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ReconcileRequest { mend, page_token };
        let part = service.reconcile(request).await?.into_inner();
        all.extend(part.findings);
        page_token = part.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// What a round finds: the kind, the service, and whether it is mended.
async fn found(kit: &Kit, mend: bool) -> Vec<(K, String, bool)> {
    let all = reconcile(kit, mend).await.unwrap();
    let told = |finding: pb::Finding| {
        assert!(!finding.advice.is_empty() && !finding.there.is_empty(), "{finding:?}");
        assert_eq!(finding.installation, "ledger");
        (finding.kind(), finding.subscription, finding.mended)
    };
    all.into_iter().map(told).collect()
}

/// Changes one row behind everybody's back.
async fn tamper(kit: &Kit, sql: &'static str) {
    let mut tx = kit.db.begin().await.unwrap();
    assert_eq!(tx.execute(sql, args![]).await.unwrap(), 1, "{sql}");
    tx.commit().await.unwrap();
}

fn of(kind: K, service: i64, mended: bool) -> Vec<(K, String, bool)> {
    let name = if service == 0 { String::new() } else { format!("subscriptions/{service}") };
    vec![(kind, name, mended)]
}

#[tokio::test]
async fn what_agrees_has_no_findings() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    for n in 0..4 {
        sagas.place_order(order(&format!("undone-{n}"), 7, 1)).await.unwrap();
        let undo = pb::UndoOrderRequest { order_key: format!("undone-{n}") };
        sagas.undo_order(undo).await.unwrap();
        accept(&mut sagas, &format!("active-{n}")).await;
    }
    let name = "subscriptions/2".to_owned();
    sagas.terminate_subscription(pb::TerminateSubscriptionRequest { name }).await.unwrap();
    sagas.place_order(order("under-way", 7, 1)).await.unwrap();
    assert_eq!(found(&kit, false).await, []);
    assert_eq!(found(&kit, true).await, []);
}

#[tokio::test]
async fn each_difference_of_a_service_is_found_and_what_is_safe_is_mended() {
    const UNKNOWN: &str = "INSERT INTO ledger_order (order_key, customer_id, state, order_id, \
        service_id, invoice_id, create_time) VALUES ('ghost', 7, 'placed', 90, 90, 0, \
        '2026-01-30T09:00:00.000000Z')";
    for (sql, kind, service, mended) in [
        (
            "UPDATE ledger_order SET state = 'placed' WHERE order_key = 'k1'",
            K::PendingThere,
            1,
            true,
        ),
        (
            "UPDATE ledger_order SET state = 'terminated' WHERE order_key = 'k1'",
            K::EndedThere,
            1,
            false,
        ),
        ("UPDATE ledger_order SET state = 'active' WHERE order_key = 'k2'", K::EndedHere, 2, true),
        (
            "UPDATE ledger_order SET customer_id = 8 WHERE order_key = 'k1'",
            K::CustomerDiffers,
            1,
            false,
        ),
        (
            "UPDATE ledger_order SET end_time = '2026-09-01T00:00:00.000000Z' \
             WHERE order_key = 'k1'",
            K::EndDiffers,
            1,
            true,
        ),
        (
            "INSERT INTO subscription (order_key, provider, customer_id, s3uid, plan_id, \
             plan_version, currency, location, state, service_id, order_id, invoice_id, \
             anchor_time, create_time) SELECT 'lost', provider, customer_id, s3uid, plan_id, \
             plan_version, currency, location, state, 80, 80, 0, anchor_time, create_time \
             FROM subscription WHERE order_key = 'k1'",
            K::ServiceMissing,
            80,
            false,
        ),
        // Its key is known to nobody, for less than two days, and then for longer.
        (UNKNOWN, K::ServiceUnknown, 90, false),
    ] {
        let kit = Kit::start().await;
        let mut sagas = kit.sagas();
        accept(&mut sagas, "k1").await;
        accept(&mut sagas, "k2").await;
        // Its key is there for what is put in behind everybody's back.
        let undo = pb::UndoOrderRequest { order_key: "lost".to_owned() };
        sagas.undo_order(undo).await.unwrap();
        let name = "subscriptions/2".to_owned();
        sagas.terminate_subscription(pb::TerminateSubscriptionRequest { name }).await.unwrap();
        tamper(&kit, sql).await;
        for _ in 0..2 {
            assert_eq!(found(&kit, false).await, of(kind, service, false), "{sql}");
        }
        assert_eq!(found(&kit, true).await, of(kind, service, mended), "{sql}");
        let after = if mended { Vec::new() } else { of(kind, service, false) };
        assert_eq!(found(&kit, true).await, after, "{sql}");
        if kind == K::ServiceUnknown {
            kit.clock.advance(Duration::from_secs(2 * 86_400));
            assert_eq!(found(&kit, false).await, of(kind, service, false));
            assert_eq!(found(&kit, true).await, of(kind, service, true));
            assert_eq!(found(&kit, true).await, []);
        }
    }
}

#[tokio::test]
async fn an_unknown_order_whose_key_is_spent_is_cancelled_at_once() {
    let kit = Kit::start().await;
    let undo = pb::UndoOrderRequest { order_key: "ghost".to_owned() };
    kit.sagas().undo_order(undo).await.unwrap();
    // It arrives after all, in a provider that has not heard of the undo.
    tamper(
        &kit,
        "INSERT INTO ledger_order (order_key, customer_id, state, order_id, service_id, \
         invoice_id, create_time) VALUES ('ghost', 7, 'placed', 90, 90, 0, \
         '2026-01-31T09:00:00.000000Z')",
    )
    .await;
    assert_eq!(found(&kit, true).await, of(K::ServiceUnknown, 90, true));
    assert_eq!(found(&kit, true).await, []);
    let answer = kit.sagas().place_order(order("ghost", 7, 1)).await;
    assert_reason(answer, Code::FailedPrecondition, ErrorReason::SubscriptionState);
}

#[tokio::test]
async fn an_order_that_is_under_way_for_long_is_told_of() {
    let kit = Kit::start().await;
    let mut sagas = kit.sagas();
    sagas.place_order(order("pending", 7, 1)).await.unwrap();
    kit.provider.will(&[Trouble::LosesAnswer, Trouble::IsAway]);
    for key in ["lost", "never"] {
        sagas.place_order(order(key, 7, 1)).await.unwrap_err();
    }
    assert_eq!(found(&kit, true).await, []);
    kit.clock.advance(Duration::from_secs(3601));
    let told = found(&kit, true).await;
    let all = [1, 0, 0].map(|service| of(K::PendingHere, service, false));
    assert_eq!(told, all.concat());
}

#[tokio::test]
async fn bills_and_invoices_are_found_wherever_one_of_them_is_not() {
    let start = datetime!(2026-03-01 0:00 UTC);
    for (sql, kind, service) in [
        ("UPDATE bill SET invoice_id = 1 WHERE bill_key = 'k1/1'", K::InvoiceTwice, 1),
        (
            "UPDATE ledger_invoice SET invoice_key = 'other/1' WHERE invoice_key = 'k1/1'",
            K::InvoiceUnknown,
            0,
        ),
        ("UPDATE bill SET invoice_id = 99 WHERE bill_key = 'k1/0'", K::InvoiceMissing, 1),
        ("UPDATE bill SET invoice_id = NULL WHERE bill_key = 'k1/0'", K::BillNotIssued, 1),
    ] {
        let mut shop = Shop::open(start).await;
        let plan = shop.offer("Month", EURO).await;
        let sold = shop.sell(&plan, "EUR").await;
        shop.kit.metering.stores(&sold.s3uid, start, 30 * GB);
        shop.wait_until(datetime!(2026-04-01 2:00 UTC)).await;
        assert_eq!(found(&shop.kit, true).await, [], "before {sql}");
        if kind == K::BillNotIssued {
            shop.kit.provider.will_lose_issuing(usize::MAX);
        }
        tamper(&shop.kit, sql).await;
        assert_eq!(found(&shop.kit, true).await, of(kind, service, false), "{sql}");
    }
}

#[tokio::test]
async fn books_that_do_not_agree_are_told_of() {
    for sql in [
        "UPDATE ledger_posting SET amount_nanos = amount_nanos + 1 \
         WHERE entry_key = 'issue/1' AND account = 'revenue'",
        "DELETE FROM ledger_posting WHERE entry_key = 'credit/B1' AND account = 'cash'",
        "UPDATE ledger_balance SET credit_nanos = credit_nanos + 1 WHERE customer_id = 9",
        "UPDATE ledger_balance SET held_nanos = 5 WHERE customer_id = 9",
        "UPDATE ledger_invoice SET paid_nanos = paid_nanos + 1 WHERE invoice_id = 1",
    ] {
        let kit = Kit::start().await;
        accept(&mut kit.sagas(), "k1").await;
        let mut credits = kit.credits(&principal(PrincipalRole::Administrator, None));
        let credit = pb::RecordCreditRequest {
            customer: "customers/9".to_owned(),
            amount: Some(crate::kit::money("EUR", 5, 0)),
            reference: "B1".to_owned(),
            ..Default::default()
        };
        credits.record_credit(credit).await.unwrap();
        assert_eq!(found(&kit, false).await, [], "before {sql}");
        tamper(&kit, sql).await;
        let told = found(&kit, true).await;
        assert_eq!(told, of(K::BooksDiffer, 0, false), "{sql}");
    }
}

#[tokio::test]
async fn a_page_is_of_one_round_and_a_provider_that_is_away_is_asked_again() {
    let kit = Kit::start().await;
    accept(&mut kit.sagas(), "k1").await;
    let channel = kit.channel(&principal(PrincipalRole::Administrator, None));
    let mut service = ReconcileServiceClient::new(channel);
    let first = pb::ReconcileRequest { mend: false, page_token: String::new() };
    let next = service.reconcile(first).await.unwrap().into_inner().next_page_token;
    for (mend, page_token) in [(true, next.clone()), (false, next + "00"), (false, "x".into())] {
        let answer = service.reconcile(pb::ReconcileRequest { mend, page_token }).await;
        assert_reason(answer, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
    let acting = kit.channel(&principal(PrincipalRole::Administrator, Some(7)));
    let answer =
        ReconcileServiceClient::new(acting).reconcile(pb::ReconcileRequest::default()).await;
    assert_reason(answer, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}
