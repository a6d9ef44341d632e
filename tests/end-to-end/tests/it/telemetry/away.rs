//! A collector that does not answer: the server serves as usual.

use std::net::TcpListener;

use stowage_testkit::{Process, eventually};

use super::{PATIENCE, order, settings};

/// The value of a metric, over all its labels.
async fn metric(server: &Process, name: &str) -> f64 {
    let text = server.site.facade.get("/metrics", &[]).await.text();
    let values = text.lines().filter(|line| line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Spans that were lost for a reason, once there are some.
async fn lost(server: &Process, reason: &str) {
    let name = format!("stowage_trace_lost_spans_total{{reason=\"{reason}\"}}");
    eventually("spans are counted as lost", PATIENCE, async || {
        let count = metric(server, &name).await;
        if count > 0.0 { Ok(()) } else { Err(format!("{name} {count}")) }
    })
    .await;
}

fn warnings(server: &Process, text: &str) -> usize {
    server.log().lines().filter(|line| line.contains("WARN") && line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_spans_and_a_warning() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", gone.local_addr().expect("it is bound"));
    drop(gone);
    let mut server = Process::start_with(&settings(&endpoint)).await;
    order(&server.site, "untraced-1").await;
    lost(&server, "not_taken").await;
    order(&server.site, "untraced-2").await;
    assert!(server.stop("TERM").await.success());
    assert_eq!(warnings(&server, "the collector does not take them"), 1, "{}", server.log());
    assert_eq!(warnings(&server, "the collector does not take metrics"), 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_fills_a_queue_and_no_more() {
    // Connections are made and nothing is ever read.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", mute.local_addr().expect("it is bound"));
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "32")];
    let mut server = Process::start_with(&[&settings(&endpoint)[..], &small].concat()).await;
    order(&server.site, "untraced-1").await;
    lost(&server, "queue_full").await;
    order(&server.site, "untraced-2").await;
    assert_eq!(warnings(&server, "too many wait to be sent"), 1, "{}", server.log());
    // The stop does not wait for it either.
    assert!(server.stop("TERM").await.success());
    drop(mute);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_said_and_the_server_serves() {
    let wrong = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector port 4317"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_TRACES_SAMPLER", "most"),
    ];
    let mut server = Process::start_with(&wrong).await;
    order(&server.site, "untraced-1").await;
    assert!(server.stop("TERM").await.success());
    for said in [
        "traces are not exported",
        "OTEL_METRICS_EXPORTER: \\\"console\\\" is not otlp",
        "OTEL_BSP_SCHEDULE_DELAY: \\\"soon\\\" is no number above 0; it is 5000",
        "OTEL_TRACES_SAMPLER: \\\"most\\\" is none of ours",
    ] {
        assert_eq!(warnings(&server, said), 1, "{said}: {}", server.log());
    }
}
