//! Seals secrets that must be readable again: those of access keys, and credentials of outside
//! systems.
//!
//! Each record is encrypted with AES-256-GCM under a data key of its own; the data key is wrapped
//! by a versioned master key. Rotation adds a master key and rewraps data keys while serving: the
//! secrets themselves are not touched.
//!
//! Invariants:
//! - A sealed record opens only under the binding it was sealed with, so that a record moved to
//!   another row or purpose is refused.
//! - Master keys and data keys are wiped from memory on drop, and nothing here prints one.
//! - The file of master keys is readable by its owner only; a file that others can read is refused.
//!
//! Rejected: one key for all records (a rotation would rewrite every secret, and one key would see
//! too many random nonces); a key derived from a passphrase (an unattended start has none); the
//! database's own encryption (its dumps and replicas would be readable).
//!
//! Bytes of a record, format 1: `1`, master key version (u32, big-endian), nonce (12), wrapped data
//! key (48), nonce (12), ciphertext with tag. Both encryptions authenticate the binding and the
//! format; that of the data key the version too.

mod file;

use std::fmt;
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use stowage_types::{ExposeSecret, Random, SecretString};
use zeroize::Zeroizing;

/// Most master keys a ring holds: a yearly rotation for the life of any installation.
pub const VERSIONS_MAX: usize = 64;

/// Most bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

const FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 5;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;
const SECRET_AT: usize = HEADER_BYTES + NONCE_BYTES + WRAPPED_BYTES;

/// Why a keyring could not be loaded, or a record not sealed or opened. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of master keys is readable by others than its owner.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    ReadableByOthers {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file of master keys is not one.
    #[error("{path} is not a file of master keys: line {line}: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ring holds as many master keys as it may.
    #[error("the keyring holds {VERSIONS_MAX} master keys, the most it may")]
    Full,
    /// The record was sealed under a master key that this ring has not.
    #[error("sealed under master key {version}, which this keyring has not")]
    UnknownVersion {
        /// The version in the record.
        version: u32,
    },
    /// The record is damaged, was tampered with, or belongs to another binding.
    #[error("the sealed record is damaged or belongs elsewhere")]
    Refused,
    /// The secret is longer than [`SECRET_BYTES_MAX`].
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
}

/// One master key.
struct MasterKey {
    version: u32,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// The master keys of an installation, oldest first; never empty.
pub struct Keyring {
    keys: Vec<MasterKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("versions", &self.versions()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the master keys at `path`; makes the file with one new key, mode 0600, if there is
    /// none.
    ///
    /// # Errors
    /// - [`Error::ReadableByOthers`]: an existing file's mode lets others in.
    /// - [`Error::Malformed`], [`Error::Io`]: the file is unusable. It is never overwritten.
    pub fn load_or_create(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        if let Some(text) = file::read(path)? {
            return Ok(Self { keys: file::parse(path, &text)? });
        }
        let ring = Self { keys: vec![MasterKey { version: 1, key: new_key(random) }] };
        file::write(path, &ring.keys)?;
        Ok(ring)
    }

    /// Adds a new master key to the file at `path`, and to this ring: what is sealed from now on
    /// is sealed under it. Older records open as before; [`Self::rewrap`] moves them.
    ///
    /// # Errors
    /// - [`Error::Full`], [`Error::Io`]; the ring is as it was then.
    pub fn rotate(&mut self, path: &Path, random: &dyn Random) -> Result<u32, Error> {
        let version = self.newest().version.checked_add(1).ok_or(Error::Full)?;
        if self.keys.len() >= VERSIONS_MAX {
            return Err(Error::Full);
        }
        self.keys.push(MasterKey { version, key: new_key(random) });
        if let Err(error) = file::write(path, &self.keys) {
            self.keys.pop();
            return Err(error);
        }
        Ok(version)
    }

    /// Versions of the master keys, oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<u32> {
        self.keys.iter().map(|key| key.version).collect()
    }

    /// Encrypts `secret` for the record and purpose that `binding` names: `access_key/AK…`.
    ///
    /// # Errors
    /// - [`Error::TooLong`], [`Error::NoRandomness`].
    pub fn seal(&self, secret: &SecretString, binding: &str) -> Result<Vec<u8>, Error> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() > SECRET_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let mut data_key = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(&mut *data_key).map_err(|_| Error::NoRandomness)?;
        let mut record = Vec::with_capacity(SECRET_AT + NONCE_BYTES + secret.len() + TAG_BYTES);
        self.wrap(&data_key[..], binding, &mut record)?;
        let nonce = new_nonce()?;
        let aad = aad("secret", &record[..1], binding);
        let sealed = encrypt(&data_key[..], &nonce, secret, &aad)?;
        record.extend_from_slice(&nonce);
        record.extend_from_slice(&sealed);
        Ok(record)
    }

    /// Decrypts a record that [`Self::seal`] made for the same `binding`.
    ///
    /// # Errors
    /// - [`Error::UnknownVersion`]: its master key is not in the ring.
    /// - [`Error::Refused`]: it is damaged, or was sealed for another binding.
    pub fn open(&self, sealed: &[u8], binding: &str) -> Result<SecretString, Error> {
        let data_key = self.unwrap_key(sealed, binding)?;
        let rest = sealed.get(SECRET_AT..).ok_or(Error::Refused)?;
        let (nonce, sealed_secret) = split_nonce(rest)?;
        // The version is not authenticated with the secret, since a rewrap changes it.
        let aad = aad("secret", &sealed[..1], binding);
        let plain = Zeroizing::new(decrypt(&data_key, nonce, sealed_secret, &aad)?);
        let text = std::str::from_utf8(&plain).map_err(|_| Error::Refused)?;
        Ok(SecretString::from(text.to_owned()))
    }

    /// Wraps a record's data key by the newest master key; the secret is not decrypted. `None`: it
    /// is wrapped by that one already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rewrap(&self, sealed: &[u8], binding: &str) -> Result<Option<Vec<u8>>, Error> {
        if version_of(sealed)? == self.newest().version {
            return Ok(None);
        }
        let data_key = self.unwrap_key(sealed, binding)?;
        let mut record = Vec::with_capacity(sealed.len());
        self.wrap(&data_key[..], binding, &mut record)?;
        record.extend_from_slice(&sealed[SECRET_AT..]);
        Ok(Some(record))
    }

    /// Writes the header, and the data key wrapped by the newest master key.
    fn wrap(&self, key: &[u8], binding: &str, record: &mut Vec<u8>) -> Result<(), Error> {
        let master = self.newest();
        record.push(FORMAT);
        record.extend_from_slice(&master.version.to_be_bytes());
        let nonce = new_nonce()?;
        let aad = aad("data key", record, binding);
        let wrapped = encrypt(&*master.key, &nonce, key, &aad)?;
        record.extend_from_slice(&nonce);
        record.extend_from_slice(&wrapped);
        Ok(())
    }

    fn unwrap_key(&self, sealed: &[u8], binding: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let version = version_of(sealed)?;
        let master = self
            .keys
            .iter()
            .find(|key| key.version == version)
            .ok_or(Error::UnknownVersion { version })?;
        let part = sealed.get(HEADER_BYTES..SECRET_AT).ok_or(Error::Refused)?;
        let (nonce, wrapped) = split_nonce(part)?;
        let aad = aad("data key", &sealed[..HEADER_BYTES], binding);
        Ok(Zeroizing::new(decrypt(&*master.key, nonce, wrapped, &aad)?))
    }

    fn newest(&self) -> &MasterKey {
        self.keys.last().expect("a ring is never empty: `parse` refuses an empty file")
    }
}

fn version_of(sealed: &[u8]) -> Result<u32, Error> {
    match sealed {
        [FORMAT, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Error::Refused),
    }
}

fn split_nonce(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    bytes.split_at_checked(NONCE_BYTES).ok_or(Error::Refused)
}

/// What is authenticated beside the text. The parts cannot run into each other: the first is one
/// of two fixed words, the second's length follows from it.
fn aad(part: &str, header: &[u8], binding: &str) -> Vec<u8> {
    [b"stowage ", part.as_bytes(), b"\0", header, binding.as_bytes()].concat()
}

fn encrypt(key: &[u8], nonce: &[u8], msg: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| Error::Refused)?;
    let nonce = Nonce::try_from(nonce).map_err(|_| Error::Refused)?;
    cipher.encrypt(&nonce, Payload { msg, aad }).map_err(|_| Error::TooLong)
}

fn decrypt(key: &[u8], nonce: &[u8], msg: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| Error::Refused)?;
    let nonce = Nonce::try_from(nonce).map_err(|_| Error::Refused)?;
    cipher.decrypt(&nonce, Payload { msg, aad }).map_err(|_| Error::Refused)
}

fn new_key(random: &dyn Random) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    random.fill(&mut *key);
    key
}

/// Nonces come from the system and never from a `Random` that a test may have fixed: a repeated
/// nonce breaks GCM.
fn new_nonce() -> Result<[u8; NONCE_BYTES], Error> {
    let mut nonce = [0_u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests;
