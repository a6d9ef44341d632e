//! Who may do what, and how mistakes are told.

use stowage_proto::common::ErrorReason;
use stowage_proto::metering as pb;
use stowage_runtime::{field_violations, reason_of};
use stowage_types::timestamp;
use time::Duration;
use tonic::{Code, Request, Status};

use crate::kit::{Kit, NOW, dimensions, sample, uid};

fn assert_reason(status: &Status, code: Code, reason: ErrorReason) {
    assert_eq!((status.code(), reason_of(status)), (code, Some(reason)), "{status:?}");
}

#[tokio::test]
async fn calls_without_a_token_and_of_the_wrong_role_are_refused() {
    let kit = Kit::start().await;
    let open = pb::OpenMeterRequest { dimensions: Some(dimensions(1)) };
    let refused = kit.meters().open_meter(Request::new(open.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = kit.meters().open_meter(kit.as_customer(101, open)).await.unwrap_err();
    assert_reason(&refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let close = pb::CloseMeterRequest { s3uid: uid(1) };
    let refused = kit.meters().close_meter(kit.as_customer(101, close)).await.unwrap_err();
    assert_reason(&refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let ask = Request::new(pb::RankAccountsRequest::default());
    assert_eq!(kit.usage().rank_accounts(ask).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_foreign_is_absent() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", NOW, 5)]).await;
    // Facts alone make no meter.
    kit.stores(9, vec![sample("photos", NOW, 5)]).await;
    let get = |n| pb::GetAccountUsageRequest { s3uid: uid(n), ..Default::default() };
    let own = kit.usage().get_account_usage(kit.as_customer(101, get(1))).await.unwrap();
    assert_eq!(own.into_inner().stored_bytes, 5);
    let mut texts = Vec::new();
    for n in [1, 8, 9] {
        let foreign =
            kit.usage().get_account_usage(kit.as_customer(102, get(n))).await.unwrap_err();
        assert_reason(&foreign, Code::NotFound, ErrorReason::MeterNotFound);
        texts.push(foreign.message().to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    let query = pb::QueryUsageRequest { s3uid: uid(1), step: 1, ..Default::default() };
    let foreign = kit.usage().query_usage(kit.as_customer(102, query)).await.unwrap_err();
    assert_reason(&foreign, Code::NotFound, ErrorReason::MeterNotFound);
}

#[tokio::test]
async fn all_bad_fields_are_told_at_once() {
    let kit = Kit::start().await;
    let fields = |status: &Status| -> Vec<String> {
        assert_reason(status, Code::InvalidArgument, ErrorReason::InvalidField);
        field_violations(status).into_iter().map(|(field, _)| field).collect()
    };
    let bad = pb::Dimensions { s3uid: "?".into(), account_id: 0, gb_bytes: -1, ..dimensions(1) };
    let open = pb::OpenMeterRequest { dimensions: Some(bad) };
    let told = kit.meters().open_meter(kit.as_service(open)).await.unwrap_err();
    let expected = ["dimensions.s3uid", "dimensions.account_id", "dimensions.gb_bytes"];
    assert_eq!(fields(&told), expected);
    let rank = pb::RankAccountsRequest {
        field: 77,
        skip: 1_000_001,
        page_size: -1,
        s3uid: "?".into(),
        plan_id: -1,
        ..Default::default()
    };
    let told = kit.usage().rank_accounts(kit.as_service(rank)).await.unwrap_err();
    let mut told = fields(&told);
    told.sort();
    assert_eq!(told, ["field", "page_size", "plan_id", "s3uid", "skip"]);
    let backwards = pb::QueryUsageRequest {
        s3uid: uid(1),
        from_time: Some(timestamp(NOW)),
        to_time: Some(timestamp(NOW - Duration::DAY)),
        step: 2,
        ..Default::default()
    };
    kit.open(dimensions(1)).await;
    let told = kit.usage().query_usage(kit.as_service(backwards)).await.unwrap_err();
    assert_eq!(fields(&told), ["to_time"]);
    let no_step = pb::QueryUsageRequest { s3uid: "?".into(), ..Default::default() };
    let told = kit.usage().query_usage(kit.as_service(no_step)).await.unwrap_err();
    assert_eq!(fields(&told), ["s3uid", "step"]);
}

#[tokio::test]
async fn the_role_is_ready_once_it_is_built() {
    let kit = Kit::start().await;
    assert_eq!((kit.role.ready)().await, Ok(()));
}
