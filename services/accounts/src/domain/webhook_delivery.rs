//! Sends deliveries of webhooks, again and again until they are answered.
//!
//! One replica does, and for each receiver one delivery at a time: a receiver that is away or slow
//! holds up its own only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use stowage_auth::signed::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use stowage_db::lease::Turns;
use stowage_types::new_id;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::webhook::{Delivery, DeliveryState, Endpoint, Webhooks};
use crate::error::Error;
use crate::store;

/// Media type of an event in the structured form. Source: CloudEvents 1.0, HTTP binding, 3.2.
const CLOUD_EVENT: &str = "application/cloudevents+json; charset=utf-8";
/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often it is looked for what is due, if nothing says that something is.
const EVERY: Duration = Duration::from_secs(1);
/// How long a replica that vanished holds up another.
const LEASE: Duration = Duration::from_secs(30);
/// Deliveries of a receiver in one round.
const BATCH: i64 = 50;
/// Wait after the first attempt; after each further one it is twice as long.
const FIRST_WAIT: time::Duration = time::Duration::seconds(30);
const LONGEST_WAIT: time::Duration = time::Duration::hours(6);
/// How long ended deliveries are kept, and how many are forgotten at once.
const KEPT: time::Duration = time::Duration::days(30);
const FORGET_ROWS: i64 = 1000;
/// How often they are.
const TIDY_EVERY: time::Duration = time::Duration::minutes(10);
/// Longest text of what went wrong that is kept.
const ERROR_CHARS_MAX: usize = 300;
/// Attempts, by receiver and outcome.
const ATTEMPTS: &str = "stowage_accounts_webhook_attempts_total";

/// What an attempt came to: the status of an answer, or why there is none.
type Attempt = Result<u16, String>;

impl Webhooks {
    /// Delivers until `stop`, in one replica at a time.
    pub(crate) fn deliver_until(
        self: Arc<Self>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let owner = new_id(&*self.clock, &*self.random);
            let turns = Turns::new("webhooks", owner, LEASE, self.db.clone());
            let rounds = || async {
                let all = join_all(self.endpoints.iter().map(|endpoint| self.deliver_to(endpoint)));
                tokio::join!(all, self.tidy_on_and_on());
            };
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// Sends what is due to a receiver, on and on.
    async fn deliver_to(&self, endpoint: &Endpoint) {
        loop {
            let due = self.due.notified();
            if let Err(error) = self.round_of(endpoint).await {
                let webhook = &endpoint.name;
                tracing::warn!(%error, webhook, "a webhook was not delivered to; it will be");
            }
            let _: Result<(), _> = tokio::time::timeout(EVERY, due).await;
        }
    }

    /// Tidies now and then, on and on.
    async fn tidy_on_and_on(&self) {
        let mut tidied = OffsetDateTime::UNIX_EPOCH;
        loop {
            let now = self.clock.now();
            if now - tidied >= TIDY_EVERY {
                match self.tidy(now).await {
                    Ok(()) => tidied = now,
                    Err(error) => tracing::warn!(%error, "old deliveries were not forgotten"),
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Ends what waits for receivers that are gone, and forgets what ended long ago.
    async fn tidy(&self, now: OffsetDateTime) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let names: Vec<&str> = self.endpoints.iter().map(|one| one.name.as_str()).collect();
        store::webhook_delivery::fail_others(&mut tx, &names, now).await?;
        store::webhook_delivery::forget(&mut tx, now - KEPT, FORGET_ROWS).await?;
        Ok(tx.commit().await?)
    }

    /// Sends what is due to a receiver. After the first that it does not take the others wait for
    /// the next round: it may be away.
    async fn round_of(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let now = self.clock.now();
        let due = store::webhook_delivery::list_due(&self.db, &endpoint.name, (now, BATCH)).await?;
        for delivery in &due {
            let attempt = self.send(endpoint, delivery).await;
            let is_taken = self.note(delivery, attempt).await?;
            if !is_taken {
                break;
            }
        }
        Ok(())
    }

    async fn send(&self, endpoint: &Endpoint, delivery: &Delivery) -> Attempt {
        let timestamp = self.clock.now().unix_timestamp().to_string();
        let signature = sign(&endpoint.secret, &timestamp, delivery.body.as_bytes());
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.uri.clone())
            .header(CONTENT_TYPE, CLOUD_EVENT)
            .header(USER_AGENT, concat!("stowage/", env!("CARGO_PKG_VERSION")))
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signature)
            .body(Full::new(Bytes::from(delivery.body.clone())));
        let request = request.map_err(|error| error.to_string())?;
        match tokio::time::timeout(ANSWER_MAX, endpoint.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer.status().as_u16()),
            Ok(Err(error)) => Err(described(&error)),
            Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }

    /// Notes what an attempt came to; whether the event was taken.
    async fn note(&self, delivery: &Delivery, attempt: Attempt) -> Result<bool, Error> {
        let now = self.clock.now();
        let is_taken = matches!(attempt, Ok(200..300));
        let label = if is_taken { "delivered" } else { "refused" };
        let webhook = delivery.webhook.clone();
        metrics::counter!(ATTEMPTS, "webhook" => webhook, "outcome" => label).increment(1);
        let (last_status, mut last_error) = match attempt {
            Ok(status) if is_taken => (status, String::new()),
            Ok(status) => (status, format!("it was answered with {status}")),
            Err(error) => (0, error),
        };
        if let Some((end, _)) = last_error.char_indices().nth(ERROR_CHARS_MAX) {
            last_error.truncate(end);
        }
        let attempts = delivery.attempts.saturating_add(1);
        let next = now + self.wait_after(attempts);
        let state = match is_taken {
            true => DeliveryState::Delivered,
            false if next >= delivery.give_up_time => DeliveryState::Failed,
            false => DeliveryState::Waiting,
        };
        if !is_taken {
            let (id, webhook) = (delivery.id, &delivery.webhook);
            tracing::warn!(delivery.id = %id, webhook, attempts, error = last_error, "not taken");
        }
        let noted = Delivery {
            state,
            attempts,
            last_status: last_status.into(),
            last_error,
            next_attempt_time: next,
            last_attempt_time: Some(now),
            end_time: (state != DeliveryState::Waiting).then_some(now),
            ..delivery.clone()
        };
        let mut tx = self.db.begin().await?;
        store::webhook_delivery::note(&mut tx, &noted).await?;
        tx.commit().await?;
        Ok(is_taken)
    }

    /// Twice as long after each attempt, and up to a fifth more, so that what failed together does
    /// not come together.
    fn wait_after(&self, attempts: i32) -> time::Duration {
        let doublings = attempts.clamp(1, 16) - 1;
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2_i32.pow(doublings.unsigned_abs()));
        let mut byte = [0_u8];
        self.random.fill(&mut byte);
        wait + wait * i32::from(byte[0]) / (5 * 256)
    }
}

/// An error with its causes.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
