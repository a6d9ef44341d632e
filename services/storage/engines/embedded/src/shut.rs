//! A body that breaks off when its account is shut.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;

/// A body that is sent until a future ends. Then it fails, so that the connection is cut and the
/// client cannot take what it got for the whole.
pub(crate) struct Shuttable<B> {
    body: B,
    /// Absent where there is nothing to send, or nothing to protect.
    shut: Option<BoxFuture<'static, ()>>,
}

impl<B: Body> Shuttable<B> {
    pub(crate) fn new(body: B, shut: Option<impl Future<Output = ()> + Send + 'static>) -> Self {
        let shut = shut.filter(|_| !body.is_end_stream());
        Self { body, shut: shut.map(FutureExt::boxed) }
    }
}

impl<B: Body<Data = Bytes, Error = StdError> + Unpin> Body for Shuttable<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.shut.as_mut().is_some_and(|shut| shut.poll_unpin(cx).is_ready()) {
            self.shut = None;
            return Poll::Ready(Some(Err("the account was shut".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
