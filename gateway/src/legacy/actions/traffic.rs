//! `update_traffic_info`.

use stowage_proto::metering::{AccountUsage, AwaitUsageRequest};
use stowage_proto::storage::CollectUsageRequest;
use stowage_types::{S3uid, name};

use super::usage::metering;
use super::{Call, Payload};
use crate::json::Object;
use crate::legacy::errors::{ACCESS_DENIED, Failure};
use crate::legacy::units::{Units, moment};

/// Asks the engine for fresh figures, and waits a little until metering has them.
pub(crate) async fn update_traffic_info(call: &Call<'_>) -> Payload {
    if call.is_customer() {
        return Err(Failure::business(ACCESS_DENIED));
    }
    let uid = call.bound_s3uid().await?;
    let usage = collected_usage(call, &uid).await?;
    let gb_bytes = usage.dimensions.as_ref().map_or(0, |dimensions| dimensions.gb_bytes);
    Ok(Object::new()
        .with("s3uid", uid.to_string())
        .with("metering", metering(Units::of(gb_bytes), &usage))
        .with("as_of", moment(usage.as_of_time.as_ref())))
}

/// Both roles know the client's key, so a repeat asks no engine and shows the first figures.
async fn collected_usage(call: &Call<'_>, uid: &S3uid) -> Result<AccountUsage, Failure> {
    let request_id = call.idempotency_key.clone();
    let message = CollectUsageRequest { name: name::account(uid), request_id: request_id.clone() };
    let collected = call.collector().collect_usage(call.request(message)).await?.into_inner();
    let message = AwaitUsageRequest {
        s3uid: uid.to_string(),
        collect_time: collected.collect_time,
        stored_bytes: collected.stored_bytes,
        object_count: collected.object_count,
        request_id,
    };
    Ok(call.metering().await_usage(call.request(message)).await?.into_inner())
}
