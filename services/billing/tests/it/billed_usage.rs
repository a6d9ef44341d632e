//! What periods were billed by, for whoever holds it against what others have.

use stowage_auth::PrincipalRole;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use stowage_types::from_timestamp;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};

use crate::kit::{assert_reason, principal};
use crate::shop::{CLOSE_AFTER, EURO, GB, Shop};

async fn billed(shop: &Shop, s3uids: &[&str]) -> Result<Vec<pb::BilledUsage>, Status> {
    let mut office = shop.kit.invoices(&principal(PrincipalRole::Service, None));
    let s3uids = s3uids.iter().map(|uid| (*uid).to_owned()).collect();
    let answer = office.list_billed_usage(pb::ListBilledUsageRequest { s3uids }).await?;
    Ok(answer.into_inner().usages)
}

fn time(wire: &Option<prost_types::Timestamp>) -> OffsetDateTime {
    from_timestamp(wire.as_ref().unwrap()).unwrap()
}

fn moved(usage: &pb::BilledUsage) -> Vec<i64> {
    usage.segments.iter().map(|segment| segment.received_bytes + segment.sent_bytes).collect()
}

#[tokio::test]
async fn the_last_closed_period_is_told_as_it_was_last_corrected() {
    let start = datetime!(2026-01-10 10:20 UTC);
    let mut shop = Shop::open(start).await;
    let plan = shop.offer("Month", EURO).await;
    let other = shop.offer("Other", EURO).await;
    let (one, two) = (shop.sell(&plan, "EUR").await, shop.sell(&plan, "EUR").await);
    let metering = shop.kit.metering.clone();
    metering.moves(&one.s3uid, start + Duration::HOUR, 7 * GB);
    metering.stores(&one.s3uid, start, 3 * GB);
    assert_eq!(billed(&shop, &[&one.s3uid, &two.s3uid]).await.unwrap(), []);

    // A change of plan cuts it in two.
    let change = start + Duration::days(10);
    shop.wait_until(change).await;
    shop.change(&one, "c1", &other).await;
    metering.moves(&one.s3uid, change + Duration::DAY, 5 * GB);
    let end = datetime!(2026-02-10 10:20 UTC);
    shop.wait_until(end + CLOSE_AFTER).await;
    let told = billed(&shop, &[&one.s3uid, &two.s3uid, &"e".repeat(32)]).await.unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].s3uid.as_str(), moved(&told[0])), (&*one.s3uid, vec![7 * GB, 5 * GB]));
    assert_eq!((told[1].s3uid.as_str(), moved(&told[1])), (&*two.s3uid, vec![0]));
    let first = &told[0];
    assert_eq!((time(&first.period_start_time), time(&first.period_end_time)), (start, end));
    let hour = |time: OffsetDateTime| time.replace_minute(0).unwrap();
    assert_eq!(time(&first.segments[0].from_time), hour(start));
    assert_eq!(first.segments[0].to_time, first.segments[1].from_time);
    assert_eq!(time(&first.segments[1].to_time), hour(end));
    assert_eq!(first.segments[0].stored_bytes_peak, 3 * GB);
    assert!(first.is_corrected_later);
    assert_eq!(time(&first.bill_time), end + CLOSE_AFTER);

    // The next one is the last one then; what comes late for it makes another revision.
    let end = datetime!(2026-03-10 10:20 UTC);
    shop.wait_until(end + CLOSE_AFTER).await;
    let told = billed(&shop, &[&one.s3uid]).await.unwrap();
    assert_eq!((time(&told[0].period_end_time), moved(&told[0])), (end, vec![0]));
    metering.moves(&one.s3uid, end - Duration::DAY, 2 * GB);
    shop.end(&one).await;
    shop.wait_until(end + Duration::days(80)).await;
    let told = billed(&shop, &[&one.s3uid]).await.unwrap();
    assert!(time(&told[0].period_start_time) >= end, "it ended within the period after that");
    assert!(!told[0].is_corrected_later, "nothing comes in any more");
}

#[tokio::test]
async fn customers_are_refused_and_so_are_names_that_are_none() {
    let shop = Shop::open(datetime!(2026-01-10 10:20 UTC)).await;
    let refused = billed(&shop, &["x"]).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    let uid = "ab".repeat(16);
    let refused = billed(&shop, &vec![uid.as_str(); 501]).await;
    assert_reason(refused, Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(billed(&shop, &[]).await.unwrap(), []);
    for by in [
        principal(PrincipalRole::Customer, Some(7)),
        principal(PrincipalRole::Staff, None),
        principal(PrincipalRole::Service, Some(7)),
    ] {
        let request = pb::ListBilledUsageRequest { s3uids: vec![uid.clone()] };
        let refused = shop.kit.invoices(&by).list_billed_usage(request).await;
        assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
}
