//! The file of master keys. It is replaced as a whole (new file, fsync, rename), so that a crash
//! leaves the old one or the new one. Who changes it holds a lock beside it from reading to
//! writing, so that two who rotate at once do not lose each other's key.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;
use crate::ring::MasterKey;
use crate::text;

/// What tells one content of the file from another without reading it: each is another file.
pub(crate) type Stamp = (u64, i64, i64, u64);

/// The text of the file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io("read", path, source)),
    };
    let mode = file.metadata().map_err(|e| io("read", path, e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::ReadableByOthers { path: path.display().to_string(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(8192));
    file.take(text::BYTES_MAX).read_to_string(&mut text).map_err(|e| io("read", path, e))?;
    Ok(Some(text))
}

/// The keys in the file.
pub(crate) fn read_keys(path: &Path) -> Result<Vec<MasterKey>, Error> {
    let gone = || io("read", path, ErrorKind::NotFound.into());
    text::parse(&path.display().to_string(), &read(path)?.ok_or_else(gone)?)
}

pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let file = path.metadata().ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
}

/// Keeps others from changing the file until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let beside = path.with_extension("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&beside).map_err(|source| io("lock", path, source))?;
    file.lock().map_err(|source| io("lock", path, source))?;
    Ok(file)
}

/// Replaces the file at `path`.
pub(crate) fn write(path: &Path, keys: &[MasterKey]) -> Result<(), Error> {
    let new = path.with_extension("new");
    let text = text::render(keys);
    replace(path, &new, text.as_bytes()).map_err(|source| io("write", path, source))
}

fn replace(path: &Path, new: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
    // A left-over of a crash may have another mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { doing, path: path.display().to_string(), source }
}
