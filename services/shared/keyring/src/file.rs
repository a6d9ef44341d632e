//! The file of master keys: a heading, then one `<version> <64 hex characters>` a line, oldest
//! first. It is replaced as a whole (new file, fsync, rename), so that a crash leaves the old one
//! or the new one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::{Error, KEY_BYTES, MasterKey, VERSIONS_MAX};

const HEADING: &str = "# Stowage master keys. Whoever has these can read every sealed secret.";
const FILE_BYTES_MAX: u64 = 64 * 1024;

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
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| io("read", path, e))?;
    Ok(Some(text))
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<MasterKey>, Error> {
    let fault = |line, why| Error::Malformed { path: path.display().to_string(), line, why };
    let mut keys: Vec<MasterKey> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |why| fault(index + 1, why);
        let (version, key) = line.trim().split_once(' ').ok_or_else(|| at("no version"))?;
        let version = version.parse().map_err(|_| at("the version is not a number"))?;
        let key = parse_key(key).ok_or_else(|| at("the key is not 64 hex characters"))?;
        if keys.last().is_some_and(|last| last.version >= version) {
            return Err(at("versions must grow"));
        }
        if keys.len() >= VERSIONS_MAX {
            return Err(at("too many keys"));
        }
        keys.push(MasterKey { version, key });
    }
    if keys.is_empty() { Err(fault(1, "no key in it")) } else { Ok(keys) }
}

fn parse_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(key)
}

/// Replaces the file at `path`.
pub(crate) fn write(path: &Path, keys: &[MasterKey]) -> Result<(), Error> {
    let mut text = Zeroizing::new(String::with_capacity(128 + keys.len() * 80));
    text.push_str(HEADING);
    text.push('\n');
    for key in keys {
        text.push_str(&format!("{} ", key.version));
        for byte in key.key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("four bits are a digit"));
            }
        }
        text.push('\n');
    }
    let new = path.with_extension("new");
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
