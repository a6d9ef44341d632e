//! Payments. The gateway's reference is the one thing of this API that is unique.

use serde_json::json;

use super::Call;
use crate::answer::{Answer, Empty, fields, moment, number, refuse, wrap};
use crate::cents::Cents;
use crate::state::Transaction;

pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let Some(invoice) = call.state.invoices.get(&call.form.id("invoiceid")) else {
        return refuse("Invoice ID Not Found");
    };
    let left = call.state.balance_of(invoice);
    let (client, invoice) = (invoice.client, invoice.id);
    let Some(reference) = call.form.text("transid").map(str::to_owned) else {
        return refuse("Transaction ID is required");
    };
    if call.form.text("date").is_none() {
        return refuse("Payment date is required");
    }
    if call.state.transactions.iter().any(|own| own.reference == reference) {
        return refuse("Transaction ID must be Unique");
    }
    let gateway = call.method("gateway")?;
    // What is more than is left would become credit; no client of this API asks for that.
    let amount = call.form.amount("amount").unwrap_or(left);
    let fees = call.form.amount("fees").unwrap_or_default();
    put(call, (client, invoice), (gateway, reference), (amount, fees));
    fields(json!({}))
}

/// Money that comes in beside invoices; with `credit` it becomes credit of the client.
///
/// Source: WHMCS developer documentation, "AddTransaction": a reference is taken once unless
/// `allowduplicatetransid` is set, and credit goes with no invoice.
pub(super) fn add_transaction(call: &mut Call<'_>) -> Answer {
    let method = call.method("paymentmethod")?;
    let reference = call.form.text("transid").unwrap_or_default().to_owned();
    let is_known = call.state.transactions.iter().any(|own| own.reference == reference);
    if !reference.is_empty() && is_known && !call.form.flag("allowduplicatetransid") {
        return refuse("Transaction ID must be Unique");
    }
    let (client, invoice) = (call.form.id("userid"), call.form.id("invoiceid"));
    if client != 0 && !call.state.clients.contains_key(&client) {
        return refuse("Client ID Not Found");
    }
    let amount = call.form.amount("amountin").unwrap_or_default();
    let fees = call.form.amount("fees").unwrap_or_default();
    if call.form.flag("credit") {
        if invoice != 0 {
            return refuse("Credit cannot be added with an invoice");
        }
        let description = call.form.text("description").unwrap_or_default().to_owned();
        super::credits::put(call, (client, 0), description, amount);
    }
    put(call, (client, invoice), (method, reference), (amount, fees));
    fields(json!({}))
}

fn put(
    call: &mut Call<'_>,
    (client, invoice): (i64, i64),
    (gateway, reference): (String, String),
    (amount, fees): (Cents, Cents),
) {
    let id = call.state.next_id("transaction");
    let time = call.now;
    let transaction = Transaction { id, client, invoice, gateway, time, reference, amount, fees };
    call.state.transactions.push(transaction);
    call.state.settle(invoice, time);
}

/// All that match: this list has no pages.
pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let wanted = |own: &&Transaction| {
        form.number("invoiceid").is_none_or(|id| own.invoice == id)
            && form.number("clientid").is_none_or(|id| own.client == id)
            && form.text("transid").is_none_or(|reference| own.reference == reference)
    };
    let rows: Vec<_> = call.state.transactions.iter().filter(wanted).map(row).collect();
    let count = rows.len();
    fields(json!({
        "totalresults": count,
        "startnumber": 0,
        "numreturned": count,
        "transactions": wrap("transaction", rows, Empty::Text),
    }))
}

pub(super) fn row(own: &Transaction) -> serde_json::Value {
    json!({
        "id": own.id.to_string(),
        "userid": own.client.to_string(),
        "currency": "0",
        "gateway": own.gateway,
        "date": moment(Some(own.time)),
        "description": "Invoice Payment",
        "amountin": number(own.amount),
        "fees": number(own.fees),
        "amountout": number(Cents::ZERO),
        "rate": "1.00000",
        "transid": own.reference,
        "invoiceid": own.invoice.to_string(),
        "refundid": "0",
    })
}

/// Charges the card that is stored, if one is.
pub(super) fn capture(call: &mut Call<'_>) -> Answer {
    let Some(invoice) = call.state.invoices.get(&call.form.id("invoiceid")) else {
        return refuse("Invoice Not Found or Not Unpaid");
    };
    if invoice.status != "Unpaid" {
        return refuse("Invoice Not Found or Not Unpaid");
    }
    let (client, id, left) = (invoice.client, invoice.id, call.state.balance_of(invoice));
    let method = invoice.method.clone();
    if !call.state.clients.get(&client).is_some_and(|own| own.has_card) {
        return refuse("Payment Attempt Failed");
    }
    put(call, (client, id), (method, format!("capture-{id}")), (left, Cents::ZERO));
    fields(json!({}))
}
