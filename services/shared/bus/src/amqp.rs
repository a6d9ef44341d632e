//! The bus over RabbitMQ.
//!
//! ```text
//! outbox → relay → exchange stowage.events (topic) → queue stowage.<consumer> → handler, inbox
//!                                                    ↓ what cannot be taken
//!                                    exchange stowage.dead (fanout) → queue stowage.dead
//! ```
//!
//! - Exchanges and queues are durable, queues are quorum queues, events are persistent: what the
//!   broker has confirmed survives its crash, on a cluster also the loss of a minority of nodes.
//!   But for the first seconds of a queue's life: version 3.10 of the server writes the name of a
//!   new quorum queue to disk with a delay, and one killed before that finds the queue empty.
//! - Publishing awaits a confirm for each event (module `publish`). Only what was confirmed leaves
//!   the outbox.
//! - A queue is consumed by one replica at a time (`x-single-active-consumer`), one event after
//!   the other, acknowledged after its effect was committed. An event that cannot be taken now is
//!   held and tried again where it is, it does not go back into the queue. So the events of one
//!   subject keep their order through retries, reconnections and replicas. The price: a consumer
//!   is as fast as one handler, one commit for each event; further replicas stand by and take
//!   over when the active one goes. A consumer that needs more gets several names, with a part of
//!   the kinds each.
//! - Connections are made anew by a loop of ours and not by the library's own recovery: with it,
//!   nobody can say at which point a confirm, an acknowledgement or a cache got lost. Here every
//!   loss ends a session; the next one begins from nothing: topology, subscriptions,
//!   [`missed`](crate::Handler::missed).
//! - Publishing and consuming have a connection each: a broker short of memory or disk stops
//!   reading from those that publish, and acknowledgements must not be stuck behind that.
//! - An event that a handler refuses again and again goes to the dead-letter queue with the
//!   reason in its headers, and only then leaves its own queue.
//!
//! Names begin with a namespace, so that several installations can share a virtual host. A queue
//! that is there with other arguments, from a policy or a former version, is used as it is.

mod back_off;
mod consume;
mod envelope;
mod publish;
mod session;
mod topology;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::uri::AMQPUri;
use stowage_types::{ExposeSecret as _, Random, SecretString};
use tokio_util::sync::CancellationToken;

use crate::bus::{NotConnected, Subscriptions};
use crate::topology::{CONSUMERS, Consumer};

/// Seconds between two signs of life on a connection that is otherwise silent: two missing ones
/// end it. The server's own default of 60 would leave a cut cable unseen for two minutes.
const HEARTBEAT_SECONDS: u16 = 10;
/// Largest frame, in bytes; longer messages come in several. The library keeps room for 64 of them
/// per connection: with the server's 128 KiB these two connections took 12 MiB of an idle process.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Longest namespace, in bytes, so that every name fits into the 255 of the protocol.
const NAMESPACE_BYTES_MAX: usize = 100;

/// Bounds of a bus over RabbitMQ.
#[derive(Debug, Clone)]
pub struct AmqpOptions {
    /// First part of all names at the broker. Default `stowage`.
    pub namespace: String,
    /// Certificates of the authority of `amqps://`, in PEM, read with each connection. Default:
    /// those that the system trusts, which are taken beside it, too.
    pub ca: Option<PathBuf>,
    /// Consumers whose queues are declared. Default [`CONSUMERS`].
    pub consumers: &'static [Consumer],
    /// Most events that the broker sends ahead of their acknowledgement. Default 32.
    pub prefetch: u16,
    /// Most events that wait for their confirm. Default 64.
    pub in_flight_max: usize,
    /// Most events that wait in one queue; further ones stay in their outboxes. Fixed when a queue
    /// is first declared. Default 1 000 000.
    pub queue_events_max: u32,
    /// How often a refused event is tried before it is set aside. Default 5.
    pub refused_attempts_max: u32,
    /// Pause after the first failure; it doubles with each further one. Default 100 ms.
    pub back_off_min: Duration,
    /// Longest pause. Default 5 s.
    pub back_off_max: Duration,
    /// Longest time to connect and declare. Default 10 s.
    pub connect_max: Duration,
    /// Longest time for one confirm. Default 30 s.
    pub confirm_max: Duration,
    /// Longest time that a handler gets to end when the bus stops. Default 1 s.
    pub stop_max: Duration,
    /// Spreads the pauses, so that processes do not come back all at once.
    pub random: Arc<dyn Random>,
}

impl AmqpOptions {
    /// The defaults.
    #[must_use]
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self {
            namespace: "stowage".to_owned(),
            ca: None,
            consumers: CONSUMERS,
            prefetch: 32,
            in_flight_max: 64,
            queue_events_max: 1_000_000,
            refused_attempts_max: 5,
            back_off_min: Duration::from_millis(100),
            back_off_max: Duration::from_secs(5),
            connect_max: Duration::from_secs(10),
            confirm_max: Duration::from_secs(30),
            stop_max: Duration::from_secs(1),
            random,
        }
    }

    /// The exchange of all events.
    fn events(&self) -> String {
        format!("{}.events", self.namespace)
    }

    /// The exchange of what could not be taken, and its queue.
    fn dead(&self) -> String {
        format!("{}.dead", self.namespace)
    }

    /// The queue of a consumer.
    fn queue(&self, consumer: &str) -> String {
        format!("{}.{consumer}", self.namespace)
    }
}

/// The address of the broker, or the namespace, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// The URL is not one of AMQP.
    #[error("not of the form amqp://user:password@host:port/vhost, or amqps:// for TLS")]
    Url,
    /// The namespace is empty or too long.
    #[error("the namespace must have 1 to {NAMESPACE_BYTES_MAX} bytes")]
    Namespace,
}

/// The broker's side of a bus.
pub(crate) struct Amqp {
    uri: AMQPUri,
    options: AmqpOptions,
    subscriptions: Subscriptions,
    publisher: publish::Publisher,
    is_consuming: AtomicBool,
}

impl Amqp {
    pub(crate) fn new(
        url: &SecretString,
        options: AmqpOptions,
        subscriptions: Subscriptions,
    ) -> Result<Self, InvalidUrl> {
        if options.namespace.is_empty() || options.namespace.len() > NAMESPACE_BYTES_MAX {
            return Err(InvalidUrl::Namespace);
        }
        let mut uri: AMQPUri = url.expose_secret().parse().map_err(|_| InvalidUrl::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
        let publisher = publish::Publisher::default();
        Ok(Self { uri, options, subscriptions, publisher, is_consuming: AtomicBool::new(false) })
    }

    pub(crate) fn check(&self) -> Result<(), NotConnected> {
        let consumes = !self.subscriptions().is_empty();
        let is_consuming = !consumes || self.is_consuming.load(Ordering::Relaxed);
        if is_consuming && self.publisher.is_connected() { Ok(()) } else { Err(NotConnected) }
    }

    /// Keeps both connections until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let publishing = session::keep(&self, session::Side::Publish, &stop);
        let consuming = async {
            if !self.subscriptions().is_empty() {
                session::keep(&self, session::Side::Consume, &stop).await;
            }
        };
        tokio::join!(publishing, consuming);
    }

    fn subscriptions(&self) -> Vec<crate::Subscription> {
        self.subscriptions.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Amqp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URI holds a password.
        f.debug_struct("Amqp").field("options", &self.options).finish_non_exhaustive()
    }
}
