//! The body of a request on its way to the engine.
//!
//! It is asked for a frame when the engine's connection takes one, and asks the client's then: what
//! the engine does not take is not read. It can be held back, until the engine wants it, and let go
//! of at any moment, whoever has the other end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use stowage_runtime::{BoxError, Kept};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::meter::Meter;

struct State {
    /// Absent once it is at its end, broke off, or was let go of.
    body: Option<Kept<Incoming>>,
    /// The client waits to be told to send it, and the engine has not said so.
    is_held: bool,
    /// The engine has it whole, or need not get it.
    is_done: bool,
    /// The client broke it off.
    is_gone: bool,
    /// The engine's connection is to end.
    is_cut: bool,
    /// When a part of it moved last.
    moved: Instant,
    waker: Option<Waker>,
}

struct Shared {
    state: Mutex<State>,
    meter: Arc<Meter>,
    gone: Notify,
}

/// What the exchange does with it.
#[derive(Clone)]
pub(crate) struct UploadControl(Arc<Shared>);

/// What the engine's connection reads.
pub(crate) struct Upload {
    shared: Arc<Shared>,
    size: SizeHint,
}

impl Upload {
    /// `is_held`: it is not read before [`UploadControl::release`].
    pub(crate) fn new(
        body: Kept<Incoming>,
        meter: Arc<Meter>,
        is_held: bool,
    ) -> (Self, UploadControl) {
        let (size, is_done) = (body.size_hint(), body.is_end_stream());
        let state = State {
            body: (!is_done).then_some(body),
            is_held,
            is_done,
            is_gone: false,
            is_cut: false,
            moved: Instant::now(),
            waker: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), meter, gone: Notify::new() });
        (Self { shared: Arc::clone(&shared), size }, UploadControl(shared))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(state: &mut State) {
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl UploadControl {
    /// Lets the engine have it.
    pub(crate) fn release(&self) {
        let mut state = self.0.state();
        state.is_held = false;
        state.moved = Instant::now();
        Shared::wake(&mut state);
    }

    /// Lets go of what is left of it, which is then the port's to read out. The engine's connection
    /// gets nothing more, and lasts until it is [`Self::cut`]: its answer has to arrive.
    pub(crate) fn let_go(&self) {
        // Dropped behind the lock: whoever is told of it may look here.
        let body = self.0.state().body.take();
        drop(body);
    }

    /// Ends the engine's connection, unless it has the body whole.
    pub(crate) fn cut(&self) {
        let mut state = self.0.state();
        state.is_cut = true;
        Shared::wake(&mut state);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.state().is_done
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.state().is_held
    }

    /// How long nothing has moved.
    pub(crate) fn idle(&self) -> Duration {
        self.0.state().moved.elapsed()
    }

    /// Waits until the client breaks it off; for ever, if it does not.
    pub(crate) async fn gone(&self) {
        loop {
            let gone = self.0.gone.notified();
            if self.0.state().is_gone {
                return;
            }
            gone.await;
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.shared.state();
        if state.is_done {
            return Poll::Ready(None);
        }
        if state.is_cut {
            return Poll::Ready(Some(Err("the request was given up".into())));
        }
        state.waker = Some(cx.waker().clone());
        if state.is_held {
            return Poll::Pending;
        }
        let Some(body) = &mut state.body else { return Poll::Pending };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        state.moved = Instant::now();
        match frame {
            Some(Ok(frame)) => {
                state.is_done = state.body.as_ref().is_none_or(Body::is_end_stream);
                drop(state);
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                if length > 0 {
                    self.shared.meter.received(length);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                state.is_done = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                state.is_gone = true;
                let body = state.body.take();
                drop(state);
                drop(body);
                self.shared.gone.notify_waiters();
                // While it is not known who pays, the engine may still refuse.
                if self.shared.meter.is_open() {
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.shared.state().is_done
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
