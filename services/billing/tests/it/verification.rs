//! An invoice that is not what it is computed to be is told, whatever of it was changed.

use stowage_auth::PrincipalRole;
use stowage_db::args;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use time::macros::datetime;
use tonic::Code;

use crate::kit::{assert_reason, principal};
use crate::shop::{EURO, GB, Shop};

/// A shop with an invoice of an order (1), and that of a closed period with usage (2).
async fn shop() -> Shop {
    let start = datetime!(2026-03-01 0:00 UTC);
    let mut shop = Shop::open(start).await;
    let plan = shop.offer("Month", EURO).await;
    let sold = shop.sell(&plan, "EUR").await;
    shop.kit.metering.stores(&sold.s3uid, start, 30 * GB);
    shop.kit.metering.moves(&sold.s3uid, start, 150 * GB);
    shop.wait_until(datetime!(2026-04-01 2:00 UTC)).await;
    shop
}

/// What differs of an invoice: the line and what of it.
async fn differences(shop: &Shop, id: i64) -> Vec<(i32, String)> {
    let mut office = shop.kit.invoices(&principal(PrincipalRole::Administrator, None));
    let request = pb::VerifyInvoiceRequest { name: format!("invoices/{id}") };
    let verified = office.verify_invoice(request).await.unwrap().into_inner();
    assert_eq!(verified.agrees, verified.differences.is_empty());
    verified.differences.into_iter().map(|of| (of.line, of.field)).collect()
}

async fn tamper(shop: &Shop, sql: &'static str) {
    let mut tx = shop.kit.db.begin().await.unwrap();
    assert_eq!(tx.execute(sql, args![]).await.unwrap(), 1, "{sql}");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn whatever_is_changed_behind_an_invoice_is_found() {
    let line = |number: i32| (number, "line".to_owned());
    let whole = |field: &str| (0, field.to_owned());
    // Storage is the first line, traffic the second, the next period the third.
    for (sql, expected) in [
        (
            "UPDATE charge SET amount_nanos = amount_nanos + 10000000 \
             WHERE bill_key = 'k1/1' AND line = 2",
            vec![line(2)],
        ),
        (
            "UPDATE charge SET quantity_bytes = quantity_bytes - 1 \
             WHERE bill_key = 'k1/1' AND line = 1",
            vec![line(1)],
        ),
        ("DELETE FROM charge WHERE bill_key = 'k1/1' AND line = 3", vec![line(3)]),
        (
            "UPDATE bill SET total_nanos = total_nanos - 10000000 WHERE bill_key = 'k1/1'",
            vec![whole("total")],
        ),
        (
            "UPDATE ledger_invoice SET amount_nanos = amount_nanos + 10000000 \
             WHERE invoice_id = 2",
            vec![whole("provider_total")],
        ),
        (
            "UPDATE usage_snapshot SET received_bytes = received_bytes + 1000000000",
            vec![line(2), whole("total"), whole("provider_total")],
        ),
        (
            "UPDATE plan_price SET storage_overage_nanos = 60000000 WHERE plan_id = 3",
            vec![line(1), whole("total"), whole("provider_total")],
        ),
    ] {
        let shop = shop().await;
        assert_eq!(differences(&shop, 2).await, [], "before {sql}");
        tamper(&shop, sql).await;
        assert_eq!(differences(&shop, 2).await, expected, "{sql}");
        let mut office = shop.kit.invoices(&principal(PrincipalRole::Administrator, None));
        let all = office.verify_invoices(pb::VerifyInvoicesRequest::default()).await.unwrap();
        let all = all.into_inner();
        assert_eq!(all.verified_count, 2);
        let names: Vec<_> = all.disagreeing.into_iter().map(|of| of.name).collect();
        assert_eq!(names, ["invoices/2"], "{sql}");
    }
}

#[tokio::test]
async fn what_was_never_rated_is_told_as_that() {
    let shop = shop().await;
    let mut office = shop.kit.invoices(&principal(PrincipalRole::Administrator, None));
    tamper(&shop, "DELETE FROM charge WHERE bill_key = 'k1/0'").await;
    tamper(&shop, "DELETE FROM bill WHERE bill_key = 'k1/0'").await;
    let request = pb::VerifyInvoiceRequest { name: "invoices/1".to_owned() };
    let answer = office.verify_invoice(request).await;
    assert_reason(answer, Code::FailedPrecondition, ErrorReason::InvoiceNotRated);
    let absent = pb::VerifyInvoiceRequest { name: "invoices/99".to_owned() };
    let answer = office.verify_invoice(absent).await;
    assert_reason(answer, Code::NotFound, ErrorReason::InvoiceNotFound);
}
