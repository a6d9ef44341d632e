use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::kit::Kit;
use crate::{Settings, Trouble};

#[tokio::test]
async fn who_may_not_call_is_told_by_status_and_text() {
    let settings = Settings {
        access_key: Some("open".to_owned()),
        allowed_ips: Some(vec!["192.0.2.1".parse().unwrap()]),
        actions: Some(vec!["getorders".to_owned()]),
        ..Settings::default()
    };
    let kit = Kit::start_with(settings).await;
    let good = "identifier=identifier&secret=secret&responsetype=json";
    for (body, status, message) in [
        (format!("action=GetOrders&{good}"), 403, "Invalid IP 127.0.0.1"),
        (format!("accesskey=open&{good}"), 400, "Empty action request"),
        (
            "accesskey=open&action=GetOrders&responsetype=json".to_owned(),
            403,
            "Invalid or missing credentials",
        ),
        (format!("accesskey=open&action=GetOrders&{good}&secret=x"), 403, "Authentication Failed"),
        (format!("accesskey=open&action=GetClients&{good}"), 403, "Access Denied"),
    ] {
        let (found, text) = kit.send(&body).await.unwrap();
        assert_eq!(found.as_u16(), status, "{body}: {text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer, json!({"result": "error", "message": message}), "{body}");
    }
    // "Identifier/secret may also ride in username/password."
    let other = "username=identifier&password=secret&responsetype=json";
    let body = format!("accesskey=open&action=getORDERS&{other}");
    assert_eq!(kit.send(&body).await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn json_is_answered_to_who_asks_for_it() {
    let kit = Kit::start().await;
    let body = "action=GetCurrencies&identifier=identifier&secret=secret";
    let (_, text) = kit.send(body).await.unwrap();
    assert!(text.contains("result=success;"), "{text}");
    let (_, text) = kit.send(&format!("{body}&responsetype=xml")).await.unwrap();
    assert!(text.contains("<code>EUR</code>"), "{text}");
    let answer = kit.done("GetCurrencies", "").await;
    assert_eq!(answer["currencies"]["currency"][0]["code"], "EUR", "wrapped twice");
    kit.refused("NoSuchAction", "", "Command Not Found").await;
}

#[tokio::test]
async fn lists_come_in_pages_of_25_and_a_list_of_nothing_is_no_list() {
    let kit = Kit::start().await;
    let answer = kit.done("GetClientsProducts", "clientid=1").await;
    assert_eq!((&answer["products"], &answer["totalresults"]), (&json!(""), &json!(0)));
    assert_eq!(kit.done("GetInvoices", "").await["invoices"], "");
    assert_eq!(kit.done("GetOrders", "").await["orders"], json!({"order": []}));
    for n in 0..30 {
        kit.order(&format!("d{n}.s3.invalid")).await;
    }
    let page = |start: u32, length: &str| {
        let parameters = format!("clientid=1&limitstart={start}{length}");
        let kit = &kit;
        async move {
            let answer = kit.done("GetClientsProducts", &parameters).await;
            let rows = answer["products"]["product"].as_array().map_or(0, Vec::len);
            (rows, answer["totalresults"].clone(), answer["startnumber"].clone())
        }
    };
    assert_eq!(page(0, "").await, (25, json!(30), json!(0)));
    assert_eq!(page(25, "").await, (5, json!(30), json!(25)));
    assert_eq!(page(0, "&limitnum=100").await, (30, json!(30), json!(0)));
    assert_eq!(page(30, "").await, (0, json!(30), json!(30)));
}

#[tokio::test]
async fn ids_and_money_are_texts_here_and_numbers_there() {
    let kit = Kit::start().await;
    let order = kit.order("a.s3.invalid").await;
    assert_eq!((&order["orderid"], &order["serviceids"]), (&json!(1), &json!("1")));
    assert_eq!(kit.service("a.s3.invalid", "id").await, "1");
    assert_eq!(kit.service("a.s3.invalid", "recurringamount").await, "9.80");
    let invoice = kit.done("GetInvoice", "invoiceid=1").await;
    assert_eq!((&invoice["invoiceid"], &invoice["total"]), (&json!("1"), &json!("9.80")));
    assert_eq!(invoice["datepaid"], "0000-00-00 00:00:00");
    assert_eq!(invoice["transactions"], "", "GetInvoice: \"transactions\":\"\"");
    let listed = kit.done("GetInvoices", "userid=1").await;
    assert_eq!(listed["invoices"]["invoice"][0]["id"], 1);
    assert_eq!(listed["invoices"]["invoice"][0].get("items"), None, "rows have no items");
}

#[tokio::test]
async fn what_goes_wrong_goes_wrong_as_told() {
    let kit = Kit::start().await;
    let order = "action=AddOrder&identifier=identifier&secret=secret&responsetype=json&clientid=1\
        &paymentmethod=banktransfer&pid[0]=1&billingcycle[0]=monthly&domain[0]=a.s3.invalid";
    let orders = || kit.simulator.state().orders.len();
    for (trouble, status, left) in [
        (Trouble::DropCall, None, 0),
        (Trouble::BadGateway, Some(502), 0),
        (Trouble::Forbid, Some(403), 0),
        (Trouble::DropAnswer, None, 1),
        (Trouble::Garble, Some(200), 2),
        (Trouble::Twice, Some(200), 4),
        (Trouble::Slow(Duration::from_millis(1)), Some(200), 5),
    ] {
        kit.simulator.will(&[Some(trouble)]);
        let answer = kit.send(order).await;
        assert_eq!(answer.as_ref().map(|(status, _)| status.as_u16()), status, "{trouble:?}");
        assert_eq!(orders(), left, "{trouble:?}");
        if trouble == Trouble::Garble {
            let text = answer.unwrap().1;
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}");
        }
    }
    kit.simulator.will_for("GetOrders", Trouble::BadGateway);
    kit.order("b.s3.invalid").await;
    let body = "action=GetOrders&identifier=identifier&secret=secret";
    assert_eq!(kit.send(body).await.unwrap().0, StatusCode::BAD_GATEWAY);
    assert_eq!(kit.send(body).await.unwrap().0, StatusCode::OK);
}
