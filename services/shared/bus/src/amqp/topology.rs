//! Declares exchanges, queues and bindings; every part may be there already.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::AmqpOptions;
use crate::{Audience, Subscription};

/// How often the broker hands out an event whose consumer vanishes with it in its hands, before
/// the event goes to the dead letters. Not without end, for an event that kills whoever takes it;
/// and far above what outages do, each of which counts for the events that were sent ahead. To be
/// set: version 4 of the server would take 20.
const DELIVERY_LIMIT: i64 = 10_000;
/// Most dead letters. When it is full, events that are refused are held and not lost.
const DEAD_LETTERS_MAX: i64 = 100_000;

/// Declares everything that is shared and durable.
pub(super) async fn declare(
    connection: &Connection,
    options: &AmqpOptions,
    subscriptions: &[Subscription],
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let (events, dead) = (options.events(), options.dead());
    declare_exchange(&channel, &events, ExchangeKind::Topic).await?;
    declare_exchange(&channel, &dead, ExchangeKind::Fanout).await?;
    declare_queue(connection, &dead, dead_letter_arguments()).await?;
    bind(&channel, &dead, &dead, "").await?;
    let known = options.consumers.iter().map(|consumer| (consumer.name, consumer.kinds));
    let own = subscriptions
        .iter()
        .filter(|subscription| subscription.audience == Audience::OneReplica)
        .map(|subscription| (subscription.consumer, subscription.kinds));
    for (consumer, kinds) in known.chain(own) {
        let queue = options.queue(consumer);
        declare_queue(connection, &queue, arguments(options)).await?;
        for kind in kinds {
            bind(&channel, &queue, &events, kind).await?;
        }
    }
    close(&channel).await
}

/// Makes the queue of a consumer that each process has of its own, and returns its name. It goes
/// with the connection.
pub(super) async fn declare_own(
    channel: &Channel,
    options: &AmqpOptions,
    subscription: &Subscription,
) -> lapin::Result<String> {
    let declared = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let events_max = AMQPValue::LongLongInt(options.queue_events_max.into());
    arguments.insert("x-max-length".into(), events_max);
    // The broker makes up a name.
    let queue = channel.queue_declare("".into(), declared, arguments).await?;
    let name = queue.name().as_str().to_owned();
    for kind in subscription.kinds {
        bind(channel, &name, &options.events(), kind).await?;
    }
    Ok(name)
}

async fn declare_exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

/// On a channel of its own: being refused ends the channel.
async fn declare_queue(
    connection: &Connection,
    name: &str,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(name.into(), options, arguments).await {
        Ok(_) => close(&channel).await,
        Err(error) if is_other_arguments(&error) => {
            tracing::warn!(%error, queue = name, "the queue is there with other arguments");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn is_other_arguments(error: &lapin::Error) -> bool {
    const REFUSED: AMQPErrorKind = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == REFUSED)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, kind: &str) -> lapin::Result<()> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), kind.into(), options, arguments).await
}

async fn close(channel: &Channel) -> lapin::Result<()> {
    channel.close(200, "declared".into()).await
}

/// Arguments of a consumer's queue.
fn arguments(options: &AmqpOptions) -> FieldTable {
    let mut arguments = bounded(options.queue_events_max.into());
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments.insert("x-dead-letter-exchange".into(), text(&options.dead()));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments
}

fn dead_letter_arguments() -> FieldTable {
    bounded(DEAD_LETTERS_MAX)
}

/// A quorum queue that refuses what it has no room for, rather than drop its oldest.
fn bounded(events_max: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(events_max));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
