//! `get_users`: every combination of filters and orders against a model, pages, periods.

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use stowage_proto::Money;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{CreatePlanRequest, Plan, PlanPrice};
use stowage_testkit::{Account, Customer, Kit, Site, eventually};
use stowage_types::{Clock as _, SystemClock};
use time::macros::format_description;
use time::{Date, Duration};

use crate::go_types::decode_success;
use crate::walk::SHOWN_WITHIN;

/// Calls at once.
const AT_ONCE: usize = 8;
const GIB: i64 = 1 << 30;
const GB: i64 = 1_000_000_000;
/// Filters, in the order of their bits.
const FILTERS: &[&str] =
    &["id", "plan_id", "s3uid", "email", "billing", "bucket_name", "location", "storage_type"];

/// What is known of an account.
#[derive(Debug, Clone)]
struct Row {
    id: i64,
    s3uid: String,
    customer: i64,
    email: String,
    plan_id: i64,
    storage_type: &'static str,
    buckets: Vec<String>,
    traffic_bytes: i64,
    peak_bytes: i64,
    stored_bytes: i64,
    gb_bytes: i64,
}

/// Customers, accounts and plans with known figures.
struct Fixture {
    kit: Kit,
    rows: Vec<Row>,
    /// Index of the row that values are taken from; of two customers, plans and classes.
    customers: [Customer; 2],
    /// Days on which something was stored or moved.
    days: (Date, Date),
}

/// One request, and what the model says to it.
#[derive(Debug, Default, Clone)]
struct Query {
    filters: Vec<(&'static str, String)>,
    /// The customer who asks; `None`: the administrator.
    asker: Option<usize>,
    order: Option<&'static str>,
    order_by: Option<&'static str>,
}

impl Query {
    fn matches(&self, row: &Row, customers: &[Customer; 2]) -> bool {
        let is_seen = self.asker.is_none_or(|index| customers[index].id == row.customer);
        is_seen
            && self.filters.iter().all(|(name, value)| match *name {
                "id" => *value == row.customer.to_string(),
                "plan_id" => *value == row.plan_id.to_string(),
                "s3uid" => *value == row.s3uid || *value == row.id.to_string(),
                "email" => value.eq_ignore_ascii_case(&row.email),
                "billing" => value == "ledger",
                "bucket_name" => row.buckets.contains(value),
                "location" => value.eq_ignore_ascii_case("NL"),
                "storage_type" => *value == row.storage_type,
                _ => true,
            })
    }

    /// The s3uids that must be answered, in order.
    fn expected(&self, fixture: &Fixture) -> Vec<String> {
        let mut rows: Vec<&Row> =
            fixture.rows.iter().filter(|row| self.matches(row, &fixture.customers)).collect();
        let figure = |row: &Row| match self.order {
            Some("total_storage_peak_gb") => row.peak_bytes,
            _ => row.traffic_bytes,
        };
        let is_ascending = self.order_by == Some("ASC");
        rows.sort_by_key(|row| {
            let figure = figure(row);
            (if is_ascending { figure } else { -figure }, row.id)
        });
        rows.into_iter().map(|row| row.s3uid.clone()).collect()
    }

    async fn ask(&self, fixture: &Fixture, rest: &[(&str, &str)]) -> Value {
        let mut all: Vec<(&str, &str)> =
            self.filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(self.order.map(|order| ("order", order)));
        all.extend(self.order_by.map(|order_by| ("order_by", order_by)));
        all.extend(rest);
        let token = match self.asker {
            Some(index) => &fixture.customers[index].token,
            None => &fixture.kit.site.admin_token,
        };
        let answer = fixture.kit.site.facade.action("get_users", token, &all).await;
        decode_success("get_users", &answer)
    }
}

fn s3uids(answer: &Value) -> Vec<String> {
    let rows = answer["s3_users"].as_array().expect("a list");
    rows.iter().map(|row| row["s3uid"].as_str().expect("a text").to_owned()).collect()
}

fn day_text(day: Date) -> String {
    day.format(format_description!("[year]-[month]-[day]")).expect("a day can be written")
}

async fn put(account: &Account, key: &str, bytes: usize) {
    let put = account.s3().put_object().bucket(&account.bucket).key(key);
    put.body(vec![7; bytes].into()).send().await.expect("an object is stored");
}

/// A plan of another class, with thousands for a GB.
async fn archive_plan(site: &Site) -> i64 {
    let money =
        |code: &str, units, nanos| Some(Money { currency_code: code.to_owned(), units, nanos });
    let price = |code: &str| PlanPrice {
        period_price: money(code, 3, 250_000_000),
        storage_overage_price: money(code, 0, 5_000_000),
        traffic_overage_price: money(code, 0, 1_000_000),
    };
    let plan = Plan {
        title: "Archive".to_owned(),
        storage_type: "archive".to_owned(),
        location: "locations/NL".to_owned(),
        base_price: money("", 4, 0),
        prices: vec![price("EUR"), price("USD")],
        gb_bytes: GB,
        ..Plan::default()
    };
    let request = CreatePlanRequest { plan: Some(plan), ..CreatePlanRequest::default() };
    let mut plans = PlanServiceClient::new(site.as_admin());
    plans.create_plan(request).await.expect("a plan is created").into_inner().plan_id
}

impl Fixture {
    async fn start() -> Self {
        // A thousand calls at once are the test's business, not a customer's.
        let kit = Kit::start_with(|config| {
            config.gateway.facade.token_calls_per_second = 0;
            config.gateway.facade.address_calls_per_second = 0;
        })
        .await;
        let first_day = SystemClock.now().date();
        let anna = kit.site.customer("anna@example.com", "EUR").await;
        let bert = kit.site.customer("bert@example.com", "USD").await;
        let (paid, free) = kit.site.plans().await;
        let archive = archive_plan(&kit.site).await;
        let mut rows = Vec::new();
        // Bytes stored, of which some are read again: what is moved. Two accounts are equal.
        for (owner, plan_id, bucket, stored, read) in [
            (&anna, paid, "a-one", 2_000_000, 1),
            (&anna, archive, "a-two", 1_000_001, 0),
            (&bert, paid, "b-one", 1_500_000, 0),
            (&bert, archive, "b-two", 0, 0),
            (&bert, free, "b-three", 1_500_000, 0),
        ] {
            let account = kit.site.order(&owner.token, plan_id, bucket).await;
            if stored > 0 {
                put(&account, "file", stored).await;
            }
            for _ in 0..read {
                let get = account.s3().get_object().bucket(bucket).key("file").send().await;
                get.expect("an object").body.collect().await.expect("it can be read");
            }
            let stored = i64::try_from(stored).expect("small");
            let of_owner = kit.site.accounts(&owner.token).await;
            let found = of_owner.iter().find(|found| found.s3uid == account.s3uid);
            let is_archive = plan_id == archive;
            rows.push(Row {
                id: found.expect("it is listed").account_id,
                s3uid: account.s3uid,
                customer: owner.id,
                email: owner.email.clone(),
                plan_id,
                storage_type: if is_archive { "archive" } else { "standard" },
                buckets: vec![bucket.to_owned()],
                traffic_bytes: stored * (1 + read),
                peak_bytes: stored,
                stored_bytes: stored,
                gb_bytes: if is_archive { GB } else { GIB },
            });
        }
        let days = (first_day, SystemClock.now().date());
        let mut fixture = Self { kit, rows, customers: [anna, bert], days };
        fixture.change_one_account().await;
        fixture.settle().await;
        fixture
    }

    /// The first account gets a second bucket, and stores more for a while than at the end.
    async fn change_one_account(&mut self) {
        let site = &self.kit.site;
        let (token, row) = (&self.customers[0].token, &mut self.rows[0]);
        let parameters = [("s3uid", row.s3uid.as_str()), ("bucket_name", "a-extra")];
        site.facade.action("create_bucket", token, &parameters).await.success();
        let account = Account {
            bucket: "a-extra".to_owned(),
            endpoint: format!("http://{}", site.s3),
            access_key: site.show_key(token, &row.s3uid, "access_key").await,
            secret_key: site.show_key(token, &row.s3uid, "secret_key").await,
            s3uid: row.s3uid.clone(),
        };
        put(&account, "short-lived", 700_000).await;
        row.buckets.push("a-extra".to_owned());
        row.traffic_bytes += 700_000;
        row.peak_bytes += 700_000;
        row.stored_bytes += 700_000;
        self.settle().await;
        let delete = account.s3().delete_object().bucket("a-extra").key("short-lived");
        delete.send().await.expect("an object is deleted");
        self.rows[0].stored_bytes -= 700_000;
    }

    /// Waits until the figures are those of the model.
    async fn settle(&self) {
        let rest = [("period_from", day_text(self.days.0)), ("period_to", day_text(self.days.1))];
        let rest: Vec<(&str, &str)> = rest.iter().map(|(n, v)| (*n, v.as_str())).collect();
        eventually("the figures arrive", SHOWN_WITHIN, async || {
            let answer = Query::default().ask(self, &rest).await;
            let rows = answer["s3_users"].as_array().expect("a list");
            for row in &self.rows {
                let shown = rows.iter().find(|shown| shown["s3uid"] == row.s3uid.as_str());
                let shown = shown.ok_or_else(|| format!("{} is missing", row.s3uid))?;
                self.check_figures(row, shown)?;
            }
            for bucket in self.rows.iter().flat_map(|row| &row.buckets) {
                let filters = vec![("bucket_name", bucket.clone())];
                let query = Query { filters, ..Query::default() };
                let answer = query.ask(self, &[]).await;
                if answer["total"] != 1 {
                    return Err(format!("{bucket}: {answer}"));
                }
            }
            Ok(())
        })
        .await;
    }

    fn check_figures(&self, row: &Row, shown: &Value) -> Result<(), String> {
        let mb_bytes = if row.gb_bytes == GB { 1_000_000 } else { 1 << 20 };
        let mb = |bytes: i64| (bytes + mb_bytes - 1) / mb_bytes;
        // Bytes again, so that no float decides: nine decimals are finer than a byte.
        let bytes = |name: &str| {
            let figure = shown[name].as_f64().expect("a number");
            (figure * row.gb_bytes as f64).round() as i64
        };
        let found = [
            shown["traffic"].as_i64().unwrap_or(-1),
            shown["storage_usage"].as_i64().unwrap_or(-1),
            bytes("total_traffic_period_gb"),
            bytes("total_storage_peak_gb"),
        ];
        let expected =
            [mb(row.traffic_bytes), mb(row.stored_bytes), row.traffic_bytes, row.peak_bytes];
        if found == expected { Ok(()) } else { Err(format!("{expected:?} is not in {shown}")) }
    }

    /// The value of a filter that matches a row.
    fn value(&self, filter: &str, row: &Row, is_odd: bool) -> String {
        match filter {
            "id" => row.customer.to_string(),
            "plan_id" => row.plan_id.to_string(),
            "s3uid" if is_odd => row.id.to_string(),
            "s3uid" => row.s3uid.clone(),
            "email" if is_odd => row.email.to_uppercase(),
            "email" => row.email.clone(),
            "billing" => "ledger".to_owned(),
            "bucket_name" => row.buckets[row.buckets.len() - 1].clone(),
            "location" if is_odd => "nl".to_owned(),
            "location" => "NL".to_owned(),
            _ => row.storage_type.to_owned(),
        }
    }

    /// Every subset of filters, with values of one row, of another, and of both in turn.
    fn every_combination(&self) -> Vec<Query> {
        let orders = [None, Some("total_traffic_period_gb"), Some("total_storage_peak_gb")];
        let directions = [None, Some("ASC"), Some("DESC")];
        let mut queries = Vec::new();
        for subset in 0..1_usize << FILTERS.len() {
            for (first, second) in [(0, 0), (4, 4), (0, 2), (1, 3)] {
                let taken = FILTERS.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1);
                let filters: Vec<_> = taken
                    .map(|(bit, name)| {
                        let row = &self.rows[if bit % 2 == 0 { first } else { second }];
                        (*name, self.value(name, row, (subset + bit) % 3 == 0))
                    })
                    .collect();
                let turn = queries.len();
                let order = orders[turn % 3];
                let order_by = directions[turn / 3 % 3];
                if !filters.iter().any(|(name, _)| *name == "id") {
                    let (filters, asker) = (filters.clone(), Some(turn % 2));
                    queries.push(Query { filters, asker, order, order_by });
                }
                queries.push(Query { filters, asker: None, order, order_by });
            }
        }
        queries
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_filters_and_orders_answers_as_a_model_does() {
    let fixture = Fixture::start().await;
    let queries = fixture.every_combination();
    assert!(queries.len() > 1000, "{}", queries.len());
    let answers = stream::iter(&queries).map(|query| query.ask(&fixture, &[]));
    let answers: Vec<Value> = answers.buffered(AT_ONCE).collect().await;
    let mut matched = 0;
    for (query, answer) in queries.iter().zip(&answers) {
        let expected = query.expected(&fixture);
        assert_eq!(s3uids(answer), expected, "{query:?}");
        assert_eq!(answer["total"], expected.len(), "{query:?}");
        assert_eq!((&answer["offset"], &answer["limit"]), (&0.into(), &50.into()), "{query:?}");
        matched += usize::from(!expected.is_empty());
    }
    assert!(matched > 300, "the model is not one that refuses all: {matched}");
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
