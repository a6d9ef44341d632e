//! Calling a handler, bounded in time, and telling its answers apart.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::trace::{self, By};
use crate::{BoxError, Event, Handler, Refused, Subscription};

const DEAD_LETTERS: &str = "stowage_bus_dead_letters";
/// Longest time one consumer may take over one event.
const HANDLE_MAX: Duration = Duration::from_secs(30);

/// Gives an event to one consumer. A panic is a refusal: the same event would panic again, and
/// must not stop whoever delivers.
pub(crate) async fn deliver(
    (consumer, handler): (&str, &dyn Handler),
    event: &Event,
    by: By<'_>,
) -> Result<(), BoxError> {
    let span = trace::processing(consumer, event, by);
    let handling = AssertUnwindSafe(handler.handle(event)).catch_unwind();
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

/// Has a refused event kept by its consumer, and says so. `false`: it keeps none.
pub(crate) async fn set_aside(
    subscription: &Subscription,
    event: &Event,
    (error, attempts): (&BoxError, u32),
) -> Result<bool, BoxError> {
    let keeping = subscription.handler.keep_dead(event, (error, attempts));
    let kept = tokio::time::timeout(HANDLE_MAX, keeping).await??;
    count_dead(subscription.consumer);
    let Some(id) = kept else { return Ok(false) };
    tracing::error!(
        error = &**error,
        consumer = subscription.consumer,
        event.id = %event.id,
        event.kind = event.kind,
        event.subject = event.subject,
        "event was refused {attempts} times and is kept as a dead letter. Mend the cause, then \
         run `stowage admin dead-letter replay {id}`; `stowage admin dead-letter show {id}` \
         tells more",
    );
    Ok(true)
}

pub(crate) fn count_dead(consumer: &'static str) {
    metrics::counter!(DEAD_LETTERS, "consumer" => consumer).increment(1);
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    format!("the handler panicked: {text}")
}
