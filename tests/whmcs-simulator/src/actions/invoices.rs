//! Invoices, read. Rows of the list have no lines.

use serde_json::{Value, json};

use super::Call;
use crate::answer::{Answer, Empty, date, fields, moment, page, refuse, text, wrap};
use crate::state::Invoice;

pub(super) fn one(call: &mut Call<'_>) -> Answer {
    let Some(invoice) = call.state.invoices.get(&call.form.id("invoiceid")) else {
        return refuse("Invoice ID Not Found");
    };
    let items: Vec<Value> = invoice
        .items
        .iter()
        .map(|item| {
            json!({
                "id": item.id.to_string(),
                "type": item.kind,
                "relid": item.related.to_string(),
                "description": item.description,
                "amount": item.amount.to_string(),
                "taxed": if item.is_taxed { "1" } else { "0" },
            })
        })
        .collect();
    let own = call.state.transactions.iter().filter(|own| own.invoice == invoice.id);
    let transactions: Vec<Value> = own.map(super::payments::row).collect();
    fields(json!({
        "invoiceid": invoice.id.to_string(),
        "invoicenum": "",
        "userid": invoice.client.to_string(),
        "date": date(Some(invoice.date)),
        "duedate": date(Some(invoice.due)),
        "datepaid": moment(invoice.paid),
        "subtotal": text(invoice.subtotal()),
        "credit": text(invoice.credit),
        "tax": "0.00",
        "tax2": "0.00",
        "total": text(invoice.total()),
        "balance": text(call.state.balance_of(invoice)),
        "taxrate": "0.000",
        "taxrate2": "0.000",
        "status": invoice.status,
        "paymentmethod": invoice.method,
        "notes": invoice.notes,
        "ccgateway": false,
        "items": wrap("item", items, Empty::Text),
        "transactions": wrap("transaction", transactions, Empty::Text),
    }))
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let (form, today) = (call.form, call.today());
    let status = form.text("status").map(str::to_lowercase);
    let has_status = |invoice: &Invoice| match status.as_deref() {
        None => true,
        Some("overdue") => invoice.status == "Unpaid" && invoice.due < today,
        Some(status) => invoice.status.to_lowercase() == status,
    };
    let userid = form.number("userid");
    let mut invoices: Vec<&Invoice> = call
        .state
        .invoices
        .values()
        .filter(|own| userid.is_none_or(|id| own.client == id) && has_status(own))
        .collect();
    match form.text("orderby") {
        Some("duedate") => invoices.sort_by_key(|own| (own.due, own.id)),
        Some("date") => invoices.sort_by_key(|own| (own.date, own.id)),
        Some("total") => invoices.sort_by_key(|own| (own.total(), own.id)),
        Some("status") => invoices.sort_by(|a, b| (&a.status, a.id).cmp(&(&b.status, b.id))),
        // By id and by number, which is the same here.
        _ => {}
    }
    if form.text("order").is_some_and(|order| order.eq_ignore_ascii_case("desc")) {
        invoices.reverse();
    }
    page(form, ("invoices", "invoice"), Empty::Text, &invoices, |own| row(call, own))
}

fn row(call: &Call<'_>, invoice: &Invoice) -> Value {
    let client = call.state.clients.get(&invoice.client);
    let currency = client.and_then(|client| call.state.currencies.get(&client.currency));
    let of = |part: fn(&(String, String)) -> &String| client.map(|own| part(&own.name).as_str());
    json!({
        "id": invoice.id,
        "userid": invoice.client,
        "firstname": of(|name| &name.0),
        "lastname": of(|name| &name.1),
        "companyname": "",
        "invoicenum": "",
        "date": date(Some(invoice.date)),
        "duedate": date(Some(invoice.due)),
        "datepaid": moment(invoice.paid),
        "last_capture_attempt": "0000-00-00 00:00:00",
        "date_refunded": "0000-00-00 00:00:00",
        "date_cancelled": moment(invoice.cancelled),
        "subtotal": text(invoice.subtotal()),
        "credit": text(invoice.credit),
        "tax": "0.00",
        "tax2": "0.00",
        "total": text(invoice.total()),
        "taxrate": "0.000",
        "taxrate2": "0.000",
        "status": invoice.status,
        "paymentmethod": invoice.method,
        "notes": invoice.notes,
        "created_at": moment(Some(invoice.date.midnight().assume_utc())),
        "currencycode": currency.map_or("", |currency| currency.code.as_str()),
        "currencyprefix": currency.map_or("", |currency| currency.prefix.as_str()),
        "currencysuffix": currency.map_or("", |currency| currency.suffix.as_str()),
    })
}
