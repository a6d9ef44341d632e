//! The broker is killed, stopped, and started again under load. Nothing runs beside these tests.

mod amqp_outage {
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::{Duration, Instant};

    use stowage_db::Db;
    use stowage_db::testing::Scratch;

    use super::super::broker::assert_in_order;
    use super::super::consumer::{
        Consumer, Running, effects, eventually, numbered, open, outbox, push,
    };
    use super::super::wire::{Arm, Wire};
    use crate::{Outbox, backlog};

    /// How long the broker stays away, in seconds, unless told otherwise.
    const OUTAGE_SECONDS: u64 = 5;
    /// Events of one phase.
    const SOME: i64 = 50;

    /// Runs the script that the test run has for its broker.
    async fn control(word: &'static str) {
        let script = std::env::var_os("STOWAGE_TEST_AMQP_CONTROL").map(PathBuf::from);
        let script = script.expect("`cargo xtask test --only amqp` says where the script is");
        let running = tokio::task::spawn_blocking(move || Command::new(script).arg(word).status());
        let status = running.await.unwrap().unwrap();
        assert!(status.success(), "broker {word}: {status}");
    }

    fn outage() -> Duration {
        let seconds = std::env::var_os("STOWAGE_TEST_AMQP_OUTAGE_SECONDS");
        let seconds = seconds.map(|text| text.into_string().unwrap().parse().unwrap());
        Duration::from_secs(seconds.unwrap_or(OUTAGE_SECONDS))
    }

    /// Makes events without end, until it is aborted.
    async fn load(db: Db, outbox: Outbox, made: Arc<AtomicI64>) {
        loop {
            let number = made.load(Ordering::SeqCst);
            push(&db, &outbox, &format!("things/{}", number % 4), number).await;
            made.store(number + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_broker_that_was_stopped_and_killed_loses_doubles_and_reorders_nothing() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, wire) = (outbox(), Wire::new(Arm::Amqp));
        let consumer = Arc::new(Consumer::new(&db));
        let bus = wire.start([consumer.subscription()]).await;
        let running = Running::start(&db, &outbox, &bus.bus);
        let made = Arc::new(AtomicI64::new(0));
        let loading = tokio::spawn(load(db.clone(), outbox.clone(), Arc::clone(&made)));
        let more = async |why: &str| {
            let goal = made.load(Ordering::SeqCst) + SOME;
            eventually(why, async || made.load(Ordering::SeqCst) >= goal).await;
        };
        // The stop comes first: a queue that is only seconds old may not survive a kill.
        for how in ["stop", "kill"] {
            more("events are made").await;
            control(how).await;
            eventually("it is noticed", async || bus.bus.check().is_err()).await;
            let begun = Instant::now();
            more("events are made during an outage").await;
            assert!(backlog(&db).await.unwrap().pending > 0, "they wait in the outbox");
            tokio::time::sleep(outage().saturating_sub(begun.elapsed())).await;
            control("start").await;
            eventually("it is back", async || bus.bus.check().is_ok()).await;
        }
        more("events are made").await;
        loading.abort();
        eventually("the outbox drains", async || backlog(&db).await.unwrap().pending == 0).await;
        // The last push may or may not have been committed when it was aborted.
        let count = usize::try_from(made.load(Ordering::SeqCst)).unwrap();
        eventually("all take effect", async || effects(&db).await.len() >= count).await;
        let effects = numbered(&db).await;
        assert!(effects.len() <= count + 1, "{} of {count}", effects.len());
        assert_in_order(&effects, effects.len());
        running.stop().await;
        bus.stop().await;
        wire.end().await;
    }
}
