//! Accounts with known figures, and a model of what `get_users` must say of them.

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

const GIB: i64 = 1 << 30;
const GB: i64 = 1_000_000_000;
/// Filters, in the order of their bits.
const FILTERS: &[&str] =
    &["id", "plan_id", "s3uid", "email", "billing", "bucket_name", "location", "storage_type"];

/// What is known of an account.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) s3uid: String,
    pub(crate) customer: i64,
    pub(crate) email: String,
    pub(crate) plan_id: i64,
    pub(crate) storage_type: &'static str,
    pub(crate) buckets: Vec<String>,
    pub(crate) traffic_bytes: i64,
    pub(crate) peak_bytes: i64,
    pub(crate) stored_bytes: i64,
    pub(crate) gb_bytes: i64,
}

/// Customers, accounts and plans with known figures.
pub(crate) struct Fixture {
    pub(crate) kit: Kit,
    pub(crate) rows: Vec<Row>,
    /// Index of the row that values are taken from; of two customers, plans and classes.
    pub(crate) customers: [Customer; 2],
    /// Days on which something was stored or moved.
    pub(crate) days: (Date, Date),
}

/// One request, and what the model says to it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query {
    pub(crate) filters: Vec<(&'static str, String)>,
    /// The customer who asks; `None`: the administrator.
    pub(crate) asker: Option<usize>,
    pub(crate) order: Option<&'static str>,
    pub(crate) order_by: Option<&'static str>,
    /// Days before which nothing was; `None`: the current month.
    pub(crate) period: Option<(Date, Date)>,
    /// Offset and limit.
    pub(crate) page: Option<(usize, usize)>,
}

/// Every order and direction, and none.
const ORDERS: [Option<&str>; 3] =
    [None, Some("total_traffic_period_gb"), Some("total_storage_peak_gb")];
const DIRECTIONS: [Option<&str>; 3] = [None, Some("ASC"), Some("DESC")];

impl Query {
    pub(crate) fn matches(&self, row: &Row, customers: &[Customer; 2]) -> bool {
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
    pub(crate) fn expected(&self, fixture: &Fixture) -> Vec<String> {
        let mut rows: Vec<&Row> =
            fixture.rows.iter().filter(|row| self.matches(row, &fixture.customers)).collect();
        let figure = |row: &Row| match self.order {
            _ if self.period.is_some() => 0,
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

    pub(crate) async fn ask(&self, fixture: &Fixture, rest: &[(&str, &str)]) -> Value {
        let mut all: Vec<(&str, &str)> =
            self.filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(self.order.map(|order| ("order", order)));
        all.extend(self.order_by.map(|order_by| ("order_by", order_by)));
        let period = self.period.map(|(from, to)| [day_text(from), day_text(to)]);
        let period = period.as_ref().map(|[from, to]| [("period_from", from), ("period_to", to)]);
        all.extend(period.iter().flatten().map(|(name, day)| (*name, day.as_str())));
        let page = self.page.map(|(offset, limit)| [offset.to_string(), limit.to_string()]);
        let page = page.as_ref().map(|[offset, limit]| [("offset", offset), ("limit", limit)]);
        all.extend(page.iter().flatten().map(|(name, number)| (*name, number.as_str())));
        all.extend(rest);
        let token = match self.asker {
            Some(index) => &fixture.customers[index].token,
            None => &fixture.kit.site.admin_token,
        };
        let answer = fixture.kit.site.facade.action("get_users", token, &all).await;
        decode_success("get_users", &answer)
    }
}

pub(crate) fn s3uids(answer: &Value) -> Vec<String> {
    let rows = answer["s3_users"].as_array().expect("a list");
    rows.iter().map(|row| row["s3uid"].as_str().expect("a text").to_owned()).collect()
}

pub(crate) fn day_text(day: Date) -> String {
    day.format(format_description!("[year]-[month]-[day]")).expect("a day can be written")
}

pub(crate) async fn put(account: &Account, key: &str, bytes: usize) {
    let put = account.s3().put_object().bucket(&account.bucket).key(key);
    put.body(vec![7; bytes].into()).send().await.expect("an object is stored");
}

/// A plan of another class, with thousands for a GB.
pub(crate) async fn archive_plan(site: &Site) -> i64 {
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
    pub(crate) async fn start() -> Self {
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
    pub(crate) async fn change_one_account(&mut self) {
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
    pub(crate) async fn settle(&self) {
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

    pub(crate) fn check_figures(&self, row: &Row, shown: &Value) -> Result<(), String> {
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
    pub(crate) fn value(&self, filter: &str, row: &Row, is_odd: bool) -> String {
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

    /// Every subset of filters, with values of one row, of another, and of both in turn; each with
    /// every order and direction, for the administrator and for a customer. Pages, and a period in
    /// which nothing was, come in turn.
    pub(crate) fn every_combination(&self) -> Vec<Query> {
        let long_ago = self.days.0 - Duration::days(60);
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
                let has_id = filters.iter().any(|(name, _)| *name == "id");
                for (order, order_by) in
                    ORDERS.iter().flat_map(|order| DIRECTIONS.map(|by| (*order, by)))
                {
                    let turn = queries.len();
                    let query = Query {
                        filters: filters.clone(),
                        asker: None,
                        order,
                        order_by,
                        period: (turn % 7 == 0).then_some((long_ago, long_ago)),
                        page: (turn % 5 == 0).then_some((turn / 5 % 4, 1 + turn / 20 % 3)),
                    };
                    if !has_id {
                        queries.push(Query { asker: Some(turn % 2), ..query.clone() });
                    }
                    queries.push(query);
                }
            }
        }
        queries
    }
}
