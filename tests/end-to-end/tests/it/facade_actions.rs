//! What each action answers, to whom, and in which words.

use serde_json::Value;
use stowage_proto::Money;
use stowage_proto::accounts::ListHistoryRequest;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{ArchivePlanRequest, CreatePlanRequest, Plan, PlanPrice};
use stowage_testkit::{Account, Answer, Customer, Kit, Site, eventually};

use crate::go_types::{decode_failure, decode_success};
use crate::walk::{SHOWN_WITHIN, text};

const MISSING: &str = "S3 account not found for this customer";

/// Actions that read an account, with what else they need.
const READING: &[(&str, &[(&str, &str)])] = &[
    ("get_files", &[("bucket_name", "photos")]),
    ("get_buckets_rmq", &[]),
    ("get_buckets", &[]),
    ("show_key", &[("s3_key", "access_key")]),
];

/// Actions that change one.
const WRITING: &[(&str, &[(&str, &str)])] = &[
    ("create_bucket", &[("bucket_name", "photos-2")]),
    ("delete_bucket", &[("bucket_name", "photos-2")]),
    ("delete_file", &[("bucket_name", "photos"), ("filename", "a")]),
    ("delete_payment_account", &[]),
    ("cancel_payment_account_deletion", &[]),
    ("delete_account", &[]),
];

/// An installation with a customer who has one account.
struct Shop {
    kit: Kit,
    plan_id: i64,
    customer: Customer,
    account: Account,
}

impl Shop {
    async fn start() -> Self {
        let kit = Kit::start().await;
        let customer = kit.site.customer("buyer@example.com", "EUR").await;
        let (plan_id, _) = kit.site.plans().await;
        let account = kit.site.order(&customer.token, plan_id, "photos").await;
        Self { kit, plan_id, customer, account }
    }

    fn site(&self) -> &Site {
        &self.kit.site
    }

    async fn ask(&self, token: &str, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.site().facade.action(action, token, parameters).await
    }

    /// A success, read strictly.
    async fn done(&self, token: &str, action: &str, parameters: &[(&str, &str)]) -> Value {
        decode_success(action, &self.ask(token, action, parameters).await)
    }

    /// The message of a failure, read strictly.
    async fn refused(&self, token: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let answer = self.ask(token, action, parameters).await;
        assert_eq!(answer.status, http::StatusCode::OK, "{action}: {}", answer.text());
        decode_failure(&answer);
        answer.failure()
    }

    async fn put(&self, key: &str, bytes: usize) {
        let put = self.account.s3().put_object().bucket("photos").key(key);
        put.body(vec![1; bytes].into()).send().await.expect("an object is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_account_is_meant_by_reading_actions_and_never_by_writing_ones() {
    let shop = Shop::start().await;
    let token = shop.customer.token.as_str();
    let newcomer = shop.site().customer("newcomer@example.com", "EUR").await;
    let number = shop.site().accounts(token).await[0].account_id.to_string();
    let (admin, id) = (shop.site().admin_token.clone(), shop.customer.id.to_string());
    for (action, rest) in READING {
        let by_uid = [&[("s3uid", shop.account.s3uid.as_str())], *rest].concat();
        let named = shop.done(token, action, &by_uid).await;
        for (token, more) in [
            (token, vec![]),
            (token, vec![("s3uid", number.as_str())]),
            (token, vec![("account_id", number.as_str())]),
            (token, vec![("account_id", shop.account.s3uid.as_str())]),
            (token, vec![("id", id.as_str())]),
            (&admin, vec![("id", id.as_str())]),
            (&admin, vec![("s3uid", shop.account.s3uid.as_str())]),
            (&admin, vec![("s3uid", number.as_str()), ("id", id.as_str())]),
        ] {
            let mut found = shop.done(token, action, &[&more[..], *rest].concat()).await;
            // Only the moment of the answer may differ.
            if let Some(as_of) = named.get("as_of") {
                found["as_of"] = as_of.clone();
            }
            let ignoring_age = |value: &Value| value["message"][0]["name"].clone();
            if *action == "get_buckets_rmq" {
                assert_eq!(ignoring_age(&found), ignoring_age(&named), "{more:?}");
            } else {
                assert_eq!(found, named, "{action} {more:?}");
            }
        }
        // Nobody's only account: it must be named, where the action requires it.
        for token in [newcomer.token.as_str(), &admin] {
            let expected = match *action {
                "get_buckets" => format!("Load bucket error: {MISSING}"),
                _ => "s3uid required".to_owned(),
            };
            assert_eq!(shop.refused(token, action, rest).await, expected, "{action}");
        }
    }
    for (action, rest) in WRITING {
        for token in [token, newcomer.token.as_str(), &admin] {
            assert_eq!(shop.refused(token, action, rest).await, "s3uid required", "{action}");
        }
    }
    // With two accounts none is the only one.
    shop.site().order(token, shop.plan_id, "photos-b").await;
    for (action, rest) in READING {
        assert!(!shop.refused(token, action, rest).await.is_empty(), "{action}");
    }
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_for_administrators_and_anothers_is_not_there() {
    let shop = Shop::start().await;
    let other = shop.site().customer("other@example.com", "USD").await;
    let (own, others) = (shop.customer.id.to_string(), other.id.to_string());
    let admin = shop.site().admin_token.clone();
    let staff = shop.kit.staff_token().await;
    let plan = shop.plan_id.to_string();
    let order = [("plan_id", plan.as_str()), ("bucket_name", "ordered-for")];
    let s3uid = ("s3uid", shop.account.s3uid.as_str());
    let mut all: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("create_order", order.to_vec()),
        ("create_account", order.to_vec()),
        ("get_users", vec![]),
    ];
    for (action, rest) in READING.iter().chain(WRITING) {
        all.push((action, [&[s3uid], *rest].concat()));
    }
    for (action, rest) in &all {
        for (token, id, message) in [
            (shop.customer.token.as_str(), others.as_str(), "customer not found"),
            (&shop.customer.token, "424242", "customer not found"),
            (&staff, own.as_str(), "customer not found"),
            (&admin, "424242", "customer not found"),
            (&admin, "abc", "id invalid"),
            (&admin, "0", "id invalid"),
        ] {
            let rest = [&[("id", id)], &rest[..]].concat();
            assert_eq!(shop.refused(token, action, &rest).await, message, "{action} {id}");
        }
        // An administrator who acts for another customer sees no account of this one.
        if rest.contains(&s3uid) {
            let rest = [&[("id", others.as_str())], &rest[..]].concat();
            let message = shop.refused(&admin, action, &rest).await;
            let expected = match *action {
                "get_buckets" => format!("Load bucket error: {MISSING}"),
                "show_key" => "s3/show_key: customer not found".to_owned(),
                _ => MISSING.to_owned(),
            };
            assert_eq!(message, expected, "{action}");
        }
    }
    assert_eq!(shop.site().accounts(&shop.customer.token).await.len(), 1, "nothing was done");
    assert_eq!(shop.refused(&admin, "create_order", &order).await, "id required");
    // Acting for somebody: his account, his currency, and the history names both.
    let for_other = [&order[..], &[("id", others.as_str()), ("location", "nl")]].concat();
    let made = shop.done(&admin, "create_order", &for_other).await;
    let accounts = shop.site().accounts(&other.token).await;
    assert_eq!(accounts[0].s3uid, text(&made, "s3uid"));
    assert_eq!(accounts[0].currency, "USD");
    let history = shop.done(&admin, "history", &[("id", &plan)]).await;
    let actor = format!("administrator for customers/{}", other.id);
    let rows = history["history"].as_array().expect("a list");
    assert!(rows.iter().any(|row| row["actor"] == actor.as_str()), "{history}");
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn support_staff_reads_everything_but_secrets_and_changes_nothing() {
    let shop = Shop::start().await;
    let staff = shop.kit.staff_token().await;
    let s3uid = ("s3uid", shop.account.s3uid.as_str());
    let metered = async || {
        let answer = shop.ask(&staff, "get_buckets_rmq", &[s3uid]).await.success();
        let is_there = answer["message"][0]["name"] == "photos";
        if is_there { Ok(answer) } else { Err(answer.to_string()) }
    };
    let metered = eventually("the bucket is metered", SHOWN_WITHIN, metered).await;
    let live = shop.ask(&staff, "get_buckets", &[s3uid]).await.success();
    assert_eq!(live["buckets"][0]["name"], "photos", "{live}");
    for answer in [metered, live] {
        assert_eq!(answer["access_key"], shop.account.access_key.as_str());
        assert_eq!(answer.get("secret_key"), None, "{answer}");
    }
    let access = shop.done(&staff, "show_key", &[s3uid, ("s3_key", "access_key")]).await;
    assert_eq!(access["key"], shop.account.access_key.as_str());
    let secret = [s3uid, ("s3_key", "secret_key")];
    assert_eq!(shop.refused(&staff, "show_key", &secret).await, "access denied");
    shop.done(&staff, "get_files", &[s3uid, ("bucket_name", "photos")]).await;
    assert_eq!(shop.done(&staff, "get_users", &[]).await["total"], 1);
    for (action, rest) in WRITING {
        let rest = [&[s3uid], *rest].concat();
        assert_eq!(shop.refused(&staff, action, &rest).await, "access denied", "{action}");
    }
    for token in [&staff, &shop.customer.token] {
        let update = shop.refused(token, "update_traffic_info", &[s3uid]).await;
        assert_eq!(update, "access denied", "it is the administrator's");
    }
    shop.kit.stop().await;
}

/// A plan in two currencies.
fn plan(title: &str) -> Plan {
    let money =
        |code: &str, units, nanos| Some(Money { currency_code: code.to_owned(), units, nanos });
    let price = |code: &str, units, nanos| PlanPrice {
        period_price: money(code, units, nanos),
        storage_overage_price: money(code, 0, 50_000_000),
        traffic_overage_price: money(code, 0, 1),
    };
    Plan {
        title: title.to_owned(),
        storage_type: "standard".to_owned(),
        location: "locations/NL".to_owned(),
        base_price: money("", 10, 0),
        prices: vec![price("EUR", 9, 800_000_000), price("RUB", 950, 0)],
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_seen_by_role_and_currency_and_written_as_the_reference_does() {
    let shop = Shop::start().await;
    let mut plans = PlanServiceClient::new(shop.site().as_admin());
    let mut made = Vec::new();
    for title in ["Sold", "Archived"] {
        let request = CreatePlanRequest { plan: Some(plan(title)), ..Default::default() };
        made.push(plans.create_plan(request).await.expect("a plan").into_inner());
    }
    let name = made[1].name.clone();
    let archive = ArchivePlanRequest { name, ..Default::default() };
    plans.archive_plan(archive).await.expect("archived");
    let [sold, archived] = [0, 1].map(|index: usize| made[index].plan_id.to_string());
    let (euro, admin) = (shop.customer.token.as_str(), shop.site().admin_token.clone());
    let dollar = shop.site().customer("dollar@example.com", "USD").await.token;
    let staff = shop.kit.staff_token().await;

    let listed = async |token: &str, rest: &[(&str, &str)]| {
        let answer = shop.done(token, "list_plans", rest).await;
        let rows = answer["plans"].as_array().expect("a list").clone();
        rows.iter().map(|row| text(row, "name")).collect::<Vec<_>>()
    };
    let seeded = ["Standard S3 Plan", "Free S3 Plan"].map(ToOwned::to_owned);
    let all = listed(&admin, &[]).await;
    assert!(all.contains(&seeded[0]) && all.len() == 4, "{all:?}");
    let extra = |names: &[String]| {
        let is_extra = |name: &&String| ["Sold", "Archived"].contains(&name.as_str());
        names.iter().filter(is_extra).cloned().collect::<Vec<_>>()
    };
    for (token, expected) in [
        (euro, &["Sold"][..]),
        (&dollar, &[]),
        (&staff, &["Sold", "Archived"]),
        (&admin, &["Sold", "Archived"]),
    ] {
        assert_eq!(extra(&listed(token, &[]).await), expected);
        for location in ["NL", "nl"] {
            assert_eq!(extra(&listed(token, &[("location", location)]).await), expected);
        }
        assert!(listed(token, &[("location", "XX")]).await.is_empty());
    }
    // `id` picks one for administrators; a customer's is no filter.
    assert_eq!(listed(&admin, &[("id", &archived)]).await, ["Archived"]);
    assert_eq!(listed(euro, &[("id", &archived)]).await, listed(euro, &[]).await);
    assert_eq!(shop.refused(&admin, "list_plans", &[("id", "4242")]).await, "S3 plan not found");
    let answer = shop.ask(&admin, "list_plans", &[("id", &sold)]).await;
    let expected = format!(
        r#"{{"result":"OK","action":"list_plans","plans":[{{"id":{sold},"name":"Sold",{}"#,
        concat!(
            r#""active":1,"storage_type":"standard","location":"NL","#,
            r#""price":{"base_price":10.0,"price":{"EUR":9.8,"RUB":950}},"#,
            r#""traffic_overage_price":{"eur":0.000000001,"rub":0.000000001},"#,
            r#""storage_overage_price":{"eur":0.05,"rub":0.05}}]}"#,
        )
    );
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    let archived = shop.ask(&admin, "list_plans", &[("id", &archived)]).await.success();
    assert_eq!(archived["plans"][0]["active"], 0);
    let own = shop.done(euro, "list_plans", &[]).await;
    for row in own["plans"].as_array().expect("a list") {
        for (map, code) in [
            (&row["price"]["price"], "EUR"),
            (&row["traffic_overage_price"], "eur"),
            (&row["storage_overage_price"], "eur"),
        ] {
            let codes: Vec<_> = map.as_object().expect("a map").keys().collect();
            assert_eq!(codes, [code], "{row}");
        }
    }
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_whole_megabytes_rounded_up_and_gigabytes_with_decimals() {
    let shop = Shop::start().await;
    let (token, s3uid) = (shop.customer.token.as_str(), ("s3uid", shop.account.s3uid.as_str()));
    let empty = shop.ask(token, "get_buckets_rmq", &[s3uid]).await;
    assert_eq!(empty.success()["usage_storage"], 0);
    assert!(empty.text().contains(r#""total_storage_gb":0.000000"#), "{}", empty.text());
    // One byte more than a MB is two; and what was sent and read is counted to the byte.
    shop.put("a", (1 << 20) + 1).await;
    shop.put("b", 0).await;
    let get = shop.account.s3().get_object().bucket("photos").key("a").range("bytes=0-9").send();
    get.await.expect("an object").body.collect().await.expect("it can be read");
    let live = shop.done(token, "get_buckets", &[s3uid]).await;
    assert_eq!(
        (&live["buckets"][0]["usage"], &live["usage_storage"]),
        (&Value::from(2), &Value::from(2))
    );
    assert_eq!(live["buckets"][0]["objects"], 2, "{live}");
    eventually("the engine counts", SHOWN_WITHIN, async || {
        let live = shop.done(token, "get_buckets", &[s3uid]).await;
        let moved = [&live["buckets"][0]["traffic_in"], &live["buckets"][0]["traffic_out"]];
        if moved == [&Value::from(1_048_577), &Value::from(10)] {
            Ok(())
        } else {
            Err(live.to_string())
        }
    })
    .await;
    // The administrator need not wait for the collector.
    let admin = shop.site().admin_token.clone();
    let fresh = shop.ask(&admin, "update_traffic_info", &[s3uid]).await;
    let stored = r#""total_storage_gb":0.000976563"#;
    assert!(fresh.text().contains(stored), "{}", fresh.text());
    let metered = shop.ask(token, "get_buckets_rmq", &[s3uid]).await;
    let metered_value = decode_success("get_buckets_rmq", &metered);
    assert!(metered.text().contains(stored), "{}", metered.text());
    assert_eq!(metered_value["message"][0]["name"], "photos");
    assert_eq!(metered_value["message"][0]["usage"], 2);
    assert_eq!(metered_value["usage_storage"], 2);
    assert_eq!(metered_value["secret_key"], shop.account.secret_key.as_str());
    assert_eq!(metered_value["endpoint"], shop.account.endpoint.as_str());
    let account = &shop.site().accounts(token).await[0];
    let quota = (account.quota_bytes + (1 << 20) - 1) >> 20;
    assert_eq!(metered_value["quota"], quota);
    eventually("traffic arrives", SHOWN_WITHIN, async || {
        let answer = shop.ask(token, "get_buckets_rmq", &[s3uid]).await;
        // 1,048,587 bytes, the ninth decimal rounded.
        let is_there = answer.text().contains(r#""total_traffic_gb":0.000976573"#);
        if is_there { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    shop.kit.stop().await;
}

/// How often a secret of the shop's account was read.
async fn reads(shop: &Shop) -> usize {
    let mut accounts = AccountServiceClient::new(shop.site().with_token(&shop.customer.token));
    let request = ListHistoryRequest {
        account: format!("accounts/{}", shop.account.s3uid),
        page_size: 1000,
        with_reads: true,
        ..ListHistoryRequest::default()
    };
    let entries = accounts.list_history(request).await.expect("history").into_inner().entries;
    entries.iter().filter(|entry| entry.event == "key.read").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_of_a_plan_newest_first_and_every_reading_of_a_secret_is_noted() {
    let shop = Shop::start().await;
    let (token, s3uid) = (shop.customer.token.as_str(), ("s3uid", shop.account.s3uid.as_str()));
    let plan = shop.plan_id.to_string();
    let id = ("id", plan.as_str());
    let mut expected = reads(&shop).await;
    for (action, rest, is_secret) in [
        ("get_buckets", &[][..], 1),
        ("get_buckets_rmq", &[], 1),
        ("show_key", &[("s3_key", "secret_key")], 1),
        ("show_key", &[("s3_key", "access_key")], 0),
        ("get_files", &[("bucket_name", "photos")], 0),
    ] {
        shop.done(token, action, &[&[s3uid], rest].concat()).await;
        expected += is_secret;
        assert_eq!(reads(&shop).await, expected, "{action} {rest:?}");
    }
    // A client that polls does not crowd out what happened.
    let page = shop.done(token, "history", &[id, ("limit", "1")]).await;
    assert_eq!(page["history"][0]["event"], "account.activated", "{page}");
    let reason = ("reason", "moving house");
    let end = shop.done(token, "delete_payment_account", &[s3uid, reason]).await;
    let date = text(&end, "cancel_date");
    let is_day = date.len() == 10 && date.split('-').map(str::len).eq([4, 2, 2]);
    assert!(is_day, "{end}");
    let again = shop.done(token, "delete_payment_account", &[s3uid]).await;
    assert_eq!(again["cancel_date"], end["cancel_date"], "a second time changes nothing");
    let query = format!("/s3/cancel_payment_account_deletion?token={token}&s3uid={}", s3uid.1);
    let withdrawn = shop.site().facade.get(&query, &[]).await;
    let withdrawn = decode_success("cancel_payment_account_deletion", &withdrawn);
    assert_eq!(withdrawn["status"], "active");

    let all = shop.done(token, "history", &[id, ("limit", "1000")]).await;
    let rows = all["history"].as_array().expect("a list");
    let ids: Vec<i64> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b) && ids.len() == rows.len(), "{all}");
    let scheduled = rows.iter().find(|row| row["event"] == "cancellation.scheduled");
    let scheduled = scheduled.expect("the end is told of");
    assert_eq!(scheduled["new"]["reason"], "moving house");
    assert_eq!(scheduled["old"]["cancel_time"], Value::Null);
    assert_eq!(scheduled["s3uid"], s3uid.1);
    assert_eq!(scheduled["actor"], format!("customers/{}", shop.customer.id));
    let mut paged = Vec::new();
    for offset in (0..ids.len() + 3).step_by(3) {
        let offset = offset.to_string();
        let page = shop.done(token, "history", &[id, ("limit", "3"), ("offset", &offset)]).await;
        paged.extend(page["history"].as_array().expect("a list").iter().cloned());
    }
    assert_eq!(&paged, rows);
    for (value, message) in
        [("4242", "S3 plan not found"), ("x", "id invalid"), ("", "id required")]
    {
        assert_eq!(shop.refused(token, "history", &[("id", value)]).await, message);
    }
    // Another customer reads nothing of it.
    let other = shop.site().customer("other@example.com", "EUR").await.token;
    let theirs = shop.done(&other, "history", &[id]).await;
    assert!(!theirs.to_string().contains(s3uid.1), "{theirs}");
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_the_references_word_for_word() {
    let shop = Shop::start().await;
    let stranger = shop.site().customer("stranger@example.com", "EUR").await.token;
    let s3uid = ("s3uid", shop.account.s3uid.as_str());
    let failed = |message: &str, details: &str| {
        format!(
            r#"200 OK {{"code":-1,"message":"{message}","result":-1,"error":"{message}"{details}}}"#
        )
    };
    let in_details = r#","details":{"error":"S3 account not found for this customer"}"#;
    for (action, rest) in READING.iter().chain(WRITING) {
        let expected = match *action {
            "get_buckets" => failed(&format!("Load bucket error: {MISSING}"), ""),
            "show_key" => failed("s3/show_key: customer not found", in_details),
            _ => failed(MISSING, ""),
        };
        let answer = shop.ask(&stranger, action, &[&[s3uid], *rest].concat()).await;
        assert_eq!(answer.text(), expected, "{action}");
    }
    shop.put("a", 1).await;
    let token = shop.customer.token.as_str();
    let bucket = ("bucket_name", "photos");
    for (action, rest, message) in [
        ("create_bucket", &[s3uid][..], "bucket_name required"),
        ("create_bucket", &[bucket], "s3uid required"),
        ("delete_file", &[s3uid, bucket], "filename required"),
        ("show_key", &[s3uid], "s3_key required"),
        ("create_order", &[], "plan_id required"),
        (
            "delete_bucket",
            &[s3uid, bucket],
            "Delete S3 bucket error: Bucket not empty or access denied",
        ),
    ] {
        let answer = shop.ask(token, action, rest).await;
        assert_eq!(answer.text(), failed(message, ""), "{action} {rest:?}");
    }
    for (action, rest, name) in [
        ("show_key", &[s3uid, ("key_type", "both")][..], "s3_key"),
        ("create_bucket", &[s3uid, ("bucket", "A_B")], "bucket_name"),
        ("create_order", &[("plan_id", "1.5"), bucket], "plan_id"),
        ("create_order", &[("plan_id", "1"), bucket, ("location", "n l")], "location"),
    ] {
        let answer = shop.ask(token, action, rest).await;
        assert_eq!(answer.failure(), format!("{name} invalid"), "{action}");
        assert!(answer.value()["details"]["error"].is_string(), "{}", answer.text());
    }
    let locations = shop.done(token, "get_available_locations", &[]).await;
    let endpoint = shop.account.endpoint.as_str();
    let expected = serde_json::json!(
        [{ "location": "NL", "endpoint": endpoint, "storage_types": ["standard"] }]
    );
    assert_eq!(locations["locations"], expected);
    shop.kit.stop().await;
}
