//! Reading: a range of an object's segments as a stream of large chunks, one chunk ahead.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Blobs, CHUNK_BYTES, ReadLease};
use crate::index::object::Segment;
use crate::index::unsigned;

/// A piece that is still to be read.
#[derive(Debug)]
enum Piece {
    Memory(Bytes),
    File { path: PathBuf, skip: u64, length: u64 },
}

/// Where the reading is. Goes to the blocking pool and back.
#[derive(Debug, Default)]
struct Cursor {
    pieces: VecDeque<Piece>,
    open: Option<(File, u64)>,
}

impl Cursor {
    /// Reads the next chunk.
    fn read(mut self) -> io::Result<(Self, Bytes)> {
        let (mut file, left) = match self.open.take() {
            Some(open) => open,
            None => match self.pieces.pop_front() {
                None => return Ok((self, Bytes::new())),
                Some(Piece::Memory(bytes)) => return Ok((self, bytes)),
                Some(Piece::File { path, skip, length }) => {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(skip))?;
                    (file, length)
                }
            },
        };
        let want = left.min(CHUNK_BYTES as u64);
        let mut chunk = Vec::with_capacity(usize::try_from(want).unwrap_or(CHUNK_BYTES));
        let got = Read::by_ref(&mut file).take(want).read_to_end(&mut chunk)?;
        if got as u64 != want {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a blob is too short"));
        }
        if left > want {
            self.open = Some((file, left - want));
        }
        Ok((self, chunk.into()))
    }

    fn is_at_end(&self) -> bool {
        self.open.is_none() && self.pieces.is_empty()
    }
}

/// The bytes of an object, or of a range of it.
#[derive(Debug)]
pub(crate) struct ObjectBody {
    job: Option<JoinHandle<io::Result<(Cursor, Bytes)>>>,
    cursor: Option<Cursor>,
    remaining: u64,
    /// Keeps the files until the last byte was read.
    _lease: ReadLease,
}

impl ObjectBody {
    /// Plans the reading of `range` over the segments.
    pub(crate) fn new(
        blobs: &Blobs,
        segments: Vec<Segment>,
        range: Range<u64>,
        lease: ReadLease,
    ) -> Self {
        let mut pieces = VecDeque::new();
        let mut at = 0;
        for segment in segments {
            let size = unsigned(segment.size_bytes);
            let from = range.start.saturating_sub(at).min(size);
            let to = range.end.saturating_sub(at).min(size);
            at += size;
            if from >= to {
                continue;
            }
            pieces.push_back(match (segment.data, segment.blob) {
                (Some(data), _) => {
                    let bounds =
                        usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
                    Piece::Memory(Bytes::from(data).slice(bounds))
                }
                (None, blob) => Piece::File {
                    path: blobs.path(blob.as_deref().unwrap_or_default()),
                    skip: from,
                    length: to - from,
                },
            });
        }
        let cursor = Some(Cursor { pieces, open: None });
        Self { job: None, cursor, remaining: range.end - range.start, _lease: lease }
    }
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.job.is_none() {
            let Some(cursor) = this.cursor.take().filter(|cursor| !cursor.is_at_end()) else {
                return Poll::Ready(None);
            };
            this.job = Some(spawn_blocking(move || cursor.read()));
        }
        let Some(job) = this.job.as_mut() else { return Poll::Ready(None) };
        let read = ready!(Pin::new(job).poll(cx));
        this.job = None;
        match read.map_err(io::Error::other).flatten() {
            Ok((cursor, bytes)) => {
                if !cursor.is_at_end() {
                    this.job = Some(spawn_blocking(move || cursor.read()));
                }
                this.remaining = this.remaining.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                tracing::error!(%error, "a blob cannot be read");
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

impl ByteStream for ObjectBody {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }
}
