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
    // Nobody is told to send nothing: the answer is the first that such a client hears. Botocore
    // takes the status it then read for that of the next answer on the connection, too.
    let is_untold = is_http1 && waits && request.body().is_end_stream();
    let left = Left::default();
    let mut response = {
        let left = is_http1.then(|| Arc::clone(&left));
        handler(request.map(|body| Kept { body: Some(body), was_read: false, left })).await
    };
    let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    let is_done = match rest {
        Some((body, was_read)) => {
            (was_read || !waits)
                && tokio::time::timeout(TIME_MAX, discard(body)).await.unwrap_or(false)
        }
        None => !is_untold,
    };
    if !is_done {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    /// Whether the answer to a body says that it is the last one of its connection.
    async fn closes<B>(body: B, version: Version, waits: bool, reads: bool) -> bool
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin,
    {
        let mut request = Request::new(body);
        *request.version_mut() = version;
        if waits {
            request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        let response = read_out(request, async |request: Request<Kept<B>>| {
            if reads {
                request.into_body().collect().await.unwrap();
            }
            Response::new(())
        });
        response.await.headers().get(CONNECTION).is_some_and(|value| value == "close")
    }

    #[tokio::test]
    async fn a_client_that_was_not_told_to_send_hears_that_its_connection_ends() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let full = || Full::new(Bytes::from_static(b"body"));
        assert!(closes(full(), one, true, false).await);
        assert!(closes(Empty::new(), one, true, true).await);
        assert!(closes(Empty::new(), one, true, false).await);
        assert!(!closes(full(), one, true, true).await);
        assert!(!closes(full(), one, false, false).await);
        assert!(!closes(Empty::new(), one, false, false).await);
        assert!(!closes(Empty::new(), two, true, false).await);
    }
}
