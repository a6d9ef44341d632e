//! Which client a customer is, as an operator says.

use serde_json::json;
use stowage_testkit::eventually;

use super::{CLIENT, PATIENCE, Shop, admin};

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_linked_to_an_open_client_who_is_nobody_elses() {
    let shop = Shop::start().await;
    let site = &shop.kit.site;
    let (open, closed) = {
        let mut state = shop.simulator.state();
        let open = state.add_client("billing@example.com", 1).to_string();
        let closed = state.add_client("gone@example.com", 1);
        "Closed".clone_into(&mut state.clients.get_mut(&closed).expect("it is there").status);
        (open, closed.to_string())
    };
    let anna = site.customer(CLIENT, "EUR").await;
    let bert = site.customer("bert@example.com", "EUR").await;
    let (anna_id, bert_id) = (anna.id.to_string(), bert.id.to_string());
    let json = async |arguments: &[&str]| {
        let all = [&["--output", "json"], arguments].concat();
        let (code, out) = admin(site, &all).await;
        (code, serde_json::from_str(&out).unwrap_or(json!(null)))
    };
    assert_eq!(json(&["billing", "show-link", &bert_id]).await.0, 1, "he is linked to nobody");
    for client in ["99", closed.as_str()] {
        assert_eq!(json(&["billing", "link", &bert_id, client]).await.0, 1, "{client}");
    }
    assert_eq!(json(&["billing", "link", "999999", &open]).await.0, 1, "there is no such customer");
    let elsewhere = ["billing", "link", &bert_id, &open, "--installation", "other"];
    assert_eq!(json(&elsewhere).await.0, 2, "that installation is not there");
    for _ in 0..2 {
        let (code, link) = json(&["billing", "link", &bert_id, &open]).await;
        assert_eq!(code, 0, "{link}");
        assert_eq!(link["client_id"].to_string(), open);
        assert_eq!(link["installation"], "whmcs");
    }
    assert_eq!(json(&["billing", "link", &anna_id, &open]).await.0, 1, "it is Bert's");
    assert_eq!(json(&["billing", "show-link", &bert_id]).await.1["client_id"].to_string(), open);

    // His mail address is no client's: he can order since he was linked.
    let plan_id = site.plans().await.0;
    site.order(&bert.token, plan_id, "berts-bucket").await;
    assert_eq!(shop.simulator.state().services[&1].client.to_string(), open);
    for arguments in [&["billing", "link", &bert_id, "1"][..], &["billing", "unlink", &bert_id]] {
        assert_eq!(json(arguments).await.0, 1, "it is in use: {arguments:?}");
        let empty = [arguments, &["--force", " "]].concat();
        assert_eq!(json(&empty).await.0, 2, "why?");
    }
    let forced = ["billing", "link", &bert_id, "1", "--force", "moved by hand"];
    let (code, link) = json(&forced).await;
    assert_eq!((code, &link["client_id"]), (0, &json!(1)), "{link}");
    // His service stayed where it was.
    let found = shop.reconcile(false).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind().as_str_name(), "FINDING_KIND_CUSTOMER_DIFFERS");
    let forced = ["billing", "unlink", &bert_id, "--force", "he was Anna"];
    assert_eq!(json(&forced).await, (0, json!({"customer_id": bert.id, "unlinked": true})));
    assert_eq!(json(&["billing", "unlink", &bert_id]).await.0, 1, "there is none");

    let expected =
        [("customer.linked", false), ("customer.linked", true), ("customer.unlinked", false)];
    eventually("the audit has it", PATIENCE, async || {
        let entries = crate::audit::entries_of(&site.as_admin(), "").await;
        let linked = entries.iter().filter(|own| own.event.ends_with("linked"));
        let told: Vec<_> = linked
            .map(|own| (own.event.as_str(), own.new_json.contains("moved by hand")))
            .collect();
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}
