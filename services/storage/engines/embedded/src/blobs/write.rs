//! Writing: temp file, verify, fsync, rename, fsync the folder. Only then may the index know.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::{Blobs, CHUNK_BYTES, TEMP, sync_folder, unlink};
use crate::error::Error;
use crate::hash::{Digests, Expected, Hasher};
use crate::index::object::Segment;

/// How long a client may send nothing in the middle of a body.
const BODY_IDLE_MAX: Duration = Duration::from_secs(60);

/// A file that goes away unless it is kept.
#[derive(Debug)]
pub(crate) struct Blob {
    id: String,
    path: PathBuf,
    is_kept: bool,
}

impl Blob {
    /// The file belongs to the index now.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = unlink(&self.path)
        {
            tracing::warn!(%error, "an unused blob stays until the next start");
        }
    }
}

/// Content that is on disk or in memory, not yet in the index.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) segments: Vec<Segment>,
    pub(crate) blobs: Vec<Blob>,
}

impl Stored {
    /// Keeps the files, or removes them when `is_certain` that the index knows nothing of them.
    /// When it is not certain they stay: the sweep at start-up looks again.
    pub(crate) fn settle(self, is_stored: bool, is_certain: bool) {
        if is_stored || !is_certain {
            self.blobs.into_iter().for_each(Blob::keep);
        }
    }
}

/// Where bytes go while they arrive.
struct Writer {
    blob: Blob,
    file: File,
}

impl Writer {
    fn create(path: PathBuf, id: String) -> io::Result<Self> {
        let path = path.with_extension(TEMP.trim_start_matches('.'));
        let open = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(&path)?;
                open()
            }
            file => file,
        }?;
        Ok(Self { blob: Blob { id, path, is_kept: false }, file })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Verifies and gives the file its name.
    fn finish(self, hasher: Hasher, expected: &Expected) -> Result<(Blob, Digests), Error> {
        let Self { mut blob, file } = self;
        let digests = hasher.finish();
        expected.verify(&digests)?;
        file.sync_all()?;
        drop(file);
        let path = blob.path.with_extension("");
        fs::rename(&blob.path, &path)?;
        blob.path = path;
        if let Some(folder) = blob.path.parent() {
            sync_folder(folder)?;
        }
        Ok((blob, digests))
    }
}

/// Makes `ab/cd` durably. The root is there.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(second) = path.parent() else { return Ok(()) };
    let Some(first) = second.parent() else { return Ok(()) };
    fs::create_dir_all(second)?;
    sync_folder(first)?;
    first.parent().map_or(Ok(()), sync_folder)
}

impl Blobs {
    /// Stores a body as a blob. Nothing remains of it when it is not what was expected, when it
    /// breaks off, or when the caller goes away.
    ///
    /// While one chunk is hashed and written, side by side on the blocking pool, the next one is
    /// gathered; a slow client holds no thread.
    pub(crate) async fn write<S, E>(
        &self,
        id: String,
        mut body: S,
        expected: Expected,
    ) -> Result<(Stored, Digests), Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<s3s::StdError>,
    {
        let path = self.path(&id);
        let hasher = expected.hasher();
        let mut job: JoinHandle<io::Result<Writer>> =
            spawn_blocking(move || Writer::create(path, id));
        let mut hash = spawn_blocking(move || hasher);
        let mut total = 0;
        loop {
            let chunk = next_chunk(&mut body).await?;
            total += chunk.len() as u64;
            if total > expected.length {
                return Err(Error::IncompleteBody);
            }
            let mut writer = job.await??;
            let mut hasher = hash.await?;
            if chunk.is_empty() {
                let finished = spawn_blocking(move || writer.finish(hasher, &expected)).await?;
                let (blob, digests) = finished?;
                let segment = segment_of(&blob, digests.length);
                let stored = Stored { segments: vec![segment], blobs: vec![blob] };
                return Ok((stored, digests));
            }
            let bytes = chunk.clone();
            hash = spawn_blocking(move || {
                hasher.update(&bytes);
                hasher
            });
            job = spawn_blocking(move || writer.write(&chunk).map(|()| writer));
        }
    }

    /// Makes further names for existing blobs, so that a copy costs no bytes and each name can
    /// be unlinked by itself. Where the file system cannot, the bytes are copied.
    pub(crate) async fn link(&self, pairs: Vec<(String, String)>) -> Result<Vec<Blob>, Error> {
        let blobs = self.clone();
        let linked = spawn_blocking(move || {
            let link = |(from, id): (String, String)| {
                let (from, path) = (blobs.path(&from), blobs.path(&id));
                let blob = Blob { id, path, is_kept: false };
                link_file(&from, &blob.path)?;
                Ok(blob)
            };
            pairs.into_iter().map(link).collect::<io::Result<Vec<_>>>()
        });
        Ok(linked.await??)
    }
}

/// The segment that a blob is.
pub(crate) fn segment_of(blob: &Blob, length: u64) -> Segment {
    let size_bytes = crate::index::signed(length);
    Segment { blob: Some(blob.id().to_owned()), size_bytes, data: None }
}

fn link_file(from: &Path, to: &Path) -> io::Result<()> {
    let linked = match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(to)?;
            fs::hard_link(from, to)
        }
        linked => linked,
    };
    if linked.is_err() {
        // No links here, or too many of this file.
        fs::copy(from, to)?;
        File::open(to)?.sync_all()?;
    }
    to.parent().map_or(Ok(()), sync_folder)
}

/// Waits for some of the body, but not for ever.
async fn next<S, E>(body: &mut S) -> Result<Option<Bytes>, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<s3s::StdError>,
{
    let next = timeout(BODY_IDLE_MAX, body.next()).await.map_err(|_| Error::BodyTimeout)?;
    next.transpose().map_err(|error| Error::Body(error.into()))
}

/// Gathers up to a chunk; empty at the end.
async fn next_chunk<S, E>(body: &mut S) -> Result<Bytes, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<s3s::StdError>,
{
    let mut chunk = BytesMut::new();
    while chunk.len() < CHUNK_BYTES {
        match next(body).await? {
            Some(bytes) => {
                if chunk.is_empty() {
                    chunk.reserve(bytes.len().max(CHUNK_BYTES.min(64 * 1024)));
                }
                chunk.extend_from_slice(&bytes);
            }
            None => break,
        }
    }
    Ok(chunk.freeze())
}

/// Reads a small body whole and verifies it.
pub(crate) async fn read_small<S, E>(
    mut body: S,
    expected: &Expected,
) -> Result<(Vec<u8>, Digests), Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<s3s::StdError>,
{
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut body).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > expected.length {
            return Err(Error::IncompleteBody);
        }
    }
    let mut hasher = expected.hasher();
    hasher.update(&bytes);
    let digests = hasher.finish();
    expected.verify(&digests)?;
    Ok((bytes, digests))
}
