//! What an administrator does for a customer is in the customer's history, with both their names.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use stowage_testkit::{Customer, Kit, eventually};

use crate::repeats::actions_with_a_key;

/// An action, what it is sent, and what history then has.
type Act = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// Actions that change something.
const ACTIONS: &[Act] = &[
    ("create_bucket", &[("bucket_name", "acted-2")], "bucket.created"),
    ("delete_file", &[("bucket_name", "acted-2"), ("filename", "a/b")], "file.deleted"),
    ("delete_bucket", &[("bucket_name", "acted-2")], "bucket.deleted"),
    ("delete_payment_account", &[("reason", "on the phone")], "cancellation.scheduled"),
    ("cancel_payment_account_deletion", &[], "cancellation.withdrawn"),
    ("delete_account", &[], "account.deleted"),
];

/// Entries of the plan's history that are of an account, as its customer reads them.
async fn history(kit: &Kit, customer: &Customer, plan_id: &str) -> Vec<(String, String, String)> {
    let parameters = [("id", plan_id), ("limit", "1000")];
    let answer = kit.site.facade.action("history", &customer.token, &parameters).await.success();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = answer["history"].as_array().expect("a list");
    let of_account = entries.iter().filter(|entry| entry["s3uid"] != "");
    of_account.map(|e| (text(e, "event"), text(e, "actor"), text(e, "s3uid"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_administrator_changes_for_a_customer_is_in_his_history() {
    let kit = Kit::start().await;
    let plan_id = kit.site.plans().await.0.to_string();
    let customer = kit.site.customer("served@example.com", "EUR").await;
    let id = customer.id.to_string();
    let act = async |action: &str, parameters: &[(&str, &str)]| {
        let all = [parameters, &[("id", id.as_str())]].concat();
        kit.site.facade.action(action, &kit.site.admin_token, &all).await.success()
    };
    let mut covered = BTreeSet::new();
    for (action, bucket) in [("create_order", "acted-0"), ("create_account", "acted-1")] {
        let order = [("plan_id", plan_id.as_str()), ("bucket_name", bucket)];
        let made = act(action, &order).await;
        let s3uid = made["s3uid"].as_str().expect("a text").to_owned();
        is_told(&kit, (&customer, &plan_id), ("account.ordered", &s3uid)).await;
        covered.insert(action.to_owned());
        if action == "create_account" {
            continue;
        }
        for (action, parameters, event) in ACTIONS {
            act(action, &[&[("s3uid", s3uid.as_str())], *parameters].concat()).await;
            is_told(&kit, (&customer, &plan_id), (event, &s3uid)).await;
            covered.insert((*action).to_owned());
        }
    }
    // It asks the engine, and changes nothing of the customer's.
    covered.insert("update_traffic_info".to_owned());
    assert_eq!(covered, actions_with_a_key(&kit.site).await);
    kit.stop().await;
}

async fn is_told(kit: &Kit, (customer, plan_id): (&Customer, &str), (event, s3uid): (&str, &str)) {
    let actor = format!("administrator for customers/{}", customer.id);
    eventually("history has it", Duration::from_secs(20), async || {
        let entries = history(kit, customer, plan_id).await;
        let wanted = (event.to_owned(), actor.clone(), s3uid.to_owned());
        if entries.contains(&wanted) { Ok(()) } else { Err(format!("{wanted:?}: {entries:?}")) }
    })
    .await;
}
