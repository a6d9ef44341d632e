//! Requests to cancel. No action takes one back, and no action filters them.

use serde_json::json;

use super::Call;
use crate::answer::{Answer, Empty, fields, moment, page, refuse};
use crate::state::CancelRequest;

const KINDS: [&str; 2] = ["Immediate", "End of Billing Period"];

pub(super) fn add(call: &mut Call<'_>) -> Answer {
    let service = call.form.id("serviceid");
    let Some(client) = call.state.services.get(&service).map(|service| service.client) else {
        return refuse("Service ID Not Found");
    };
    if call.state.cancel_requests.iter().any(|own| own.service == service) {
        return refuse("Existing Cancellation Request Exists");
    }
    let kind = call.form.text("type").unwrap_or_default();
    // Anything else is taken for the one that does no harm at once.
    let kind = KINDS.into_iter().find(|own| *own == kind).unwrap_or(KINDS[1]).to_owned();
    let reason = call.form.text("reason").unwrap_or_default().to_owned();
    let id = call.state.next_id("cancel");
    let time = call.now;
    call.state.cancel_requests.push(CancelRequest { id, service, time, reason, kind });
    fields(json!({"serviceid": service, "userid": client}))
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    page(call.form, ("packages", "package"), Empty::Text, &call.state.cancel_requests, |own| {
        json!({
            "id": own.id.to_string(),
            "date": moment(Some(own.time)),
            "relid": own.service.to_string(),
            "reason": own.reason,
            "type": own.kind,
            "created_at": moment(Some(own.time)),
            "updated_at": moment(Some(own.time)),
        })
    })
}
