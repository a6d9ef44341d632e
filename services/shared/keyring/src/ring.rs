//! The master keys of one moment, and what they do to records.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use stowage_types::{ExposeSecret, Random, SecretString};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{Error, HEADER_BYTES, SECRET_BYTES_MAX};

pub(crate) const KEY_BYTES: usize = 32;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES;
const SECRET_AT: usize = HEADER_BYTES + NONCE_BYTES + WRAPPED_BYTES;

/// One master key.
pub(crate) struct MasterKey {
    pub(crate) version: u32,
    pub(crate) key: Zeroizing<[u8; KEY_BYTES]>,
    /// From when on records are sealed under it. `None`: from the beginning.
    pub(crate) usable_time: Option<OffsetDateTime>,
}

impl MasterKey {
    pub(crate) fn generate(
        version: u32,
        usable_time: Option<OffsetDateTime>,
        random: &dyn Random,
    ) -> Self {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        random.fill(&mut *key);
        Self { version, key, usable_time }
    }

    pub(crate) fn is_usable(&self, now: OffsetDateTime) -> bool {
        self.usable_time.is_none_or(|time| time <= now)
    }
}

/// Master keys, oldest first; never empty.
pub(crate) struct Ring(Vec<MasterKey>);

impl Ring {
    /// `keys`: at least one, with growing versions.
    pub(crate) fn new(keys: Vec<MasterKey>) -> Self {
        Self(keys)
    }

    pub(crate) fn keys(&self) -> &[MasterKey] {
        &self.0
    }

    pub(crate) fn find(&self, version: u32) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.version == version)
    }

    /// The key that records are sealed under: the newest whose time has come. A ring whose keys all
    /// wait for theirs takes the oldest: to seal nothing would be worse.
    pub(crate) fn sealing(&self, now: OffsetDateTime) -> &MasterKey {
        let usable = self.0.iter().rev().find(|key| key.is_usable(now));
        usable.unwrap_or_else(|| self.0.first().expect("a ring is never empty"))
    }

    pub(crate) fn open(&self, sealed: &[u8], binding: &str) -> Result<SecretString, Error> {
        let data_key = self.unwrap_key(sealed, binding)?;
        let rest = sealed.get(SECRET_AT..).ok_or(Error::Refused)?;
        let (nonce, sealed_secret) = split_nonce(rest)?;
        // The version is not authenticated with the secret, since a rewrap changes it.
        let aad = aad("secret", &sealed[..1], binding);
        let plain = Zeroizing::new(decrypt(&data_key, nonce, sealed_secret, &aad)?);
        let text = std::str::from_utf8(&plain).map_err(|_| Error::Refused)?;
        Ok(SecretString::from(text.to_owned()))
    }

    /// As [`crate::Keyring::rewrap`], under `master`.
    pub(crate) fn rewrap(
        &self,
        master: &MasterKey,
        sealed: &[u8],
        binding: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        if version_of(sealed)? >= master.version {
            return Ok(None);
        }
        let data_key = self.unwrap_key(sealed, binding)?;
        let mut record = Vec::with_capacity(sealed.len());
        wrap(master, &data_key[..], binding, &mut record)?;
        record.extend_from_slice(&sealed[SECRET_AT..]);
        Ok(Some(record))
    }

    fn unwrap_key(&self, sealed: &[u8], binding: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let version = version_of(sealed)?;
        let master = self.find(version).ok_or(Error::UnknownVersion { version })?;
        let part = sealed.get(HEADER_BYTES..SECRET_AT).ok_or(Error::Refused)?;
        let (nonce, wrapped) = split_nonce(part)?;
        let aad = aad("data key", &sealed[..HEADER_BYTES], binding);
        Ok(Zeroizing::new(decrypt(&*master.key, nonce, wrapped, &aad)?))
    }
}

pub(crate) fn seal(
    master: &MasterKey,
    secret: &SecretString,
    binding: &str,
) -> Result<Vec<u8>, Error> {
    let secret = secret.expose_secret().as_bytes();
    if secret.len() > SECRET_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let mut data_key = Zeroizing::new([0_u8; KEY_BYTES]);
    getrandom::fill(&mut *data_key).map_err(|_| Error::NoRandomness)?;
    let mut record = Vec::with_capacity(SECRET_AT + NONCE_BYTES + secret.len() + TAG_BYTES);
    wrap(master, &data_key[..], binding, &mut record)?;
    let nonce = new_nonce()?;
    let aad = aad("secret", &record[..1], binding);
    let sealed = encrypt(&data_key[..], &nonce, secret, &aad)?;
    record.extend_from_slice(&nonce);
    record.extend_from_slice(&sealed);
    Ok(record)
}

/// The beginning of every record that is sealed under a version.
pub(crate) fn header(version: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = version.to_be_bytes();
    [FORMAT, a, b, c, d]
}

/// The version of the master key that a record, or its header, is sealed under.
///
/// # Errors
/// [`Error::Refused`]: it is not a record.
pub fn version_of(sealed: &[u8]) -> Result<u32, Error> {
    match sealed {
        [FORMAT, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Error::Refused),
    }
}

/// Writes the header, and the data key wrapped by the master key.
fn wrap(master: &MasterKey, key: &[u8], binding: &str, record: &mut Vec<u8>) -> Result<(), Error> {
    record.extend_from_slice(&header(master.version));
    let nonce = new_nonce()?;
    let aad = aad("data key", record, binding);
    let wrapped = encrypt(&*master.key, &nonce, key, &aad)?;
    record.extend_from_slice(&nonce);
    record.extend_from_slice(&wrapped);
    Ok(())
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

/// Nonces come from the system and never from a `Random` that a test may have fixed: a repeated
/// nonce breaks GCM.
fn new_nonce() -> Result<[u8; NONCE_BYTES], Error> {
    let mut nonce = [0_u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
    Ok(nonce)
}
