//! Orders. Nothing about them is idempotent: there is no key, and no notes either.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Call;
use crate::answer::{Answer, Empty, Refused, date, fields, moment, page, refuse, text, title};
use crate::cents::Cents;
use crate::form::Form;
use crate::state::{Invoice, Item, Order, Product, Service};

const NOT_PENDING: &str = "Order ID not found or Status not Pending";
const NOT_FOUND: &str = "Order ID Not Found";

/// Something in the cart.
struct Wanted {
    product: Product,
    cycle: String,
    price: Cents,
    domain: String,
    custom_fields: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

/// The product's own auto-setup is not heeded: an order stays `Pending` until it is accepted.
pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let client = call.client("clientid")?.clone();
    if client.status == "Closed" {
        return refuse("Client status is Closed");
    }
    let method = call.method("paymentmethod")?;
    let wanted = cart(call, client.currency)?;
    if wanted.is_empty() {
        return refuse("No items added to cart so order cannot proceed");
    }
    let order_id = call.state.next_id("order");
    let mut services = Vec::new();
    for item in &wanted {
        let service = service_of(call, item, (client.id, order_id), &method);
        services.push(service.id);
        call.state.put_service(service);
    }
    let amount = wanted.iter().map(|item| item.price).sum();
    let is_invoiced = amount > Cents::ZERO && !call.form.flag("noinvoice");
    let invoice = if is_invoiced { add_invoice(call, client.id, &services, &method) } else { 0 };
    let listed: Vec<String> = services.iter().map(ToString::to_string).collect();
    let order = Order {
        id: order_id,
        client: client.id,
        time: call.now,
        amount,
        method,
        invoice,
        status: "Pending".to_owned(),
        services,
    };
    call.state.orders.insert(order_id, order);
    fields(json!({
        "orderid": order_id,
        "serviceids": listed.join(","),
        "addonids": "",
        "domainids": "",
        "invoiceid": invoice,
    }))
}

fn cart(call: &Call<'_>, currency: i64) -> Result<Vec<Wanted>, Refused> {
    let form = call.form;
    let (pids, cycles) = (form.array("pid")?, form.array("billingcycle")?);
    let (domains, overrides) = (form.array("domain")?, form.array("priceoverride")?);
    let (fields, options) = (form.array("customfields")?, form.array("configoptions")?);
    form.array("hostname")?;
    let mut wanted = Vec::new();
    for (key, pid) in &pids {
        let pid: i64 = pid.parse().unwrap_or(0);
        let Some(product) = call.state.products.get(&pid) else { continue };
        let cycle = cycles.get(key).map_or("monthly", String::as_str).to_lowercase();
        let offered = if product.is_free {
            Some(Cents::ZERO)
        } else {
            product.prices.get(&(currency, cycle.clone())).copied()
        };
        let Some(offered) = offered else { continue };
        let price = overrides.get(key).and_then(|text| Cents::parse(text)).unwrap_or(offered);
        wanted.push(Wanted {
            product: product.clone(),
            cycle: if product.is_free { "free".to_owned() } else { cycle },
            price,
            domain: domains.get(key).cloned().unwrap_or_default(),
            custom_fields: fields.get(key).map(|text| Form::fields(text)).unwrap_or_default(),
            options: options.get(key).map(|text| Form::fields(text)).unwrap_or_default(),
        });
    }
    Ok(wanted)
}

fn service_of(
    call: &mut Call<'_>,
    item: &Wanted,
    (client, order): (i64, i64),
    method: &str,
) -> Service {
    let today = call.today();
    Service {
        id: call.state.next_id("service"),
        client,
        order,
        product: item.product.id,
        registered: today,
        domain: item.domain.clone(),
        status: "Pending".to_owned(),
        cycle: item.cycle.clone(),
        first: item.price,
        recurring: item.price,
        next_due: (item.cycle != "free").then_some(today),
        terminates: None,
        method: method.to_owned(),
        username: String::new(),
        password: String::new(),
        notes: String::new(),
        suspend_reason: String::new(),
        figures: [0; 4],
        custom_fields: item.custom_fields.clone(),
        options: item.options.clone(),
    }
}

/// The invoice of an order: a line for each service, due today.
fn add_invoice(call: &mut Call<'_>, client: i64, services: &[i64], method: &str) -> i64 {
    let today = call.today();
    let lines: Vec<(i64, String, Cents)> = services
        .iter()
        .filter_map(|id| call.state.services.get(id))
        .map(|service| (service.id, describe(call, service), service.first))
        .collect();
    let items = lines.into_iter().map(|(related, description, amount)| Item {
        id: call.state.next_id("item"),
        kind: "Hosting".to_owned(),
        related,
        description,
        amount,
        is_taxed: false,
    });
    let items = items.collect();
    let id = call.state.next_id("invoice");
    let invoice = Invoice {
        id,
        client,
        date: today,
        due: today,
        paid: None,
        cancelled: None,
        status: "Unpaid".to_owned(),
        credit: Cents::ZERO,
        method: method.to_owned(),
        notes: String::new(),
        items,
    };
    call.state.invoices.insert(id, invoice);
    id
}

/// What is printed for a period of a service.
pub(super) fn describe(call: &Call<'_>, service: &Service) -> String {
    let product = call.state.products.get(&service.product);
    let name = product.map_or("", |product| product.name.as_str());
    let from = date(service.next_due);
    if service.domain.is_empty() {
        format!("{name} ({from})")
    } else {
        format!("{name} - {} ({from})", service.domain)
    }
}

pub(super) fn accept(call: &mut Call<'_>) -> Answer {
    let order = pending(call)?;
    let activates = call.settings.accept_activates || call.form.flag("autosetup");
    for id in &order.services {
        let Some(mut service) = call.state.services.get(id).cloned() else { continue };
        if call.form.flag("autosetup") {
            super::modules::check_module(call, &service)?;
        }
        if let Some(username) = call.form.text("serviceusername") {
            service.username = username.to_owned();
        }
        if let Some(password) = call.form.text("servicepassword") {
            service.password = password.to_owned();
        }
        if activates && service.status == "Pending" {
            service.status = "Active".to_owned();
        }
        call.state.put_service(service);
    }
    set_status(call, order.id, "Active");
    fields(json!({}))
}

pub(super) fn cancel(call: &mut Call<'_>) -> Answer {
    let order = pending(call)?;
    set_services(call, &order, "Cancelled");
    if call.settings.cancel_cancels_invoice
        && let Some(invoice) = call.state.invoices.get_mut(&order.invoice)
        && invoice.status == "Unpaid"
    {
        invoice.status = "Cancelled".to_owned();
        invoice.cancelled = Some(call.now);
    }
    set_status(call, order.id, "Cancelled");
    fields(json!({}))
}

/// Removes services and invoice too.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let order = found(call)?;
    if !matches!(order.status.as_str(), "Cancelled" | "Fraud") {
        return refuse("The order status must be in Cancelled or Fraud to be deleted");
    }
    for id in &order.services {
        call.state.services.remove(id);
    }
    call.state.invoices.remove(&order.invoice);
    call.state.orders.remove(&order.id);
    fields(json!({}))
}

pub(super) fn set_pending(call: &mut Call<'_>) -> Answer {
    let order = found(call)?;
    set_services(call, &order, "Pending");
    set_status(call, order.id, "Pending");
    fields(json!({}))
}

pub(super) fn set_fraud(call: &mut Call<'_>) -> Answer {
    let order = pending(call)?;
    set_services(call, &order, "Fraud");
    set_status(call, order.id, "Fraud");
    fields(json!({}))
}

fn found(call: &Call<'_>) -> Result<Order, Refused> {
    let order = call.state.orders.get(&call.form.id("orderid")).cloned();
    order.ok_or_else(|| Refused::new(NOT_FOUND))
}

fn pending(call: &Call<'_>) -> Result<Order, Refused> {
    let order = call.state.orders.get(&call.form.id("orderid"));
    let order = order.filter(|order| order.status == "Pending").cloned();
    order.ok_or_else(|| Refused::new(NOT_PENDING))
}

fn set_status(call: &mut Call<'_>, id: i64, status: &str) {
    if let Some(order) = call.state.orders.get_mut(&id) {
        order.status = status.to_owned();
    }
}

fn set_services(call: &mut Call<'_>, order: &Order, status: &str) {
    for id in &order.services {
        if let Some(service) = call.state.services.get_mut(id) {
            service.status = status.to_owned();
        }
    }
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let wanted = |order: &&Order| {
        form.number("userid").is_none_or(|id| order.client == id)
            && form.text("status").is_none_or(|status| order.status == status)
    };
    let orders: Vec<&Order> = match form.number("id") {
        Some(id) => call.state.orders.get(&id).into_iter().filter(wanted).collect(),
        None => call.state.orders.values().rev().filter(wanted).collect(),
    };
    page(form, ("orders", "order"), Empty::List, &orders, |order| row(call, order))
}

fn row(call: &Call<'_>, order: &Order) -> Value {
    let client = call.state.clients.get(&order.client);
    let currency = client.and_then(|client| call.state.currencies.get(&client.currency));
    let invoice = call.state.invoices.get(&order.invoice);
    let services = order.services.iter().filter_map(|id| call.state.services.get(id));
    let lines: Vec<Value> = services.map(|service| line(call, service)).collect();
    json!({
        "id": order.id,
        "ordernum": (1_000_000_000 + order.id).to_string(),
        "userid": order.client,
        "contactid": 0,
        "date": moment(Some(order.time)),
        "nameservers": "",
        "promocode": "",
        "amount": text(order.amount),
        "paymentmethod": order.method,
        "paymentmethodname": title(&order.method),
        "invoiceid": order.invoice.to_string(),
        "status": order.status,
        "ipaddress": "",
        "notes": "",
        "paymentstatus": invoice.map_or("", |invoice| invoice.status.as_str()),
        "name": client.map_or_else(String::new, |c| format!("{} {}", c.name.0, c.name.1)),
        "currencyprefix": currency.map_or("", |currency| currency.prefix.as_str()),
        "currencysuffix": currency.map_or("", |currency| currency.suffix.as_str()),
        "lineitems": {"lineitem": lines},
    })
}

fn line(call: &Call<'_>, service: &Service) -> Value {
    let product = call.state.products.get(&service.product);
    json!({
        "type": "product",
        "relid": service.id.to_string(),
        "producttype": "Other Product/Service",
        "product": product.map_or("", |product| product.name.as_str()),
        "domain": service.domain,
        "billingcycle": title(&service.cycle),
        "amount": service.first.to_string(),
        "status": service.status,
    })
}
