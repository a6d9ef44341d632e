//! What only a broker can do to events, and what it must not.

/// Each number once, those of one subject in their order.
pub(super) fn assert_in_order(effects: &[(String, i64)], count: usize) {
    let mut numbers: Vec<i64> = effects.iter().map(|effect| effect.1).collect();
    numbers.sort_unstable();
    let expected: Vec<i64> = (0..i64::try_from(count).unwrap()).collect();
    assert_eq!(numbers, expected, "each once");
    for (subject, _) in effects {
        let of_subject = effects.iter().filter(|effect| effect.0 == *subject);
        assert!(of_subject.map(|effect| effect.1).is_sorted(), "order of {subject}");
    }
}

mod amqp {
    use std::sync::Arc;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use lapin::BasicProperties;
    use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
    use lapin::types::FieldTable;
    use stowage_db::testing::Scratch;
    use stowage_types::{SecretString, SystemRandom};

    use super::super::consumer::{
        Consumer, KIND, Running, arrive, drain, effects, event, eventually, numbered, open, outbox,
        push, push_all, subscription,
    };
    use super::super::proxy::Proxy;
    use super::super::tls::Tls;
    use super::super::wire::{Arm, Wire, url};
    use super::assert_in_order;
    use crate::{
        AmqpOptions, Audience, BoxError, Bus, Event, Handler, InvalidUrl, PublishError,
        Subscription, backlog,
    };

    #[tokio::test]
    async fn what_is_published_before_a_consumer_first_runs_waits_for_it() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, wire) = (outbox(), Wire::new(Arm::Amqp));
        let pushed = push_all(&db, &outbox, 20).await;
        let publisher = wire.start([]).await;
        drain(&db, &outbox, &publisher.bus).await;
        publisher.stop().await;
        assert_eq!(effects(&db).await, [""; 0]);

        let consumer = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
        arrive(&db, &pushed).await;
        consumer.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_consumer_added_later_gets_what_is_published_since_its_queue_is_there() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let wire = Wire::new(Arm::Amqp);
        let publisher = wire.start([]).await;
        publisher.bus.publish(&event("things/before", 1)).await.unwrap();
        let heard = Arc::new(Heard::default());
        let later = wire.start([subscription("later", heard.clone())]).await;
        later.stop().await;
        publisher.bus.publish(&event("things/between", 1)).await.unwrap();
        let later = wire.start([subscription("later", heard.clone())]).await;
        publisher.bus.publish(&event("things/after", 1)).await.unwrap();
        eventually("both come", async || heard.subjects().len() >= 2).await;
        assert_eq!(heard.subjects(), ["things/between", "things/after"]);
        publisher.stop().await;
        later.stop().await;
        wire.end().await;
        drop(db);
    }

    /// Keeps the subjects it hears, and how often it was told that it missed something.
    #[derive(Default)]
    struct Heard {
        subjects: Mutex<Vec<String>>,
        missed: AtomicUsize,
    }

    impl Heard {
        fn subjects(&self) -> Vec<String> {
            self.subjects.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl Handler for Heard {
        async fn handle(&self, event: &Event) -> Result<(), BoxError> {
            self.subjects.lock().unwrap().push(event.subject.clone());
            Ok(())
        }

        async fn missed(&self) {
            self.missed.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn for_each_process(heard: &Arc<Heard>) -> Subscription {
        let audience = Audience::EveryProcess;
        let handler = Arc::clone(heard) as Arc<dyn Handler>;
        Subscription { consumer: "cache", kinds: &[KIND], audience, handler }
    }

    #[tokio::test]
    async fn every_process_hears_and_is_told_when_it_may_have_missed_something() {
        let proxy = Proxy::start(&url()).await;
        let wire = Wire::through(Arm::Amqp, proxy.url.clone());
        let heard = [Arc::new(Heard::default()), Arc::new(Heard::default())];
        let first = wire.start([for_each_process(&heard[0])]).await;
        let second = wire.start([for_each_process(&heard[1])]).await;
        first.bus.publish(&event("things/1", 1)).await.unwrap();
        for heard in &heard {
            eventually("each hears", async || heard.subjects() == ["things/1"]).await;
            assert_eq!(heard.missed.load(Ordering::SeqCst), 1, "as it began to hear");
        }
        proxy.cut();
        for heard in &heard {
            eventually("it is told", async || heard.missed.load(Ordering::SeqCst) == 2).await;
        }
        let again = event("things/2", 1);
        eventually("it works again", async || first.bus.publish(&again).await.is_ok()).await;
        for heard in &heard {
            eventually("each hears", async || heard.subjects().contains(&again.subject)).await;
        }
        first.stop().await;
        second.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn connections_cut_at_any_byte_lose_double_and_reorder_nothing() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let proxy = Proxy::start(&url()).await;
        let (outbox, wire) = (outbox(), Wire::through(Arm::Amqp, proxy.url.clone()));
        let consumer = Arc::new(Consumer::new(&db));
        let bus = wire.start([consumer.subscription()]).await;
        let running = Running::start(&db, &outbox, &bus.bus);
        let mut cuts = 0;
        for number in 0..300 {
            push(&db, &outbox, &format!("things/{}", number % 5), number).await;
            if number % 10 == 0 {
                // Somewhere in the middle of what is going on: after some more bytes.
                let at = proxy.passed() + 400 + usize::try_from(number * 17 % 1000).unwrap();
                let some = async {
                    while proxy.passed() < at {
                        tokio::task::yield_now().await
                    }
                };
                cuts +=
                    usize::from(tokio::time::timeout(Duration::from_secs(5), some).await.is_ok());
                proxy.cut();
            }
        }
        eventually("all take effect", async || effects(&db).await.len() >= 300).await;
        assert!(cuts > 20, "only {cuts} cuts fell into traffic");
        assert_in_order(&numbered(&db).await, 300);
        assert!(consumer.calls.load(Ordering::SeqCst) > 300, "something came twice");
        running.stop().await;
        assert_eq!(backlog(&db).await.unwrap().dead, 0);
        bus.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn two_replicas_keep_the_order_of_a_subject_over_retries_and_a_crash() {
        two_replicas(true).await;
    }

    #[tokio::test]
    async fn two_replicas_keep_the_order_of_a_subject_over_retries_and_a_stop() {
        two_replicas(false).await;
    }

    async fn two_replicas(is_crash: bool) {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let proxy = Proxy::start(&url()).await;
        let (outbox, mut wire) = (outbox(), Wire::through(Arm::Amqp, proxy.url.clone()));
        wire.options.prefetch = 5;
        let replica = || Arc::new(Consumer { fails_every: 7, ..Consumer::new(&db) });
        let (one, two) = (replica(), replica());
        let first = wire.start([one.subscription()]).await;
        wire.url = url();
        let second = wire.start([two.subscription()]).await;
        let running = Running::start(&db, &outbox, &second.bus);
        let subject = |number: i64| format!("things/{}", number % 3);
        for number in 0..100 {
            push(&db, &outbox, &subject(number), number).await;
        }
        eventually("some arrive", async || effects(&db).await.len() > 20).await;
        if is_crash {
            proxy.set_away(true);
        }
        first.stop().await;
        for number in 100..200 {
            push(&db, &outbox, &subject(number), number).await;
        }
        eventually("all take effect", async || effects(&db).await.len() >= 200).await;
        assert_in_order(&numbered(&db).await, 200);
        let calls = |consumer: &Consumer| consumer.calls.load(Ordering::SeqCst);
        assert!(calls(&one) > 20 && calls(&two) > 50, "{} and {}", calls(&one), calls(&two));
        running.stop().await;
        second.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_full_queue_holds_the_outbox_and_costs_nothing() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, mut wire) = (outbox(), Wire::new(Arm::Amqp));
        wire.options.queue_events_max = 5;
        let pushed = push_all(&db, &outbox, 60).await;
        let publisher = wire.start([]).await;
        let events: Vec<Event> = (0..60).map(|n| event(&format!("fill/{n}"), 0)).collect();
        eventually("the queue is full", async || {
            let failure = publisher.bus.publish_all(&events).await.failure;
            failure.is_some_and(|error| matches!(error, PublishError::Unavailable { .. }))
        })
        .await;
        assert_eq!(publisher.bus.check(), Ok(()), "a refusal is no reason to reconnect");
        let running = Running::start(&db, &outbox, &publisher.bus);
        let consumer = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
        let ours = async || {
            let mut subjects = effects(&db).await;
            subjects.retain(|subject| subject.starts_with("things/"));
            subjects
        };
        eventually("all take effect", async || ours().await.len() >= pushed.len()).await;
        assert_eq!(sorted(ours().await), pushed);
        running.stop().await;
        consumer.stop().await;
        publisher.stop().await;
        wire.end().await;
    }

    fn sorted(mut subjects: Vec<String>) -> Vec<String> {
        subjects.sort();
        subjects
    }

    #[tokio::test]
    async fn a_queue_that_was_removed_is_noticed_and_declared_anew() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, wire) = (outbox(), Wire::new(Arm::Amqp));
        let publisher = wire.start([]).await;
        let (connection, channel) = wire.channel().await;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(wire.name("test").into(), options).await.unwrap();
        let events: Vec<Event> = (0..9).map(|n| event(&format!("things/{n}"), n)).collect();
        let published = publisher.bus.publish_all(&events).await;
        assert_eq!(published.count, 0, "nothing counts that has no queue");
        let failure = published.failure.unwrap();
        assert!(matches!(failure, PublishError::Unavailable { .. }), "{failure:?}");
        let pushed = push_all(&db, &outbox, 9).await;
        drain(&db, &outbox, &publisher.bus).await;
        let consumer = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
        arrive(&db, &pushed).await;
        connection.close(200, "done".into()).await.unwrap();
        publisher.stop().await;
        consumer.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_queue_with_other_arguments_is_used_as_it_is() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let (outbox, wire) = (outbox(), Wire::new(Arm::Amqp));
        let (connection, channel) = wire.channel().await;
        let (options, arguments) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(wire.name("test").into(), options, arguments).await.unwrap();
        let pushed = push_all(&db, &outbox, 3).await;
        let running = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
        drain(&db, &outbox, &running.bus).await;
        arrive(&db, &pushed).await;
        connection.close(200, "done".into()).await.unwrap();
        running.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_dead_letter_says_whose_it_is_and_why() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let wire = Wire::new(Arm::Amqp);
        let consumer = Arc::new(Consumer { refuses: "things/1", ..Consumer::new(&db) });
        let running = wire.start([consumer.subscription()]).await;
        let refused = event("things/1", 1);
        running.bus.publish(&refused).await.unwrap();
        running.bus.publish(&event("things/2", 1)).await.unwrap();
        arrive(&db, &["things/2".to_owned()]).await;
        let letter = wire.get("dead").await.expect("it is there before the next is taken");
        let headers = letter.properties.headers().clone().unwrap();
        let text = |name: &str| {
            let value = headers.inner().get(name).and_then(|value| value.as_long_string());
            value.map(ToString::to_string).unwrap_or_default()
        };
        assert_eq!(text("stowage:consumer"), "test");
        assert_eq!(text("stowage:reason"), "told to refuse");
        assert_eq!(text("cloudEvents:id"), refused.id.to_string());
        let attempts = headers.inner()["stowage:attempts"].as_long_long_int();
        assert_eq!(attempts, Some(5));
        assert_eq!(letter.data, refused.data);
        running.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_message_that_is_no_event_stops_nobody() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let wire = Wire::new(Arm::Amqp);
        let running = wire.start([Arc::new(Consumer::new(&db)).subscription()]).await;
        let (connection, channel) = wire.channel().await;
        let (exchange, properties) = (wire.name("events"), BasicProperties::default());
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish(exchange.into(), KIND.into(), options, b"what", properties).await;
        sent.unwrap().await.unwrap();
        eventually("it is a dead letter", async || wire.get("dead").await.is_some()).await;
        running.bus.publish(&event("things/1", 1)).await.unwrap();
        arrive(&db, &["things/1".to_owned()]).await;
        connection.close(200, "done".into()).await.unwrap();
        running.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn while_the_broker_is_away_nothing_is_published_and_readiness_says_so() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let proxy = Proxy::start(&url()).await;
        let wire = Wire::through(Arm::Amqp, proxy.url.clone());
        let consumer = Arc::new(Consumer::new(&db));
        proxy.set_away(true);
        let running = wire.start_unconnected([consumer.subscription()]);
        for away in [false, true, false] {
            proxy.set_away(away);
            eventually("it notices", async || running.bus.check().is_err() == away).await;
            let published = running.bus.publish(&event("things/1", 1)).await;
            assert_eq!(published.is_err(), away, "{published:?}");
        }
        running.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn over_tls_the_broker_must_be_of_a_known_authority() {
        let place = Scratch::new().await;
        let db = open(&place).await;
        let tls = Tls::start(&url()).await;
        let mut wire = Wire::through(Arm::Amqp, tls.url.clone());
        let consumer = Arc::new(Consumer::new(&db));
        let running = wire.start_unconnected([consumer.subscription()]);
        eventually("it does not trust the broker", async || tls.refused() > 3).await;
        assert!(running.bus.publish(&event("things/1", 1)).await.is_err());
        running.stop().await;

        wire.options.ca = Some(tls.ca.path().to_owned());
        let running = wire.start([consumer.subscription()]).await;
        running.bus.publish(&event("things/1", 1)).await.unwrap();
        arrive(&db, &["things/1".to_owned()]).await;
        running.stop().await;
        wire.end().await;
    }

    #[tokio::test]
    async fn a_handler_in_flight_may_end_when_the_bus_stops() {
        let mut wire = Wire::new(Arm::Amqp);
        wire.options.stop_max = Duration::from_secs(30);
        let slow = Arc::new(Slow::default());
        let running = wire.start([subscription("test", slow.clone())]).await;
        running.bus.publish(&event("things/1", 1)).await.unwrap();
        slow.begun.notified().await;
        let stopping = tokio::spawn(running.stop());
        slow.go_on.notify_one();
        stopping.await.unwrap();
        assert_eq!(slow.ended.load(Ordering::SeqCst), 1);
        assert_eq!(wire.waiting("test").await, 0, "it was acknowledged");
        wire.end().await;
    }

    /// Ends when it is told to.
    #[derive(Default)]
    struct Slow {
        begun: tokio::sync::Notify,
        go_on: tokio::sync::Notify,
        ended: AtomicU32,
    }

    #[async_trait]
    impl Handler for Slow {
        async fn handle(&self, _: &Event) -> Result<(), BoxError> {
            self.begun.notify_one();
            self.go_on.notified().await;
            self.ended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_repeating_it() {
        let bus = |url: &str, namespace: &str| {
            let options = AmqpOptions::new(Arc::new(SystemRandom));
            let options = AmqpOptions { namespace: namespace.to_owned(), ..options };
            Bus::amqp(&SecretString::from(url.to_owned()), options)
        };
        let error = bus("http://me:secret@127.0.0.1", "stowage").unwrap_err();
        assert_eq!(error, InvalidUrl::Url);
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(bus("amqp://127.0.0.1", "").unwrap_err(), InvalidUrl::Namespace);
        let bus = bus("amqp://me:secret@127.0.0.1", "stowage").unwrap();
        assert!(!format!("{bus:?}").contains("secret"), "{bus:?}");
    }
}
