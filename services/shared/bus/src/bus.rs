//! The bus as roles see it, whichever carries the events.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use stowage_types::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::amqp::{Amqp, AmqpOptions, InvalidUrl};
use crate::deliver::{deliver, is_refusal, set_aside};
use crate::trace::{self, By};
use crate::{BoxError, Event, topology};

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

    /// Events may have passed by unheard: called for a subscription of [`Audience::EveryProcess`]
    /// each time that it begins to hear, the first time too. Whoever keeps a cache empties it.
    async fn missed(&self) {}

    /// Keeps an event that was refused for good, with what was said and how often it was tried, so
    /// that an operator can look into it and hand it over again; the id it has there. `None`: it
    /// is kept nowhere here, and the bus sets it aside as it can. See
    /// [`DeadLetters`](crate::DeadLetters).
    ///
    /// # Errors
    /// It cannot be kept now. The event is held.
    async fn keep_dead(
        &self,
        _event: &Event,
        _refused: (&BoxError, u32),
    ) -> Result<Option<Uuid>, BoxError> {
        Ok(None)
    }
}

/// Says that an event can never be taken. After a few tries it is set aside as dead.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// What is wrong with the event.
    pub why: String,
}

/// Who of a role's replicas hears an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// One of them, exactly once in effect; what happens while none runs waits.
    OneReplica,
    /// Each that runs and is connected; nothing waits for one that is not. For caches.
    EveryProcess,
}

/// One consumer and the events it wants.
#[derive(Clone)]
pub struct Subscription {
    /// Name of the consumer, as in its inbox: `metering`.
    pub consumer: &'static str,
    /// Types of events it takes, such as `stowage.storage.usage.collected.v1`.
    pub kinds: &'static [&'static str],
    /// Who of several replicas hears them.
    pub audience: Audience,
    /// What takes them.
    pub handler: Arc<dyn Handler>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("consumer", &self.consumer)
            .field("kinds", &self.kinds)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// Why an event was not delivered to everyone who wants it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A consumer, or the broker, cannot take it now; the same event succeeds later.
    #[error("{consumer} is unavailable")]
    Unavailable {
        /// The consumer, or `the broker`.
        consumer: &'static str,
        /// What it said.
        source: BoxError,
    },
    /// Consumers will not take it ever; the others have it.
    #[error("the event is refused: {}", shown(.0))]
    Refused(Vec<Refusal>),
}

/// What a consumer said of an event that it refuses.
#[derive(Debug)]
pub struct Refusal {
    /// The consumer.
    pub consumer: &'static str,
    /// What it said.
    pub error: BoxError,
}

fn shown(refusals: &[Refusal]) -> String {
    let each = refusals.iter().map(|refusal| format!("{}: {}", refusal.consumer, refusal.error));
    each.collect::<Vec<_>>().join("; ")
}

/// How far publishing several events came.
#[derive(Debug)]
pub struct Published {
    /// How many were accepted, counted from the first one.
    pub count: usize,
    /// Why the next one was not; `None` if all were.
    pub failure: Option<PublishError>,
}

/// The broker cannot be reached now; it is tried again without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker is not connected")]
pub struct NotConnected;

/// Those who want events; shared by a bus and its clones.
pub(crate) type Subscriptions = Arc<RwLock<Vec<Subscription>>>;

/// Carries events to consumers. Cheap to clone; clones are one bus.
#[derive(Debug, Clone)]
pub struct Bus {
    subscriptions: Subscriptions,
    broker: Option<Arc<Amqp>>,
}

impl Bus {
    /// A bus within this process: publishing calls each consumer and waits for it.
    #[must_use]
    pub fn in_process() -> Self {
        Self { subscriptions: Subscriptions::default(), broker: None }
    }

    /// A bus over RabbitMQ: publishing waits until the broker has the event on disk, consumers
    /// take it from their queues. Nothing is connected before [`Bus::run`] is awaited.
    ///
    /// `url` is `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    ///
    /// # Errors
    /// [`InvalidUrl`]; it does not repeat the URL, which may hold a password.
    pub fn amqp(url: &SecretString, options: AmqpOptions) -> Result<Self, InvalidUrl> {
        let subscriptions = Subscriptions::default();
        let broker = Amqp::new(url, options, Arc::clone(&subscriptions))?;
        Ok(Self { subscriptions, broker: Some(Arc::new(broker)) })
    }

    /// Adds a consumer, before [`Bus::run`]. In one process, events published before are not given
    /// to it; on a broker, they are if the consumer is in [`CONSUMERS`](crate::CONSUMERS).
    pub fn subscribe(&self, subscription: Subscription) {
        self.subscriptions.write().unwrap_or_else(PoisonError::into_inner).push(subscription);
    }

    /// Consumers that subscribed otherwise than [`CONSUMERS`](crate::CONSUMERS) says. On a broker
    /// they would lose what is published before they first run, so there must be none.
    #[must_use]
    pub fn undeclared(&self) -> Vec<&'static str> {
        topology::undeclared(&self.subscriptions())
    }

    /// Consumers of [`CONSUMERS`](crate::CONSUMERS) that have not subscribed. Where every role is
    /// in one process there must be none: their queues would fill, and nobody would read them.
    #[must_use]
    pub fn unserved(&self) -> Vec<&'static str> {
        topology::unserved(&self.subscriptions())
    }

    /// Keeps the connection and takes events until `stop`. To be spawned once, after all have
    /// subscribed; a bus within one process has nothing to do here.
    #[must_use]
    pub fn run(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        match &self.broker {
            None => Box::pin(stop.cancelled_owned()),
            Some(broker) => Box::pin(Arc::clone(broker).run(stop)),
        }
    }

    /// Whether events travel now, for readiness.
    ///
    /// # Errors
    /// [`NotConnected`]
    pub fn check(&self) -> Result<(), NotConnected> {
        self.broker.as_ref().map_or(Ok(()), |broker| broker.check())
    }

    /// Publishes one event, as [`Bus::publish_all`].
    ///
    /// # Errors
    /// [`PublishError::Unavailable`], and [`PublishError::Refused`] within one process.
    pub async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        self.publish_all(std::slice::from_ref(event)).await.failure.map_or(Ok(()), Err)
    }

    /// Publishes events in their order, up to the first that is not accepted.
    ///
    /// Within one process an event is accepted when every consumer of its kind has acknowledged
    /// it; one that fails does not keep it from the others. Over a broker it is accepted when the
    /// broker has stored it in the queue of every consumer; events of different subjects travel
    /// together, so a few behind the first failure may have arrived, and come twice.
    pub async fn publish_all(&self, events: &[Event]) -> Published {
        if let Some(broker) = &self.broker {
            return broker.publish_all(events).await;
        }
        for (count, event) in events.iter().enumerate() {
            let span = trace::sending(event, By::Process);
            if let Err(failure) = span.run(self.deliver_to_all(event)).await {
                trace::sent(&span, &failure);
                return Published { count, failure: Some(failure) };
            }
        }
        Published { count: events.len(), failure: None }
    }

    /// Gives the event to every consumer of its kind, one after the other.
    async fn deliver_to_all(&self, event: &Event) -> Result<(), PublishError> {
        let mut refused = Vec::new();
        let mut unavailable = None;
        for subscription in self.subscriptions() {
            if !subscription.kinds.contains(&event.kind.as_str()) {
                continue;
            }
            let consumer = subscription.consumer;
            let to = (consumer, &*subscription.handler);
            match deliver(to, event, By::Process).await {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => refused.push(Refusal { consumer, error }),
                Err(source) => unavailable = Some(PublishError::Unavailable { consumer, source }),
            }
        }
        match unavailable {
            Some(unavailable) => Err(unavailable),
            None if refused.is_empty() => Ok(()),
            None => Err(PublishError::Refused(refused)),
        }
    }

    /// Has an event kept by those who refused it so often. `false`: one of them keeps none.
    ///
    /// # Errors
    /// One of them cannot keep it now.
    pub(crate) async fn set_aside(
        &self,
        event: &Event,
        (refusals, attempts): (&[Refusal], u32),
    ) -> Result<bool, BoxError> {
        let mut is_kept = true;
        for subscription in self.subscriptions() {
            let refusal = refusals.iter().find(|r| r.consumer == subscription.consumer);
            if let Some(Refusal { error, .. }) = refusal {
                is_kept &= set_aside(&subscription, event, (error, attempts)).await?;
            }
        }
        Ok(is_kept)
    }

    /// The subscriptions, copied out so that no lock is held while they work.
    fn subscriptions(&self) -> Vec<Subscription> {
        self.subscriptions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
