//! Blobs: immutable files named by random ids, `blobs/ab/cd/<id>`.
//!
//! A key of an object never becomes a path, so traversal, `a` beside `a/b`, long keys and odd
//! bytes are no matter here. A file gets its name only when its bytes are on disk, and the index
//! speaks of it only after that; a crash leaves at most files that nobody speaks of, which
//! [`Blobs::sweep`] removes at start-up.

pub(crate) mod read;
pub(crate) mod write;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::index::Index;

/// Bytes that are read or written at a time. A transfer holds two of these at most.
pub(crate) const CHUNK_BYTES: usize = 512 * 1024;
/// Files that gc unlinks between two looks at the index.
const GC_BATCH: u32 = 500;
/// Suffix of files that are being written.
const TEMP: &str = ".tmp";

/// The blob files.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    root: PathBuf,
    readers: Arc<Mutex<HashMap<String, usize>>>,
}

/// Keeps a content's files from gc while it lives.
#[derive(Debug)]
pub(crate) struct ReadLease {
    content: String,
    readers: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for ReadLease {
    fn drop(&mut self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = readers.get_mut(&self.content) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.content);
            }
        }
    }
}

impl Blobs {
    /// Blobs under `root`, which must exist.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, readers: Arc::default() }
    }

    /// Where a blob is. Ids are our own: 32 hexadecimal digits.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        let (first, second) = (id.get(..2).unwrap_or("00"), id.get(2..4).unwrap_or("00"));
        self.root.join(first).join(second).join(id)
    }

    /// Takes a lease on a content. Look its segments up after that: if they are there, their
    /// files stay until the lease is dropped.
    pub(crate) fn lease(&self, content: &str) -> ReadLease {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers.entry(content.to_owned()).or_default() += 1;
        ReadLease { content: content.to_owned(), readers: Arc::clone(&self.readers) }
    }

    fn is_read(&self, content: &str) -> bool {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(content)
    }

    /// Unlinks what the index has let go of and nobody reads, and returns how many files.
    ///
    /// On Unix an open file would survive its unlinking; the leases are for contents of several
    /// files, which are opened one after the other.
    pub(crate) async fn collect_garbage(&self, index: &Index) -> Result<usize, Error> {
        let mut after = String::new();
        let mut total = 0;
        loop {
            let rows = index.garbage(&after, GC_BATCH).await?;
            let Some((last, _)) = rows.last() else { return Ok(total) };
            after.clone_from(last);
            let free: Vec<String> = rows
                .into_iter()
                .filter(|(_, content)| !self.is_read(content))
                .map(|(blob, _)| blob)
                .collect();
            if free.is_empty() {
                continue;
            }
            let paths: Vec<_> = free.iter().map(|blob| self.path(blob)).collect();
            spawn_blocking(move || paths.iter().try_for_each(|path| unlink(path))).await??;
            index.forget_garbage(&free).await?;
            total += free.len();
        }
    }

    /// Removes temporary files and blobs that the index does not speak of. For start-up only:
    /// blobs of running uploads would look the same.
    pub(crate) async fn sweep(&self, index: &Index) -> Result<usize, Error> {
        let mut total = 0;
        for first in 0..=u8::MAX {
            let prefix = format!("{first:02x}");
            let folder = self.root.join(&prefix);
            let files = spawn_blocking(move || list_files(&folder)).await??;
            if files.is_empty() {
                continue;
            }
            let used = index.blobs_in_use(&prefix).await?;
            let is_orphan = |path: &PathBuf| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_none_or(|name| !used.contains(name))
            };
            let orphans: Vec<_> = files.into_iter().filter(is_orphan).collect();
            total += orphans.len();
            spawn_blocking(move || orphans.iter().try_for_each(|path| unlink(path))).await??;
        }
        index.forget_all_garbage().await?;
        Ok(total)
    }
}

fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All files two levels down.
fn list_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let folders = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        folders => folders?,
    };
    for folder in folders {
        for file in fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
