//! Invoices, written, and what becomes one.

use std::collections::BTreeMap;

use serde_json::json;
use time::{Date, Duration};

use super::Call;
use crate::answer::{Answer, Refused, fields, read_date, refuse};
use crate::cents::Cents;
use crate::state::{BillableItem, Invoice, Item};

/// Lines of one invoice.
const ITEMS_MAX: u32 = 1000;
const STATUSES: [&str; 7] =
    ["Draft", "Unpaid", "Paid", "Cancelled", "Refunded", "Collections", "Payment Pending"];
const UNITS: [&str; 2] = ["hours", "quantity"];
const ACTIONS: [&str; 5] = ["noinvoice", "nextcron", "nextinvoice", "duedate", "recur"];

/// Its lines are numbered: `itemdescription1`, `itemamount1`, …
pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let Some(client) = call.state.clients.get(&call.form.id("userid")).map(|own| own.id) else {
        return refuse("Client ID Not Found");
    };
    let form = call.form;
    let status = match form.text("status") {
        _ if form.flag("draft") => "Draft",
        None => "Unpaid",
        Some(status) => status,
    };
    let status = known_status(status)?;
    if status == "Draft" && form.flag("sendinvoice") {
        return refuse("A draft invoice cannot be sent");
    }
    let method = match form.text("paymentmethod") {
        Some(_) => call.method("paymentmethod")?,
        None => call.settings.payment_methods.first().cloned().unwrap_or_default(),
    };
    let mut items = Vec::new();
    for n in 1..=ITEMS_MAX {
        let Some(description) = form.text(&format!("itemdescription{n}")) else { break };
        items.push(Item {
            id: call.state.next_id("item"),
            kind: String::new(),
            related: 0,
            description: description.to_owned(),
            amount: form.amount(&format!("itemamount{n}")).unwrap_or_default(),
            is_taxed: form.flag(&format!("itemtaxed{n}")),
        });
    }
    let day = |name| form.text(name).and_then(read_date);
    let (date, due) = (day("date"), day("duedate"));
    let notes = form.text("notes").unwrap_or_default().to_owned();
    let date = date.unwrap_or_else(|| call.today());
    let id = put(call, client, (date, due.unwrap_or(date)), items);
    if let Some(invoice) = call.state.invoices.get_mut(&id) {
        (invoice.status, invoice.method, invoice.notes) = (status.clone(), method, notes);
    }
    if call.form.flag("autoapplycredit") {
        apply_credit(call, id);
    }
    fields(json!({"invoiceid": id, "status": status}))
}

fn known_status(status: &str) -> Result<String, Refused> {
    let known = STATUSES.into_iter().find(|own| own.eq_ignore_ascii_case(status));
    known.map(str::to_owned).ok_or_else(|| Refused::new("Invalid Status"))
}

fn put(call: &mut Call<'_>, client: i64, (date, due): (Date, Date), items: Vec<Item>) -> i64 {
    let id = call.state.next_id("invoice");
    let invoice = Invoice {
        id,
        client,
        date,
        due,
        paid: None,
        cancelled: None,
        status: "Unpaid".to_owned(),
        credit: Cents::ZERO,
        method: call.settings.payment_methods.first().cloned().unwrap_or_default(),
        notes: String::new(),
        items,
    };
    call.state.invoices.insert(id, invoice);
    id
}

fn apply_credit(call: &mut Call<'_>, id: i64) {
    let Some(invoice) = call.state.invoices.get(&id) else { return };
    let (client, left) = (invoice.client, call.state.balance_of(invoice));
    let amount = call.state.credit_of(client).min(left);
    if amount <= Cents::ZERO || invoice.status == "Draft" {
        return;
    }
    let credit = crate::state::Credit {
        id: call.state.next_id("credit"),
        client,
        date: call.today(),
        description: format!("Credit Applied to Invoice #{id}"),
        amount: -amount,
        related: id,
    };
    call.state.credits.push(credit);
    if let Some(invoice) = call.state.invoices.get_mut(&id) {
        invoice.credit += amount;
    }
    call.state.settle(id, call.now);
}

/// New lines are bracketed: `newitemdescription[0]`, `newitemamount[0]`, …
pub(super) fn update(call: &mut Call<'_>) -> Answer {
    let Some(mut invoice) = call.state.invoices.get(&call.form.id("invoiceid")).cloned() else {
        return refuse("Invoice ID Not Found");
    };
    change_lines(call, &mut invoice)?;
    let form = call.form;
    let day = |name| form.text(name).and_then(read_date);
    invoice.date = day("date").unwrap_or(invoice.date);
    invoice.due = day("duedate").unwrap_or(invoice.due);
    if let Some(notes) = form.given("notes") {
        notes.clone_into(&mut invoice.notes);
    }
    if let Some(credit) = form.amount("credit") {
        invoice.credit = credit;
    }
    if form.text("paymentmethod").is_some() {
        invoice.method = call.method("paymentmethod")?;
    }
    if let Some(status) = form.text("status") {
        invoice.status = known_status(status)?;
        let was = |status| (invoice.status == status).then_some(call.now);
        (invoice.paid, invoice.cancelled) = (was("Paid").or(invoice.paid), was("Cancelled"));
    }
    if (form.flag("publish") || form.flag("publishandsendemail")) && invoice.status == "Draft" {
        "Unpaid".clone_into(&mut invoice.status);
    }
    let id = invoice.id;
    call.state.invoices.insert(id, invoice);
    fields(json!({"invoiceid": id}))
}

fn change_lines(call: &mut Call<'_>, invoice: &mut Invoice) -> Result<(), Refused> {
    let form = call.form;
    let gone: Vec<i64> =
        form.array("deletelineids")?.values().filter_map(|id| id.parse().ok()).collect();
    invoice.items.retain(|item| !gone.contains(&item.id));
    let (texts, amounts) = (form.array("itemdescription")?, form.array("itemamount")?);
    for item in &mut invoice.items {
        let id = item.id.to_string();
        if let Some(text) = texts.get(&id) {
            text.clone_into(&mut item.description);
            item.amount = amounts.get(&id).and_then(|text| Cents::parse(text)).unwrap_or_default();
        }
    }
    let (amounts, taxed) = (form.array("newitemamount")?, form.array("newitemtaxed")?);
    for (key, description) in form.array("newitemdescription")? {
        let amount = amounts.get(&key).and_then(|text| Cents::parse(text)).unwrap_or_default();
        invoice.items.push(Item {
            id: call.state.next_id("item"),
            kind: String::new(),
            related: 0,
            description,
            amount,
            is_taxed: taxed.get(&key).is_some_and(|text| text == "1"),
        });
    }
    Ok(())
}

/// Nothing lists or deletes what this adds.
pub(super) fn add_billable(call: &mut Call<'_>) -> Answer {
    let client = call.client("clientid")?.id;
    let form = call.form;
    let Some(description) = form.text("description").map(str::to_owned) else {
        return refuse("You must provide a description");
    };
    if !form.text("unit").is_some_and(|unit| UNITS.contains(&unit)) {
        return refuse("Invalid unit");
    }
    let action = form.text("invoiceaction").unwrap_or("noinvoice").to_owned();
    if !ACTIONS.contains(&action.as_str()) {
        return refuse("Invalid invoiceaction");
    }
    let amount = form.amount("amount").unwrap_or_default();
    let id = call.state.next_id("billable");
    let item = BillableItem { id, client, description, amount, action, invoice: 0 };
    call.state.billable_items.push(item);
    fields(json!({"billableid": id, "status": "success"}))
}

/// Invoices billable items, and periods that are due: what the cron does.
pub(super) fn generate(call: &mut Call<'_>) -> Answer {
    let today = call.today();
    let asked = call.form.array("clientids").unwrap_or_default();
    let is_asked =
        |client: i64| asked.is_empty() || asked.values().any(|id| *id == client.to_string());
    let mut lines: BTreeMap<i64, Vec<Item>> = BTreeMap::new();
    let due: Vec<_> = call
        .state
        .services
        .values()
        .filter(|own| own.status == "Active" && is_asked(own.client))
        .filter(|own| own.recurring > Cents::ZERO && own.next_due.is_some_and(|due| due <= today))
        .cloned()
        .collect();
    for mut service in due {
        let item = Item {
            id: call.state.next_id("item"),
            kind: "Hosting".to_owned(),
            related: service.id,
            description: super::orders::describe(call, &service),
            amount: service.recurring,
            is_taxed: false,
        };
        lines.entry(service.client).or_default().push(item);
        let days = if service.cycle == "annually" { 365 } else { 30 };
        service.next_due = Some(today + Duration::days(days));
        call.state.put_service(service);
    }
    let mut billed = Vec::new();
    for at in 0..call.state.billable_items.len() {
        let own = call.state.billable_items[at].clone();
        if own.action != "noinvoice" && own.invoice == 0 && is_asked(own.client) {
            let item = Item {
                id: call.state.next_id("item"),
                kind: "Item".to_owned(),
                related: own.id,
                description: own.description,
                amount: own.amount,
                is_taxed: false,
            };
            lines.entry(own.client).or_default().push(item);
            billed.push((at, own.client));
        }
    }
    let count = lines.len();
    for (client, items) in lines {
        let id = put(call, client, (today, today), items);
        for (at, _) in billed.iter().filter(|(_, own)| *own == client) {
            call.state.billable_items[*at].invoice = id;
        }
    }
    fields(json!({"numcreated": count}))
}
