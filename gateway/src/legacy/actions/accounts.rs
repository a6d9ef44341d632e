//! `delete_account`, `delete_payment_account`, `cancel_payment_account_deletion`.

use stowage_proto::accounts::{
    DeleteAccountRequest, ScheduleCancellationRequest, WithdrawCancellationRequest,
};

use super::{Call, Payload, state_text};
use crate::json::Object;
use crate::legacy::params::REASON;
use crate::legacy::units::day;

/// Deletes an account now, with all in it.
pub(crate) async fn delete_account(call: &Call<'_>) -> Payload {
    let name = call.named_account().await?;
    let message = DeleteAccountRequest {
        name,
        reason: call.text(&REASON),
        request_id: call.idempotency_key.clone(),
    };
    let account = call.accounts().delete_account(call.request(message)).await?.into_inner();
    Ok(Object::new().with("s3uid", account.s3uid))
}

/// Schedules the end of an account at the end of what is paid for.
pub(crate) async fn delete_payment_account(call: &Call<'_>) -> Payload {
    let name = call.named_account().await?;
    let message = ScheduleCancellationRequest {
        name,
        reason: call.text(&REASON),
        request_id: call.idempotency_key.clone(),
    };
    let account = call.accounts().schedule_cancellation(call.request(message)).await?.into_inner();
    let cancel_date = day(account.cancel_time.as_ref());
    Ok(Object::new().with("s3uid", account.s3uid).with("cancel_date", cancel_date))
}

/// Withdraws a scheduled end.
pub(crate) async fn cancel_payment_account_deletion(call: &Call<'_>) -> Payload {
    let name = call.named_account().await?;
    let message = WithdrawCancellationRequest { name, request_id: call.idempotency_key.clone() };
    let account = call.accounts().withdraw_cancellation(call.request(message)).await?.into_inner();
    let status = state_text(account.state());
    Ok(Object::new().with("s3uid", account.s3uid).with("status", status))
}
