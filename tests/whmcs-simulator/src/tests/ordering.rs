use serde_json::json;

use super::kit::Kit;
use crate::{Settings, php};

#[tokio::test]
async fn an_order_stays_pending_until_it_is_accepted_once() {
    let kit = Kit::start().await;
    kit.order("a.s3.invalid").await;
    let status = async || kit.done("GetOrders", "id=1").await["orders"]["order"][0].clone();
    assert_eq!(status().await["status"], "Pending", "auto-setup of the product is not heeded");
    assert_eq!(kit.service("a.s3.invalid", "status").await, "Pending");
    kit.done("AcceptOrder", "orderid=1&serviceusername=u1").await;
    let order = status().await;
    assert_eq!((&order["status"], &order["invoiceid"]), (&json!("Active"), &json!("1")));
    assert_eq!(order["lineitems"]["lineitem"][0]["relid"], "1");
    assert_eq!(kit.service("a.s3.invalid", "status").await, "Active");
    let by_name = kit.done("GetClientsProducts", "username2=u1").await;
    assert_eq!(by_name["products"]["product"][0]["id"], "1");
    let not_pending = "Order ID not found or Status not Pending";
    for (action, id) in [("AcceptOrder", 1), ("CancelOrder", 1), ("AcceptOrder", 9)] {
        kit.refused(action, &format!("orderid={id}"), not_pending).await;
    }
    kit.done("PendingOrder", "orderid=1").await;
    kit.done("CancelOrder", "orderid=1").await;
    assert_eq!(kit.service("a.s3.invalid", "status").await, "Cancelled");
    let invoice = kit.done("GetInvoice", "invoiceid=1").await;
    assert_eq!(invoice["status"], "Unpaid", "nothing says that it is cancelled with its order");
    kit.done("DeleteOrder", "orderid=1").await;
    kit.refused("GetInvoice", "invoiceid=1", "Invoice ID Not Found").await;
}

#[tokio::test]
async fn an_order_is_refused_in_known_words() {
    let kit = Kit::start().await;
    let pay = "paymentmethod=banktransfer";
    let methods = "Invalid Payment Method. Valid options include banktransfer,paypal";
    for (parameters, message) in [
        (format!("clientid=9&{pay}&pid[0]=1"), "Client ID Not Found"),
        ("clientid=1&paymentmethod=cash&pid[0]=1".to_owned(), methods),
        (format!("clientid=1&{pay}"), "No items added to cart so order cannot proceed"),
        (
            // Its cycle is not offered: "-1.00".
            format!("clientid=1&{pay}&pid[0]=1&billingcycle[0]=annually"),
            "No items added to cart so order cannot proceed",
        ),
        (format!("clientid=1&{pay}&pid=1"), "Expecting parameter 'pid' to be an array"),
    ] {
        kit.refused("AddOrder", &parameters, message).await;
    }
    kit.simulator.state().clients.get_mut(&1).unwrap().status = "Closed".to_owned();
    kit.refused("AddOrder", &format!("clientid=1&{pay}&pid[0]=1"), "Client status is Closed").await;
    assert_eq!(kit.simulator.state().orders.len(), 0);
}

#[tokio::test]
async fn an_order_has_several_products_a_price_and_custom_fields() {
    let kit = Kit::start().await;
    let field = [("1".to_owned(), "Google".to_owned())].into();
    let field = php::serialize(&field);
    let field = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, field);
    let field: String = form_urlencoded::byte_serialize(field.as_bytes()).collect();
    let order = format!(
        "clientid=1&paymentmethod=paypal&pid[0]=1&pid[1]=2&billingcycle[0]=monthly\
         &domain[0]=a&domain[1]=b&priceoverride[0]=7.5&customfields[1]={field}"
    );
    let answer = kit.done("AddOrder", &order).await;
    assert_eq!(answer["serviceids"], "1,2", "a comma string");
    assert_eq!(kit.service("a", "recurringamount").await, "7.50");
    assert_eq!(kit.service("b", "billingcycle").await, "Free Account");
    assert_eq!(kit.service("b", "nextduedate").await, "0000-00-00");
    let fields = kit.service("b", "customfields").await;
    assert_eq!(fields, json!({"customfield": [{"id": "1", "value": "Google"}]}));
    let free = "clientid=1&paymentmethod=paypal&pid[0]=2&domain[0]=c";
    assert_eq!(kit.done("AddOrder", free).await["invoiceid"], 0);
}

#[tokio::test]
async fn a_service_is_changed_by_its_record_or_by_its_module() {
    let kit = Kit::start_with(Settings { accept_activates: false, ..Settings::default() }).await;
    kit.order("a").await;
    kit.done("AcceptOrder", "orderid=1").await;
    assert_eq!(kit.service("a", "status").await, "Pending", "as where accepting sets nothing up");
    kit.refused("ModuleCreate", "serviceid=1", "Service not assigned to a module").await;
    kit.refused("ModuleCreate", "", "Service ID is required").await;
    kit.refused("ModuleTerminate", "serviceid=9", "Service ID not found").await;
    kit.simulator.state().products.get_mut(&1).unwrap().module = Some("stowage".to_owned());
    for (action, status) in [
        ("ModuleCreate", "Active"),
        ("ModuleSuspend", "Suspended"),
        ("ModuleUnsuspend", "Active"),
        ("ModuleTerminate", "Terminated"),
    ] {
        kit.done(action, "serviceid=1").await;
        assert_eq!(kit.service("a", "status").await, status);
    }
    kit.simulator.state().products.get_mut(&1).unwrap().module = Some("failing".to_owned());
    let message = "Server response message: the server cannot be reached";
    kit.refused("ModuleCreate", "serviceid=1", message).await;
    assert_eq!(kit.done("GetModuleQueue", "").await["count"], 1);
    let change = "serviceid=1&status=Active&terminationdate=2026-02-28&diskusage=5&notes=n";
    kit.done("UpdateClientProduct", change).await;
    // "Clearing it by writing 0000-00-00 or an empty value is NOT documented."
    for clearing in ["0000-00-00", ""] {
        let change = format!("serviceid=1&terminationdate={clearing}&unset[0]=notes");
        kit.done("UpdateClientProduct", &change).await;
    }
    let terminates = kit.simulator.state().services[&1].terminates;
    assert_eq!(terminates, Some(time::macros::date!(2026 - 02 - 28)));
    assert_eq!(kit.service("a", "notes").await, "");
    kit.refused("UpdateClientProduct", "serviceid=9", "Service ID Not Found").await;
}

#[tokio::test]
async fn a_cancellation_is_asked_for_once_and_never_taken_back() {
    let kit = Kit::start().await;
    kit.order("a").await;
    assert_eq!(kit.done("GetCancelledPackages", "").await["packages"], "");
    let request = "serviceid=1&type=End of Billing Period&reason=moved";
    let answer = kit.done("AddCancelRequest", request).await;
    assert_eq!((&answer["serviceid"], &answer["userid"]), (&json!(1), &json!(1)));
    kit.refused("AddCancelRequest", request, "Existing Cancellation Request Exists").await;
    kit.refused("AddCancelRequest", "serviceid=9", "Service ID Not Found").await;
    let listed = kit.done("GetCancelledPackages", "").await["packages"]["package"][0].clone();
    assert_eq!((&listed["relid"], &listed["reason"]), (&json!("1"), &json!("moved")));
}

#[tokio::test]
async fn clients_are_found_by_id_or_email() {
    let kit = Kit::start().await;
    let found = kit.done("GetClientsDetails", "email=ONE@example.com&stats=1").await;
    assert_eq!(found["client"]["id"], 1);
    assert_eq!(found["client"]["currency_code"], "EUR");
    assert_eq!(found["client"]["credit"], "0.00");
    assert_eq!(found["stats"]["dueinvoicesbalance"], "0.00 EUR", "made for people");
    kit.refused("GetClientsDetails", "", "Either clientid Or email Is Required").await;
    kit.refused("GetClientsDetails", "clientid=9", "Client Not Found").await;
    kit.done("AddClient", "firstname=A&lastname=B&email=two@example.com").await;
    let listed = kit.done("GetClients", "search=two").await;
    assert_eq!(listed["clients"]["client"][0]["id"], 2);
}

#[tokio::test]
async fn an_upgrade_costs_what_is_left_of_the_period_and_waits_for_its_invoice() {
    let kit = Kit::start().await;
    kit.order("a").await;
    {
        let mut state = kit.simulator.state();
        state.add_product("Large", &[(1, "monthly", crate::Cents(2_000))]);
        let service = state.services.get_mut(&1).unwrap();
        service.next_due = Some(time::macros::date!(2026 - 02 - 15));
    }
    let upgrade = "serviceid=1&type=product&newproductid=3&newproductbillingcycle=monthly";
    kit.refused(
        "UpgradeProduct",
        &format!("{upgrade}&calconly=1"),
        "Invalid Payment Method. Valid options include banktransfer,paypal",
    )
    .await;
    let upgrade = format!("{upgrade}&paymentmethod=paypal");
    let price = kit.done("UpgradeProduct", &format!("{upgrade}&calconly=1")).await;
    assert_eq!(price["price"], "5.10 EUR", "15 of 30 days");
    assert_eq!(kit.done("UpgradeProduct", &upgrade).await["invoiceid"], 2);
    assert_eq!(kit.call("UpgradeProduct", &upgrade).await["result"], "error", "one is unpaid");
}
