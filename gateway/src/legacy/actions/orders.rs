//! `create_order` and `create_account`.

use stowage_proto::accounts::CreateAccountRequest;
use stowage_types::{PlanId, name};

use super::{Call, Payload, state_text};
use crate::json::Object;
use crate::legacy::errors::Failure;
use crate::legacy::params::{BUCKET_NAME, ID, PLAN_ID};

/// Orders an account with its first bucket, and waits for the end of the order.
pub(crate) async fn create_order(call: &Call<'_>) -> Payload {
    // Who is no customer can order for one only.
    if !call.is_customer() && call.who.acted_for == 0 {
        return Err(Failure::required(ID.name));
    }
    let message = CreateAccountRequest {
        plan: name::plan(PlanId(call.int(&PLAN_ID).unwrap_or_default())),
        location: call.location(),
        bucket: call.text(&BUCKET_NAME),
        request_id: call.idempotency_key.clone(),
    };
    let account = call.accounts().create_account(call.request(message)).await?.into_inner();
    let status = state_text(account.state());
    Ok(Object::new()
        .with("s3uid", account.s3uid)
        .with("order_id", account.order_id)
        .with("invoice_id", account.invoice_id)
        .with("service_id", account.service_id)
        .with("status", status)
        .with("endpoint", account.endpoint))
}
