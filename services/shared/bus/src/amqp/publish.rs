//! Publishing with confirms.
//!
//! Several events are on their way at once, but never two of one subject: the second waits for the
//! first one's confirm. So whatever the broker refuses or loses in between, no event of a subject
//! overtakes another, and a page of events of many subjects costs a few round trips.
//!
//! Each call has a channel to itself, from a small pool: when an event comes back as unroutable,
//! the library says so at whichever confirm of the channel comes next, so the event that it names
//! is looked up here, among those of this call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Amqp, AmqpOptions, envelope, session};
use crate::bus::{NotConnected, PublishError, Published};
use crate::{BoxError, Event};

/// What stands for a consumer in errors.
const BROKER: &str = "the broker";
/// Most channels kept open for later calls: one for each relay of a process.
const IDLE_MAX: usize = 8;

/// The connection that publishes, when there is one.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    link: watch::Sender<Option<Arc<Link>>>,
}

/// One connection and its channels.
#[derive(Debug)]
struct Link {
    connection: Arc<Connection>,
    idle: Mutex<Vec<Channel>>,
    /// Wakes when something is wrong that only a new connection mends.
    broken: Notify,
}

impl Publisher {
    pub(super) fn is_connected(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Lends the connection to those who publish, until it is lost or `stop`.
    pub(super) async fn serve(
        &self,
        connection: &Arc<Connection>,
        stop: &CancellationToken,
    ) -> Result<(), BoxError> {
        let connection = Arc::clone(connection);
        let link = Arc::new(Link { connection, idle: Mutex::default(), broken: Notify::new() });
        self.link.send_replace(Some(Arc::clone(&link)));
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = link.broken.notified() => Err("an event was not taken".into()),
            why = session::lost(&link.connection) => Err(why),
        };
        self.link.send_replace(None);
        ended
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }
}

impl Link {
    async fn channel(&self) -> lapin::Result<Channel> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(channel) = idle {
            return Ok(channel);
        }
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    fn give_back(&self, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(channel);
        }
    }
}

impl Amqp {
    /// See [`Bus::publish_all`](crate::Bus::publish_all).
    pub(crate) async fn publish_all(&self, events: &[Event]) -> Published {
        let Some(link) = self.publisher.link() else {
            return Published { count: 0, failure: Some(unavailable(NotConnected)) };
        };
        let (count, failure) = match link.channel().await {
            Err(error) => (0, Some(Failure::Lost(error.into()))),
            Ok(channel) => {
                let ended = Batch::new(&self.options, &channel, events).publish().await;
                if ended.1.is_none() {
                    link.give_back(channel);
                }
                ended
            }
        };
        if !matches!(failure, None | Some(Failure::Nack)) {
            link.broken.notify_one();
        }
        Published { count, failure: failure.map(unavailable) }
    }
}

fn unavailable(source: impl Into<BoxError>) -> PublishError {
    PublishError::Unavailable { consumer: BROKER, source: source.into() }
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it did not take the event: a queue is full, or without a leader")]
    Nack,
    #[error("it has no queue for the event {id}")]
    Returned { id: String },
    #[error("the connection was lost: {0}")]
    Lost(BoxError),
}

/// The events of one call.
struct Batch<'b> {
    options: &'b AmqpOptions,
    channel: &'b Channel,
    events: &'b [Event],
    /// Sent and not confirmed, oldest first: the place of the event, and its confirm to come.
    in_flight: VecDeque<(usize, PublisherConfirm)>,
    /// How many are confirmed, counted from the first one.
    confirmed: usize,
}

impl<'b> Batch<'b> {
    fn new(options: &'b AmqpOptions, channel: &'b Channel, events: &'b [Event]) -> Self {
        Self { options, channel, events, in_flight: VecDeque::new(), confirmed: 0 }
    }

    /// How many were taken, counted from the first one, and why the next one was not.
    async fn publish(mut self) -> (usize, Option<Failure>) {
        let Err(failure) = self.send_all().await else {
            return (self.confirmed, None);
        };
        // One that was taken for confirmed may be the one that came back.
        self.take_back(&failure);
        while let Some((_, confirm)) = self.in_flight.pop_front() {
            if let Some(Err(also)) = confirm.now_or_never().map(outcome) {
                self.take_back(&also);
            }
        }
        (self.confirmed, Some(failure))
    }

    async fn send_all(&mut self) -> Result<(), Failure> {
        for (place, event) in self.events.iter().enumerate() {
            while self.has_to_wait(event) {
                self.confirm_oldest().await?;
            }
            let confirm = self.send(event).await.map_err(Failure::Lost)?;
            self.in_flight.push_back((place, confirm));
        }
        while !self.in_flight.is_empty() {
            self.confirm_oldest().await?;
        }
        Ok(())
    }

    /// Whether too many are on their way, or one of the same subject.
    fn has_to_wait(&self, event: &Event) -> bool {
        let is_same = |place: usize| self.events[place].subject == event.subject;
        self.in_flight.len() >= self.options.in_flight_max
            || self.in_flight.iter().any(|(place, _)| is_same(*place))
    }

    async fn send(&self, event: &Event) -> Result<PublisherConfirm, BoxError> {
        let consumers = self.options.consumers;
        // Nobody may want it, but what somebody wants must have a queue.
        let mandatory = consumers.iter().any(|c| c.kinds.contains(&event.kind.as_str()));
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let (exchange, kind) = (self.options.events(), ShortString::try_new(event.kind.as_str())?);
        let properties = envelope::properties(event)?;
        let sent =
            self.channel.basic_publish(exchange.into(), kind, options, &event.data, properties);
        Ok(sent.await?)
    }

    async fn confirm_oldest(&mut self) -> Result<(), Failure> {
        let Some((place, confirm)) = self.in_flight.pop_front() else { return Ok(()) };
        match tokio::time::timeout(self.options.confirm_max, confirm).await {
            Ok(confirmation) => outcome(confirmation)?,
            Err(elapsed) => return Err(Failure::Lost(elapsed.into())),
        }
        self.confirmed = place + 1;
        Ok(())
    }

    fn take_back(&mut self, failure: &Failure) {
        if let Failure::Returned { id } = failure {
            let place = self.events.iter().position(|event| event.id.to_string() == *id);
            self.confirmed = self.confirmed.min(place.unwrap_or(0));
        }
    }
}

/// What a confirm says. One that carries a message says that *that* one came back.
pub(super) fn confirmed(confirmation: lapin::Result<Confirmation>) -> Result<(), BoxError> {
    outcome(confirmation).map_err(Into::into)
}

fn outcome(confirmation: lapin::Result<Confirmation>) -> Result<(), Failure> {
    match confirmation {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            let id = returned.delivery.properties.message_id().as_ref();
            Err(Failure::Returned { id: id.map(ToString::to_string).unwrap_or_default() })
        }
        Ok(Confirmation::Nack(None)) => Err(Failure::Nack),
        Ok(Confirmation::NotRequested) => Err(Failure::Lost("confirms are off".into())),
        Err(error) => Err(Failure::Lost(error.into())),
    }
}
