//! Secrets that a command takes: from files and standard input, never from its arguments, which
//! everybody on the machine can read.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use stowage_types::{ExposeSecret as _, SecretString};

use super::Error;
use crate::data;

/// Most bytes that are read of what is said to hold a secret or certificates.
const BYTES_MAX: u64 = 64 * 1024;

/// What stands for standard input.
const STDIN: &str = "-";

/// Reads the secret that a flag names: of a file that nobody else may read, or `-`.
pub(super) fn read(flag: &str, path: Option<&PathBuf>) -> Result<Option<SecretString>, Error> {
    let Some(path) = path else { return Ok(None) };
    let secret = if path == Path::new(STDIN) { of_stdin(flag)? } else { of_file(flag, path)? };
    let is_one_line = !secret.expose_secret().contains(['\n', '\r']);
    if !is_one_line {
        return Err(Error::Usage(format!("{flag}: holds more than one line")));
    }
    Ok(Some(secret))
}

fn of_file(flag: &str, path: &Path) -> Result<SecretString, Error> {
    let missing = || Error::Usage(format!("{flag}: {} does not exist", path.display()));
    let read = data::read_secret(path).map_err(|error| Error::Usage(format!("{flag}: {error}")));
    read?.ok_or_else(missing)
}

fn of_stdin(flag: &str) -> Result<SecretString, Error> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Error::Usage(format!("{flag}: standard input: {error}")))?;
    match text.trim() {
        "" => Err(Error::Usage(format!("{flag}: standard input is empty"))),
        secret => Ok(SecretString::from(secret)),
    }
}

/// Reads a text that is no secret: certificates in PEM.
pub(super) fn read_text(flag: &str, path: Option<&PathBuf>) -> Result<Option<String>, Error> {
    let Some(path) = path else { return Ok(None) };
    let refused = |why: std::io::Error| Error::Usage(format!("{flag}: {}: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(refused)?;
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(refused)?;
    Ok(Some(text))
}
