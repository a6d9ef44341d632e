//! The handle on the master keys: it seals and opens, and follows its source while serving.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use stowage_types::{Clock, Random, SecretString, SystemClock};
use time::OffsetDateTime;

use crate::file::Stamp;
use crate::ring::{MasterKey, Ring};
use crate::{Error, HEADER_BYTES, Source, VERSIONS_MAX, file, ring};

/// Time between two looks at a command by [`Keyring::refresh`].
const COMMAND_EVERY: Duration = Duration::from_secs(30);
/// Time between two looks for a version that is not known: a command each, at worst.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);

/// Times that give all processes and all calls under way their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// From the making of a master key to its first use. Longer than a process takes to read it,
    /// and than clocks of machines differ. Default 10 s.
    pub usable_after: Duration,
    /// From the first use of a master key to the retirement of those before. Longer than the
    /// longest call. Default 60 s.
    pub retire_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { usable_after: Duration::from_secs(10), retire_after: Duration::from_secs(60) }
    }
}

/// A master key as it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub version: u32,
    /// From when on records are sealed under it. `None`: from the beginning.
    pub usable_time: Option<OffsetDateTime>,
}

impl From<&MasterKey> for Version {
    fn from(key: &MasterKey) -> Self {
        Self { version: key.version, usable_time: key.usable_time }
    }
}

/// The master keys of an installation.
pub struct Keyring {
    source: Source,
    rules: Rules,
    clock: Arc<dyn Clock>,
    ring: RwLock<Arc<Ring>>,
    /// Held by who reads the source.
    reader: Mutex<Reader>,
}

/// What is known of the source.
struct Reader {
    stamp: Option<Stamp>,
    next_command: Instant,
    next_unknown: Instant,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<u32> = self.versions().iter().map(|key| key.version).collect();
        f.debug_struct("Keyring").field("versions", &versions).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the master keys at `path`; makes the file with one new key, mode 0600, if there is
    /// none. By the system's clock and the default [`Rules`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn load_or_create(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        let source = Source::File(path.to_owned());
        Self::open_source(source, Rules::default(), Arc::new(SystemClock), random)
    }

    /// Reads the master keys from their source. A file that is not there is made, mode 0600.
    ///
    /// # Errors
    /// - [`Error::ReadableByOthers`]: an existing file's mode lets others in.
    /// - [`Error::Malformed`], [`Error::Io`], [`Error::Command`]: the source is unusable. A file is
    ///   never overwritten then.
    pub fn open_source(
        source: Source,
        rules: Rules,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Result<Self, Error> {
        if let Source::File(path) = &source
            && file::read(path)?.is_none()
        {
            file::write(path, &[MasterKey::generate(1, None, random)])?;
        }
        // Looked at before it is read: a change in between is seen at the next look.
        let stamp = stamp_of(&source);
        let ring = Ring::new(source.read()?);
        let now = Instant::now();
        let next_command = now + COMMAND_EVERY;
        let reader = Mutex::new(Reader { stamp, next_command, next_unknown: now });
        Ok(Self { source, rules, clock, ring: RwLock::new(Arc::new(ring)), reader })
    }

    /// Where the master keys come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The master keys, oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        self.ring().keys().iter().map(Version::from).collect()
    }

    /// The version that records are sealed under at this moment.
    #[must_use]
    pub fn sealing_version(&self) -> u32 {
        self.ring().sealing(self.clock.now()).version
    }

    /// How records begin that need no rewrap.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        ring::header(self.sealing_version())
    }

    /// Looks whether the source has changed, and takes what it has now; answers whether it has.
    /// To be called every second. It may wait for a command, so not where others must not wait.
    ///
    /// # Errors
    /// As [`Self::open_source`], and [`Error::Replaced`]; the keys of before stay in use. A file
    /// is not tried again until it changes.
    pub fn refresh(&self) -> Result<bool, Error> {
        let mut reader = self.reader();
        match &self.source {
            Source::Text(_) => return Ok(false),
            Source::File(path) => {
                let stamp = file::stamp(path);
                if stamp == reader.stamp {
                    return Ok(false);
                }
                reader.stamp = stamp;
            }
            Source::Command(_) => {
                if Instant::now() < reader.next_command {
                    return Ok(false);
                }
                reader.next_command = Instant::now() + COMMAND_EVERY;
            }
        }
        self.take(Ring::new(self.source.read()?))
    }

    /// Encrypts `secret` for the record and purpose that `binding` names: `access_key/AK…`.
    ///
    /// # Errors
    /// - [`Error::TooLong`], [`Error::NoRandomness`].
    pub fn seal(&self, secret: &SecretString, binding: &str) -> Result<Vec<u8>, Error> {
        ring::seal(self.ring().sealing(self.clock.now()), secret, binding)
    }

    /// Decrypts a record that [`Self::seal`] made for the same `binding`.
    ///
    /// # Errors
    /// - [`Error::UnknownVersion`]: its master key is not in the ring, nor in its source.
    /// - [`Error::Refused`]: it is damaged, or was sealed for another binding.
    pub fn open(&self, sealed: &[u8], binding: &str) -> Result<SecretString, Error> {
        self.ring_for(sealed)?.open(sealed, binding)
    }

    /// Wraps a record's data key by the master key that records are sealed under; the secret is
    /// not decrypted. `None`: it is wrapped by that one already, or by a newer one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rewrap(&self, sealed: &[u8], binding: &str) -> Result<Option<Vec<u8>>, Error> {
        let ring = self.ring_for(sealed)?;
        ring.rewrap(ring.sealing(self.clock.now()), sealed, binding)
    }

    /// Adds a new master key to the file. Records are sealed under it from
    /// [`Rules::usable_after`] on; older ones open as before, and [`Self::rewrap`] moves them. A
    /// key that still waits for its time is answered instead, so that a repeat adds no second one.
    ///
    /// # Errors
    /// - [`Error::ReadOnly`]: the source is not a file.
    /// - [`Error::Full`], [`Error::Io`]; all is as it was then.
    pub fn rotate(&self, random: &dyn Random) -> Result<Version, Error> {
        self.change(|keys| {
            let now = self.clock.now();
            let newest = keys.last().expect("a file without a key is refused");
            if !newest.is_usable(now) {
                return Ok(Version::from(newest));
            }
            let version = newest.version.checked_add(1).ok_or(Error::Full)?;
            if keys.len() >= VERSIONS_MAX {
                return Err(Error::Full);
            }
            let key = MasterKey::generate(version, Some(now + self.rules.usable_after), random);
            let made = Version::from(&key);
            keys.push(key);
            Ok(made)
        })
    }

    /// Whether a master key could be retired, as far as the ring itself knows: records are the
    /// business of who has them.
    ///
    /// # Errors
    /// - [`Error::UnknownVersion`]: the ring has no such master key.
    /// - [`Error::Sealing`]: records are sealed under it.
    /// - [`Error::TooEarly`]: a call under way may still seal under it.
    pub fn check_retirement(&self, version: u32) -> Result<(), Error> {
        check_retirement(self.ring().keys(), version, (self.clock.now(), self.rules))
    }

    /// Removes a master key from the file, for good: what is sealed under it never opens again.
    ///
    /// # Errors
    /// As [`Self::check_retirement`] and [`Self::rotate`]; all is as it was then.
    pub fn retire(&self, version: u32) -> Result<(), Error> {
        self.change(|keys| {
            check_retirement(keys, version, (self.clock.now(), self.rules))?;
            keys.retain(|key| key.version != version);
            Ok(())
        })
    }

    /// Changes the file, from what it holds at this moment, and takes the result.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<MasterKey>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Source::File(path) = &self.source else {
            return Err(Error::ReadOnly { origin: self.source.origin() });
        };
        let mut reader = self.reader();
        let _lock = file::lock(path)?;
        let mut keys = file::read_keys(path)?;
        let before = keys.len();
        let done = change(&mut keys)?;
        if keys.len() != before {
            file::write(path, &keys)?;
        }
        reader.stamp = file::stamp(path);
        self.take(Ring::new(keys))?;
        Ok(done)
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ring that has the record's version, if there is one. Looks into the source once where
    /// the version is not known yet; that makes its caller wait, and cannot happen where rotation
    /// was given its time.
    fn ring_for(&self, sealed: &[u8]) -> Result<Arc<Ring>, Error> {
        let version = ring::version_of(sealed)?;
        let known = |ring: Arc<Ring>| ring.find(version).is_some().then_some(ring);
        if let Some(ring) = known(self.ring()) {
            return Ok(ring);
        }
        let mut reader = self.reader();
        // Who held it before may have found it.
        let looks = known(self.ring()).is_none() && Instant::now() >= reader.next_unknown;
        if looks && !matches!(self.source, Source::Text(_)) {
            let stamp = stamp_of(&self.source);
            // What is wrong with the source is told by `refresh`.
            if let Ok(keys) = self.source.read()
                && self.take(Ring::new(keys)).is_ok()
            {
                reader.stamp = stamp;
            }
            reader.next_unknown = Instant::now() + UNKNOWN_EVERY;
        }
        known(self.ring()).ok_or(Error::UnknownVersion { version })
    }

    /// Puts a ring into use; answers whether its versions are other ones.
    fn take(&self, new: Ring) -> Result<bool, Error> {
        let mut current = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for key in current.keys() {
            if new.find(key.version).is_some_and(|found| *found.key != *key.key) {
                return Err(Error::Replaced { version: key.version });
            }
        }
        let of = |ring: &Ring| ring.keys().iter().map(Version::from).collect::<Vec<_>>();
        let is_other = of(&current) != of(&new);
        *current = Arc::new(new);
        Ok(is_other)
    }
}

fn stamp_of(source: &Source) -> Option<Stamp> {
    match source {
        Source::File(path) => file::stamp(path),
        _ => None,
    }
}

fn check_retirement(
    keys: &[MasterKey],
    version: u32,
    (now, rules): (OffsetDateTime, Rules),
) -> Result<(), Error> {
    if !keys.iter().any(|key| key.version == version) {
        return Err(Error::UnknownVersion { version });
    }
    let later = keys.iter().filter(|key| key.version > version);
    let usable: Vec<_> = later.filter(|key| key.is_usable(now)).collect();
    // Any of the later ones will do: since the first of them, nothing is sealed under this one.
    let since = usable.iter().map(|key| key.usable_time).min().ok_or(Error::Sealing { version })?;
    let after = since.map(|time| time + rules.retire_after);
    match after.filter(|after| now < *after) {
        Some(after) => Err(Error::TooEarly { version, after }),
        None => Ok(()),
    }
}
