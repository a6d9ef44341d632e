//! Connections: made, watched, ended, and made again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, Event};
use stowage_runtime::read_authorities;
use tokio_util::sync::CancellationToken;

use super::back_off::BackOff;
use super::{Amqp, consume, topology};
use crate::BoxError;

const CONNECTED: &str = "stowage_bus_connected_sides";
const LOST: &str = "stowage_bus_lost_connections";
/// Longest time to take leave of the broker.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Publish,
    Consume,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// Has a session, and after its end another, until `stop`.
pub(super) async fn keep(amqp: &Arc<Amqp>, side: Side, stop: &CancellationToken) {
    let mut back_off = BackOff::new(&amqp.options);
    let mut warned = false;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let Err(error) = hold(amqp, side, stop, &mut warned).await else { return };
        // One that lasted is no failure to connect.
        if begun.elapsed() > amqp.options.back_off_max {
            back_off.reset();
        }
        if !std::mem::replace(&mut warned, true) {
            tracing::warn!(error = &*error, side = side.name(), "the broker is not connected");
        }
        let pause = tokio::time::sleep(back_off.pause());
        let _: Option<()> = stop.run_until_cancelled(pause).await;
    }
}

/// The subscriptions of a session, kept until its connection is closed.
///
/// The library cancels a subscription when it is dropped. The broker would then hand the queue to
/// the next replica while the events that it had sent ahead still belong to this one, and these
/// would come after later ones. When the connection closes first, they go back to the head of the
/// queue before anybody else gets it.
pub(super) type Kept = Arc<Mutex<Vec<lapin::Consumer>>>;

/// One session. `Ok` when it was stopped.
async fn hold(
    amqp: &Arc<Amqp>,
    side: Side,
    stop: &CancellationToken,
    warned: &mut bool,
) -> Result<(), BoxError> {
    let Some(connected) = stop.run_until_cancelled(connect(amqp, side)).await else {
        return Ok(());
    };
    // Dropped after the connection.
    let kept = Kept::default();
    let connection = Arc::new(connected?);
    *warned = false;
    tracing::info!(side = side.name(), "the broker is connected");
    metrics::gauge!(CONNECTED, "side" => side.name()).set(1.0);
    let ended = match side {
        Side::Publish => amqp.publisher.serve(&connection, stop).await,
        Side::Consume => consume::serve(amqp, (&connection, &kept), stop).await,
    };
    if side == Side::Consume {
        amqp.is_consuming.store(false, Ordering::Relaxed);
    }
    metrics::gauge!(CONNECTED, "side" => side.name()).set(0.0);
    if ended.is_err() {
        metrics::counter!(LOST, "side" => side.name()).increment(1);
    }
    // If it is broken already, there is nobody to take leave of.
    let _ = tokio::time::timeout(CLOSE_MAX, connection.close(200, "stopped".into())).await;
    ended
}

async fn connect(amqp: &Amqp, side: Side) -> Result<Connection, BoxError> {
    let options = &amqp.options;
    let connecting = async {
        let name = format!("{} {}", options.namespace, side.name());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let cert_chain = options.ca.as_deref().map(read_authorities).transpose()?;
        let tls = OwnedTLSConfig { cert_chain, ..OwnedTLSConfig::default() };
        let (uri, runtime) = (amqp.uri.clone(), lapin::runtime::default_runtime()?);
        let connection = Connection::connect_uri_with_config(uri, properties, tls, runtime).await?;
        topology::declare(&connection, options, &amqp.subscriptions()).await?;
        Ok::<_, BoxError>(connection)
    };
    tokio::time::timeout(options.connect_max, connecting).await?
}

/// Waits until the connection is lost, and says why.
pub(super) async fn lost(connection: &Connection) -> BoxError {
    let mut events = connection.events_listener();
    // It may have gone before anybody listened.
    if !connection.status().connected() {
        return "the connection was lost".into();
    }
    while let Some(event) = events.next().await {
        match event {
            Event::Error(error) => return error.into(),
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(reason, "the broker is short of something and takes no events");
            }
            _ => {}
        }
    }
    "the connection has ended".into()
}
