use serde_json::json;

use super::kit::Kit;
use crate::Cents;

#[tokio::test]
async fn an_invoice_has_numbered_lines_and_new_ones_are_bracketed() {
    let kit = Kit::start().await;
    let invoice = "userid=1&draft=1&notes=key-1&itemdescription1=a&itemamount1=1.25\
        &itemdescription2=b&itemamount2=-0.5&itemtaxed2=1";
    let created = kit.done("CreateInvoice", invoice).await;
    assert_eq!((&created["invoiceid"], &created["status"]), (&json!(1), &json!("Draft")));
    let change = "invoiceid=1&newitemdescription[0]=c&newitemamount[0]=2&deletelineids[0]=2";
    kit.done("UpdateInvoice", change).await;
    kit.done("UpdateInvoice", "invoiceid=1&publish=1").await;
    let found = kit.done("GetInvoice", "invoiceid=1").await;
    assert_eq!((&found["status"], &found["total"]), (&json!("Unpaid"), &json!("3.25")));
    assert_eq!(found["notes"], "key-1");
    assert_eq!(found["items"]["item"][1]["description"], "c");
    let listed = kit.done("GetInvoices", "userid=1&orderby=id&order=desc").await;
    let row = &listed["invoices"]["invoice"][0];
    assert_eq!((&row["notes"], &row["currencycode"]), (&json!("key-1"), &json!("EUR")));
    kit.done("CreateInvoice", invoice).await;
    assert_eq!(kit.done("GetInvoices", "").await["totalresults"], 2, "no key, no memory");
    kit.refused("GetInvoice", "invoiceid=9", "Invoice ID Not Found").await;
    kit.refused("UpdateInvoice", "invoiceid=9", "Invoice ID Not Found").await;
}

#[tokio::test]
async fn invoices_are_filtered_and_ordered() {
    let kit = Kit::start().await;
    for day in ["2026-01-10", "2026-01-05", "2026-03-01"] {
        let invoice = format!("userid=1&duedate={day}&itemdescription1=a&itemamount1=1");
        kit.done("CreateInvoice", &invoice).await;
    }
    kit.done("UpdateInvoice", "invoiceid=1&status=Cancelled").await;
    for (parameters, expected) in [
        ("", vec![1, 2, 3]),
        ("orderby=id&order=desc", vec![3, 2, 1]),
        ("orderby=duedate", vec![2, 1, 3]),
        ("status=Unpaid", vec![2, 3]),
        ("status=Overdue", vec![2]),
        ("status=Cancelled", vec![1]),
        ("userid=1&limitstart=1&limitnum=1", vec![2]),
    ] {
        let listed = kit.done("GetInvoices", parameters).await;
        let rows = listed["invoices"]["invoice"].as_array().unwrap();
        let ids: Vec<_> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
        assert_eq!(ids, expected, "{parameters}");
    }
}

#[tokio::test]
async fn a_payment_has_a_unique_reference() {
    let kit = Kit::start().await;
    kit.order("a").await;
    let pay = "invoiceid=1&gateway=banktransfer&date=2026-01-31 10:00:00";
    kit.done("AddInvoicePayment", &format!("{pay}&transid=t1&amount=4")).await;
    let again = format!("{pay}&transid=t1&amount=4");
    kit.refused("AddInvoicePayment", &again, "Transaction ID must be Unique").await;
    let found = kit.done("GetInvoice", "invoiceid=1").await;
    assert_eq!((&found["status"], &found["balance"]), (&json!("Unpaid"), &json!("5.80")));
    kit.done("AddInvoicePayment", &format!("{pay}&transid=t2")).await;
    let found = kit.done("GetInvoice", "invoiceid=1").await;
    assert_eq!((&found["status"], &found["balance"]), (&json!("Paid"), &json!("0.00")));
    assert_eq!(found["datepaid"], "2026-01-31 13:37:00");
    let listed = kit.done("GetTransactions", "transid=t2").await;
    assert_eq!(listed["totalresults"], 1);
    let row = &listed["transactions"]["transaction"][0];
    assert_eq!((&row["invoiceid"], &row["amountin"]), (&json!("1"), &json!(5.8)));
    assert_eq!(kit.done("GetTransactions", "transid=t3").await["transactions"], "");
    kit.order("b").await;
    kit.refused("CapturePayment", "invoiceid=2", "Payment Attempt Failed").await;
    kit.simulator.state().clients.get_mut(&1).unwrap().has_card = true;
    kit.done("CapturePayment", "invoiceid=2").await;
    assert_eq!(kit.done("GetInvoice", "invoiceid=2").await["status"], "Paid");
}

#[tokio::test]
async fn credit_is_a_list_of_signed_entries() {
    let kit = Kit::start().await;
    assert_eq!(kit.done("GetCredits", "clientid=1").await["credits"], "");
    let added = kit.done("AddCredit", "clientid=1&description=k1&amount=12.5").await;
    assert_eq!(added["newbalance"], json!(12.5));
    kit.done("AddCredit", "clientid=1&description=k2&amount=2&type=remove").await;
    kit.order("a").await;
    let applied = kit.done("ApplyCredit", "invoiceid=1&amount=9.80").await;
    assert_eq!((&applied["amount"], &applied["invoicepaid"]), (&json!("9.80"), &json!("true")));
    let listed = kit.done("GetCredits", "clientid=1").await;
    let rows = listed["credits"]["credit"].as_array().unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| (row["amount"].as_str(), row["relid"].as_str())).collect();
    let row = |amount, invoice| (Some(amount), Some(invoice));
    assert_eq!(shown, [row("12.50", "0"), row("-2.00", "0"), row("-9.80", "1")]);
    assert_eq!(kit.simulator.state().credit_of(1), Cents(70), "the sum is the balance");
    kit.refused("AddCredit", "clientid=9&amount=1", "Client ID Not Found").await;
    let paid_in = "userid=1&paymentmethod=paypal&transid=t9&amountin=5&credit=1";
    kit.done("AddTransaction", paid_in).await;
    kit.refused("AddTransaction", paid_in, "Transaction ID must be Unique").await;
    assert_eq!(kit.simulator.state().credit_of(1), Cents(570));
    kit.done("AddCredit", "clientid=1&amount=5&type=remove").await;
    kit.order("b").await;
    let too_much = "Amount exceeds customer credit balance";
    kit.refused("ApplyCredit", "invoiceid=2&amount=1", too_much).await;
}

#[tokio::test]
async fn billable_items_are_seen_when_they_are_invoiced_and_not_before() {
    let kit = Kit::start().await;
    let item = "clientid=1&description=traffic&amount=3&invoiceaction=nextcron";
    kit.refused("AddBillableItem", item, "Invalid unit").await;
    let added = kit.done("AddBillableItem", &format!("{item}&unit=quantity")).await;
    assert_eq!((&added["status"], &added["billableid"]), (&json!("success"), &json!(1)));
    assert_eq!(kit.done("GetInvoices", "").await["totalresults"], 0);
    kit.order("a").await;
    kit.done("AcceptOrder", "orderid=1").await;
    // What the order's own invoice is for is not invoiced again.
    kit.simulator.state().services.get_mut(&1).unwrap().next_due =
        Some(time::macros::date!(2026 - 02 - 28));
    assert_eq!(kit.done("GenInvoices", "").await["numcreated"], 1);
    assert_eq!(kit.done("GenInvoices", "").await["numcreated"], 0);
    kit.clock.advance(std::time::Duration::from_secs(28 * 86_400));
    assert_eq!(kit.done("GenInvoices", "clientids[0]=1").await["numcreated"], 1);
    let renewal = kit.done("GetInvoice", "invoiceid=3").await["items"]["item"][0].clone();
    assert_eq!((&renewal["type"], &renewal["relid"]), (&json!("Hosting"), &json!("1")));
}
