//! API keys: long-lived credentials for our API. Stored as hashes.

use stowage_auth::{RequestContext, hash_token};
use stowage_request::Once;
use stowage_types::{CustomerId, SecretString, new_id};
use time::OffsetDateTime;
use uuid::Uuid;

use super::history::{Cause, Entry, Event};
use super::session::random_hex;
use super::{Domain, Page};
use crate::error::Error;
use crate::events;
use crate::store;

/// What every API key begins with, so that a leaked one is recognised.
const PREFIX: &str = "sk_";
/// Characters of a key that are kept in clear: the prefix and 32 of its 256 random bits.
const HINT_CHARS: usize = 11;

/// What is kept of an API key.
#[derive(Debug, Clone)]
pub(crate) struct ApiKey {
    pub(crate) id: Uuid,
    pub(crate) customer: CustomerId,
    pub(crate) hint: String,
    pub(crate) label: String,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) revoke_time: Option<OffsetDateTime>,
}

/// A key just made, with the key itself, which only a repeat of the same request reads again.
#[derive(Debug, Clone)]
pub(crate) struct MadeKey {
    pub(crate) key: ApiKey,
    pub(crate) secret: SecretString,
}

impl Domain {
    /// Makes a key.
    pub(crate) async fn create_api_key(
        &self,
        cx: &RequestContext,
        customer: CustomerId,
        label: String,
        once: &Once<MadeKey>,
    ) -> Result<MadeKey, Error> {
        self.get_customer(cx, customer).await?;
        let shared = &self.shared;
        let now = shared.clock.now();
        let key = format!("{PREFIX}{}", random_hex(&*shared.random));
        let made = ApiKey {
            id: new_id(&*shared.clock, &*shared.random),
            customer,
            hint: key.chars().take(HINT_CHARS).collect(),
            label,
            create_time: now,
            revoke_time: None,
        };
        let mut tx = shared.db.begin().await?;
        store::api_key::insert(&mut tx, &made, hash_token(&key)).await?;
        Entry::new(Event::ApiKeyCreated, Cause::of(cx))
            .customer(customer)
            .new_state(state_of(&made))
            .write(&mut tx, now)
            .await?;
        let made = MadeKey { key: made, secret: SecretString::from(key) };
        once.answer(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Keys of a customer, oldest first, revoked ones too.
    pub(crate) async fn list_api_keys(
        &self,
        cx: &RequestContext,
        customer: CustomerId,
        (after, size): (Uuid, i64),
    ) -> Result<Page<ApiKey>, Error> {
        self.get_customer(cx, customer).await?;
        let rows = store::api_key::list(&self.shared.db, customer, after, size + 1).await?;
        Ok(Page::of(rows, size))
    }

    /// Revokes a key and every token got with it.
    pub(crate) async fn revoke_api_key(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<ApiKey>,
    ) -> Result<ApiKey, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut tx = shared.db.begin().await?;
        let found = store::api_key::lock(&mut tx, id).await?;
        let mut key = found.filter(|key| cx.sees(key.customer)).ok_or(Error::ApiKeyNotFound)?;
        if store::api_key::revoke(&mut tx, id, now).await? {
            let hashes = store::token::delete_of(&mut tx, id).await?;
            let entry = Entry::new(Event::ApiKeyRevoked, Cause::of(cx)).old_state(state_of(&key));
            key.revoke_time = Some(now);
            let mut after = state_of(&key);
            after["sessions_closed"] = hashes.len().into();
            entry.customer(key.customer).new_state(after).write(&mut tx, now).await?;
            events::push_tokens_revoked(&shared.outbox, &mut tx, &hashes).await?;
            once.answer(&mut tx, &key).await?;
            tx.commit().await?;
        }
        Ok(key)
    }
}

fn state_of(key: &ApiKey) -> serde_json::Value {
    serde_json::json!({
        "id": key.id,
        "hint": key.hint,
        "label": key.label,
        "revoke_time": key.revoke_time.map(|time| time.unix_timestamp()),
    })
}
