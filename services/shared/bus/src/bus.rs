//! Delivery of one event to its consumers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::{BoxError, Event, trace};

/// Longest time one consumer may take over one event.
const HANDLE_MAX: Duration = Duration::from_secs(30);

/// A consumer's side. `Ok` is the acknowledgement: the effect is committed.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Takes one event. It may come again, after a crash even long after it was acknowledged: the
    /// transaction of the effect asks [`first_time`](crate::first_time).
    ///
    /// # Errors
    /// [`Refused`] (or a `prost::DecodeError`) for an event that no retry makes acceptable. Any
    /// other error means "not now": the event is tried again until it is taken, and the events
    /// behind it wait.
    async fn handle(&self, event: &Event) -> Result<(), BoxError>;
}

/// Says that an event can never be taken. After a few tries it is set aside as dead.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// What is wrong with the event.
    pub why: String,
}

/// One consumer and the events it wants.
#[derive(Clone)]
pub struct Subscription {
    /// Name of the consumer, as in its inbox: `metering`.
    pub consumer: &'static str,
    /// Types of events it takes, such as `stowage.storage.usage.collected.v1`.
    pub kinds: &'static [&'static str],
    /// What takes them.
    pub handler: Arc<dyn Handler>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("consumer", &self.consumer)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// Why an event was not delivered to everyone who wants it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A consumer cannot take it now; the same event succeeds later.
    #[error("{consumer} is unavailable")]
    Unavailable {
        /// The consumer.
        consumer: &'static str,
        /// What it said.
        source: BoxError,
    },
    /// A consumer will not take it ever.
    #[error("{consumer} refuses the event")]
    Refused {
        /// The consumer.
        consumer: &'static str,
        /// What it said.
        source: BoxError,
    },
}

/// Carries events to consumers. Cheap to clone; clones are one bus.
#[derive(Debug, Clone)]
pub struct Bus {
    subscriptions: Arc<RwLock<Vec<Subscription>>>,
}

impl Bus {
    /// A bus within this process: publishing calls each consumer and waits for it.
    #[must_use]
    pub fn in_process() -> Self {
        Self { subscriptions: Arc::new(RwLock::new(Vec::new())) }
    }

    /// Adds a consumer. Events published before are not given to it.
    pub fn subscribe(&self, subscription: Subscription) {
        self.subscriptions.write().unwrap_or_else(PoisonError::into_inner).push(subscription);
    }

    /// Gives the event to every consumer of its kind, one after the other, and waits until each
    /// has acknowledged. One that fails does not keep it from the others.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] when at least one cannot take it now, else
    /// [`PublishError::Refused`] when at least one will not take it ever.
    pub async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let mut refused = None;
        let mut unavailable = None;
        for subscription in self.consumers_of(&event.kind) {
            let consumer = subscription.consumer;
            match deliver(&subscription, event).await {
                Ok(()) => {}
                Err(source) if is_refusal(&source) => {
                    refused = Some(PublishError::Refused { consumer, source });
                }
                Err(source) => unavailable = Some(PublishError::Unavailable { consumer, source }),
            }
        }
        unavailable.or(refused).map_or(Ok(()), Err)
    }

    /// The consumers that want `kind`, copied out so that no lock is held while they work.
    fn consumers_of(&self, kind: &str) -> Vec<Subscription> {
        self.subscriptions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|subscription| subscription.kinds.contains(&kind))
            .cloned()
            .collect()
    }
}

/// Calls one handler. A panic is a refusal: the same event would panic again, and must not stop
/// the relay.
async fn deliver(subscription: &Subscription, event: &Event) -> Result<(), BoxError> {
    let span = trace::processing(subscription.consumer, event);
    let handling = AssertUnwindSafe(subscription.handler.handle(event)).catch_unwind();
    let handled = match tokio::time::timeout(HANDLE_MAX, span.run(handling)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Refused { why: panic_text(&*panic) }.into()),
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = &handled {
        span.fail(if is_refusal(error) { "REFUSED" } else { "UNAVAILABLE" });
    }
    handled
}

fn is_refusal(error: &BoxError) -> bool {
    error.is::<Refused>() || error.is::<prost::DecodeError>()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    format!("the handler panicked: {text}")
}
