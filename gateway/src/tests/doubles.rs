//! Doubles of storage, billing and metering.

use std::sync::Arc;

use stowage_auth::{PrincipalRole, RequestContext};
use stowage_proto::common::ErrorReason;
use stowage_proto::{billing as bill, metering as meter, storage as store};
use stowage_runtime::status;
use stowage_types::{FakeClock, timestamp};
use time::macros::datetime;
use tonic::Code;

use super::double::Double;
use super::world::{OURS, Shared, State, account, fail, noted, seen};

pub(super) fn storage(state: &Shared) -> Double {
    let available = |state: &State| state.storage_failure.clone().map_or(Ok(()), Err);
    let create = move |cx: &RequestContext, q: store::CreateBucketRequest, state: &mut State| {
        available(state)?;
        seen(cx, &q.parent)?;
        Ok(store::Bucket { bucket: q.bucket, ..store::Bucket::default() })
    };
    let delete = |cx: &RequestContext, q: store::DeleteBucketRequest, _: &mut State| {
        let (account, bucket) = q.name.split_once("/buckets/").unwrap();
        seen(cx, account)?;
        match bucket {
            "full" => fail(Code::FailedPrecondition, ErrorReason::BucketNotEmpty, "not empty"),
            "none" => fail(Code::NotFound, ErrorReason::BucketNotFound, "no such bucket"),
            _ => Ok(store::DeleteBucketResponse {}),
        }
    };
    let buckets = |cx: &RequestContext, q: store::ListBucketsRequest, _: &mut State| {
        seen(cx, &q.parent)?;
        let bucket = store::Bucket {
            bucket: "photos".into(),
            object_count: 3,
            stored_bytes: 5 << 20,
            received_bytes: 1 << 30,
            sent_bytes: 1 << 29,
            ..store::Bucket::default()
        };
        Ok(store::ListBucketsResponse { buckets: vec![bucket], next_page_token: String::new() })
    };
    let objects = |cx: &RequestContext, q: store::ListObjectsRequest, state: &mut State| {
        seen(cx, q.parent.split_once("/buckets/").unwrap().0)?;
        // Three pages of one object each.
        let page: i32 = q.page_token.parse().unwrap_or(1);
        state.listings.push(q);
        let object = store::Object { key: format!("k{page}"), ..store::Object::default() };
        let next_page_token = if page < 3 { (page + 1).to_string() } else { String::new() };
        Ok(store::ListObjectsResponse { objects: vec![object], prefixes: vec![], next_page_token })
    };
    let delete_object = |cx: &RequestContext, q: store::DeleteObjectRequest, _: &mut State| {
        seen(cx, q.parent.split_once("/buckets/").unwrap().0)?;
        Ok(store::DeleteObjectResponse {})
    };
    let locations = |_: &RequestContext, _: store::ListLocationsRequest, _: &mut State| {
        let location = store::Location {
            code: "NL".into(),
            endpoint: "http://nl.example".into(),
            storage_types: vec!["standard".into()],
            ..store::Location::default()
        };
        Ok(store::ListLocationsResponse { locations: vec![location], ..Default::default() })
    };
    let collect = |cx: &RequestContext, q: store::CollectUsageRequest, _: &mut State| {
        seen(cx, &q.name)?;
        let collect_time = Some(timestamp(datetime!(2026-03-10 11:58 UTC)));
        Ok(store::CollectUsageResponse { stored_bytes: 1, object_count: 2, collect_time })
    };
    Double::default()
        .on("storage", "BucketService/CreateBucket", noted(state, "CreateBucket", create))
        .on("storage", "BucketService/DeleteBucket", noted(state, "DeleteBucket", delete))
        .on("storage", "BucketService/ListBuckets", noted(state, "ListBuckets", buckets))
        .on("storage", "ObjectService/ListObjects", noted(state, "ListObjects", objects))
        .on("storage", "ObjectService/DeleteObject", noted(state, "DeleteObject", delete_object))
        .on("storage", "LocationService/ListLocations", noted(state, "ListLocations", locations))
        .on("storage", "UsageService/CollectUsage", noted(state, "CollectUsage", collect))
}

pub(super) fn billing(state: &Shared) -> Double {
    let plan = |id: i64, active: bool| bill::Plan {
        plan_id: id,
        title: format!("Plan {id}"),
        active,
        storage_type: "standard".into(),
        location: "locations/NL".into(),
        ..bill::Plan::default()
    };
    let list = move |cx: &RequestContext, _: bill::ListPlansRequest, _: &mut State| {
        let plans = match cx.principal.role {
            PrincipalRole::Customer => vec![plan(1, true)],
            _ => vec![plan(1, true), plan(2, false)],
        };
        Ok(bill::ListPlansResponse { plans, next_page_token: String::new() })
    };
    let get =
        move |_: &RequestContext, q: bill::GetPlanRequest, _: &mut State| match q.name.as_str() {
            "plans/1" => Ok(plan(1, true)),
            "plans/2" => Ok(plan(2, false)),
            _ => fail(Code::NotFound, ErrorReason::PlanNotFound, "no such plan"),
        };
    let batch = |_: &RequestContext, q: bill::BatchGetSubscriptionsRequest, _: &mut State| {
        let money = |code: &str, units, nanos| stowage_proto::Money {
            currency_code: code.into(),
            units,
            nanos,
        };
        let subscription = |service_id| bill::Subscription {
            service_id,
            s3uid: OURS.into(),
            state: bill::SubscriptionState::Active.into(),
            period: bill::BillingPeriod::Monthly.into(),
            base_price: Some(money("", 10, 0)),
            period_price: Some(money("EUR", 9, 800_000_000)),
            period_start_time: Some(timestamp(datetime!(2026-03-09 23:00 UTC))),
            period_end_time: Some(timestamp(datetime!(2026-04-09 23:00 UTC))),
            ..bill::Subscription::default()
        };
        let subscriptions = q.service_ids.into_iter().map(subscription).collect();
        Ok(bill::BatchGetSubscriptionsResponse { subscriptions })
    };
    let hook = |_: &RequestContext, _: bill::TakeProviderMessageRequest, state: &mut State| {
        state.hook_failure.clone().map_or(Ok(()), Err)?;
        Ok(bill::TakeProviderMessageResponse { repeated: false })
    };
    let payment = |_: &RequestContext, q: bill::TakePaymentRequest, state: &mut State| {
        state.hook_failure.clone().map_or(Ok(()), Err)?;
        let body = String::from_utf8(q.message.unwrap().body).unwrap_or_default();
        match body.strip_prefix("new customer ") {
            Some(id) if q.known_customer_id == 0 => {
                let reason = ErrorReason::CustomerNotFound;
                Err(status(Code::NotFound, reason, "unmet").meta("customer_id", id).build())
            }
            _ => Ok(bill::TakePaymentResponse { repeated: false }),
        }
    };
    Double::default()
        .on("billing", "HookService/TakeProviderMessage", noted(state, "TakeProviderMessage", hook))
        .on("billing", "HookService/TakePayment", noted(state, "TakePayment", payment))
        .on("billing", "PlanService/ListPlans", noted(state, "ListPlans", list))
        .on("billing", "PlanService/GetPlan", noted(state, "GetPlan", get))
        .on("billing", "SubscriptionService/BatchGetSubscriptions", noted(state, "Batch", batch))
}

pub(super) fn metering(state: &Shared, clock: &Arc<FakeClock>) -> Double {
    let clock = Arc::clone(clock);
    let figures = move |cx: &RequestContext, s3uid: &str| {
        seen(cx, &format!("accounts/{s3uid}"))
            .or_else(|_| fail(Code::NotFound, ErrorReason::MeterNotFound, "no such meter"))?;
        let as_of = stowage_types::Clock::now(clock.as_ref());
        let bucket = meter::BucketUsage {
            bucket: "photos".into(),
            stored_bytes: (5 << 20) + 1,
            object_count: 3,
            as_of_time: Some(timestamp(as_of)),
        };
        Ok(meter::AccountUsage {
            buckets: vec![bucket],
            stored_bytes: (5 << 20) + 1,
            received_bytes: 1 << 30,
            sent_bytes: 1 << 29,
            as_of_time: Some(timestamp(as_of)),
            ..meter::AccountUsage::default()
        })
    };
    let figures = Arc::new(figures);
    let fresh = Arc::clone(&figures);
    let usage = move |cx: &RequestContext, q: meter::GetAccountUsageRequest, _: &mut State| {
        figures(cx, &q.s3uid)
    };
    let awaited = move |cx: &RequestContext, q: meter::AwaitUsageRequest, state: &mut State| {
        let s3uid = q.s3uid.clone();
        state.awaited.push(q);
        fresh(cx, &s3uid)
    };
    let rank = |_: &RequestContext, q: meter::RankAccountsRequest, state: &mut State| {
        state.rankings.push(q);
        let accounts: Vec<_> = state
            .ranked
            .iter()
            .map(|id| meter::RankedAccount {
                dimensions: Some(meter::Dimensions {
                    s3uid: account(*id, 1001).s3uid,
                    account_id: *id,
                    customer_id: 1001,
                    email: "one@example.com".into(),
                    plan_id: 1,
                    location: "NL".into(),
                    storage_type: "standard".into(),
                    billing: "ledger".into(),
                    gb_bytes: 1 << 30,
                }),
                traffic_bytes: 3 << 29,
                stored_bytes_peak: 1 << 30,
                stored_bytes: 1 << 20,
                as_of_time: Some(timestamp(datetime!(2026-03-10 11:59 UTC))),
            })
            .collect();
        let total_size = i64::try_from(accounts.len()).unwrap();
        Ok(meter::RankAccountsResponse { accounts, total_size, ..Default::default() })
    };
    Double::default()
        .on("metering", "UsageService/GetAccountUsage", noted(state, "GetAccountUsage", usage))
        .on("metering", "UsageService/AwaitUsage", noted(state, "AwaitUsage", awaited))
        .on("metering", "UsageService/RankAccounts", noted(state, "RankAccounts", rank))
}
