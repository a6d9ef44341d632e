//! Credit: a list of signed entries, whose sum is what a client has.

use serde_json::json;

use super::Call;
use crate::answer::{Answer, date, fields, number, read_date, refuse, text};
use crate::cents::Cents;
use crate::state::Credit;

pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let client = call.client("clientid")?.id;
    let Some(amount) = call.form.amount("amount").filter(|amount| *amount > Cents::ZERO) else {
        return refuse("No Amount Provided");
    };
    let amount = match call.form.text("type") {
        Some("remove") if call.state.credit_of(client) < amount => {
            return refuse("Amount exceeds customer credit balance");
        }
        Some("remove") => -amount,
        _ => amount,
    };
    let day = call.form.text("date").and_then(read_date).unwrap_or_else(|| call.today());
    let description = call.form.text("description").unwrap_or_default().to_owned();
    put(call, (client, 0), description, amount);
    if let Some(last) = call.state.credits.last_mut() {
        last.date = day;
    }
    fields(json!({"newbalance": number(call.state.credit_of(client))}))
}

pub(super) fn put(
    call: &mut Call<'_>,
    (client, related): (i64, i64),
    description: String,
    amount: Cents,
) {
    let id = call.state.next_id("credit");
    let date = call.today();
    call.state.credits.push(Credit { id, client, date, description, amount, related });
}

/// All there are: this list has no pages.
pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let client = call.client("clientid")?.id;
    let own = call.state.credits.iter().filter(|credit| credit.client == client);
    let rows: Vec<_> = own
        .map(|credit| {
            json!({
                "id": credit.id.to_string(),
                "date": date(Some(credit.date)),
                "description": credit.description,
                "amount": text(credit.amount),
                "relid": credit.related.to_string(),
            })
        })
        .collect();
    let count = rows.len();
    let credits = crate::answer::wrap("credit", rows, crate::answer::Empty::Text);
    fields(json!({"totalresults": count, "clientid": client, "credits": credits}))
}

/// Pays an invoice with what its client has.
pub(super) fn apply(call: &mut Call<'_>) -> Answer {
    let Some(invoice) = call.state.invoices.get(&call.form.id("invoiceid")) else {
        return refuse("Invoice ID Not Found");
    };
    if invoice.status != "Unpaid" {
        return refuse("Invoice Not in Unpaid Status");
    }
    let (id, client, left) = (invoice.id, invoice.client, call.state.balance_of(invoice));
    let has = call.state.credit_of(client);
    let amount = match call.form.text("amount") {
        Some("full") => has.min(left),
        _ => call.form.amount("amount").unwrap_or_default(),
    };
    if amount <= Cents::ZERO {
        return refuse("Invalid Amount");
    }
    if amount > has {
        return refuse("Amount exceeds customer credit balance");
    }
    if amount > left {
        return refuse("Amount Exceeds Invoice Balance");
    }
    put(call, (client, id), format!("Credit Applied to Invoice #{id}"), -amount);
    if let Some(invoice) = call.state.invoices.get_mut(&id) {
        invoice.credit += amount;
    }
    call.state.settle(id, call.now);
    let is_paid = call.state.invoices.get(&id).is_some_and(|own| own.status == "Paid");
    fields(json!({
        "invoiceid": id.to_string(),
        "amount": text(amount),
        "invoicepaid": if is_paid { "true" } else { "false" },
    }))
}
