use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

use super::*;

fn about(name: &'static str) -> About {
    About::new(Kind::Internal, name, [KeyValue::new("stowage.test", true)])
}

/// All in one test, since the tracer is one for the process.
#[tokio::test]
async fn spans_are_connected_and_travel() {
    assert_eq!(Trace::current(), Trace::default());
    let too_early = Span::incoming(Trace::default, || unreachable!("no one asks what it is"));
    assert_eq!((too_early.trace(), current_ids()), (Trace::default(), None));

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(provider.clone());
    install(global::tracer("test"));
    drop(provider.tracer("unused"));

    let outer = Span::child(|| unreachable!("nothing is current"));
    assert_eq!(outer.trace(), Trace::default());
    let sent = Trace {
        parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        state: Some("other=1".to_owned()),
    };
    let server = Span::incoming(|| sent.clone(), || about("server"));
    let stored = server
        .run(async {
            let child = Span::child(|| about("child"));
            child.fail("BUSY");
            assert_eq!(current_ids().unwrap().trace, "0af7651916cd43dd8448eb211c80319c");
            // A caller in this process is nearer than what a header says.
            drop(Span::incoming(|| unreachable!("nobody reads it"), || about("inner")));
            Trace::current()
        })
        .await;
    assert_eq!(stored, server.trace());
    assert_eq!(stored.state.as_deref(), Some("other=1"));
    drop(server);
    drop(Span::resumed(&stored, || about("later")));
    drop(Span::resumed(&Trace::default(), || about("alone")));

    let mut headers = http::HeaderMap::new();
    stored.put(&mut headers);
    assert_eq!(Trace::of_headers(&headers), stored);
    Trace::default().put(&mut headers);
    assert_eq!(Trace::of_headers(&headers), stored, "nothing is put over something");

    let spans = exporter.get_finished_spans().unwrap();
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let parent_of = |name: &str| named(name).parent_span_id;
    let id_of = |name: &str| named(name).span_context.span_id();
    assert_eq!(parent_of("server").to_string(), "b7ad6b7169203331");
    for name in ["child", "inner", "later"] {
        assert_eq!(parent_of(name), id_of("server"), "{name}");
    }
    let trace_of = |span: &SpanData| span.span_context.trace_id();
    assert_ne!(trace_of(named("alone")), trace_of(named("server")));
}

#[test]
fn what_a_caller_sends_is_bounded() {
    let mut headers = http::HeaderMap::new();
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-x-01".parse().unwrap());
    headers.insert("tracestate", "a=".repeat(300).parse().unwrap());
    assert_eq!(Trace::of_headers(&headers).state, None);
}
