//! Clients.

use serde_json::{Map, Value, json};

use super::Call;
use crate::answer::{Answer, Empty, date, fields, page, refuse, text};
use crate::cents::Cents;
use crate::form::Form;
use crate::state::Client;

pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let Some(email) = call.form.text("email").map(str::to_owned) else {
        return refuse("You did not enter your email address");
    };
    if call.state.clients.values().any(|own| own.email.eq_ignore_ascii_case(&email)) {
        return refuse("A user already exists with that email address");
    }
    let currency = call.form.number("currency").filter(|id| *id > 0).unwrap_or(1);
    let id = call.state.add_client(&email, currency);
    let today = call.today();
    if let Some(client) = call.state.clients.get_mut(&id) {
        let of = |name| call.form.text(name).unwrap_or_default().to_owned();
        client.name = (of("firstname"), of("lastname"));
        client.created = Some(today);
        client.custom_fields = call.form.text("customfields").map(Form::fields).unwrap_or_default();
    }
    fields(json!({"clientid": id, "owner_id": id}))
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let search = call.form.text("search").unwrap_or_default().to_lowercase();
    let matches = |client: &&Client| {
        let (given, family) = &client.name;
        let begins = |text: &str| text.to_lowercase().starts_with(&search);
        begins(&client.email) || begins(given) || begins(family)
    };
    let clients: Vec<&Client> = call.state.clients.values().filter(matches).collect();
    page(call.form, ("clients", "client"), Empty::List, &clients, |client| {
        json!({
            "id": client.id,
            "firstname": client.name.0,
            "lastname": client.name.1,
            "companyname": "",
            "email": client.email,
            "datecreated": date(client.created),
            "groupid": 0,
            "status": client.status,
        })
    })
}

/// The top-level copies are deprecated, and still there.
pub(super) fn details(call: &mut Call<'_>) -> Answer {
    let (id, email) = (call.form.number("clientid"), call.form.text("email"));
    let client = match (id, email) {
        (None, None) => return refuse("Either clientid Or email Is Required"),
        (Some(id), _) => call.state.clients.get(&id),
        (None, Some(email)) => {
            call.state.clients.values().find(|own| own.email.eq_ignore_ascii_case(email))
        }
    };
    let Some(client) = client else { return refuse("Client Not Found") };
    let row = row(call, client);
    let mut answer = row.clone();
    answer.insert("client".to_owned(), Value::Object(row));
    if call.form.flag("stats") {
        answer.insert("stats".to_owned(), stats(call, client));
    }
    Ok(answer)
}

fn row(call: &Call<'_>, client: &Client) -> Map<String, Value> {
    let code = call.state.currencies.get(&client.currency).map_or("", |own| own.code.as_str());
    let custom = client.custom_fields.iter();
    let custom: Vec<Value> = custom.map(|(id, value)| json!({"id": id, "value": value})).collect();
    let row = json!({
        "userid": client.id,
        "id": client.id,
        "uuid": format!("00000000-0000-4000-8000-{:012}", client.id),
        "firstname": client.name.0,
        "lastname": client.name.1,
        "fullname": format!("{} {}", client.name.0, client.name.1),
        "email": client.email,
        "phonenumber": "",
        "status": client.status,
        "currency": client.currency,
        "currency_code": code,
        "credit": text(call.state.credit_of(client.id)),
        "groupid": 0,
        "language": "",
        "customfields": custom,
    });
    match row {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Amounts are made for people: not to be reckoned with.
fn stats(call: &Call<'_>, client: &Client) -> Value {
    let currency = call.state.currencies.get(&client.currency);
    let shown = |amount: Cents| {
        currency.map_or_else(
            || amount.to_string(),
            |own| format!("{}{amount}{}", own.prefix, own.suffix),
        )
    };
    let own = call.state.invoices.values().filter(|invoice| invoice.client == client.id);
    let unpaid: Vec<_> = own.filter(|invoice| invoice.status == "Unpaid").collect();
    let due = unpaid.iter().map(|invoice| call.state.balance_of(invoice)).sum();
    let services = call.state.services.values().filter(|own| own.client == client.id);
    json!({
        "numdueinvoices": unpaid.len(),
        "dueinvoicesbalance": shown(due),
        "creditbalance": shown(call.state.credit_of(client.id)),
        "productsnumtotal": services.clone().count(),
        "productsnumactive": services.filter(|own| own.status == "Active").count(),
    })
}
