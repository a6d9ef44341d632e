//! Figures that are told each time they change.

use stowage_proto::common::ErrorReason;
use stowage_proto::metering as pb;
use stowage_runtime::reason_of;
use tonic::Code;

use crate::kit::{Kit, NOW, dimensions, sample, uid};

fn watch(n: u8, updates_max: i32) -> pb::WatchUsageRequest {
    pb::WatchUsageRequest { s3uid: uid(n), updates_max }
}

#[tokio::test]
async fn whoever_watches_is_told_at_once_and_of_each_change() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let watching = kit.usage().watch_usage(kit.as_customer(101, watch(1, 3))).await.unwrap();
    let mut figures = watching.into_inner();
    assert_eq!(figures.message().await.unwrap().unwrap().stored_bytes, 0);
    for bytes in [5, 7] {
        kit.stores(1, vec![sample("photos", NOW, bytes)]).await;
        assert_eq!(figures.message().await.unwrap().unwrap().stored_bytes, bytes);
    }
    assert_eq!(figures.message().await.unwrap(), None, "it was to be told three times");
}

#[tokio::test]
async fn a_foreign_account_is_not_watched_and_mistakes_are_told() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let refused = kit.usage().watch_usage(kit.as_customer(102, watch(1, 0))).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::MeterNotFound));
    let refused = kit.usage().watch_usage(kit.as_customer(101, watch(1, -1))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_so_many_watch_at_once() {
    let kit = Kit::watched_by(1).await;
    kit.open(dimensions(1)).await;
    let first = kit.usage().watch_usage(kit.as_service(watch(1, 0))).await.unwrap();
    let refused = kit.usage().watch_usage(kit.as_service(watch(1, 0))).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::TooManyWatches));
    drop(first);
    kit.usage().watch_usage(kit.as_service(watch(1, 1))).await.unwrap();
}
