//! Figures as young as what was collected.

use stowage_proto::metering as pb;
use stowage_runtime::reason_of;
use stowage_types::{from_timestamp, timestamp};
use tonic::Code;

use crate::kit::{Kit, NOW, dimensions, minutes_ago, sample, uid};

fn collected(request_id: &str) -> pb::AwaitUsageRequest {
    pb::AwaitUsageRequest {
        s3uid: uid(1),
        collect_time: Some(timestamp(NOW)),
        stored_bytes: 7,
        object_count: 1,
        request_id: request_id.to_owned(),
    }
}

async fn fresh(kit: &Kit, message: pb::AwaitUsageRequest) -> pb::AccountUsage {
    kit.usage().await_usage(kit.as_service(message)).await.unwrap().into_inner()
}

#[tokio::test]
async fn figures_are_waited_for_until_they_are_as_young_as_what_was_collected() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", minutes_ago(10), 3)]).await;
    let send = async {
        // The call is under way by then, and has seen old figures.
        tokio::task::yield_now().await;
        kit.stores(1, vec![sample("photos", NOW, 7)]).await;
    };
    let (usage, ()) = tokio::join!(fresh(&kit, collected("")), send);
    assert_eq!((usage.stored_bytes, usage.dimensions), (7, Some(dimensions(1))));
    assert_eq!(from_timestamp(&usage.as_of_time.unwrap()).unwrap(), NOW);
}

#[tokio::test]
async fn nothing_is_waited_for_longer_than_the_setting_says_and_equal_figures_only_a_little() {
    let kit = Kit::waiting(200).await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", minutes_ago(10), 3)]).await;
    assert_eq!(fresh(&kit, collected("")).await.stored_bytes, 3);
    // A minute is above what the test may take.
    let kit = Kit::waiting(60_000).await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", minutes_ago(10), 7)]).await;
    let usage = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        fresh(&kit, collected("")).await
    });
    assert_eq!(usage.await.unwrap().stored_bytes, 7);
}

#[tokio::test]
async fn the_first_figures_are_answered_again_whatever_has_come_since() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", NOW, 7)]).await;
    let first = fresh(&kit, collected("k")).await;
    kit.stores(1, vec![sample("photos", NOW, 9), sample("films", NOW, 5)]).await;
    assert_ne!(fresh(&kit, collected("")).await, first);
    assert_eq!(fresh(&kit, collected("k")).await, first);
    kit.close(1).await;
    assert_eq!(fresh(&kit, collected("k")).await, first);
    let other = pb::AwaitUsageRequest { stored_bytes: 8, ..collected("k") };
    let error = kit.usage().await_usage(kit.as_service(other)).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_customers_are() {
    let kit = Kit::start().await;
    let bad = pb::AwaitUsageRequest { s3uid: "x".to_owned(), ..collected("") };
    let error = kit.usage().await_usage(kit.as_service(bad)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = kit.usage().await_usage(kit.as_service(collected(""))).await.unwrap_err();
    let reason = Some(stowage_proto::common::ErrorReason::MeterNotFound);
    assert_eq!((error.code(), reason_of(&error)), (Code::NotFound, reason));
    let error = kit.usage().await_usage(kit.as_customer(101, collected(""))).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}
