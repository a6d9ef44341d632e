//! What a collector of OpenTelemetry gets to see of the real program.

mod collector;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stowage_testkit::{Process, eventually};

use collector::{Collector, Seen};

const PATIENCE: Duration = Duration::from_secs(30);

/// The trace that the client of the test is in, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// Kinds of spans, by the protocol.
const SERVER: i32 = 2;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

async fn start(collector: &Collector, further: &[(&str, &str)]) -> Process {
    let endpoint = collector.endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-collector"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    Process::start_with(&[&settings[..], further].concat()).await
}

/// Posts a form as a client does that is part of [`TRACE`].
async fn post(server: &Process, action: &str, fields: &[(&str, &str)]) {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = http::Request::post(format!("/s3/{action}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("traceparent", format!("00-{TRACE}-{CLIENT}-01"))
        .body(fields.join("&").into())
        .expect("a path makes a request");
    server.site.facade.send(request).await.success();
}

/// The trace, once it holds spans of all these names.
async fn trace_with(collector: &Collector, names: &[&str]) -> Vec<Seen> {
    eventually("the trace arrives", PATIENCE, async || {
        let spans = collector.trace(TRACE);
        let has = |name: &&&str| spans.iter().any(|span| span.name == **name);
        let missing: Vec<_> = names.iter().filter(|name| !has(name)).collect();
        let seen: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
        if missing.is_empty() { Ok(spans) } else { Err(format!("{missing:?} not in {seen:?}")) }
    })
    .await
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} is there"))
}

#[track_caller]
fn assert_has(span: &Seen, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(
            span.attributes.get(*name).map(String::as_str),
            Some(*value),
            "{name}: {span:?}"
        );
    }
}

/// Every span's parent is in the trace, but for the one that the client's span is parent of.
fn assert_connected(spans: &[Seen], roots: usize) {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let is_root = |span: &&Seen| span.parent == CLIENT;
    assert_eq!(spans.iter().filter(is_root).count(), roots, "{spans:#?}");
    for span in spans.iter().filter(|span| !is_root(span)) {
        assert!(ids.contains(span.parent.as_str()), "{span:?} has a parent");
    }
}

const ORDER: &[&str] = &[
    "POST /s3/create_order",
    "stowage.accounts.v1.AccountService/CreateAccount",
    "send stowage.accounts.account.activated.v1",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_through_every_role() {
    let collector = Collector::start().await;
    let mut server = start(&collector, &[("STOWAGE_LOG_FORMAT", "json")]).await;
    let (plan_id, _) = server.site.plans().await;
    let plan = plan_id.to_string();
    let customer = server.site.customer("traced@example.com", "EUR").await;
    let token = ("token", customer.token.as_str());
    post(&server, "create_order", &[token, ("plan_id", &plan), ("bucket_name", "traced-1")]).await;
    let spans = trace_with(&collector, ORDER).await;
    for span in &spans {
        println!("{} <- {} {} {:?}", span.id, span.parent, span.name, span.attributes);
    }
    server.stop("TERM").await;
    assert_connected(&collector.trace(TRACE), 1);
    println!("{}", server.log());
}
