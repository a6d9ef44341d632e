//! Webhooks: who is told of what, and what became of it.
//!
//! An event becomes a delivery for each receiver that wants it, in one transaction with the note
//! that it was seen. A delivery is sent until it is answered with 2xx
//! ([`super::webhook_delivery`]): once at least, and in no order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use stowage_auth::RequestContext;
use stowage_db::{Db, Tx};
use stowage_request::Once;
use stowage_runtime::{BoxError, HttpClient};
use stowage_types::{Clock, Random, SecretString, new_id};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use super::history::{Cause, Entry, Event};
use super::{Domain, Page, check_operator};
use crate::config::Webhook as Settings;
use crate::error::Error;
use crate::store;

/// Type of the event that says nothing.
const TEST: &str = "stowage.webhook.test.v1";
/// How long an event is tried. Source: what receivers are promised.
const TRIED: time::Duration = time::Duration::days(3);
/// Longest time for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const OPERATE: &str = "operate webhooks";

/// A receiver of events.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) uri: Uri,
    pub(crate) secret: SecretString,
    /// Types of events, as `billing.invoice.overdue`.
    pub(crate) events: Vec<String>,
    pub(super) client: HttpClient,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    Waiting,
    Delivered,
    Failed,
}

impl DeliveryState {
    /// Every state.
    pub(crate) const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// How it is stored.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One event for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) webhook: String,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: i32,
    /// HTTP status of the last attempt; 0: no answer.
    pub(crate) last_status: i32,
    pub(crate) last_error: String,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) next_attempt_time: OffsetDateTime,
    pub(crate) give_up_time: OffsetDateTime,
    pub(crate) last_attempt_time: Option<OffsetDateTime>,
    pub(crate) end_time: Option<OffsetDateTime>,
}

/// What is sent, whoever gets it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeliveryFilter {
    pub(crate) webhook: Option<String>,
    pub(crate) state: Option<DeliveryState>,
    /// Those that are older than this one.
    pub(crate) before: Option<Uuid>,
}

/// A receiver, with how many deliveries wait and have failed.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) waiting: i64,
    pub(crate) failed: i64,
}

/// The receivers that are configured, and what deliveries are made with.
pub(crate) struct Webhooks {
    pub(super) db: Db,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Woken when there is something to deliver.
    pub(super) due: Notify,
}

impl Webhooks {
    /// Takes the receivers with their secrets.
    ///
    /// # Errors
    /// One has no secret, or its authorities cannot be read.
    pub(crate) fn new(
        (db, clock, random): (Db, Arc<dyn Clock>, Arc<dyn Random>),
        settings: &BTreeMap<String, Settings>,
        secrets: &BTreeMap<String, SecretString>,
    ) -> Result<Self, BoxError> {
        let mut endpoints = Vec::new();
        for (name, settings) in settings {
            let missing = || format!("the webhook {name} has no secret");
            endpoints.push(Arc::new(Endpoint {
                name: name.clone(),
                uri: settings.url.parse()?,
                secret: secrets.get(name).cloned().ok_or_else(missing)?,
                events: settings.events(),
                client: HttpClient::new(settings.ca.as_deref(), CONNECT_MAX)?,
            }));
        }
        Ok(Self { db, clock, random, endpoints, due: Notify::new() })
    }

    /// Keeps a message for every receiver that wants it.
    pub(crate) async fn keep(&self, tx: &mut Tx, message: &Message) -> Result<(), Error> {
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.wants(message)) {
            let delivery = self.new_delivery(endpoint, message.clone());
            store::webhook_delivery::insert(tx, &delivery).await?;
        }
        Ok(())
    }

    /// Says that something was kept, after its commit.
    pub(crate) fn wake(&self) {
        self.due.notify_waiters();
    }

    fn new_delivery(&self, endpoint: &Endpoint, message: Message) -> Delivery {
        let now = self.clock.now();
        Delivery {
            id: new_id(&*self.clock, &*self.random),
            webhook: endpoint.name.clone(),
            event_id: message.event_id,
            event_type: message.event_type,
            subject: message.subject,
            body: message.body,
            state: DeliveryState::Waiting,
            attempts: 0,
            last_status: 0,
            last_error: String::new(),
            create_time: now,
            next_attempt_time: now,
            give_up_time: now + TRIED,
            last_attempt_time: None,
            end_time: None,
        }
    }

    fn named(&self, name: &str) -> Result<&Arc<Endpoint>, Error> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.name == name);
        found.ok_or(Error::WebhookNotFound)
    }
}

impl Endpoint {
    fn wants(&self, message: &Message) -> bool {
        let short = message.event_type.strip_prefix("stowage.");
        let short = short.and_then(|rest| rest.strip_suffix(".v1"));
        short.is_some_and(|short| self.events.iter().any(|wanted| wanted == short))
    }
}

impl Domain {
    /// The receivers that are configured.
    pub(crate) async fn list_webhooks(&self, cx: &RequestContext) -> Result<Vec<Counted>, Error> {
        check_operator(cx, OPERATE)?;
        let counts = store::webhook_delivery::count(&self.shared.db).await?;
        let of = |endpoint: &Arc<Endpoint>, state: DeliveryState| {
            counts.get(&(endpoint.name.clone(), state.text().to_owned())).copied().unwrap_or(0)
        };
        let counted = |endpoint: &Arc<Endpoint>| Counted {
            endpoint: Arc::clone(endpoint),
            waiting: of(endpoint, DeliveryState::Waiting),
            failed: of(endpoint, DeliveryState::Failed),
        };
        Ok(self.webhooks.endpoints.iter().map(counted).collect())
    }

    /// Deliveries, newest first.
    pub(crate) async fn list_webhook_deliveries(
        &self,
        cx: &RequestContext,
        filter: &DeliveryFilter,
        size: i64,
    ) -> Result<Page<Delivery>, Error> {
        check_operator(cx, OPERATE)?;
        let rows = store::webhook_delivery::list(&self.shared.db, filter, size + 1).await?;
        Ok(Page::of(rows, size))
    }

    /// One delivery.
    pub(crate) async fn get_webhook_delivery(
        &self,
        cx: &RequestContext,
        id: Uuid,
    ) -> Result<Delivery, Error> {
        check_operator(cx, OPERATE)?;
        let found = store::webhook_delivery::find(&self.shared.db, id).await?;
        found.ok_or(Error::WebhookDeliveryNotFound)
    }

    /// Sends a delivery again, however it ended.
    pub(crate) async fn replay_webhook_delivery(
        &self,
        cx: &RequestContext,
        id: Uuid,
        once: &Once<Delivery>,
    ) -> Result<Delivery, Error> {
        let found = self.get_webhook_delivery(cx, id).await?;
        self.webhooks.named(&found.webhook)?;
        let now = self.shared.clock.now();
        let mut tx = self.shared.db.begin().await?;
        store::webhook_delivery::renew(&mut tx, id, (now, now + TRIED)).await?;
        let renewed = store::webhook_delivery::find(&mut tx, id).await?;
        let renewed = renewed.ok_or(Error::WebhookDeliveryNotFound)?;
        let told = serde_json::json!({ "delivery": id, "webhook": found.webhook });
        let entry = Entry::new(Event::WebhookReplayed, Cause::of(cx)).new_state(told);
        entry.write(&mut tx, now).await?;
        once.answer(&mut tx, &renewed).await?;
        tx.commit().await?;
        self.webhooks.wake();
        Ok(renewed)
    }

    /// Sends a receiver an event that says nothing.
    pub(crate) async fn test_webhook(
        &self,
        cx: &RequestContext,
        name: &str,
        once: &Once<Delivery>,
    ) -> Result<Delivery, Error> {
        check_operator(cx, OPERATE)?;
        let endpoint = self.webhooks.named(name)?;
        let shared = &self.shared;
        let (event_id, now) = (new_id(&*shared.clock, &*shared.random), shared.clock.now());
        let subject = format!("webhooks/{name}");
        let head = (event_id, "stowage/accounts", TEST, subject.as_str());
        let body = crate::webhooks::envelope(head, now, serde_json::json!({}));
        let message = Message { event_id, event_type: TEST.to_owned(), subject, body };
        let delivery = self.webhooks.new_delivery(endpoint, message);
        let mut tx = shared.db.begin().await?;
        store::webhook_delivery::insert(&mut tx, &delivery).await?;
        let told = serde_json::json!({ "webhook": name });
        let entry = Entry::new(Event::WebhookTested, Cause::of(cx)).new_state(told);
        entry.write(&mut tx, now).await?;
        once.answer(&mut tx, &delivery).await?;
        tx.commit().await?;
        self.webhooks.wake();
        Ok(delivery)
    }
}
