//! Alerts and caps, over the real program: from a fact to who is told, and to what S3 refuses.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::{Fact, FactKind, RecordFactsRequest};
use stowage_testkit::{Account, Customer, Process, eventually};
use stowage_types::{Clock as _, SystemClock, timestamp};

use crate::walk::text;

/// How long a cap may take from its fact on.
const CAPPED_WITHIN: Duration = Duration::from_secs(60);
const GB: i64 = 1_000_000_000;

/// A fact of now, of a bucket that no engine has: what a collector of somebody else tells.
async fn tell(server: &Process, account: &Account, (kind, value): (FactKind, i64)) {
    let now = SystemClock.now();
    let fact = Fact {
        id: now.unix_timestamp_nanos().to_string(),
        s3uid: account.s3uid.clone(),
        bucket: "elsewhere".to_owned(),
        time: Some(timestamp(now)),
        kind: kind.into(),
        value,
        object_count: 0,
    };
    let source = "log/other".to_owned();
    let message = RecordFactsRequest { source, facts: vec![fact], ..Default::default() };
    let mut client = FactServiceClient::new(server.site.as_admin());
    let answer = client.record_facts(futures_util::stream::iter([message])).await;
    assert_eq!(answer.expect("facts are taken").into_inner().stored_count, 1);
}

async fn put(account: &Account) -> Result<(), String> {
    let put = account.s3().put_object().bucket(&account.bucket).key("kept");
    let sent = put.body(Bytes::from_static(b"kept").into()).send().await;
    sent.map(drop).map_err(|error| {
        use aws_sdk_s3::error::ProvideErrorMetadata as _;
        error.code().unwrap_or("no code").to_owned()
    })
}

/// Waits until the account is at this cap, and S3 says so too.
async fn comes_to(server: &Process, account: &Account, cap: &str) {
    eventually(&format!("cap {cap:?}"), CAPPED_WITHIN, async || {
        let shown = server.admin_json(&["account", "show", &account.s3uid]).await;
        let is = shown["cap"].as_str().unwrap_or_default();
        if is == cap { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    let expected = if cap.is_empty() { Ok(()) } else { Err("AccessDenied".to_owned()) };
    assert_eq!(put(account).await, expected);
    let read = account.s3().get_object().bucket(&account.bucket).key("kept").send().await;
    assert!(read.is_ok(), "reading is left");
    let found = server.admin_json(&["reconcile", "--dry-run"]).await;
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
}

async fn capped_plan(server: &Process) -> i64 {
    let create = [
        "plan",
        "create",
        "--title",
        "Capped",
        "--gb",
        "decimal",
        "--price",
        "EUR=5",
        "--storage-overage",
        "EUR=0.01",
        "--traffic-overage",
        "EUR=0.01",
        "--included-traffic-gb",
        "1",
        "--storage-cap-gb",
        "3",
        "--traffic-cap-gb",
        "2",
    ];
    let plan = server.admin_json(&create).await;
    assert_eq!(plan["traffic_cap_gb"], 2, "{plan}");
    plan["plan_id"].as_i64().expect("a plan has an id")
}

/// What was raised of an account, oldest first: limit and share.
fn raised(alerts: &Value) -> Vec<(String, i64)> {
    let rows = alerts.as_array().expect("alerts are a list").iter().rev();
    rows.map(|row| (text(row, "limit"), row["percent"].as_i64().unwrap_or(0))).collect()
}

async fn event_count(server: &Process, customer: &Customer, event: &str) -> usize {
    let entries = crate::audit::entries_of(&server.site.as_admin(), "").await;
    let name = format!("customers/{}", customer.id);
    entries.iter().filter(|entry| entry.customer == name && entry.event == event).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_told_of_and_can_only_be_read_at_its_cap_and_loses_nothing() {
    let mut server = Process::start().await;
    let customer = server.site.customer("capped@example.com", "EUR").await;
    let plan = capped_plan(&server).await;
    let account = server.site.order(&customer.token, plan, "capped").await;
    assert_eq!(put(&account).await, Ok(()));
    let limits = eventually("its limits are known", CAPPED_WITHIN, async || {
        let limits = server.admin_json(&["metering", "limits", &account.s3uid]).await;
        if limits.as_array().is_some_and(|all| all.len() == 3) {
            Ok(limits)
        } else {
            Err(limits.to_string())
        }
    })
    .await;
    assert_eq!(limits[0]["limit_bytes"], GB, "{limits}");

    // What is stored: let go as soon as less is. The facade deletes for it, keys do not.
    tell(&server, &account, (FactKind::Stored, 3 * GB)).await;
    comes_to(&server, &account, "storage").await;
    let key = [("s3uid", account.s3uid.as_str()), ("bucket_name", "capped"), ("filename", "kept")];
    let refused = account.s3().delete_object().bucket("capped").key("kept").send().await;
    assert!(refused.is_err());
    server.site.facade.action("delete_file", &customer.token, &key).await.success();
    tell(&server, &account, (FactKind::Deleted, 0)).await;
    comes_to(&server, &account, "").await;

    // What has moved, with a kill between the fact and what comes of it.
    tell(&server, &account, (FactKind::SentBytes, 2 * GB)).await;
    server.kill();
    server.restart().await;
    comes_to(&server, &account, "traffic").await;
    let alerts = server.admin_json(&["metering", "alerts", &account.s3uid]).await;
    let mut all = raised(&alerts);
    all.sort();
    let expected = |limit: &str| [75, 90, 100].map(|share| (limit.to_owned(), share));
    let kinds = ["included_traffic", "storage_cap", "traffic_cap"];
    let mut wanted = kinds.map(expected).concat();
    wanted.sort();
    assert_eq!(all, wanted, "{alerts}");

    let used = server.admin(&["usage", &account.s3uid, "--step", "month", "--focus"]).await;
    let used = String::from_utf8_lossy(&used.stdout).into_owned();
    let (head, sent) = (used.lines().next(), used.lines().find(|row| row.contains("Bytes sent")));
    assert!(head.is_some_and(|head| head.starts_with("BilledCost,BillingAccountId")), "{used}");
    let parts = ["0,", ",EUR,", ",Usage,", ",2000000", ",NL,", &account.s3uid];
    assert!(parts.iter().all(|part| sent.is_some_and(|sent| sent.contains(part))), "{used}");
    // What a cap refuses is nobody's to pay. Two puts were let in; the kill may have cost the count
    // of the second.
    let writes = used.lines().find(|row| row.contains("Requests that write"));
    let is_paid = |count: &str| writes.is_some_and(|row| row.contains(count));
    assert!(is_paid(",1,Requests,") || is_paid(",2,Requests,"), "{used}");

    // Another way out: more is bought.
    let plan_id = plan.to_string();
    server.admin_json(&["plan", "update", &plan_id, "--traffic-cap-gb", "0"]).await;
    server.admin_json(&["account", "plan", &account.s3uid, &plan_id]).await;
    eventually("it goes on", CAPPED_WITHIN, async || put(&account).await).await;
    for event in ["account.capped", "account.uncapped"] {
        assert_eq!(event_count(&server, &customer, event).await, 2, "{event}");
    }
}
