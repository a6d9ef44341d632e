//! Spans of OpenTelemetry: what a call did, and where, over all roles and processes.
//!
//! - Nothing is made, and no attribute computed, before [`install`]: without a collector a
//!   [`Span`] is nothing, and beginning one costs a look at a static.
//! - A span is current while its future runs ([`Span::run`]), for whatever is begun in it. Where
//!   work leaves the task, the process or the moment, its [`Trace`] goes along: in headers, in an
//!   event, in a row.
//! - Names and attributes follow the semantic conventions. Values are ours, from a fixed set, or
//!   ids that we made: never what a client sent, so no token, mail address or object key.
//!
//! Compared and not used: `tracing-opentelemetry`, a layer under the spans of the log. It exports
//! every span and line that any library logs unless all are filtered, S3 keys among them; names
//! and kinds of spans would be fields that also stand in each line of the log; and its spans cost
//! a slot in the log's registry even where nothing is exported. With this crate the log names the
//! trace, and the trace holds what is meant for it.

mod span;
#[cfg(test)]
mod tests;
mod trace;

pub use opentelemetry::trace::SpanKind as Kind;
pub use opentelemetry::{KeyValue, Value};
pub use span::{About, Span, follow, install, is_on, set_on_current};
pub use trace::{Ids, Trace, current_ids};
