//! `show_key`.

use stowage_proto::accounts::{AccessKey, ListAccessKeysRequest};
use stowage_types::{S3uid, name};

use super::{Call, Payload};
use crate::json::Object;
use crate::legacy::errors::{ACCESS_DENIED, Failure};
use crate::legacy::params::S3_KEY;

/// One half of the account's key pair. Reading the secret is audited by accounts.
pub(crate) async fn show_key(call: &Call<'_>) -> Payload {
    let half = S3_KEY.choice(call.params).unwrap_or_default();
    let is_secret = half == "secret_key";
    if is_secret && !call.may_read_secrets() {
        return Err(Failure::business(ACCESS_DENIED));
    }
    let pair = newest_key(call, &call.s3uid().await?, is_secret).await?;
    let key = if is_secret { pair.secret_key } else { pair.access_key };
    Ok(Object::new().with("s3_key", half).with("key", key.clone()).with(half, key))
}

/// The key pair that new clients of the account are to use.
pub(super) async fn newest_key(
    call: &Call<'_>,
    uid: &S3uid,
    with_secrets: bool,
) -> Result<AccessKey, Failure> {
    let message =
        ListAccessKeysRequest { parent: name::account(uid), with_secrets, ..Default::default() };
    let answer = call.accounts().list_access_keys(call.request(message)).await?.into_inner();
    Ok(answer.access_keys.into_iter().next_back().unwrap_or_default())
}
