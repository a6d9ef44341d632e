//! Server modules: a product has none unless it is given one here, and none does anything.

use serde_json::json;

use super::Call;
use crate::answer::{Answer, Refused, fields, refuse};
use crate::state::Service;

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    set(call, |service| "Active".clone_into(&mut service.status))
}

pub(super) fn suspend(call: &mut Call<'_>) -> Answer {
    let reason = call.form.text("suspendreason").unwrap_or_default().to_owned();
    set(call, |service| {
        "Suspended".clone_into(&mut service.status);
        service.suspend_reason.clone_from(&reason);
    })
}

pub(super) fn unsuspend(call: &mut Call<'_>) -> Answer {
    set(call, |service| {
        "Active".clone_into(&mut service.status);
        service.suspend_reason.clear();
    })
}

pub(super) fn terminate(call: &mut Call<'_>) -> Answer {
    set(call, |service| "Terminated".clone_into(&mut service.status))
}

pub(super) fn change_package(call: &mut Call<'_>) -> Answer {
    set(call, |_| {})
}

fn set(call: &mut Call<'_>, change: impl FnOnce(&mut Service)) -> Answer {
    // Before 7.7 it was called so.
    let id = call.form.number("serviceid").or_else(|| call.form.number("accountid"));
    let Some(id) = id else { return refuse("Service ID is required") };
    let Some(mut service) = call.state.services.get(&id).cloned() else {
        return refuse("Service ID not found");
    };
    check_module(call, &service)?;
    change(&mut service);
    call.state.put_service(service);
    fields(json!({}))
}

/// A module named `failing` fails, and says so in words of its own.
pub(super) fn check_module(call: &mut Call<'_>, service: &Service) -> Result<(), Refused> {
    let product = call.state.products.get(&service.product);
    match product.and_then(|product| product.module.as_deref()) {
        None => refuse("Service not assigned to a module"),
        Some("failing") => {
            let message = "the server cannot be reached".to_owned();
            call.state.module_failures.push((service.id, message.clone()));
            refuse(format!("Server response message: {message}"))
        }
        Some(_) => Ok(()),
    }
}

pub(super) fn queue(call: &mut Call<'_>) -> Answer {
    let failures = call.state.module_failures.iter();
    let rows: Vec<_> = failures
        .map(|(service, message)| {
            json!({"serviceType": "service", "relatedId": service, "lastAttemptError": message})
        })
        .collect();
    fields(json!({"count": rows.len(), "queue": rows}))
}
