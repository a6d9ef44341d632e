//! Where in a trace something stands, as it travels.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, global};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest text that is taken from a caller, in bytes. W3C Trace Context, 3.3.1.5: a `tracestate`
/// of 512 characters must be passed on; a longer one may be left out.
const BYTES_MAX: usize = 512;

/// A place in a trace, in the form of W3C Trace Context. Empty: in none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `00-<trace>-<span>-<flags>`.
    pub parent: Option<String>,
    /// What other systems keep with a trace.
    pub state: Option<String>,
}

impl Trace {
    /// The place of the span that is current; empty where there is none.
    #[must_use]
    pub fn current() -> Self {
        if !crate::is_on() {
            return Self::default();
        }
        Self::of(&Context::current())
    }

    pub(crate) fn of(context: &Context) -> Self {
        let mut trace = Self::default();
        global::get_text_map_propagator(|form| form.inject_context(context, &mut trace));
        trace
    }

    /// The place that a caller named in headers.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Self {
        Self::of_texts([PARENT, STATE].map(|name| headers.get(name)?.to_str().ok()))
    }

    /// The place that a parent and a state from outside name, such as those of a message.
    #[must_use]
    pub fn of_texts(sent: [Option<&str>; 2]) -> Self {
        let [parent, state] = sent.map(|text| {
            text.filter(|text| !text.is_empty() && text.len() <= BYTES_MAX).map(str::to_owned)
        });
        Self { parent, state }
    }

    /// Names the place in headers, instead of what is there. An empty one changes nothing.
    pub fn put(&self, headers: &mut HeaderMap) {
        let Some(parent) = self.parent.as_deref().and_then(|p| HeaderValue::try_from(p).ok())
        else {
            return;
        };
        headers.insert(PARENT, parent);
        headers.remove(STATE);
        if let Some(state) = self.state.as_deref().and_then(|s| HeaderValue::try_from(s).ok()) {
            headers.insert(STATE, state);
        }
    }

    /// The context of the span at that place.
    pub(crate) fn context(&self) -> Context {
        global::get_text_map_propagator(|form| form.extract_with_context(&Context::new(), self))
    }
}

impl Injector for Trace {
    fn set(&mut self, key: &str, value: String) {
        match key {
            "traceparent" => self.parent = Some(value),
            "tracestate" if value.is_empty() || value.len() > BYTES_MAX => self.state = None,
            "tracestate" => self.state = Some(value),
            _ => {}
        }
    }
}

impl Extractor for Trace {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.parent.as_deref(),
            "tracestate" => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// What a line of the log names of the span it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub span: String,
}

/// The ids of the span that is current.
#[must_use]
pub fn current_ids() -> Option<Ids> {
    if !crate::is_on() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        let place = span.span_context();
        let ids = || Ids { trace: place.trace_id().to_string(), span: place.span_id().to_string() };
        place.is_valid().then(ids)
    })
}
