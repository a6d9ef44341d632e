//! Calling a handler, bounded in time, and telling its answers apart.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::{BoxError, Event, Handler, Refused};

/// Longest time one consumer may take over one event.
const HANDLE_MAX: Duration = Duration::from_secs(30);

/// Calls one handler. A panic is a refusal: the same event would panic again, and must not stop
/// whoever delivers.
pub(crate) async fn deliver(handler: &dyn Handler, event: &Event) -> Result<(), BoxError> {
    let handling = AssertUnwindSafe(handler.handle(event)).catch_unwind();
    match tokio::time::timeout(HANDLE_MAX, handling).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Box::new(Refused { why: panic_text(&*panic) })),
        Err(elapsed) => Err(Box::new(elapsed)),
    }
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
