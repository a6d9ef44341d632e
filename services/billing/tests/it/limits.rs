//! What metering is told of what accounts may use.

use stowage_bus::Event;
use stowage_proto::billing as pb;
use stowage_runtime::field_violations;
use stowage_types::from_timestamp;
use time::macros::datetime;

use crate::shop::{EURO, GB, Offer, Shop};

/// The limits of an event, without what all have.
fn bytes_of(event: &Event) -> ([i64; 5], i64, bool) {
    let told: pb::LimitsChanged = event.message().unwrap();
    assert_eq!(event.subject, format!("accounts/{}", told.s3uid));
    assert_eq!((told.customer_id, told.period_months), (7, 1));
    let bytes = [
        told.quota_bytes,
        told.included_storage_bytes,
        told.included_traffic_bytes,
        told.storage_cap_bytes,
        told.traffic_cap_bytes,
    ];
    (bytes, told.sequence, told.ended)
}

#[tokio::test]
async fn limits_are_told_as_a_subscription_begins_is_moved_and_ends() {
    let at = datetime!(2026-01-31 12:00 UTC);
    let mut shop = Shop::open(at).await;
    let unbound = Offer { included_storage_gb: 0, included_traffic_gb: 0, ..EURO };
    let none = shop.offer("None", unbound).await;
    let capped = shop
        .offer_of("Capped", Offer { included_storage_gb: 2, ..unbound }, |plan| {
            plan.quota_bytes = 9;
            (plan.storage_cap_gb, plan.traffic_cap_gb) = (3, 4);
        })
        .await;
    // What has no limit is not told of.
    let other = shop.sell(&none, "EUR").await;
    let sold = shop.sell(&capped, "EUR").await;
    let told = shop.kit.limits(1).await;
    assert_eq!(bytes_of(&told[0]), ([9, 2 * GB, 0, 3 * GB, 4 * GB], 1, false));
    let message: pb::LimitsChanged = told[0].message().unwrap();
    assert_eq!(message.s3uid, sold.s3uid);
    assert_eq!(from_timestamp(&message.anchor_time.unwrap()).unwrap(), at);

    shop.change(&sold, "c1", &none).await;
    assert_eq!(bytes_of(&shop.kit.limits(2).await[1]), ([0; 5], 2, false));
    shop.change(&other, "c2", &capped).await;
    let told = shop.kit.limits(3).await;
    assert_eq!(bytes_of(&told[2]), ([9, 2 * GB, 0, 3 * GB, 4 * GB], 2, false));
    shop.end(&other).await;
    let (_, sequence, ended) = bytes_of(&shop.kit.limits(4).await[3]);
    assert_eq!((sequence, ended), (3, true));
}

#[tokio::test]
async fn a_cap_is_not_below_what_is_included() {
    let shop = Shop::open(datetime!(2026-01-31 12:00 UTC)).await;
    let plan = pb::Plan {
        included_traffic_gb: 5,
        traffic_cap_gb: 4,
        storage_cap_gb: -1,
        ..crate::kit::plan("Bad")
    };
    let request = pb::CreatePlanRequest { plan: Some(plan), ..Default::default() };
    let refused = shop.kit.office().create_plan(request).await.unwrap_err();
    let fields: Vec<_> = field_violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["plan.storage_cap_gb", "plan.traffic_cap_gb"]);
}
