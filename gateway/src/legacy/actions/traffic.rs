//! `update_traffic_info`.

use std::time::Duration;

use stowage_proto::accounts::Account;
use stowage_proto::metering::AccountUsage;
use stowage_proto::storage::{CollectUsageRequest, CollectUsageResponse};
use stowage_types::{S3uid, from_timestamp, name};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::usage::{account_usage, metering};
use super::{Call, Payload};
use crate::json::Object;
use crate::legacy::errors::{ACCESS_DENIED, Failure};
use crate::legacy::units::{Units, moment};

/// Time between two looks at metering.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From when on equal figures are taken for fresh ones: an engine that has seen no traffic sends
/// no new fact, so nothing would ever be as young as the question.
const EQUAL_AFTER: Duration = Duration::from_millis(500);

/// Asks the engine for fresh figures, and waits a little until metering has them.
pub(crate) async fn update_traffic_info(call: &Call<'_>) -> Payload {
    if call.is_customer() {
        return Err(Failure::business(ACCESS_DENIED));
    }
    let uid = call.s3uid().await?;
    let asked_at = call.facade.clock.now();
    let message =
        CollectUsageRequest { name: name::account(&uid), request_id: call.idempotency_key.clone() };
    let (account, collected) = tokio::join!(call.get_account(name::account(&uid)), async {
        Ok::<_, Failure>(call.collector().collect_usage(call.request(message)).await?.into_inner())
    });
    let (account, collected): (Account, CollectUsageResponse) = (account?, collected?);
    let usage = fresh_usage(call, &uid, asked_at, &collected).await?;
    Ok(Object::new()
        .with("s3uid", uid.to_string())
        .with("metering", metering(Units::of(account.gb_bytes), &usage))
        .with("as_of", moment(usage.as_of_time.as_ref())))
}

async fn fresh_usage(
    call: &Call<'_>,
    uid: &S3uid,
    asked_at: OffsetDateTime,
    collected: &CollectUsageResponse,
) -> Result<AccountUsage, Failure> {
    let start = Instant::now();
    let wait_max = Duration::from_millis(call.facade.config.usage_wait_ms_max);
    loop {
        let usage = account_usage(call, uid).await?;
        let is_young = usage
            .as_of_time
            .as_ref()
            .and_then(|at| from_timestamp(at).ok())
            .is_some_and(|at| at >= asked_at);
        let is_equal = usage.stored_bytes == collected.stored_bytes
            && usage.buckets.iter().map(|b| b.object_count).sum::<i64>() == collected.object_count;
        let waited = start.elapsed();
        if is_young || (is_equal && waited >= EQUAL_AFTER) || waited + LOOK_EVERY > wait_max {
            return Ok(usage);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
