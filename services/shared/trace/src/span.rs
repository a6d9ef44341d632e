//! Spans.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{self, Poll};

use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use pin_project_lite::pin_project;

use crate::{Kind, Trace};

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// Begins to make spans; to be called once in a process, after the form of propagation was set.
/// A second call changes nothing.
pub fn install(tracer: BoxedTracer) {
    let _first_stays = TRACER.set(tracer);
}

/// Whether spans are made.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// What is known of a span when it begins.
#[derive(Debug)]
pub struct About {
    /// Which side of which exchange.
    pub kind: Kind,
    /// Of few kinds: `GET /s3/get_files`, never with an id in it.
    pub name: Cow<'static, str>,
    /// By the semantic conventions.
    pub attributes: Vec<KeyValue>,
}

impl About {
    /// A span of a kind.
    #[must_use]
    pub fn new(
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        attributes: impl Into<Vec<KeyValue>>,
    ) -> Self {
        Self { kind, name: name.into(), attributes: attributes.into() }
    }
}

/// A span that has begun, or nothing where it would be of no use. It ends when it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Context>);

impl Span {
    /// No span.
    pub fn none() -> Self {
        Self(None)
    }

    /// Part of the span that is current. Where none is, or its trace is not recorded: nothing.
    pub fn child(about: impl FnOnce() -> About) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let is_wanted = Context::map_current(|cx| cx.span().span_context().is_sampled());
        if !is_wanted {
            return Self(None);
        }
        Self(Some(begin(tracer, about(), &Context::current())))
    }

    /// A call that came in: part of the span that is current, where the caller is in this process;
    /// else of the one that `sent` names; else the first of a trace.
    pub fn incoming(sent: impl FnOnce() -> Trace, about: impl FnOnce() -> About) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let mut parent = Context::current();
        if !parent.has_active_span() {
            parent = sent().context();
        }
        Self(Some(begin(tracer, about(), &parent)))
    }

    /// Work that goes on at another time, or in another task or process, than what `trace` names;
    /// without that the first of a trace.
    pub fn resumed(trace: &Trace, about: impl FnOnce() -> About) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        Self(Some(begin(tracer, about(), &trace.context())))
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Says that it failed, by what kind of error: a code or a reason of ours, never a text.
    pub fn fail(&self, kind: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", kind.into()));
            context.span().set_status(Status::error(""));
        }
    }

    /// Its place, for what goes on elsewhere; empty where there is no span.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.0.as_ref().map(Trace::of).unwrap_or_default()
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Runs a future with this span as the current one.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        within(self.0.as_ref(), future)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// Runs a future in another task with the span that is current here.
pub fn follow<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    within(None, future)
}

/// Where no spans are made no context is set: that costs a little with each poll.
fn within<F: Future>(context: Option<&Context>, future: F) -> Within<F> {
    let context = is_on().then(|| context.cloned().unwrap_or_else(Context::current));
    Within { context, future }
}

pin_project! {
    /// Runs a future in a context, or as it is.
    ///
    /// Not `Either` of the two: what polls a future of many states is a lot of code, and would be
    /// there twice.
    struct Within<F> {
        context: Option<Context>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _current = this.context.clone().map(Context::attach);
        this.future.poll(cx)
    }
}

/// Sets an attribute of the span that is current.
pub fn set_on_current(key: &'static str, value: impl Into<Value>) {
    if is_on() {
        Context::map_current(|cx| cx.span().set_attribute(KeyValue::new(key, value)));
    }
}

fn begin(tracer: &BoxedTracer, about: About, parent: &Context) -> Context {
    let About { kind, name, attributes } = about;
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    parent.with_span(tracer.build_with_context(span, parent))
}
