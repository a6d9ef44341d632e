//! An unpaid invoice, over the real program: read-only, suspended, to end, and paid.

use bytes::Bytes;
use stowage_testkit::{Account, Customer, Process, eventually};

use crate::walk::{SHOWN_WITHIN, text};

/// Code of the refusal of an S3 request; `Ok`: it was let in.
async fn put(account: &Account) -> Result<(), String> {
    let put = account.s3().put_object().bucket(&account.bucket).key("kept");
    let sent = put.body(Bytes::from_static(b"kept").into()).send().await;
    sent.map(drop).map_err(code_of)
}

async fn get(account: &Account) -> Result<(), String> {
    let get = account.s3().get_object().bucket(&account.bucket).key("kept").send().await;
    get.map(drop).map_err(code_of)
}

fn code_of<E: aws_sdk_s3::error::ProvideErrorMetadata>(error: E) -> String {
    error.code().unwrap_or("no code").to_owned()
}

/// Waits until `get_users` shows this status.
async fn comes_to(server: &Process, customer: &Customer, wanted: &str) {
    let look = async || {
        let site = &server.site;
        let users = site.facade.action("get_users", &customer.token, &[]).await.success();
        let status = text(&users["s3_users"][0], "status");
        if status == wanted { Ok(()) } else { Err(status) }
    };
    eventually(wanted, SHOWN_WITHIN, look).await;
}

/// Reconciliation finds nothing that does not agree.
async fn assert_agreement(server: &Process) {
    let found = server.admin_json(&["reconcile", "--dry-run"]).await;
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
}

/// The events of the account's history, oldest first, from a first one on.
async fn history_from(server: &Process, customer: &Customer, first: &str) -> Vec<String> {
    let site = &server.site;
    let entries = crate::audit::entries_of(&site.as_admin(), "").await;
    let of_account = |customer: &Customer| format!("customers/{}", customer.id);
    let own = entries.iter().filter(|entry| entry.customer == of_account(customer));
    own.map(|entry| entry.event.clone()).skip_while(|event| event != first).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_account_is_read_only_then_suspended_and_a_payment_opens_it() {
    let mut server = Process::start_with(&[
        ("STOWAGE_BILLING_INVOICE_DUE_DAYS", "0"),
        ("STOWAGE_BILLING_DUNNING_INTERVAL_MS", "50"),
    ])
    .await;
    let customer = server.site.customer("late@example.com", "EUR").await;
    let plan_id = server.site.plans().await.0;
    let account = server.site.order(&customer.token, plan_id, "late").await;
    assert_eq!((put(&account).await, get(&account).await), (Ok(()), Ok(())));
    let invoice = server.admin_json(&["invoice", "list", "--state", "open"]).await;
    let invoice = invoice[0]["invoice_id"].to_string();
    let name = account.s3uid.as_str();

    // Each stage comes with a kill: what was told of is not told again.
    server.set("STOWAGE_BILLING_REMINDER_AFTER_DAYS", "[0]");
    server.set("STOWAGE_BILLING_READ_ONLY_AFTER_DAYS", "0");
    server.kill();
    server.restart().await;
    comes_to(&server, &customer, "read_only").await;
    assert_eq!(put(&account).await, Err("AccessDenied".to_owned()));
    assert_eq!(get(&account).await, Ok(()));
    let bucket = [("s3uid", name), ("bucket_name", "late-2")];
    let refused = server.site.facade.action("create_bucket", &customer.token, &bucket).await;
    assert!(refused.failure().to_lowercase().contains("read_only"), "{}", refused.text());
    assert_agreement(&server).await;

    server.set("STOWAGE_BILLING_SUSPEND_AFTER_DAYS", "0");
    server.kill();
    server.restart().await;
    comes_to(&server, &customer, "suspended").await;
    assert!(put(&account).await.is_err() && get(&account).await.is_err());
    assert_agreement(&server).await;

    server.set("STOWAGE_BILLING_END_AFTER_DAYS", "0");
    server.kill();
    server.restart().await;
    eventually("its end is scheduled", SHOWN_WITHIN, async || {
        let shown = server.admin_json(&["account", "show", name]).await;
        if shown["unpaid_end_time"].is_string() { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    let shown = server.admin_json(&["invoice", "show", &invoice]).await;
    assert_eq!(text(&shown, "dunning_stage"), "ended", "{shown}");

    server.admin_json(&["invoice", "pay", &invoice, "--reference", "BANK-1"]).await;
    comes_to(&server, &customer, "active").await;
    assert_eq!((put(&account).await, get(&account).await), (Ok(()), Ok(())));
    let shown = server.admin_json(&["account", "show", name]).await;
    assert!(shown["unpaid_end_time"].is_null(), "{shown}");
    assert_agreement(&server).await;
    let events = history_from(&server, &customer, "invoice.reminded").await;
    let held = ["invoice.reminded", "account.read_only", "account.suspended"];
    let freed = ["account.end_scheduled", "payment.recorded", "account.resumed"];
    let mut told: Vec<&str> = events.iter().map(String::as_str).collect();
    // The payment and what comes of it are told by two consumers.
    told[4..].sort_unstable();
    let mut expected = [held, freed].concat();
    expected[4..].sort_unstable();
    assert_eq!(told, expected);
}
