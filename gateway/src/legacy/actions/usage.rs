//! `get_buckets_rmq` and `get_buckets`.
//!
//! The first is answered from metering's own store, which figures reach over the message broker,
//! so it costs the engine nothing. The second asks the engine.

use stowage_proto::accounts::{AccessKey, Account};
use stowage_proto::common::ErrorReason;
use stowage_proto::metering::{AccountUsage, BucketUsage, GetAccountUsageRequest};
use stowage_proto::storage::{Bucket, ListBucketsRequest};
use stowage_types::{S3uid, name, timestamp};

use super::keys::newest_key;
use super::{Call, Payload};
use crate::json::{Json, Object};
use crate::legacy::errors::Failure;
use crate::legacy::units::{Units, moment};

/// As many as storage sends in one page.
const PAGE_SIZE: i32 = 1000;

/// Most pages of buckets that are read.
const PAGES_MAX: usize = 10;

pub(crate) async fn get_buckets_rmq(call: &Call<'_>) -> Payload {
    let uid = call.s3uid().await?;
    let with_secret = call.may_read_secrets() && !call.facade.config.hide_secret_in_rmq;
    // All at once: the answer takes as long as the slowest, and as long for a foreign account.
    let (account, key, usage) = tokio::join!(
        call.get_account(name::account(&uid)),
        newest_key(call, &uid, with_secret),
        account_usage(call, &uid),
    );
    let (account, key, usage) = (account?, key?, usage?);
    let units = Units::of(account.gb_bytes);
    let buckets: Vec<Json> =
        usage.buckets.iter().map(|bucket| metered_row(units, bucket)).collect();
    let head = Object::new()
        .with("message", buckets)
        .with("usage_storage", units.mb(usage.stored_bytes))
        .with("quota", units.mb(account.quota_bytes))
        .with("metering", metering(units, &usage));
    Ok(with_access(head, &account, key, with_secret)
        .with("as_of", moment(usage.as_of_time.as_ref())))
}

fn metered_row(units: Units, bucket: &BucketUsage) -> Json {
    Object::new()
        .with("name", bucket.bucket.clone())
        .with("usage", units.mb(bucket.stored_bytes))
        .with("as_of", moment(bucket.as_of_time.as_ref()))
        .into()
}

/// Traffic of this month, and what is stored.
pub(super) fn metering(units: Units, usage: &AccountUsage) -> Object {
    let traffic = usage.received_bytes.saturating_add(usage.sent_bytes);
    Object::new()
        .with("total_traffic_gb", units.gb(traffic))
        .with("total_storage_gb", units.gb(usage.stored_bytes))
}

/// The figures of an account. One whose meter is not open yet has used nothing.
pub(super) async fn account_usage(call: &Call<'_>, uid: &S3uid) -> Result<AccountUsage, Failure> {
    let message = GetAccountUsageRequest { s3uid: uid.to_string(), from_time: None, to_time: None };
    match call.metering().get_account_usage(call.request(message)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => match Failure::from(status) {
            // Accounts, not metering, says whether the account is there.
            failure if failure.reason == Some(ErrorReason::MeterNotFound) => {
                Ok(AccountUsage::default())
            }
            failure => Err(failure),
        },
    }
}

fn with_access(head: Object, account: &Account, key: AccessKey, with_secret: bool) -> Object {
    head.with("access_key", key.access_key)
        .maybe("secret_key", with_secret.then_some(key.secret_key))
        .with("endpoint", account.endpoint.clone())
}

pub(crate) async fn get_buckets(call: &Call<'_>) -> Payload {
    let uid = call.s3uid().await?;
    let with_secret = call.may_read_secrets();
    let (account, key, buckets) = tokio::join!(
        call.get_account(name::account(&uid)),
        newest_key(call, &uid, with_secret),
        live_buckets(call, &uid),
    );
    let (account, key, buckets) = (account?, key?, buckets?);
    let units = Units::of(account.gb_bytes);
    let sum = |of: fn(&Bucket) -> i64| buckets.iter().map(of).fold(0_i64, i64::saturating_add);
    let stored = sum(|bucket| bucket.stored_bytes);
    let traffic = sum(|bucket| bucket.received_bytes.saturating_add(bucket.sent_bytes));
    let rows: Vec<Json> = buckets.iter().map(|bucket| live_row(units, bucket)).collect();
    let metering = Object::new()
        .with("total_traffic_gb", units.gb(traffic))
        .with("total_storage_gb", units.gb(stored));
    let head = Object::new()
        .with("buckets", rows)
        .with("usage_storage", units.mb(stored))
        .with("quota", units.mb(account.quota_bytes))
        .with("metering", metering);
    let now = timestamp(call.facade.clock.now());
    Ok(with_access(head, &account, key, with_secret).with("as_of", moment(Some(&now))))
}

async fn live_buckets(call: &Call<'_>, uid: &S3uid) -> Result<Vec<Bucket>, Failure> {
    let mut buckets = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let message =
            ListBucketsRequest { parent: name::account(uid), page_size: PAGE_SIZE, page_token };
        let page = call.buckets().list_buckets(call.request(message)).await?.into_inner();
        buckets.extend(page.buckets);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(buckets)
}

fn live_row(units: Units, bucket: &Bucket) -> Json {
    Object::new()
        .with("name", bucket.bucket.clone())
        .with("usage", units.mb(bucket.stored_bytes))
        .with("objects", bucket.object_count)
        .with("traffic_in", bucket.received_bytes)
        .with("traffic_out", bucket.sent_bytes)
        .with("snapshots", Vec::<Json>::new())
        .into()
}
