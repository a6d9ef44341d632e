//! What is billed here beside what WHMCS has, each difference made on purpose.

use serde_json::json;
use stowage_proto::billing::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::billing::{Finding, FindingKind as K, ReconcileRequest};
use stowage_testkit::{Customer, Facade, eventually};
use stowage_whmcs_simulator::{Cents, Service};

use super::{CLIENT, PATIENCE, Shop};

impl Shop {
    /// A whole round.
    pub(super) async fn reconcile(&self, mend: bool) -> Vec<Finding> {
        let mut service = ReconcileServiceClient::new(self.kit.site.as_admin());
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ReconcileRequest { mend, page_token };
            let part = service.reconcile(request).await.expect("a part").into_inner();
            all.extend(part.findings);
            page_token = part.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    /// What a round finds: the kind, and whether it is mended.
    async fn found(&self, mend: bool) -> Vec<(K, bool)> {
        let all = self.reconcile(mend).await;
        let told = |finding: &Finding| {
            assert!(!finding.advice.is_empty() && !finding.there.is_empty(), "{finding:?}");
            assert_eq!(finding.installation, "whmcs");
            (finding.kind(), finding.mended)
        };
        all.iter().map(told).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Service)) {
        change(self.simulator.state().services.get_mut(&1).expect("it is there"));
    }

    /// Calls an action of WHMCS as somebody else does.
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let url = self.simulator.url();
        let address = url.trim_start_matches("http://").parse().expect("an address");
        let who = [("action", action), ("identifier", "identifier"), ("secret", "secret")];
        let all = [&who[..], &[("responsetype", "json")], parameters].concat();
        let answer = Facade::new(address).form("/includes/api.php", &all).await.value();
        assert_eq!(answer["result"], "success", "{answer}");
        answer
    }

    /// An order that Stowage never placed.
    async fn order_behind(&self, domain: &str) -> i64 {
        let parameters = [
            ("clientid", "1"),
            ("paymentmethod", "banktransfer"),
            ("pid[0]", "1"),
            ("billingcycle[0]", "monthly"),
            ("domain[0]", domain),
        ];
        let answer = self.call("AddOrder", &parameters).await;
        answer["serviceids"].as_str().and_then(|id| id.parse().ok()).expect("an id")
    }

    async fn sell(&self) -> Customer {
        let anna = self.kit.site.customer(CLIENT, "EUR").await;
        let plan_id = self.kit.site.plans().await.0;
        self.kit.site.order(&anna.token, plan_id, "annas-bucket").await;
        anna
    }

    async fn s3uid(&self, anna: &Customer) -> String {
        let accounts = self.kit.site.accounts(&anna.token).await;
        accounts[0].s3uid.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_differs_in_is_found_and_what_is_safe_is_mended() {
    let shop = Shop::start().await;
    shop.sell().await;
    assert_eq!(shop.found(true).await, []);
    let good = shop.simulator.state().services[&1].clone();
    type Change = fn(&mut Service);
    let changes: [(Change, K); 5] = [
        (|own| own.recurring = Cents(1), K::PriceDiffers),
        (|own| own.product = 2, K::PlanDiffers),
        (|own| own.client = 2, K::CustomerDiffers),
        (|own| "Terminated".clone_into(&mut own.status), K::EndedThere),
        (|own| "Cancelled".clone_into(&mut own.status), K::EndedThere),
    ];
    for (change, kind) in changes {
        shop.change(change);
        for mend in [false, true] {
            assert_eq!(shop.found(mend).await, [(kind, false)], "only said");
        }
        shop.change(|own| own.clone_from(&good));
        assert_eq!(shop.found(false).await, []);
    }
    // Accepted here, and not there.
    shop.change(|own| "Pending".clone_into(&mut own.status));
    "Pending".clone_into(&mut shop.simulator.state().orders.get_mut(&1).expect("it").status);
    let accepted = shop.simulator.count("AcceptOrder");
    assert_eq!(shop.found(false).await, [(K::PendingThere, false)]);
    assert_eq!(shop.simulator.count("AcceptOrder"), accepted, "nothing is touched");
    assert_eq!(shop.found(true).await, [(K::PendingThere, true)]);
    assert_eq!(shop.services()[0].0, "Active");
    assert_eq!(shop.found(true).await, []);
    // Nobody can tell where it went.
    shop.simulator.state().services.clear();
    assert_eq!(shop.found(true).await, [(K::ServiceMissing, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_here_and_goes_on_there_is_ended_there() {
    let shop = Shop::start().await;
    let anna = shop.sell().await;
    let s3uid = shop.s3uid(&anna).await;
    let of = [("s3uid", s3uid.as_str())];
    shop.kit.site.facade.action("delete_account", &anna.token, &of).await.success();
    eventually("the service has ended", PATIENCE, async || {
        let services = shop.services();
        if services[0].0 == "Terminated" { Ok(()) } else { Err(format!("{services:?}")) }
    })
    .await;
    shop.change(|own| "Active".clone_into(&mut own.status));
    let found = eventually_found(&shop, K::EndedHere).await;
    assert_eq!(found.customer, format!("customers/{}", anna.id));
    assert_eq!(found.here, "terminated");
    assert!(found.since_time.is_some());
    assert_eq!(shop.found(true).await, [(K::EndedHere, true)]);
    assert_eq!(shop.services()[0].0, "Terminated");
    assert_eq!(shop.found(true).await, []);
    eventually("the audit has it", PATIENCE, async || {
        let entries = crate::audit::entries_of(&shop.kit.site.as_admin(), "").await;
        let mended: Vec<_> = entries.iter().filter(|own| own.event == "billing.mended").collect();
        match mended.as_slice() {
            [mended] if mended.actor == "administrator" && mended.s3uid == s3uid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Billing notes an end behind the provider: waits until it has.
async fn eventually_found(shop: &Shop, kind: K) -> Finding {
    eventually("it is found", PATIENCE, async || match shop.found(false).await.as_slice() {
        [(own, false)] if *own == kind => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    shop.reconcile(false).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_nobody_knows_are_cancelled_when_they_are_old() {
    let shop = Shop::start().await;
    shop.sell().await;
    let own = shop.services()[0].1.clone();
    let ghost = shop.order_behind("ghost.s3.invalid").await;
    let twin = shop.order_behind(&own).await;
    let hashed = shop.order_behind("h-0123456789abcdef0123456789abcdef.s3.invalid").await;
    shop.order_behind("example.com").await;
    for mend in [false, true] {
        assert_eq!(shop.found(mend).await, [(K::ServiceUnknown, false); 3], "for less than a day");
    }
    {
        let mut state = shop.simulator.state();
        for service in state.services.values_mut() {
            service.registered -= time::Duration::days(4);
        }
    }
    assert_eq!(shop.found(false).await, [(K::ServiceUnknown, false); 3]);
    let found = shop.reconcile(true).await;
    let told = |id: i64| {
        let name = format!("subscriptions/{id}");
        found.iter().find(|own| own.subscription == name).map(|own| own.mended)
    };
    // A second one of an order of ours is not: a person must say which.
    assert_eq!((told(ghost), told(twin), told(hashed)), (Some(true), Some(false), Some(false)));
    let statuses: Vec<String> = shop.services().into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses, ["Active", "Cancelled", "Pending", "Pending", "Pending"]);
    assert_eq!(shop.found(true).await, [(K::ServiceUnknown, false); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_end_that_was_not_mirrored_is_mirrored() {
    let shop = Shop::start_with(|config, _| config.mirror_interval_ms = 600_000).await;
    let anna = shop.sell().await;
    let s3uid = shop.s3uid(&anna).await;
    let of = [("s3uid", s3uid.as_str())];
    shop.kit.site.facade.action("delete_payment_account", &anna.token, &of).await.success();
    let end = || shop.simulator.state().services[&1].terminates;
    eventually("it is mirrored", PATIENCE, async || match shop.found(false).await.as_slice() {
        [] if end().is_some() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // As after a backup was put back there, and here.
    shop.change(|own| own.terminates = None);
    let forget = "UPDATE subscription SET mirrored_version = $2 WHERE $1 IS NOT NULL";
    let written = shop.kit.beside("billing").write(forget, (vec![1], 0)).await;
    written.expect("the database is there");
    assert_eq!(shop.found(false).await, [(K::EndDiffers, false)]);
    assert_eq!(end(), None);
    assert_eq!(shop.found(true).await, [(K::EndDiffers, true)]);
    assert!(end().is_some());
    assert_eq!(shop.found(true).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_there_twice_or_not_at_all_or_is_nobodys_is_told_of() {
    let shop = Shop::start().await;
    shop.sell().await;
    let invoice = [
        ("userid", "1"),
        ("status", "Unpaid"),
        ("date", "2026-01-01"),
        ("duedate", "2026-01-14"),
        ("itemdescription1", "Traffic"),
        ("itemamount1", "1.00"),
        ("notes", "Stowage some-order/1 1"),
    ];
    shop.call("CreateInvoice", &invoice).await;
    assert_eq!(shop.found(true).await, [(K::InvoiceUnknown, false)]);
    // Its bill, as if a period had been closed.
    let bill = "INSERT INTO bill (bill_key, order_key, provider, customer_id, currency, \
                total_nanos, create_time, invoice_id) SELECT 'some-order/1', order_key, provider, \
                customer_id, currency, 1000000000, create_time, $2 FROM subscription \
                WHERE $1 IS NOT NULL";
    let written = shop.kit.beside("billing").write(bill, (vec![1], 2)).await;
    written.expect("the database is there");
    assert_eq!(shop.found(true).await, []);
    shop.call("CreateInvoice", &invoice).await;
    assert_eq!(shop.found(true).await, [(K::InvoiceTwice, false)]);
    shop.call("UpdateInvoice", &[("invoiceid", "3"), ("status", "Cancelled")]).await;
    assert_eq!(shop.found(true).await, [], "what is withdrawn is owed by nobody");
    shop.simulator.state().invoices.remove(&2);
    assert_eq!(shop.found(true).await, [(K::InvoiceMissing, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_linked_to_a_client_that_is_closed_or_gone_is_told_of() {
    let shop = Shop::start().await;
    shop.sell().await;
    for status in ["Closed", "Inactive"] {
        status.clone_into(&mut shop.simulator.state().clients.get_mut(&1).expect("it").status);
        let expected: &[_] = if status == "Closed" { &[(K::LinkBroken, false)] } else { &[] };
        assert_eq!(shop.found(true).await, expected, "{status}");
    }
    shop.simulator.state().clients.remove(&1);
    assert_eq!(shop.found(true).await, [(K::LinkBroken, false)]);
    let all = shop.reconcile(false).await;
    assert_eq!(all[0].there, "there is no such client");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_differs_and_leaves_it_unless_told() {
    let shop = Shop::start().await;
    let anna = shop.sell().await;
    let admin = async |arguments: &[&str]| super::admin(&shop.kit.site, arguments).await;
    let (code, out) = admin(&["billing", "reconcile", "--output", "json"]).await;
    assert_eq!((code, out.trim()), (0, "[]"));
    shop.change(|own| own.recurring = Cents(1));
    let (code, out) = admin(&["billing", "reconcile", "--mend", "--output", "json"]).await;
    let rows: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let row = &rows[0];
    assert_eq!((code, row["kind"].as_str()), (1, Some("price_differs")), "{out}");
    assert_eq!((&row["customer_id"], &row["service_id"]), (&json!(anna.id), &json!(1)), "{out}");
    assert_eq!((&row["here"], &row["there"]), (&json!("9.8 EUR"), &json!("0.01 EUR")), "{out}");
    assert_eq!(row["mended"], false, "{out}");
    let (code, out) = admin(&["billing", "reconcile"]).await;
    assert_eq!(code, 1);
    assert!(out.starts_with("KIND") && out.contains("give the service the price"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timer_tells_what_differs_and_mends_nothing() {
    let shop = Shop::start_with(|config, _| config.reconcile_interval_ms = 200).await;
    shop.sell().await;
    shop.change(|own| "Pending".clone_into(&mut own.status));
    "Pending".clone_into(&mut shop.simulator.state().orders.get_mut(&1).expect("it").status);
    let gauge = async |kind: &str| {
        let metrics = shop.kit.site.facade.get("/metrics", &[]).await.text();
        let name = format!("stowage_billing_findings{{kind=\"{kind}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.unwrap_or_default()
    };
    eventually("a round has seen it", PATIENCE, async || match gauge("pending_there").await {
        count if count == "1" => Ok(()),
        count => Err(count),
    })
    .await;
    assert_eq!(
        (gauge("price_differs").await, shop.services()[0].0.as_str()),
        ("0".into(), "Pending")
    );
    shop.found(true).await;
    eventually("a round has seen that it was mended", PATIENCE, async || {
        match gauge("pending_there").await {
            count if count == "0" => Ok(()),
            count => Err(count),
        }
    })
    .await;
    assert_eq!(shop.services()[0].0, "Active");
}
