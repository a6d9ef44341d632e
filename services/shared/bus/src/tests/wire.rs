//! What carries the events of a test: this process, or a namespace at the broker.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use stowage_types::{SecretString, SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::consumer::{KIND, eventually};
use crate::{AmqpOptions, Bus, Consumer, Subscription};

/// Consumers whose queues are there from the start.
pub(super) const KNOWN: &[Consumer] = &[Consumer { name: "test", kinds: &[KIND] }];

/// Which of the two buses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arm {
    InProcess,
    Amqp,
}

/// Address of the test's broker.
pub(super) fn url() -> String {
    let url = std::env::var_os("STOWAGE_TEST_AMQP_URL").unwrap_or_else(|| {
        panic!(
            "this test needs a broker: run `cargo xtask test --only amqp`, which starts one, or \
             set STOWAGE_TEST_AMQP_URL"
        )
    });
    url.into_string().expect("a URL is plain text")
}

/// One test's part of the broker.
pub(super) struct Wire {
    arm: Arm,
    pub(super) url: String,
    pub(super) options: AmqpOptions,
}

/// A bus that runs.
pub(super) struct RunningBus {
    pub(super) bus: Bus,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub(super) fn new(arm: Arm) -> Self {
        Self::through(arm, if arm == Arm::Amqp { url() } else { String::new() })
    }

    /// Over the broker at another address, such as a proxy's.
    pub(super) fn through(arm: Arm, url: String) -> Self {
        let id = stowage_types::new_id(&SystemClock, &SystemRandom);
        let options = AmqpOptions {
            namespace: format!("test.{}", id.simple()),
            consumers: KNOWN,
            back_off_min: Duration::from_millis(5),
            back_off_max: Duration::from_millis(50),
            stop_max: Duration::from_millis(50),
            ..AmqpOptions::new(Arc::new(SystemRandom))
        };
        Self { arm, url, options }
    }

    /// A bus with these subscriptions, connected.
    pub(super) async fn start(
        &self,
        subscriptions: impl IntoIterator<Item = Subscription>,
    ) -> RunningBus {
        let running = self.start_unconnected(subscriptions);
        eventually("the broker is connected", async || running.bus.check().is_ok()).await;
        running
    }

    pub(super) fn start_unconnected(
        &self,
        subscriptions: impl IntoIterator<Item = Subscription>,
    ) -> RunningBus {
        let bus = match self.arm {
            Arm::InProcess => Bus::in_process(),
            Arm::Amqp => {
                let url = SecretString::from(self.url.clone());
                Bus::amqp(&url, self.options.clone()).unwrap()
            }
        };
        for subscription in subscriptions {
            bus.subscribe(subscription);
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(bus.run(stop.clone()));
        RunningBus { bus, stop, task }
    }

    /// A channel of the test's own, past whatever is between the bus and the broker.
    pub(super) async fn channel(&self) -> (Connection, Channel) {
        let connection =
            Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Name of a queue or exchange.
    pub(super) fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.options.namespace)
    }

    /// Takes one message out of a queue.
    pub(super) async fn get(&self, queue: &str) -> Option<lapin::message::Delivery> {
        let (connection, channel) = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(self.name(queue).into(), options).await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
        got.map(|message| message.delivery)
    }

    /// How many messages wait in a queue.
    pub(super) async fn waiting(&self, queue: &str) -> u32 {
        let (connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = self.name(queue).into();
        let found = channel.queue_declare(name, options, FieldTable::default()).await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
        found.message_count()
    }

    /// Removes what the test left at the broker.
    pub(super) async fn end(self) {
        if self.arm == Arm::InProcess {
            return;
        }
        let (connection, channel) = self.channel().await;
        for queue in ["test", "later", "dead"] {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(self.name(queue).into(), options).await.unwrap();
        }
        for exchange in ["events", "dead"] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(self.name(exchange).into(), options).await.unwrap();
        }
        connection.close(200, "done".into()).await.unwrap();
    }
}

impl RunningBus {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
