//! `get_users`: every combination of filters and orders against a model, pages, periods.

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use stowage_types::{Clock as _, SystemClock};
use time::{Date, Duration};

use crate::users_model::{Fixture, Query, day_text, s3uids};

/// Calls at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_filters_and_orders_answers_as_a_model_does() {
    let fixture = Fixture::start().await;
    let queries = fixture.every_combination();
    // Customers are asked without `id`: half of the subsets.
    assert_eq!(queries.len(), (256 + 128) * 4 * 9);
    let answers = stream::iter(&queries).map(|query| query.ask(&fixture, &[]));
    let answers: Vec<Value> = answers.buffered(AT_ONCE).collect().await;
    let mut matched = 0;
    for (query, answer) in queries.iter().zip(&answers) {
        let expected = query.expected(&fixture);
        let (offset, limit) = query.page.unwrap_or((0, 50));
        let of_page: Vec<_> = expected.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!(s3uids(answer), of_page, "{query:?}");
        assert_eq!(answer["total"], expected.len(), "{query:?}");
        let said = (&answer["offset"], &answer["limit"]);
        assert_eq!(said, (&offset.into(), &limit.into()), "{query:?}");
        matched += usize::from(!expected.is_empty());
    }
    assert!(matched > 3000, "the model is not one that refuses all: {matched}");
    check_values_that_match_nothing(&fixture).await;
    check_pages(&fixture).await;
    check_periods(&fixture).await;
    check_rows(&fixture).await;
    fixture.kit.stop().await;
}

async fn check_values_that_match_nothing(fixture: &Fixture) {
    for (name, value) in [
        ("plan_id", "424242"),
        ("s3uid", "00000000000000000000000000000000"),
        ("s3uid", "999999"),
        ("s3uid", "nonsense"),
        ("email", "nobody@example.com"),
        ("billing", "other"),
        ("bucket_name", "nobodys"),
        ("location", "XX"),
        ("storage_type", "tape"),
    ] {
        let filters = vec![(name, value.to_owned())];
        let answer = Query { filters, ..Query::default() }.ask(fixture, &[]).await;
        assert_eq!((&answer["total"], s3uids(&answer).len()), (&0.into(), 0), "{name} {value}");
    }
    let site = &fixture.kit.site;
    // What no database keeps is refused by each, and is no fault of ours.
    for name in ["email", "storage_type", "bucket_name"] {
        let answer = site.facade.action("get_users", &site.admin_token, &[(name, "a\0b")]).await;
        assert_eq!(answer.failure(), format!("{name} invalid"));
    }
    let (anna, bert) = (&fixture.customers[0], &fixture.customers[1]);
    let (own, other) = (anna.id.to_string(), bert.id.to_string());
    for (token, id, total) in [
        (&anna.token, own.as_str(), Ok(2)),
        (&anna.token, other.as_str(), Err("customer not found")),
        (&anna.token, "999999", Err("customer not found")),
        (&site.admin_token, "999999", Err("customer not found")),
        (&site.admin_token, other.as_str(), Ok(3)),
        (&site.admin_token, "x", Err("id invalid")),
    ] {
        let answer = site.facade.action("get_users", token, &[("id", id)]).await;
        match total {
            Ok(total) => assert_eq!(answer.success()["total"], total, "{id}"),
            Err(message) => assert_eq!(answer.failure(), message, "{id}"),
        }
    }
    for (name, value) in [
        ("limit", "0"),
        ("limit", "x"),
        ("offset", "-1"),
        ("order", "email"),
        ("order_by", "sideways"),
        ("period_from", "2026-02-30"),
        ("period_to", "01.02.2026"),
        ("plan_id", "one"),
        ("bucket_name", "NO"),
    ] {
        let answer = site.facade.action("get_users", &anna.token, &[(name, value)]).await;
        assert_eq!(answer.failure(), format!("{name} invalid"), "{value}");
        assert!(answer.value()["details"]["error"].is_string(), "{}", answer.text());
    }
}

/// Two of the accounts are equal: they keep their order from page to page.
async fn check_pages(fixture: &Fixture) {
    for (order, order_by) in [
        ("total_traffic_period_gb", "ASC"),
        ("total_traffic_period_gb", "DESC"),
        ("total_storage_peak_gb", "asc"),
        ("TOTAL_STORAGE_PEAK_GB", "desc"),
    ] {
        for limit in 1..=fixture.rows.len() {
            let (limit_text, mut found) = (limit.to_string(), Vec::new());
            for offset in (0..fixture.rows.len() + limit).step_by(limit) {
                let offset_text = offset.to_string();
                let rest = [
                    ("limit", limit_text.as_str()),
                    ("offset", &offset_text),
                    ("order", order),
                    ("order_by", order_by),
                ];
                let answer = Query::default().ask(fixture, &rest).await;
                assert_eq!(answer["total"], fixture.rows.len());
                assert_eq!((&answer["offset"], &answer["limit"]), (&offset.into(), &limit.into()));
                found.extend(s3uids(&answer));
            }
            let all = [("order", order), ("order_by", order_by), ("limit", "5000")];
            let all = Query::default().ask(fixture, &all).await;
            assert_eq!(all["limit"], 1000, "a limit above the bound is the bound");
            assert_eq!(found, s3uids(&all), "{order} {order_by} {limit}");
        }
    }
}

/// Both days of a period are in it, and no other.
async fn check_periods(fixture: &Fixture) {
    let (first, last) = fixture.days;
    let (before, after) = (first - Duration::DAY, last + Duration::DAY);
    let ask = async |from: Option<Date>, to: Option<Date>| {
        let texts = [("period_from", from.map(day_text)), ("period_to", to.map(day_text))];
        let rest: Vec<(&str, &str)> =
            texts.iter().filter_map(|(name, day)| Some((*name, day.as_deref()?))).collect();
        let answer = Query::default().ask(fixture, &rest).await;
        let sum = |name: &str| -> f64 {
            let rows = answer["s3_users"].as_array().expect("a list");
            assert_eq!(rows.len(), fixture.rows.len(), "a period hides no account");
            rows.iter().map(|row| row[name].as_f64().expect("a number")).sum()
        };
        (sum("total_traffic_period_gb") > 0.0, sum("total_storage_peak_gb") > 0.0)
    };
    for (from, to, expected) in [
        (Some(first), Some(last), (true, true)),
        (Some(before), Some(first), (true, true)),
        (Some(last), Some(after), (true, true)),
        (Some(before), Some(before), (false, false)),
        (Some(first - Duration::days(60)), Some(before), (false, false)),
        (Some(after), Some(after), (false, false)),
        (Some(after), None, (false, false)),
        (None, Some(before), (false, false)),
        (None, Some(last), (true, true)),
        (Some(first), None, (true, true)),
    ] {
        // What the last day moved may lie a second behind a midnight.
        if first == last || (from <= Some(first) && to >= Some(last)) {
            assert_eq!(ask(from, to).await, expected, "{from:?} {to:?}");
        }
    }
    if first.month() == SystemClock.now().month() {
        assert_eq!(ask(None, None).await, (true, true), "the current month");
    }
    let (from, to) = (day_text(last), day_text(before));
    let rest = [("period_from", from.as_str()), ("period_to", to.as_str())];
    let token = &fixture.customers[0].token;
    let answer = fixture.kit.site.facade.action("get_users", token, &rest).await;
    assert_eq!(answer.failure(), "period_to invalid");
}

/// Fields that the reference has, and ours, in the customer's currency.
async fn check_rows(fixture: &Fixture) {
    let answer = Query::default().ask(fixture, &[]).await;
    for row in &fixture.rows {
        let rows = answer["s3_users"].as_array().expect("a list");
        let shown = rows.iter().find(|shown| shown["s3uid"] == row.s3uid.as_str());
        let shown = shown.expect("it is there");
        let currency = if row.customer == fixture.customers[0].id { "EUR" } else { "USD" };
        for (name, value) in [
            ("id", Value::from(row.id)),
            ("email", row.email.as_str().into()),
            ("region", "NL".into()),
            ("billing", "ledger".into()),
            ("currency", currency.into()),
            ("plan_id", row.plan_id.into()),
            ("storage_type", row.storage_type.into()),
            ("status", "active".into()),
        ] {
            assert_eq!(shown[name], value, "{name} in {shown}");
        }
        let service = &shown["service"];
        assert_eq!(service["entity_id"], row.id, "{shown}");
        assert_eq!(service["service_ident"], row.s3uid.as_str(), "{shown}");
        assert_eq!((&service["period"], &service["status"]), (&"monthly".into(), &"active".into()));
        let day = fixture.days.0.min(fixture.days.1);
        assert!(service["period_start"].as_str() >= Some(day_text(day).as_str()), "{shown}");
        assert!(service["period_end"].as_str() > service["period_start"].as_str(), "{shown}");
        if row.storage_type == "archive" {
            assert_eq!(
                (&shown["price"]["base_price"], &shown["price"]["price"]),
                (&4.0.into(), &3.25.into())
            );
        }
        if row.stored_bytes > 0 {
            assert!(shown["as_of"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
        }
    }
}
