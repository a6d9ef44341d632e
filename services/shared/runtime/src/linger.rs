//! The end of a connection that has served: what was answered must arrive.
//!
//! A system that closes a socket on which bytes wait to be read resets it, and the other side then
//! loses what it had not read yet: answers to calls that were executed. An HTTP/2 client sends at
//! any time, so a server that stops meets this often. It says that it has nothing more to say, and
//! reads until the client has closed its side too, for a moment at most.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Longest time that a client gets to close its side.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes read at once, and thrown away.
const CHUNK_BYTES: usize = 4096;

/// A stream that comes back when whoever serves on it drops it.
pub(crate) struct Lent<S> {
    /// Taken when dropped.
    stream: Option<S>,
    back: Arc<Mutex<Option<S>>>,
}

/// Where it comes back.
pub(crate) struct Ended<S>(Arc<Mutex<Option<S>>>);

impl<S> Lent<S> {
    pub(crate) fn new(stream: S) -> (Self, Ended<S>) {
        let back = Arc::default();
        let ended = Ended(Arc::clone(&back));
        (Self { stream: Some(stream), back }, ended)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ended<S> {
    /// Waits until the client has closed its side, where the stream has come back.
    pub(crate) async fn linger(self) {
        let Some(mut stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let closing = async {
            // It may be closed already; then so is the other side.
            if stream.shutdown().await.is_err() {
                return;
            }
            let mut chunk = [0; CHUNK_BYTES];
            while let Ok(1..) = stream.read(&mut chunk).await {}
        };
        let _: Result<(), _> = tokio::time::timeout(LINGER_MAX, closing).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
