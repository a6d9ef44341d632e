//! The same over five processes, as in production: over PostgreSQL and RabbitMQ.

mod amqp_parts {
    use std::collections::BTreeSet;

    use stowage_testkit::{Facade, PARTS, Parts};

    use super::super::collector::Collector;
    use super::super::{
        ACTIVATED, CALLER, CHANGED, CREATE, ORDER, SERVER, TRACE, UPDATE, assert_change,
        assert_order, assert_silent, order, rename_plan, settings, trace_with,
    };

    async fn stop(parts: &mut Parts) {
        for part in PARTS {
            parts.stop(part, 0).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_order_is_one_trace_through_five_processes() {
        let collector = Collector::start().await;
        let mut parts = Parts::start_all(1, &settings(&collector.endpoint())).await;
        let site = parts.site(0);
        let token = order(&site, "traced-1").await;
        let sent = format!("send {}.events:{ACTIVATED}", parts.namespace());
        let spans = trace_with(&collector, &[ORDER, CREATE, &sent]).await;
        assert_order(&spans, "postgresql", &sent);
        let services = |kind| -> BTreeSet<&str> {
            let of_kind =
                spans.iter().filter(|span| span.kind == kind && span.name.contains(".v1."));
            of_kind.map(|span| span.resource["service.name"].as_str()).collect()
        };
        let [accounts, gateway] = ["stowage-accounts", "stowage-gateway"];
        let others = ["stowage-billing", "stowage-metering", "stowage-storage"];
        assert_eq!(services(CALLER), BTreeSet::from([accounts, gateway]));
        let serving = services(SERVER);
        assert!(serving.contains(accounts) && others.iter().all(|o| serving.contains(o)));
        assert_silent(&collector, &["traced-1", "@example.com", &token, &site.admin_token]);

        let line = format!(r#""trace_id":"{TRACE}""#);
        assert!(parts.log("accounts", 0).contains(&line), "{}", parts.log("accounts", 0));
        for part in PARTS {
            let metrics = Facade::new(parts.address(part, 0)).get("/metrics", &[]).await.text();
            assert!(metrics.contains("\n# TYPE stowage_"), "{part}: {metrics}");
        }
        stop(&mut parts).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_goes_on_with_the_trace_over_the_broker() {
        let collector = Collector::start().await;
        let mut parts = Parts::start_all(1, &settings(&collector.endpoint())).await;
        let site = parts.site(0);
        rename_plan(&site).await;
        let name = parts.namespace();
        let sent = format!("send {name}.events:{CHANGED}");
        let taken = format!("process {name}.events:{CHANGED}:{name}.accounts.history");
        let spans = trace_with(&collector, &[UPDATE, &sent, &taken, "INSERT inbox"]).await;
        assert_change(&spans, &sent, &taken, "rabbitmq");
        stop(&mut parts).await;
    }
}
