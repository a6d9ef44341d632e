//! `RankAccounts`: order, filters, pages; by the database and by what is kept in memory.

use stowage_proto::metering as pb;
use stowage_types::timestamp;
use time::Duration;

use crate::kit::{Kit, NOW, dimensions, gone, sample, traffic, uid};

async fn rank(kit: &Kit, request: pb::RankAccountsRequest) -> pb::RankAccountsResponse {
    let answer = kit.usage().rank_accounts(kit.as_service(request)).await.unwrap().into_inner();
    assert_eq!(answer.source(), pb::UsageSource::MonthRollups);
    answer
}

fn ids(answer: &pb::RankAccountsResponse) -> Vec<i64> {
    answer.accounts.iter().map(|row| row.dimensions.as_ref().unwrap().account_id).collect()
}

fn today() -> pb::RankAccountsRequest {
    pb::RankAccountsRequest {
        from_time: Some(timestamp(NOW - Duration::hours(2))),
        to_time: Some(timestamp(NOW)),
        ..Default::default()
    }
}

/// Accounts 1 to 6; 1 and 2 moved most, 3 and 4 store most, 5 and 6 have no usage at all.
async fn six() -> [Kit; 2] {
    let kits = both().await;
    for kit in &kits {
        fill_six(kit).await;
    }
    kits
}

/// One that asks the database, and one that ranks by what it keeps.
async fn both() -> [Kit; 2] {
    [Kit::start().await, Kit::ranking_by_what_is_kept().await]
}

async fn fill_six(kit: &Kit) {
    for n in 1..=6 {
        kit.open(dimensions(n)).await;
    }
    kit.moves(1, vec![traffic("one", NOW, 500)]).await;
    kit.moves(2, vec![traffic("two", NOW, 900), traffic("", NOW - Duration::days(1), 9)]).await;
    kit.stores(3, vec![sample("three", NOW, 80), gone("old", NOW)]).await;
    // Account 4 has been quiet for days: its bytes are carried.
    kit.stores(4, vec![sample("four", NOW - Duration::days(9), 70)]).await;
}

#[tokio::test]
async fn accounts_are_ranked_by_either_field_both_ways_with_ties_by_id() {
    for kit in six().await {
        let by = |field: pb::RankField, ascending| pb::RankAccountsRequest {
            field: field.into(),
            ascending,
            ..today()
        };
        use pb::RankField::{StoragePeak, Traffic, Unspecified};
        for (request, expected) in [
            (by(Unspecified, false), [2, 1, 3, 4, 5, 6]),
            (by(Traffic, false), [2, 1, 3, 4, 5, 6]),
            (by(Traffic, true), [3, 4, 5, 6, 1, 2]),
            (by(StoragePeak, false), [3, 4, 1, 2, 5, 6]),
            (by(StoragePeak, true), [1, 2, 5, 6, 4, 3]),
        ] {
            let answer = rank(&kit, request.clone()).await;
            assert_eq!(ids(&answer), expected, "{request:?}");
            assert_eq!(answer.total_size, 6);
        }
        let answer = rank(&kit, by(Traffic, false)).await;
        let row = &answer.accounts[0];
        assert_eq!((row.traffic_bytes, row.stored_bytes_peak, row.stored_bytes), (901, 0, 0));
        let row = &answer.accounts[3];
        assert_eq!((row.traffic_bytes, row.stored_bytes_peak, row.stored_bytes), (0, 70, 70));
        let quiet = &answer.accounts[5];
        assert_eq!((quiet.traffic_bytes, quiet.stored_bytes, quiet.as_of_time), (0, 0, None));
        assert_eq!(quiet.dimensions, Some(dimensions(6)));
    }
}

#[tokio::test]
async fn every_filter_filters() {
    for kit in six().await {
        let cases = [
            (pb::RankAccountsRequest { s3uid: uid(3), ..today() }, vec![3]),
            (pb::RankAccountsRequest { customer_id: 101, ..today() }, vec![1, 4]),
            (
                pb::RankAccountsRequest { email: "cUSTOMER102@example.ORG".into(), ..today() },
                vec![2, 5],
            ),
            (pb::RankAccountsRequest { plan_id: 2, ..today() }, vec![1, 3, 5]),
            (pb::RankAccountsRequest { location: "NL".into(), ..today() }, vec![2, 4, 6]),
            (pb::RankAccountsRequest { storage_type: "cold".into(), ..today() }, vec![]),
            (
                pb::RankAccountsRequest { billing: "ledger".into(), ..today() },
                vec![2, 1, 3, 4, 5, 6],
            ),
            (pb::RankAccountsRequest { bucket: "four".into(), ..today() }, vec![4]),
            (pb::RankAccountsRequest { bucket: "old".into(), ..today() }, vec![]),
            (pb::RankAccountsRequest { bucket: "one".into(), ..today() }, vec![]),
            (pb::RankAccountsRequest { account_id: 6, ..today() }, vec![6]),
            (
                pb::RankAccountsRequest {
                    customer_id: 101,
                    location: "NL".into(),
                    plan_id: 1,
                    ..today()
                },
                vec![4],
            ),
        ];
        for (request, expected) in cases {
            let answer = rank(&kit, request.clone()).await;
            assert_eq!(ids(&answer), expected, "{request:?}");
            assert_eq!(answer.total_size, expected.len() as i64, "{request:?}");
        }
    }
}

#[tokio::test]
async fn a_period_is_taken_to_whole_days() {
    for kit in six().await {
        let yesterday = NOW - Duration::days(1);
        let request = pb::RankAccountsRequest {
            from_time: Some(timestamp(yesterday + Duration::hours(5))),
            to_time: Some(timestamp(yesterday + Duration::hours(6))),
            ..Default::default()
        };
        let answer = rank(&kit, request).await;
        assert_eq!(ids(&answer)[0], 2);
        assert_eq!(answer.accounts[0].traffic_bytes, 10);
        // Before account 4 stored anything, and in what has not begun, there is no peak.
        for days in [-20, 5] {
            let from = NOW + Duration::days(days);
            let request = pb::RankAccountsRequest {
                from_time: Some(timestamp(from)),
                to_time: Some(timestamp(from + Duration::HOUR)),
                ..Default::default()
            };
            let answer = rank(&kit, request).await;
            assert!(answer.accounts.iter().all(|row| row.stored_bytes_peak == 0), "{days}");
        }
    }
}

#[tokio::test]
async fn pages_never_overlap() {
    for kit in six().await {
        let mut seen = Vec::new();
        for skip in [0, 2, 4, 6] {
            let request = pb::RankAccountsRequest { skip, page_size: 2, ..today() };
            let answer = rank(&kit, request).await;
            assert_eq!(answer.total_size, 6);
            seen.extend(ids(&answer));
        }
        assert_eq!(seen, [2, 1, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn a_closed_meter_leaves_the_ranking_and_keeps_its_figures() {
    for kit in six().await {
        kit.close(3).await;
        assert_eq!(ids(&rank(&kit, today()).await), [2, 1, 4, 5, 6]);
        assert_eq!(kit.account(3).await.stored_bytes, 80);
        kit.open(dimensions(3)).await;
        assert_eq!(rank(&kit, today()).await.total_size, 6);
    }
}

#[tokio::test]
async fn a_customer_ranks_his_own_only() {
    for kit in six().await {
        let own = async |request| {
            let request = kit.as_customer(101, request);
            let answer = kit.usage().rank_accounts(request).await.unwrap().into_inner();
            assert_eq!(answer.total_size, answer.accounts.len() as i64);
            ids(&answer)
        };
        assert_eq!(own(today()).await, [1, 4]);
        let foreign = pb::RankAccountsRequest { customer_id: 102, ..today() };
        assert!(own(foreign).await.is_empty());
    }
}

/// Filters, in the order of their bits.
const FILTERS: usize = 9;

/// Accounts of three customers, two plans, locations, classes and billing providers.
async fn a_dozen(kit: &Kit) -> Vec<(pb::Dimensions, i64, i64)> {
    let mut model = Vec::new();
    for n in 1..=12_u8 {
        let dimensions = pb::Dimensions {
            storage_type: if n % 4 < 2 { "standard" } else { "archive" }.to_owned(),
            billing: if n < 7 { "ledger" } else { "whmcs" }.to_owned(),
            ..dimensions(n)
        };
        kit.open(dimensions.clone()).await;
        // Some are equal, some have nothing.
        let (moved, stored) = (i64::from(n % 5) * 100, i64::from(n % 4) * 10);
        if moved > 0 {
            kit.moves(n, vec![traffic("moved", NOW, moved - 1)]).await;
        }
        kit.stores(n, vec![sample(&bucket_of(n), NOW, stored)]).await;
        model.push((dimensions, moved, stored));
    }
    model
}

fn bucket_of(n: u8) -> String {
    format!("bucket-{}", n % 6)
}

/// The request with the filters of `subset`, their values those of one account or another.
fn filtered(
    subset: usize,
    (field, ascending): (pb::RankField, bool),
    of: [&pb::Dimensions; 2],
) -> pb::RankAccountsRequest {
    let is_set = |bit: usize| subset >> bit & 1 == 1;
    let of = |bit: usize| of[bit % 2];
    let text = |bit: usize, value: &dyn Fn(&pb::Dimensions) -> String| {
        if is_set(bit) { value(of(bit)) } else { String::new() }
    };
    let number = |bit: usize, value: &dyn Fn(&pb::Dimensions) -> i64| {
        if is_set(bit) { value(of(bit)) } else { 0 }
    };
    pb::RankAccountsRequest {
        field: field.into(),
        ascending,
        customer_id: number(0, &|d| d.customer_id),
        email: text(1, &|d| d.email.to_uppercase()),
        plan_id: number(2, &|d| d.plan_id),
        location: text(3, &|d| d.location.clone()),
        storage_type: text(4, &|d| d.storage_type.clone()),
        billing: text(5, &|d| d.billing.clone()),
        bucket: text(6, &|d| bucket_of(u8::try_from(d.account_id).unwrap())),
        s3uid: text(7, &|d| d.s3uid.clone()),
        account_id: number(8, &|d| d.account_id),
        ..today()
    }
}

fn is_match(request: &pb::RankAccountsRequest, d: &pb::Dimensions) -> bool {
    let text = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
    let number = |wanted: i64, is: i64| wanted == 0 || wanted == is;
    number(request.customer_id, d.customer_id)
        && text(&request.email, &d.email.to_uppercase())
        && number(request.plan_id, d.plan_id)
        && text(&request.location, &d.location)
        && text(&request.storage_type, &d.storage_type)
        && text(&request.billing, &d.billing)
        && text(&request.bucket, &bucket_of(u8::try_from(d.account_id).unwrap()))
        && text(&request.s3uid, &d.s3uid)
        && number(request.account_id, d.account_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subset_of_filters_in_every_order_and_page_is_as_a_model_says() {
    for kit in both().await {
        let model = a_dozen(&kit).await;
        check_every_subset(&kit, &model).await;
    }
}

async fn check_every_subset(kit: &Kit, model: &[(pb::Dimensions, i64, i64)]) {
    let mut matched = 0;
    for subset in 0..1_usize << FILTERS {
        for (turn, order) in [
            (pb::RankField::Traffic, false),
            (pb::RankField::Traffic, true),
            (pb::RankField::StoragePeak, false),
            (pb::RankField::StoragePeak, true),
        ]
        .into_iter()
        .enumerate()
        {
            let turn = subset + turn;
            let first = &model[turn % 12].0;
            let other = if turn.is_multiple_of(2) { first } else { &model[turn * 5 % 12].0 };
            let mut request = filtered(subset, order, [first, other]);
            if turn.is_multiple_of(3) {
                let (skip, size) = (turn / 3 % 4, 1 + turn / 12 % 3);
                request.skip = i32::try_from(skip).unwrap();
                request.page_size = i32::try_from(size).unwrap();
            }
            let answer = rank(kit, request.clone()).await;
            let mut found: Vec<_> = model.iter().filter(|row| is_match(&request, &row.0)).collect();
            let figure = |row: &(pb::Dimensions, i64, i64)| match order.0 {
                pb::RankField::StoragePeak => row.2,
                _ => row.1,
            };
            let sign = if order.1 { 1 } else { -1 };
            found.sort_by_key(|row| (sign * figure(row), row.0.account_id));
            let (skip, size) =
                (request.skip, if request.page_size > 0 { request.page_size } else { 50 });
            let page = found.iter().skip(usize::try_from(skip).unwrap());
            let page = page.take(usize::try_from(size).unwrap());
            let page: Vec<i64> = page.map(|row| row.0.account_id).collect();
            assert_eq!(ids(&answer), page, "{request:?}");
            assert_eq!(answer.total_size, i64::try_from(found.len()).unwrap(), "{request:?}");
            matched += usize::from(!found.is_empty());
        }
    }
    assert!(matched > 500, "the model is not one that refuses all: {matched}");
}
