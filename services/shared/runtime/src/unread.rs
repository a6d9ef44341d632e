//! What is left of a request's body when it is answered without having been read.
//!
//! A server that closes a connection on which bytes wait makes the system reset it, and the client
//! loses the answer: a refusal looks like a broken network. And a client that was not told of the
//! end sends its next request into it. So what is left is read first, within bounds, and where
//! those are met the answer says that it is the last one of its connection. HTTP/2 needs none of
//! this: each of its streams ends by itself.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};

/// Most that is read and thrown away, in bytes. More costs the client less when it is cut off.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Longest time an answer waits for what is left.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Answers a request by `handler`, then reads what that left of the body.
pub async fn read_out<B, A, F>(
    request: Request<B>,
    handler: impl FnOnce(Request<Kept<B>>) -> F,
) -> Response<A>
where
    B: Body + Unpin,
    F: Future<Output = Response<A>>,
{
    let is_http1 = request.version() < Version::HTTP_2;
    // Such a client waits to be told to send its body, and reading it would tell it.
    let waits = request.headers().contains_key(EXPECT);
    let left = Left::default();
    let mut response = {
        let left = is_http1.then(|| Arc::clone(&left));
        handler(request.map(|body| Kept { body: Some(body), was_read: false, left })).await
    };
    let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((body, was_read)) = rest {
        let is_done = (was_read || !waits)
            && tokio::time::timeout(TIME_MAX, discard(body)).await.unwrap_or(false);
        if !is_done {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// Reads a body to its end; false when it is too long or breaks off.
async fn discard<B: Body + Unpin>(mut body: B) -> bool {
    let mut read = 0_u64;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, |data| bytes::Buf::remaining(data) as u64);
        if read > BYTES_MAX {
            return false;
        }
    }
    true
}

/// A body that was dropped before its end, and whether any of it was asked for.
type Left<B> = Arc<Mutex<Option<(B, bool)>>>;

/// A body that is not lost when it is dropped before its end.
#[derive(Debug)]
pub struct Kept<B: Body> {
    /// Taken when dropped.
    body: Option<B>,
    was_read: bool,
    /// Absent where nothing is to be kept.
    left: Option<Left<B>>,
}

impl<B: Body + Unpin> Body for Kept<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.was_read = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::new, Body::size_hint)
    }
}

impl<B: Body> Drop for Kept<B> {
    fn drop(&mut self) {
        let (Some(left), Some(body)) = (&self.left, self.body.take()) else { return };
        if !body.is_end_stream() {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = Some((body, self.was_read));
        }
    }
}
