//! What other roles have, listed for reconciliation.

use std::collections::BTreeMap;

use stowage_auth::RequestContext;
use stowage_proto::{billing, storage};
use stowage_types::{S3uid, from_timestamp, name};
use time::OffsetDateTime;

use super::{CallError, Roles};

/// Accounts of one call: each may be mended while its caller waits.
const ENGINE_PAGE: i32 = 100;
/// Subscriptions of one call.
const SUBSCRIPTION_PAGE: i32 = 500;

/// An account as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnEngine {
    pub(crate) keys: Vec<String>,
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    pub(crate) suspended: bool,
    pub(crate) read_only: bool,
    pub(crate) bucket_count: i32,
}

/// A page of a listing, and where the next one begins; empty: the end.
pub(crate) struct Listed<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: String,
}

/// What another role has sealed under one master key.
#[derive(Debug)]
pub(crate) struct SealedElsewhere {
    /// The master key that it seals under; 0: it seals nothing.
    pub(crate) sealing_version: u32,
    /// Kinds of records, and how many of each.
    pub(crate) records: Vec<(String, i64)>,
}

/// An open subscription.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) s3uid: String,
    pub(crate) service_id: i64,
    pub(crate) plan_id: i64,
    pub(crate) plan_version: i32,
    pub(crate) is_active: bool,
    /// When its scheduled end falls due.
    pub(crate) cancel_time: Option<OffsetDateTime>,
}

impl From<storage::AccountOnEngine> for OnEngine {
    fn from(wire: storage::AccountOnEngine) -> Self {
        Self {
            keys: wire.access_keys,
            quota_bytes: wire.quota_bytes,
            bucket_max: wire.bucket_max,
            suspended: wire.suspended,
            read_only: wire.read_only,
            bucket_count: wire.bucket_count,
        }
    }
}

impl From<billing::Subscription> for Open {
    fn from(wire: billing::Subscription) -> Self {
        Self {
            is_active: wire.state() == billing::SubscriptionState::Active,
            cancel_time: wire.cancel_time.and_then(|time| from_timestamp(&time).ok()),
            s3uid: wire.s3uid,
            service_id: wire.service_id,
            plan_id: wire.plan_id,
            plan_version: wire.plan_version,
        }
    }
}

impl Roles {
    /// Names of all locations: `locations/NL`.
    pub(crate) async fn list_locations(
        &self,
        cx: &RequestContext,
    ) -> Result<Vec<String>, CallError> {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = storage::ListLocationsRequest { page_token, ..Default::default() };
            let page = self.locations.clone().list_locations(cx.outgoing(message)).await?;
            let page = page.into_inner();
            names.extend(page.locations.into_iter().map(|location| location.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(names);
            }
        }
    }

    /// Accounts of a location by s3uid; `None` beside it: the engine has it not.
    pub(crate) async fn list_engine_accounts(
        &self,
        cx: &RequestContext,
        location: &str,
        page_token: &str,
    ) -> Result<Listed<(String, Option<OnEngine>)>, CallError> {
        let message = storage::ListEngineAccountsRequest {
            parent: location.to_owned(),
            page_size: ENGINE_PAGE,
            page_token: page_token.to_owned(),
        };
        let page = self.engine_accounts.clone().list_engine_accounts(cx.outgoing(message)).await?;
        let page = page.into_inner();
        let rows = page.accounts.into_iter().map(|view| {
            let s3uid = view.name.trim_start_matches("accounts/").to_owned();
            (s3uid, view.on_engine.map(OnEngine::from))
        });
        Ok(Listed { rows: rows.collect(), next: page.next_page_token })
    }

    /// When the keys of an account were last used, as far as its engine tells.
    pub(crate) async fn key_usage(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
    ) -> Result<BTreeMap<String, OffsetDateTime>, CallError> {
        let message =
            storage::ListKeyUsageRequest { parent: name::account(s3uid), ..Default::default() };
        let page = self.engine_accounts.clone().list_key_usage(cx.outgoing(message)).await?;
        let used = page.into_inner().keys.into_iter().filter_map(|key| {
            let time = from_timestamp(key.last_use_time.as_ref()?).ok()?;
            Some((key.access_key, time))
        });
        Ok(used.collect())
    }

    /// What storage has sealed under a master key, and the one that it seals under.
    pub(crate) async fn sealed_under(
        &self,
        cx: &RequestContext,
        version: u32,
    ) -> Result<SealedElsewhere, CallError> {
        let message = storage::GetKeyringRequest {};
        let keyring = self.keyring.clone().get_keyring(cx.outgoing(message)).await?.into_inner();
        let (sealing_version, records) = (keyring.sealing_version, keyring.records);
        let of_version = records.into_iter().filter(|records| records.version == version);
        let records = of_version.map(|records| (records.kind, records.count)).collect();
        Ok(SealedElsewhere { sealing_version, records })
    }

    /// Subscriptions by the ids of their service.
    pub(crate) async fn get_subscriptions(
        &self,
        cx: &RequestContext,
        service_ids: Vec<i64>,
    ) -> Result<Vec<Open>, CallError> {
        let message = billing::BatchGetSubscriptionsRequest {
            service_ids,
            view: billing::SubscriptionView::Full.into(),
        };
        let mut client = self.subscriptions.clone();
        let found = client.batch_get_subscriptions(cx.outgoing(message)).await?;
        Ok(found.into_inner().subscriptions.into_iter().map(Open::from).collect())
    }

    /// Open subscriptions, reservations of orders included.
    pub(crate) async fn list_open_subscriptions(
        &self,
        cx: &RequestContext,
        page_token: &str,
    ) -> Result<Listed<Open>, CallError> {
        let message = billing::ListOpenSubscriptionsRequest {
            page_size: SUBSCRIPTION_PAGE,
            page_token: page_token.to_owned(),
        };
        let mut client = self.subscriptions.clone();
        let page = client.list_open_subscriptions(cx.outgoing(message)).await?.into_inner();
        let rows = page.subscriptions.into_iter().map(Open::from).collect();
        Ok(Listed { rows, next: page.next_page_token })
    }
}
