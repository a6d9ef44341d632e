//! Taking events from queues: one after the other, acknowledged when their effect is committed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::back_off::BackOff;
use super::session::Kept;
use super::{Amqp, envelope, publish, session, topology};
use crate::deliver::{self, count_dead, deliver, is_refusal};
use crate::trace::By;
use crate::{Audience, BoxError, Event, Subscription};

const CONSUMED: &str = "stowage_bus_consumed_events";
const REDELIVERED: &str = "stowage_bus_redelivered_events";
/// Longest time a handler may take to hear that it missed something.
const MISSED_MAX: Duration = Duration::from_secs(30);

/// Takes the events of every subscription, until the connection is lost or `stop`.
pub(super) async fn serve(
    amqp: &Arc<Amqp>,
    (connection, kept): (&Arc<Connection>, &Kept),
    stop: &CancellationToken,
) -> Result<(), BoxError> {
    // Ends with this call, whatever is still running: nothing of one session acts in the next.
    let mut consumers = JoinSet::new();
    let subscriptions = amqp.subscriptions();
    let (hearing, mut heard) = watch::channel(0);
    let all = subscriptions.len();
    for subscription in subscriptions {
        let (amqp, connection, kept) = (Arc::clone(amqp), Arc::clone(connection), Arc::clone(kept));
        let consumer =
            Consumer { amqp, subscription, stop: stop.clone(), hearing: hearing.clone() };
        consumers.spawn(async move { consumer.run(&connection, &kept).await });
    }
    let all_end = async {
        while let Some(ended) = consumers.join_next().await {
            ended.map_err(BoxError::from).flatten()?;
        }
        Ok(())
    };
    let all_hear = async {
        if heard.wait_for(|count| *count == all).await.is_ok() {
            amqp.is_consuming.store(true, Ordering::Relaxed);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = all_end => ended,
        why = session::lost(connection) => Err(why),
        () = all_hear => Ok(()),
    }
}

/// One subscription in one session.
struct Consumer {
    amqp: Arc<Amqp>,
    subscription: Subscription,
    stop: CancellationToken,
    /// Counts those that have begun to hear.
    hearing: watch::Sender<usize>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is acknowledged.
    Done,
    /// The bus stops; the broker gives the event to the next one.
    Stopped,
}

impl Consumer {
    async fn run(self, connection: &Connection, kept: &Kept) -> Result<(), BoxError> {
        // A queue that has no leader keeps whoever asks waiting.
        let opening = tokio::time::timeout(self.amqp.options.connect_max, self.open(connection));
        let (channel, mut deliveries) = opening.await??;
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(deliveries.clone());
        self.tell_missed().await?;
        self.hearing.send_modify(|count| *count += 1);
        while let Some(next) = self.stop.run_until_cancelled(deliveries.next()).await {
            let delivery = next.ok_or("the broker has ended the subscription")??;
            if self.take(&channel, &delivery).await? == Taken::Stopped {
                break;
            }
        }
        Ok(())
    }

    async fn open(&self, connection: &Connection) -> lapin::Result<(Channel, lapin::Consumer)> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.amqp.options.prefetch, BasicQosOptions::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let queue = self.queue(&channel).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(queue.into(), "".into(), options, arguments);
        let deliveries = consuming.await?;
        Ok((channel, deliveries))
    }

    async fn queue(&self, channel: &Channel) -> lapin::Result<String> {
        let (options, subscription) = (&self.amqp.options, &self.subscription);
        match subscription.audience {
            Audience::OneReplica => Ok(options.queue(subscription.consumer)),
            Audience::EveryProcess => topology::declare_own(channel, options, subscription).await,
        }
    }

    /// After the queue is bound, so that nothing falls between this and the first event.
    async fn tell_missed(&self) -> Result<(), BoxError> {
        if self.subscription.audience == Audience::OneReplica {
            return Ok(());
        }
        let telling = std::panic::AssertUnwindSafe(self.subscription.handler.missed());
        let told = tokio::time::timeout(MISSED_MAX, telling.catch_unwind()).await?;
        told.map_err(|_| "the handler panicked when it was told that it missed events".into())
    }

    /// Takes one event and acknowledges it. While it cannot be taken it is held, and those behind
    /// it wait: giving it back to the queue would let them overtake it.
    async fn take(&self, channel: &Channel, delivery: &Delivery) -> Result<Taken, BoxError> {
        let consumer = self.subscription.consumer;
        if delivery.redelivered {
            metrics::counter!(REDELIVERED, "consumer" => consumer).increment(1);
        }
        let event = match envelope::read(delivery) {
            Ok(event) => event,
            Err(error) => return self.reject(delivery, &error).await,
        };
        let mut back_off = BackOff::new(&self.amqp.options);
        let (mut refusals, mut warned) = (0, false);
        loop {
            let Some(outcome) = self.handle(&event).await else { return Ok(Taken::Stopped) };
            let Err(mut error) = outcome else {
                metrics::counter!(CONSUMED, "consumer" => consumer).increment(1);
                return acknowledge(delivery).await;
            };
            refusals += u32::from(is_refusal(&error));
            if is_refusal(&error) && refusals >= self.amqp.options.refused_attempts_max {
                match deliver::set_aside(&self.subscription, &event, (&error, refusals)).await {
                    Ok(true) => return acknowledge(delivery).await,
                    Ok(false) => {
                        self.send_away(channel, &event, (&error, refusals)).await?;
                        return acknowledge(delivery).await;
                    }
                    // It is held until it can be kept.
                    Err(cannot) => error = cannot,
                }
            }
            if !std::mem::replace(&mut warned, true) {
                let (error, id, kind) = (&*error, &event.id, &event.kind);
                tracing::warn!(
                    error,
                    consumer,
                    event.id = %id,
                    event.kind = kind,
                    "event could not be taken, will be tried again",
                );
            }
            let pause = tokio::time::sleep(back_off.pause());
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return Ok(Taken::Stopped);
            }
        }
    }

    /// Calls the handler. When the bus stops it gets a moment to end; `None`: it did not.
    async fn handle(&self, event: &Event) -> Option<Result<(), BoxError>> {
        let stopped = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.amqp.options.stop_max).await;
        };
        // The broker's name for a queue of this process alone would tell nobody anything.
        let options = &self.amqp.options;
        let (exchange, queue) = (options.events(), options.queue(self.subscription.consumer));
        let by = By::Queue(&exchange, &queue);
        let to = (self.subscription.consumer, &*self.subscription.handler);
        tokio::select! {
            outcome = deliver(to, event, by) => Some(outcome),
            () = stopped => None,
        }
    }

    /// Sends a refused event that its consumer does not keep to the dead letters of the broker;
    /// returns when it is there. A cache that is each process's own has none: the event is
    /// dropped, and the log tells.
    async fn send_away(
        &self,
        channel: &Channel,
        event: &Event,
        (error, attempts): (&BoxError, u32),
    ) -> Result<(), BoxError> {
        let consumer = self.subscription.consumer;
        tracing::error!(
            error = &**error,
            consumer,
            event.id = %event.id,
            event.kind = event.kind,
            event.subject = event.subject,
            "event was refused {attempts} times and is set aside as dead",
        );
        if self.subscription.audience == Audience::EveryProcess {
            return Ok(());
        }
        let properties = envelope::dead_letter(event, consumer, (&error.to_string(), attempts))?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.amqp.options.dead().into();
        let sent = channel.basic_publish(
            exchange,
            event.kind.as_str().into(),
            options,
            &event.data,
            properties,
        );
        let confirm = tokio::time::timeout(self.amqp.options.confirm_max, sent.await?).await?;
        publish::confirmed(confirm)
    }

    /// Lets the broker move a message that is no event to the dead letters.
    async fn reject(&self, delivery: &Delivery, error: &BoxError) -> Result<Taken, BoxError> {
        let consumer = self.subscription.consumer;
        tracing::error!(error = &**error, consumer, "a message is no event of ours");
        count_dead(consumer);
        let rejected = delivery.reject(BasicRejectOptions { requeue: false }).await?;
        if rejected { Ok(Taken::Done) } else { Err("the connection was lost".into()) }
    }
}

async fn acknowledge(delivery: &Delivery) -> Result<Taken, BoxError> {
    let acknowledged = delivery.ack(BasicAckOptions::default()).await?;
    if acknowledged { Ok(Taken::Done) } else { Err("the connection was lost".into()) }
}
