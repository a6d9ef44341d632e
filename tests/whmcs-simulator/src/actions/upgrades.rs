//! A change of the product or its options, paid for the days that are left.

use serde_json::json;

use super::Call;
use crate::answer::{Answer, fields, refuse};
use crate::cents::Cents;
use crate::form::Form;
use crate::state::{Invoice, Item, Order, Service};

/// Days of a period.
fn days_of(cycle: &str) -> i64 {
    match cycle {
        "annually" => 365,
        _ => 30,
    }
}

pub(super) fn upgrade(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let Some(service) = call.state.services.get(&form.id("serviceid")).cloned() else {
        return refuse("Service ID Not Found");
    };
    // Also where nothing is to be paid: only a price is asked for.
    let method = call.method("paymentmethod")?;
    if is_unpaid(call, &service) {
        return refuse("Unable to upgrade: an earlier upgrade invoice is unpaid");
    }
    let changed = match form.text("type") {
        Some("product") => of_product(call, &service)?,
        Some("configoptions") => {
            let mut changed = service.clone();
            changed
                .options
                .extend(form.text("configoptions").map(Form::fields).unwrap_or_default());
            changed
        }
        _ => return refuse("Invalid Upgrade Type"),
    };
    let total = days_of(&service.cycle);
    let left = service.next_due.map_or(0, |due| (due - call.today()).whole_days().max(0));
    let price = Cents((changed.recurring - service.recurring).0 * left / total);
    let client = call.state.clients.get(&service.client);
    let currency = client.and_then(|client| call.state.currencies.get(&client.currency));
    let shown = currency
        .map_or_else(|| price.to_string(), |own| format!("{}{price}{}", own.prefix, own.suffix));
    let mut answer = json!({
        "price": shown,
        "originalvalue": service.product.to_string(),
        "newvalue": changed.product.to_string(),
        "daysuntilrenewal": left,
        "totaldays": total,
        "upgradeinprogress": 0,
    });
    if !form.flag("calconly") {
        let (order, invoice) = place(call, &changed, (price, method));
        answer["orderid"] = json!(order);
        answer["invoiceid"] = json!(invoice);
    }
    fields(answer)
}

fn of_product(call: &Call<'_>, service: &Service) -> Result<Service, crate::answer::Refused> {
    let Some(product) = call.state.products.get(&call.form.id("newproductid")) else {
        return refuse("Invalid Product ID");
    };
    let cycle = call.form.text("newproductbillingcycle").unwrap_or(&service.cycle).to_lowercase();
    let client = call.state.clients.get(&service.client);
    let currency = client.map_or(1, |client| client.currency);
    let price = product.prices.get(&(currency, cycle.clone())).copied();
    let Some(recurring) = price.or(product.is_free.then_some(Cents::ZERO)) else {
        return refuse("Invalid Billing Cycle");
    };
    Ok(Service { product: product.id, cycle, recurring, ..service.clone() })
}

fn is_unpaid(call: &Call<'_>, service: &Service) -> bool {
    call.state.invoices.values().any(|invoice| {
        let is_upgrade = |item: &Item| item.kind == "Upgrade" && item.related == service.id;
        invoice.status == "Unpaid" && invoice.items.iter().any(is_upgrade)
    })
}

/// What costs nothing has no invoice, and is changed at once.
fn place(
    call: &mut Call<'_>,
    changed: &Service,
    (price, method): (Cents, String),
) -> (i64, Option<i64>) {
    let today = call.today();
    let invoice = (price > Cents::ZERO).then(|| {
        let item = Item {
            id: call.state.next_id("item"),
            kind: "Upgrade".to_owned(),
            related: changed.id,
            description: "Upgrade".to_owned(),
            amount: price,
            is_taxed: false,
        };
        let id = call.state.next_id("invoice");
        let invoice = Invoice {
            id,
            client: changed.client,
            date: today,
            due: today,
            paid: None,
            cancelled: None,
            status: "Unpaid".to_owned(),
            credit: Cents::ZERO,
            method: method.clone(),
            notes: String::new(),
            items: vec![item],
        };
        call.state.invoices.insert(id, invoice);
        id
    });
    if invoice.is_none() {
        call.state.put_service(changed.clone());
    }
    let id = call.state.next_id("order");
    let order = Order {
        id,
        client: changed.client,
        time: call.now,
        amount: price,
        method,
        invoice: invoice.unwrap_or(0),
        status: "Pending".to_owned(),
        services: Vec::new(),
    };
    call.state.orders.insert(id, order);
    (id, invoice)
}
