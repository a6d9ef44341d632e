//! What is sold, and how it is paid.

use serde_json::{Map, Value, json};

use super::Call;
use crate::answer::{Answer, fields, title};
use crate::state::Product;

const CYCLES: [&str; 6] =
    ["monthly", "quarterly", "semiannually", "annually", "biennially", "triennially"];

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let wanted = call.form.number("pid");
    let products = call.state.products.values();
    let products = products.filter(|product| wanted.is_none_or(|id| product.id == id));
    let rows: Vec<Value> = products.map(|product| row(call, product)).collect();
    fields(json!({"totalresults": rows.len(), "products": {"product": rows}}))
}

fn row(call: &Call<'_>, product: &Product) -> Value {
    let mut pricing = Map::new();
    for currency in call.state.currencies.values() {
        let mut prices = Map::new();
        prices.insert("prefix".to_owned(), json!(currency.prefix));
        prices.insert("suffix".to_owned(), json!(currency.suffix));
        for cycle in CYCLES {
            // A cycle that is not offered costs this.
            let none = || "-1.00".to_owned();
            let price = product.prices.get(&(currency.id, cycle.to_owned()));
            prices.insert(cycle.to_owned(), json!(price.map_or_else(none, ToString::to_string)));
        }
        pricing.insert(currency.code.clone(), Value::Object(prices));
    }
    json!({
        "pid": product.id,
        "gid": 1,
        "type": "other",
        "name": product.name,
        "description": "",
        "module": product.module.as_deref().unwrap_or_default(),
        "paytype": if product.is_free { "free" } else { "recurring" },
        "pricing": pricing,
    })
}

pub(super) fn currencies(call: &mut Call<'_>) -> Answer {
    let currencies = call.state.currencies.values();
    let rows: Vec<Value> = currencies
        .map(|currency| {
            json!({
                "id": currency.id,
                "code": currency.code,
                "prefix": currency.prefix,
                "suffix": currency.suffix,
                "format": 1,
                "rate": currency.rate,
            })
        })
        .collect();
    fields(json!({"totalresults": rows.len(), "currencies": {"currency": rows}}))
}

pub(super) fn payment_methods(call: &mut Call<'_>) -> Answer {
    let methods = call.settings.payment_methods.iter();
    let rows: Vec<Value> =
        methods.map(|name| json!({"module": name, "displayname": title(name)})).collect();
    fields(json!({"totalresults": rows.len(), "paymentmethods": {"paymentmethod": rows}}))
}
