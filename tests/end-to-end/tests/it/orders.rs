//! Orders that cannot end well leave nothing behind.

use http::StatusCode;
use stowage_testkit::{Kit, Site};

use crate::walk::{number, text};

const ORDER_PREFIX: &str = "S3 account was being created, but a bucket creation error occurred - ";
const ACCOUNT_PREFIX: &str =
    "S3 account was being created, however a bucket creation error occurred - ";

/// Checks that the customer has `expected` accounts, by every way of asking.
async fn assert_accounts(site: &Site, token: &str, expected: usize) {
    assert_eq!(site.accounts(token).await.len(), expected);
    let users = site.facade.action("get_users", token, &[]).await.success();
    assert_eq!(users["s3_users"].as_array().map(Vec::len), Some(expected), "{users}");
    assert_eq!(text(&users, "total"), expected.to_string(), "{users}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_name_that_is_taken_undoes_the_order() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let plan = plan_id.to_string();
    let owner = kit.site.customer("owner@example.com", "EUR").await;
    let late = kit.site.customer("late@example.com", "EUR").await;
    kit.site.order(&owner.token, plan_id, "photos").await;

    let parameters = [("plan_id", plan.as_str()), ("bucket_name", "photos")];
    for (action, prefix) in [("create_order", ORDER_PREFIX), ("create_account", ACCOUNT_PREFIX)] {
        let answer = kit.site.facade.action(action, &late.token, &parameters).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let message = answer.failure();
        assert!(message.starts_with(prefix), "{message}");
        assert!(message.len() > prefix.len(), "it says why: {message}");
        assert_accounts(&kit.site, &late.token, 0).await;
    }
    // The same customer gets another name at once, and the owner lost nothing.
    kit.site.order(&late.token, plan_id, "photos-2").await;
    assert_accounts(&kit.site, &late.token, 1).await;
    assert_accounts(&kit.site, &owner.token, 1).await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_plan_is_sold_as_often_as_it_allows() {
    let kit = Kit::start().await;
    let (_, plan_id) = kit.site.plans().await;
    let plan = plan_id.to_string();
    let customer = kit.site.customer("thrifty@example.com", "EUR").await;
    let order = async |bucket: &str| {
        let parameters = [("plan_id", plan.as_str()), ("bucket_name", bucket)];
        kit.site.facade.action("create_order", &customer.token, &parameters).await
    };
    let first = order("gratis-1").await.success();
    assert_eq!(number(&first["invoice_id"]), 0.0, "nothing is invoiced: {first}");
    let refused = order("gratis-2").await;
    assert_eq!(refused.status, StatusCode::OK);
    assert!(!refused.failure().is_empty());
    assert_accounts(&kit.site, &customer.token, 1).await;

    // The name that was refused is still free, and the limit is one of accounts that are there.
    let s3uid = text(&first, "s3uid");
    let gone = [("s3uid", s3uid.as_str())];
    kit.site.facade.action("delete_account", &customer.token, &gone).await.success();
    order("gratis-2").await.success();
    assert_accounts(&kit.site, &customer.token, 1).await;
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_are_refused_before_anything_is_written() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let plan = plan_id.to_string();
    let customer = kit.site.customer("careless@example.com", "EUR").await;
    for (parameters, message) in [
        (vec![("bucket_name", "photos")], "plan_id required"),
        (vec![("plan_id", plan.as_str())], "bucket_name required"),
        (vec![("plan_id", "one"), ("bucket_name", "photos")], "plan_id invalid"),
        (vec![("plan_id", plan.as_str()), ("bucket_name", "No")], "bucket_name invalid"),
        (vec![("plan_id", plan.as_str()), ("bucket_name", "192.168.5.4")], "bucket_name invalid"),
        (vec![("plan_id", "424242"), ("bucket_name", "photos")], ""),
        (vec![("plan_id", plan.as_str()), ("bucket_name", "photos"), ("location", "XX")], ""),
    ] {
        let answer = kit.site.facade.action("create_order", &customer.token, &parameters).await;
        assert_eq!(answer.status, StatusCode::OK, "{parameters:?}: {}", answer.text());
        let found = answer.failure();
        assert!(if message.is_empty() { !found.is_empty() } else { found == message }, "{found}");
    }
    assert_accounts(&kit.site, &customer.token, 0).await;
    kit.stop().await;
}
