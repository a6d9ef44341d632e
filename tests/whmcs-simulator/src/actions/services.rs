//! What clients have.

use serde_json::{Value, json};

use super::Call;
use crate::answer::{Answer, Empty, date, fields, page, read_date, refuse, text, title};
use crate::form::Form;
use crate::state::Service;

/// `domain` and `username2` are looked up as they are, without wildcards.
pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let wanted = |service: &&Service| {
        form.number("clientid").is_none_or(|id| service.client == id)
            && form.number("serviceid").is_none_or(|id| service.id == id)
            && form.number("pid").is_none_or(|id| service.product == id)
            && form.text("username2").is_none_or(|name| service.username == name)
    };
    let state = &*call.state;
    let services: Vec<&Service> = match (form.number("serviceid"), form.text("domain")) {
        (_, Some(domain)) => state.services_of(domain).into_iter().filter(wanted).collect(),
        (Some(id), None) => state.services.get(&id).into_iter().filter(wanted).collect(),
        (None, None) => state.services.values().filter(wanted).collect(),
    };
    let row = |service: &&Service| row(call, service);
    let mut answer = page(form, ("products", "product"), Empty::Text, &services, row)?;
    for name in ["clientid", "serviceid", "pid", "domain"] {
        answer.insert(name.to_owned(), json!(form.text(name)));
    }
    Ok(answer)
}

fn row(call: &Call<'_>, service: &Service) -> Value {
    let product = call.state.products.get(&service.product);
    let name = product.map_or("", |product| product.name.as_str());
    let list = |fields: &std::collections::BTreeMap<String, String>, inner: &str| {
        let of = |(id, value): (&String, &String)| json!({"id": id, "value": value});
        let rows: Vec<Value> = fields.iter().map(of).collect();
        json!({ inner: rows })
    };
    let [disk, disk_max, traffic, traffic_max] = service.figures;
    json!({
        "id": service.id.to_string(),
        "qty": "1",
        "clientid": service.client.to_string(),
        "orderid": service.order.to_string(),
        "ordernumber": (1_000_000_000 + service.order).to_string(),
        "pid": service.product.to_string(),
        "regdate": date(Some(service.registered)),
        "name": name,
        "translated_name": name,
        "groupname": "Storage",
        "domain": service.domain,
        "dedicatedip": "",
        "serverid": "0",
        "servername": "",
        "firstpaymentamount": text(service.first),
        "recurringamount": text(service.recurring),
        "paymentmethod": service.method,
        "paymentmethodname": title(&service.method),
        "billingcycle": if service.cycle == "free" {
            "Free Account".to_owned()
        } else {
            title(&service.cycle)
        },
        "nextduedate": date(service.next_due),
        "status": service.status,
        "username": service.username,
        "password": service.password,
        "subscriptionid": "",
        "promoid": "0",
        "overideautosuspend": "",
        "overidesuspenduntil": "0000-00-00",
        "suspensionreason": service.suspend_reason,
        "notes": service.notes,
        "diskusage": disk.to_string(),
        "disklimit": disk_max.to_string(),
        "bwusage": traffic.to_string(),
        "bwlimit": traffic_max.to_string(),
        "lastupdate": "0000-00-00 00:00:00",
        "customfields": list(&service.custom_fields, "customfield"),
        "configoptions": list(&service.options, "configoption"),
    })
}

/// Changes the record and nothing else: no module is called.
pub(super) fn update(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let Some(mut service) = call.state.services.get(&form.id("serviceid")).cloned() else {
        return refuse("Service ID Not Found");
    };
    for (name, field) in [
        ("status", &mut service.status),
        ("domain", &mut service.domain),
        ("notes", &mut service.notes),
        ("serviceusername", &mut service.username),
        ("servicepassword", &mut service.password),
        ("suspendreason", &mut service.suspend_reason),
        ("paymentmethod", &mut service.method),
    ] {
        if let Some(value) = form.text(name) {
            value.clone_into(field);
        }
    }
    for (at, name) in ["diskusage", "disklimit", "bwusage", "bwlimit"].into_iter().enumerate() {
        if let Some(number) = form.number(name) {
            service.figures[at] = number;
        }
    }
    if let Some(product) = form.number("pid") {
        service.product = product;
    }
    if let Some(cycle) = form.text("billingcycle") {
        service.cycle = cycle.to_lowercase();
    }
    for (name, field) in
        [("recurringamount", &mut service.recurring), ("firstpaymentamount", &mut service.first)]
    {
        *field = form.amount(name).unwrap_or(*field);
    }
    for (name, field) in
        [("nextduedate", &mut service.next_due), ("terminationdate", &mut service.terminates)]
    {
        // What clears a date is written nowhere: nothing that is no date changes it here.
        *field = form.text(name).and_then(read_date).or(*field);
    }
    if let Some(text) = form.text("customfields") {
        service.custom_fields.extend(Form::fields(text));
    }
    if let Some(text) = form.text("configoptions") {
        service.options.extend(Form::fields(text));
    }
    for name in form.array("unset")?.values() {
        match name.as_str() {
            "notes" => service.notes.clear(),
            "suspendreason" => service.suspend_reason.clear(),
            "domain" => service.domain.clear(),
            _ => {}
        }
    }
    let id = service.id;
    call.state.put_service(service);
    fields(json!({"serviceid": id.to_string()}))
}
