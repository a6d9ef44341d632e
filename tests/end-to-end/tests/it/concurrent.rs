//! Many at once.

use std::collections::BTreeSet;

use stowage_testkit::Kit;

use crate::walk::text;

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn of_orders_for_one_bucket_name_exactly_one_wins() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let mut customers = Vec::new();
    for n in 0..CLIENTS {
        customers.push(kit.site.customer(&format!("rival-{n}@example.com"), "EUR").await);
    }
    let orders: Vec<_> = customers
        .iter()
        .map(|customer| {
            let (facade, token) = (kit.site.facade.clone(), customer.token.clone());
            tokio::spawn(async move {
                let plan = plan_id.to_string();
                let parameters = [("plan_id", plan.as_str()), ("bucket_name", "wanted")];
                facade.action("create_order", &token, &parameters).await
            })
        })
        .collect();
    let mut winners = 0;
    for order in orders {
        let answer = order.await.expect("the client does not panic");
        if answer.value()["result"] == "OK" {
            winners += 1;
        } else {
            assert!(!answer.failure().is_empty());
        }
    }
    assert_eq!(winners, 1);
    let mut accounts = 0;
    for customer in &customers {
        accounts += kit.site.accounts(&customer.token).await.len();
    }
    assert_eq!(accounts, 1, "the others left nothing behind");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_sent_many_times_at_once_makes_one_account() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let customer = kit.site.customer("impatient@example.com", "EUR").await;
    let orders: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (facade, token) = (kit.site.facade.clone(), customer.token.clone());
            tokio::spawn(async move {
                let plan = plan_id.to_string();
                let parameters = [("plan_id", plan.as_str()), ("bucket_name", "just-one")];
                facade.action("create_order", &token, &parameters).await
            })
        })
        .collect();
    let mut accounts = BTreeSet::new();
    for order in orders {
        let answer = order.await.expect("the client does not panic").success();
        accounts.insert(text(&answer, "s3uid"));
    }
    assert_eq!(accounts.len(), 1, "{accounts:?}");
    assert_eq!(kit.site.accounts(&customer.token).await.len(), 1);
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_many_customers_at_once_all_end_well() {
    let kit = Kit::start().await;
    let (plan_id, _) = kit.site.plans().await;
    let mut orders = Vec::new();
    for n in 0..2 * CLIENTS {
        let customer = kit.site.customer(&format!("busy-{n}@example.com"), "EUR").await;
        let site = kit.site.clone();
        orders.push(tokio::spawn(async move {
            site.order(&customer.token, plan_id, &format!("busy-{n}")).await
        }));
    }
    let mut keys = BTreeSet::new();
    for order in orders {
        keys.insert(order.await.expect("the order ends well").access_key);
    }
    assert_eq!(keys.len(), 2 * CLIENTS, "everybody has keys of his own");
    kit.stop().await;
}
