//! An engine whose calls are spans.

use std::sync::Arc;

use stowage_trace::{About, KeyValue, Kind, Span};

use crate::wrapped::{Around, Call, Wrapped};
use crate::{Engine, Error};

/// Makes each call of an engine a span of the trace it is part of. What polls has none.
#[derive(Debug)]
pub struct Traced {
    location: String,
}

impl Traced {
    /// Wraps the engine of a location.
    #[must_use]
    pub fn engine(engine: Arc<dyn Engine>, location: &str) -> Arc<dyn Engine> {
        Arc::new(Wrapped::new(engine, Self { location: location.to_owned() }))
    }
}

impl Around for Traced {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: Call<'a, T>,
    ) -> Result<T, Error> {
        let span = Span::child(|| {
            let attributes = [
                KeyValue::new("stowage.engine.method", method),
                KeyValue::new("stowage.location", self.location.clone()),
            ];
            About::new(Kind::Client, format!("engine {method}"), attributes)
        });
        let result = span.run(call()).await;
        if let Err(error) = &result {
            span.fail(kind_of(error));
        }
        result
    }
}

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::NotFound => "NOT_FOUND",
        Error::AlreadyExists => "ALREADY_EXISTS",
        Error::NotEmpty => "NOT_EMPTY",
        Error::QuotaExceeded => "QUOTA_EXCEEDED",
        Error::LimitReached => "LIMIT_REACHED",
        Error::Denied => "DENIED",
        Error::Invalid { .. } => "INVALID",
        Error::Conflict => "CONFLICT",
        Error::Unsupported => "UNSUPPORTED",
        Error::Unavailable { .. } => "UNAVAILABLE",
    }
}
