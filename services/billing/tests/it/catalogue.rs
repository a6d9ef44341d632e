//! Plans: what is sold, and who sees what of it.

use stowage_auth::PrincipalRole;
use stowage_billing::seed_catalogue;
use stowage_db::args;
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::field_violations;
use stowage_types::SystemClock;
use tonic::Code;

use crate::kit::{Kit, assert_reason, customer, money, plan, principal};

fn create(plan: pb::Plan) -> pb::CreatePlanRequest {
    pb::CreatePlanRequest { plan: Some(plan), ..Default::default() }
}

fn get(id: i64, version: i32) -> pb::GetPlanRequest {
    pb::GetPlanRequest { name: format!("plans/{id}"), version }
}

fn archive(id: i64) -> pb::ArchivePlanRequest {
    pb::ArchivePlanRequest { name: format!("plans/{id}"), ..Default::default() }
}

fn update(plan: pb::Plan, paths: &[&str]) -> pb::UpdatePlanRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdatePlanRequest {
        plan: Some(plan),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

/// Source: the example of the legacy reference, `list_plans`.
#[tokio::test]
async fn a_new_installation_sells_the_example_plan_and_a_free_one() {
    let kit = Kit::start().await;
    let listed = kit.office().list_plans(pb::ListPlansRequest::default()).await.unwrap();
    let plans = listed.into_inner().plans;
    assert_eq!(plans.iter().map(|plan| plan.plan_id).collect::<Vec<_>>(), [1, 2]);

    let standard = &plans[0];
    assert_eq!(standard.title, "Standard S3 Plan");
    assert_eq!((standard.active, standard.free, standard.version), (true, false, 1));
    assert_eq!(standard.location, "locations/NL");
    assert_eq!(standard.base_price, Some(money("", 10, 0)));
    assert_eq!(standard.quota_bytes, 1 << 40);
    assert_eq!(standard.gb_bytes, 1_073_741_824);
    let price =
        |currency, units, nanos, (storage, traffic): ((i64, i32), (i64, i32))| pb::PlanPrice {
            period_price: Some(money(currency, units, nanos)),
            storage_overage_price: Some(money(currency, storage.0, storage.1)),
            traffic_overage_price: Some(money(currency, traffic.0, traffic.1)),
        };
    let cents = ((0, 50_000_000), (0, 10_000_000));
    let expected = [
        price("USD", 10, 500_000_000, cents),
        price("EUR", 9, 800_000_000, cents),
        price("RUB", 950, 0, ((5, 0), (1, 0))),
    ];
    assert_eq!(standard.prices, expected);

    let free = &plans[1];
    assert_eq!((free.free, free.account_max_per_customer), (true, 1));
    assert_eq!(free.quota_bytes, 5 << 30);
    assert_eq!(free.prices.len(), 3);
}

#[tokio::test]
async fn the_catalogue_is_seeded_once_in_the_life_of_a_database() {
    let kit = Kit::start().await;
    kit.office().archive_plan(archive(1)).await.unwrap();
    seed_catalogue(&kit.db, &SystemClock).await.unwrap();
    let listed = kit.office().list_plans(pb::ListPlansRequest::default()).await.unwrap();
    let plans = listed.into_inner().plans;
    assert_eq!(plans.iter().map(|plan| plan.active).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn customers_see_active_plans_with_their_own_price_only() {
    let kit = Kit::start().await;
    kit.office().create_plan(create(plan("Euro only"))).await.unwrap();
    kit.office().archive_plan(archive(2)).await.unwrap();
    for (currency, visible) in [("EUR", vec![1, 3]), ("USD", vec![1]), ("JPY", vec![])] {
        let mut plans = kit.plans(&customer(7, currency));
        let listed = plans.list_plans(pb::ListPlansRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.plans.iter().map(|p| p.plan_id).collect::<Vec<_>>(), visible);
        for plan in &listed.plans {
            let shown: Vec<_> = plan
                .prices
                .iter()
                .flat_map(|p| &p.period_price)
                .map(|m| &m.currency_code)
                .collect();
            assert_eq!(shown, [currency]);
        }
        for id in 1..=4 {
            let answer = plans.get_plan(get(id, 0)).await;
            assert_eq!(answer.is_ok(), visible.contains(&id), "{currency} {id}: {answer:?}");
            if let Err(status) = answer {
                assert_eq!((status.code(), status.message()), (Code::NotFound, "plan not found"));
            }
        }
    }
    let mut nobody = kit.plans(&principal(PrincipalRole::Customer, Some(7)));
    let listed = nobody.list_plans(pb::ListPlansRequest::default()).await.unwrap();
    assert!(listed.into_inner().plans.is_empty(), "a customer without a currency sees none");
}

#[tokio::test]
async fn pages_of_plans_neither_overlap_nor_skip() {
    let kit = Kit::start().await;
    for number in 3..=7 {
        kit.office().create_plan(create(plan(&format!("Plan {number}")))).await.unwrap();
    }
    let mut request = pb::ListPlansRequest { page_size: 3, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = kit.office().list_plans(request.clone()).await.unwrap().into_inner();
        assert!(page.plans.len() <= 3);
        seen.extend(page.plans.iter().map(|plan| plan.plan_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);

    request.location = "locations/NL".to_owned();
    let foreign = kit.office().list_plans(request).await;
    assert_reason(foreign, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let elsewhere =
        pb::ListPlansRequest { location: "locations/US".to_owned(), ..Default::default() };
    let none = kit.office().list_plans(elsewhere).await.unwrap().into_inner();
    assert!(none.plans.is_empty());
    let negative = pb::ListPlansRequest { page_size: -1, ..Default::default() };
    let answer = kit.office().list_plans(negative).await;
    assert_reason(answer, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn an_update_makes_a_version_and_leaves_the_old_one_as_it_was() {
    let kit = Kit::start().await;
    let before = kit.office().get_plan(get(1, 0)).await.unwrap().into_inner();
    let mut change = plan("Renamed");
    change.name = "plans/1".to_owned();
    change.version = 1;
    change.quota_bytes = 99;
    let request = update(change, &["title", "prices", "quota_bytes", "title"]);
    let after = kit.office().update_plan(request.clone()).await.unwrap().into_inner();
    assert_eq!((after.version, after.title.as_str(), after.quota_bytes), (2, "Renamed", 99));
    assert_eq!(after.prices.len(), 1);
    assert_eq!(
        (after.base_price, after.storage_type),
        (before.base_price.clone(), before.storage_type.clone())
    );

    let old = kit.office().get_plan(get(1, 1)).await.unwrap().into_inner();
    assert_eq!(old, before);
    let current = kit.office().get_plan(get(1, 0)).await.unwrap().into_inner();
    assert_eq!(current.version, 2);
    let stale = kit.office().update_plan(request.clone()).await;
    assert_reason(stale, Code::Aborted, ErrorReason::PlanChanged);
    let mut unchanged = request;
    unchanged.plan.as_mut().unwrap().version = 0;
    let same = kit.office().update_plan(unchanged).await.unwrap().into_inner();
    assert_eq!(same.version, 2, "an update that changes nothing makes no version");

    let mut buyer = kit.plans(&customer(7, "EUR"));
    assert!(buyer.get_plan(get(1, 2)).await.is_ok());
    assert_reason(buyer.get_plan(get(1, 1)).await, Code::NotFound, ErrorReason::PlanNotFound);
}

#[tokio::test]
async fn of_many_updates_of_one_version_one_wins() {
    let kit = Kit::start().await;
    let calls = (0..20).map(|number| {
        let mut office = kit.office();
        let mut change = pb::Plan { quota_bytes: 100 + number, version: 1, ..Default::default() };
        change.name = "plans/1".to_owned();
        async move { office.update_plan(update(change, &["quota_bytes"])).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_reason(answer, Code::Aborted, ErrorReason::PlanChanged);
    }
}

#[tokio::test]
async fn titles_are_unique_among_active_plans() {
    let kit = Kit::start().await;
    let taken = kit.office().create_plan(create(plan("Free S3 Plan"))).await;
    assert_reason(taken, Code::AlreadyExists, ErrorReason::PlanNameTaken);
    let mut rename = plan("Free S3 Plan");
    rename.name = "plans/1".to_owned();
    let taken = kit.office().update_plan(update(rename, &["title"])).await;
    assert_reason(taken, Code::AlreadyExists, ErrorReason::PlanNameTaken);

    kit.office().archive_plan(archive(2)).await.unwrap();
    let made = kit.office().create_plan(create(plan("Free S3 Plan"))).await.unwrap().into_inner();
    assert_eq!(made.plan_id, 3, "a refused plan takes no id");
}

#[tokio::test]
async fn every_bad_field_is_told_at_once() {
    let kit = Kit::start().await;
    let mut bad = plan("");
    bad.location = "nl".to_owned();
    bad.base_price = Some(money("EUR", 1, 0));
    bad.gb_bytes = 5;
    bad.bucket_max = -1;
    bad.period = 77;
    bad.prices[0].storage_overage_price = Some(money("USD", 1, 0));
    bad.prices[0].traffic_overage_price = None;
    bad.prices.push(pb::PlanPrice { period_price: Some(money("E", 1, 0)), ..Default::default() });
    let status = kit.office().create_plan(create(bad)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let mut fields: Vec<_> =
        field_violations(&status).into_iter().map(|(field, _)| field).collect();
    fields.sort();
    let expected = [
        "plan.base_price",
        "plan.bucket_max",
        "plan.gb_bytes",
        "plan.location",
        "plan.period",
        "plan.prices[0].storage_overage_price",
        "plan.prices[0].traffic_overage_price",
        "plan.prices[1].period_price",
        "plan.prices[1].storage_overage_price",
        "plan.prices[1].traffic_overage_price",
        "plan.title",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn prices_must_be_exact_and_meant() {
    let kit = Kit::start().await;
    let mut rows: Vec<(&str, pb::Plan)> = Vec::new();
    let mut row = |field, change: fn(&mut pb::Plan)| {
        let mut bad = plan("Bad");
        change(&mut bad);
        rows.push((field, bad));
    };
    row("plan.prices[0].period_price", |p| p.prices[0].period_price = Some(money("EUR", 0, 0)));
    row("plan.prices[0].period_price", |p| p.prices[0].period_price = Some(money("EUR", -1, 0)));
    row("plan.prices[0].period_price", |p| {
        p.prices[0].period_price = Some(money("EUR", i64::MAX, 0));
    });
    row("plan.prices[0].period_price", |p| {
        p.prices[0].period_price = Some(money("EUR", 1, 1_000_000_000));
    });
    row("plan.prices[0].period_price", |p| p.prices[0].period_price = Some(money("EUR", 1, -1)));
    row("plan.prices[0].period_price", |p| {
        p.prices[0].period_price = Some(money("EUR", 1, 5_000_000));
    });
    row("plan.prices[1].period_price", |p| p.prices.push(p.prices[0].clone()));
    row("plan.prices", |p| p.prices.clear());
    row("plan.account_max_per_customer", |p| {
        p.free = true;
        p.prices[0] =
            pb::PlanPrice { period_price: Some(money("EUR", 0, 0)), ..Default::default() };
    });
    for (field, bad) in rows {
        let status = kit.office().create_plan(create(bad)).await.unwrap_err();
        let fields: Vec<_> =
            field_violations(&status).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, [field]);
    }
    let mut largest = plan("Largest");
    largest.prices[0].period_price = Some(money("EUR", 9_223_372_036, 850_000_000));
    let made = kit.office().create_plan(create(largest.clone())).await.unwrap().into_inner();
    assert_eq!(made.prices, largest.prices);
}

#[tokio::test]
async fn an_update_names_what_it_changes() {
    let kit = Kit::start().await;
    let mut change = plan("X");
    change.name = "plans/1".to_owned();
    for paths in [&[][..], &["version"], &["active"], &["name"], &["*"], &["prices.period_price"]] {
        let status = kit.office().update_plan(update(change.clone(), paths)).await.unwrap_err();
        let fields = field_violations(&status);
        assert!(fields.iter().all(|(field, _)| field == "update_mask"), "{paths:?}: {fields:?}");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    // Cross rules look at the plan as it would become.
    let free = pb::Plan { name: "plans/1".to_owned(), free: true, ..Default::default() };
    let status = kit.office().update_plan(update(free, &["free"])).await.unwrap_err();
    assert_eq!(field_violations(&status).len(), 10, "{status:?}");
    change.name = "plans/9".to_owned();
    let absent = kit.office().update_plan(update(change, &["title"])).await;
    assert_reason(absent, Code::NotFound, ErrorReason::PlanNotFound);
}

#[tokio::test]
async fn every_change_is_told_once_and_in_order() {
    let kit = Kit::start().await;
    let mut office = kit.office();
    office.create_plan(create(plan("Told"))).await.unwrap();
    let change = pb::Plan { name: "plans/3".to_owned(), quota_bytes: 5, ..Default::default() };
    office.update_plan(update(change.clone(), &["quota_bytes"])).await.unwrap();
    office.update_plan(update(change, &["quota_bytes"])).await.unwrap();
    for _ in 0..2 {
        let plan = office.archive_plan(archive(3)).await.unwrap().into_inner();
        assert!(!plan.active);
    }
    let heard = kit.hear(3).await;
    let told: Vec<_> = heard.iter().map(|e| (e.event.as_str(), e.plan_id, e.version)).collect();
    assert_eq!(told, [("plan.created", 3, 1), ("plan.updated", 3, 2), ("plan.archived", 3, 2)]);
    assert!(heard[0].old_json.is_empty());
    assert_eq!(heard[1].old_json, heard[0].new_json);
    let new: serde_json::Value = serde_json::from_str(&heard[1].new_json).unwrap();
    assert_eq!((&new["quota_bytes"], &new["prices"][0]["period_price"]), (&5.into(), &"1".into()));
    assert!(heard.iter().all(|event| event.actor == "tester"));

    let absent = office.archive_plan(archive(77)).await;
    assert_reason(absent, Code::NotFound, ErrorReason::PlanNotFound);
    let (rows,): (i64,) =
        kit.db.fetch_one("SELECT count(*) FROM outbox WHERE dead = true", args![]).await.unwrap();
    assert_eq!(rows, 0);
}
