//! Calling a handler, bounded in time, and telling its answers apart.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::trace::{self, By};
use crate::{BoxError, Event, Refused, Subscription};

/// Longest time one consumer may take over one event.
const HANDLE_MAX: Duration = Duration::from_secs(30);

/// Gives an event to one consumer. A panic is a refusal: the same event would panic again, and
/// must not stop whoever delivers.
pub(crate) async fn deliver(to: &Subscription, event: &Event, by: By<'_>) -> Result<(), BoxError> {
    let span = trace::processing(to.consumer, event, by);
    let handling = AssertUnwindSafe(to.handler.handle(event)).catch_unwind();
    let handled = match tokio::time::timeout(HANDLE_MAX, span.run(handling)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Refused { why: panic_text(&*panic) }.into()),
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = &handled {
        trace::processed(&span, error);
    }
    handled
}

/// Whether no retry makes the event acceptable.
pub(crate) fn is_refusal(error: &BoxError) -> bool {
    error.is::<Refused>() || error.is::<prost::DecodeError>()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    format!("the handler panicked: {text}")
}
