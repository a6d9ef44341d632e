//! The body of an answer on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use stowage_runtime::BoxError;
use tokio::time::Sleep;

use crate::meter::Meter;
use crate::upload::UploadControl;

/// What a client gets.
pub(crate) enum Download {
    /// Of the engine.
    Passed(Passed),
    /// Of our own.
    Own(Full<Bytes>),
}

/// The body of an engine's answer.
pub(crate) struct Passed {
    body: Incoming,
    meter: Arc<Meter>,
    upload: UploadControl,
    idle_max: Duration,
    /// Runs while the engine is waited for.
    idle: Option<Pin<Box<Sleep>>>,
}

impl Passed {
    pub(crate) fn new(
        body: Incoming,
        meter: Arc<Meter>,
        upload: UploadControl,
        idle_max: Duration,
    ) -> Self {
        Self { body, meter, upload, idle_max, idle: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let idle_max = self.idle_max;
            let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_max)));
            std::task::ready!(idle.poll_unpin(cx));
            // The connection to the client is cut, so that it does not take this for the whole.
            return Poll::Ready(Some(Err("the engine sends nothing more".into())));
        };
        self.idle = None;
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        if length > 0 {
            self.meter.sent(length);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // What is left of the request's body goes nowhere now.
        self.upload.cut();
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Passed(passed) => passed.poll(cx),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed(passed) => passed.body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed(passed) => passed.body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
