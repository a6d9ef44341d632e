//! What a collector of OpenTelemetry gets to see of the real program.

mod away;
mod collector;
mod parts;

use std::collections::BTreeSet;
use std::time::Duration;

use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::{Plan, UpdatePlanRequest};
use stowage_testkit::{Process, Site, eventually};
use tonic::Request;

use collector::{Collector, Seen};

const PATIENCE: Duration = Duration::from_secs(30);

/// The trace that the client of the test is in, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// Kinds of spans, by the protocol.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CALLER: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

const ORDER: &str = "POST /s3/create_order";
const CREATE: &str = "stowage.accounts.v1.AccountService/CreateAccount";
const ACTIVATED: &str = "stowage.accounts.account.activated.v1";
const UPDATE: &str = "stowage.billing.v1.PlanService/UpdatePlan";
const CHANGED: &str = "stowage.billing.plan.changed.v1";

/// Settings under which what happens is sent at once.
fn settings(endpoint: &str) -> Vec<(&str, &str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer of-the-collector"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ("STOWAGE_LOG_FORMAT", "json"),
        ("STOWAGE_LOG_LEVEL", "info,stowage_runtime=debug"),
    ]
}

fn traceparent() -> String {
    format!("00-{TRACE}-{CLIENT}-01")
}

/// Orders an account as a client does that is part of [`TRACE`]; answers his token.
async fn order(site: &Site, bucket: &str) -> String {
    let (plan_id, _) = site.plans().await;
    let customer = site.customer(&format!("{bucket}@example.com"), "EUR").await;
    let token = &customer.token;
    let request = http::Request::post("/s3/create_order")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("traceparent", traceparent())
        .body(format!("token={token}&plan_id={plan_id}&bucket_name={bucket}").into())
        .expect("a path makes a request");
    site.facade.send(request).await.success();
    customer.token
}

/// Renames a plan as a client does that is part of [`TRACE`]: billing tells accounts by an event.
async fn rename_plan(site: &Site) {
    let (plan_id, _) = site.plans().await;
    let plan =
        Plan { name: format!("plans/{plan_id}"), title: "Other".to_owned(), ..Plan::default() };
    let mask = prost_types::FieldMask { paths: vec!["title".to_owned()] };
    let update =
        UpdatePlanRequest { plan: Some(plan), update_mask: Some(mask), ..Default::default() };
    let mut request = Request::new(update);
    let parent = traceparent().parse().expect("it is a value of a header");
    request.metadata_mut().insert("traceparent", parent);
    let updated = PlanServiceClient::new(site.as_admin()).update_plan(request).await;
    updated.expect("a plan can be renamed");
}

/// The trace, once it is whole: it holds spans of all these names, and every span's parent.
async fn trace_with(collector: &Collector, names: &[&str]) -> Vec<Seen> {
    eventually("the trace arrives", PATIENCE, async || {
        let spans = collector.trace(TRACE);
        let seen: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
        let missing: Vec<_> = names.iter().filter(|name| !seen.contains(**name)).collect();
        if !missing.is_empty() {
            return Err(format!("{missing:?} not in {seen:?}"));
        }
        let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
        let is_loose = |span: &&Seen| span.parent != CLIENT && !ids.contains(&*span.parent);
        match spans.iter().find(is_loose) {
            Some(loose) => Err(format!("nothing is the parent of {loose:?}")),
            None => Ok(spans),
        }
    })
    .await
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} is there"))
}

/// Those that a span is part of, nearest first, up to the client's.
fn above<'a>(spans: &'a [Seen], span: &'a Seen) -> Vec<&'a str> {
    let parent = |span: &&'a Seen| spans.iter().find(|other| other.id == span.parent);
    std::iter::successors(parent(&span), parent).map(|span| span.name.as_str()).collect()
}

#[track_caller]
fn assert_has(span: &Seen, kind: i32, expected: &[(&str, &str)]) {
    assert_eq!(span.kind, kind, "{span:?}");
    for (name, value) in expected {
        let found = span.attributes.get(*name).map(String::as_str);
        assert_eq!(found, Some(*value), "{name}: {span:?}");
    }
}

/// The steps of an order that call another role, with what each calls there, nearest last.
const STEPS: [(&str, &[&str]); 5] = [
    ("run place_order", &["stowage.billing.v1.SubscriptionService/PlaceOrder"]),
    (
        "run create_engine_account",
        &["stowage.storage.v1.EngineAccountService/EnsureEngineAccount", "engine ensure_account"],
    ),
    (
        "run create_bucket",
        &["stowage.storage.v1.BucketService/CreateBucket", "engine create_bucket"],
    ),
    ("run open_meter", &["stowage.metering.v1.MeterService/OpenMeter"]),
    ("run activate_subscription", &["stowage.billing.v1.SubscriptionService/ActivateSubscription"]),
];

/// The order is one tree: the facade, accounts, each step, the role that it calls, the engine, the
/// database, and the event.
fn assert_order(spans: &[Seen], database: &str, sent: &str) {
    let facade = named(spans, ORDER);
    let route = ("http.route", "/s3/create_order");
    assert_has(facade, SERVER, &[route, ("http.response.status_code", "200")]);
    assert_eq!(spans.iter().filter(|span| span.parent == CLIENT).count(), 1, "{spans:#?}");
    assert_eq!(facade.parent, CLIENT);
    for (step, calls) in STEPS {
        let step = named(spans, step);
        let kind = ("stowage.saga.kind", "accounts.create_account.v1");
        assert_has(step, INTERNAL, &[("stowage.saga.direction", "forward"), kind]);
        let mut outer = step.name.as_str();
        for call in calls {
            let at = |span: &&Seen| span.name == *call && above(spans, span).contains(&outer);
            let found = spans.iter().find(at);
            let found = found.unwrap_or_else(|| panic!("{call} is part of {outer}: {spans:#?}"));
            assert!(above(spans, found).contains(&CREATE), "{found:?}");
            outer = call;
        }
    }
    let answered = [("rpc.system", "grpc"), ("rpc.grpc.status_code", "0")];
    let serves = |span: &&Seen| span.name == CREATE && span.kind == SERVER;
    let create = spans.iter().find(serves).expect("accounts has a span of the call");
    assert_has(create, SERVER, &[answered[0], answered[1], ("rpc.method", "CreateAccount")]);
    let row = named(spans, "INSERT saga");
    let table = ("db.collection.name", "saga");
    assert_has(
        row,
        CALLER,
        &[("db.system.name", database), ("db.operation.name", "INSERT"), table],
    );
    assert_eq!(above(spans, row).last(), Some(&ORDER));
    let sent = named(spans, sent);
    assert_has(sent, PRODUCER, &[("messaging.operation.type", "send")]);
    assert!(above(spans, sent).contains(&"run activate_account"), "{sent:?}");
}

/// An event is part of the call that made it, and what comes of it part of the event.
fn assert_change(spans: &[Seen], sent: &str, taken: &str, system: &str) {
    // The gateway takes it too, for its list of plans.
    let consumer = ("messaging.consumer.group.name", "accounts.history");
    let is_taken = |span: &&Seen| span.name == taken && span.attributes[consumer.0] == consumer.1;
    let taken = spans.iter().find(is_taken).expect("accounts takes it");
    assert_has(taken, CONSUMER, &[("messaging.system", system), consumer]);
    let effect = |span: &&Seen| span.name == "INSERT inbox" && span.parent == taken.id;
    assert!(spans.iter().any(|span| effect(&span)), "{spans:#?}");
    let above = above(spans, taken);
    assert_eq!(above[0], sent);
    assert!(above.contains(&UPDATE), "{above:?}");
}

/// Nothing that names or opens something of a customer's is told to a collector.
fn assert_silent(collector: &Collector, secrets: &[&str]) {
    for span in collector.spans() {
        let told = format!("{span:?}");
        let found = secrets.iter().find(|secret| told.contains(**secret));
        assert_eq!(found, None, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_through_every_role() {
    let collector = Collector::start().await;
    let mut server = Process::start_with(&settings(&collector.endpoint())).await;
    let token = order(&server.site, "traced-1").await;
    let sent = format!("send {ACTIVATED}");
    let spans = trace_with(&collector, &[ORDER, CREATE, &sent]).await;
    assert_order(&spans, "sqlite", &sent);
    let resource = &named(&spans, ORDER).resource;
    assert_eq!(resource["service.name"], "stowage");
    assert_eq!(resource["deployment.environment.name"], "test");
    let metric = eventually("metrics arrive", PATIENCE, async || {
        collector.metric("stowage_rpc_calls_total").ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(metric.await["service.name"], "stowage");
    assert_eq!(collector.authorization().as_deref(), Some("Bearer of-the-collector"));

    let admin = server.site.admin_token.clone();
    assert_silent(&collector, &["traced-1", "@example.com", &token, &admin]);
    assert!(server.stop("TERM").await.success());
    let lines = server.log();
    let named = format!(r#""trace_id":"{TRACE}","span_id":""#);
    assert!(lines.lines().any(|line| line.contains(&named)), "a line names the trace: {lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_on_with_the_trace_of_the_call_that_made_it() {
    let collector = Collector::start().await;
    let mut server = Process::start_with(&settings(&collector.endpoint())).await;
    rename_plan(&server.site).await;
    let [sent, taken] = ["send", "process"].map(|verb| format!("{verb} {CHANGED}"));
    let spans = trace_with(&collector, &[UPDATE, &sent, &taken, "INSERT inbox"]).await;
    assert_change(&spans, &sent, &taken, "stowage");
    assert!(server.stop("TERM").await.success());
}
