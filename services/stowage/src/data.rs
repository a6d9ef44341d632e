//! The data folder: what is where, who may read it, and that one process at a time uses it.
//!
//! Secrets are files of mode 0600 in a folder of mode 0700; one that others may read is refused
//! rather than mended, since it may have been read already. Each is written under another name,
//! synced and renamed, so that a crash leaves a whole file or none. Secrets are made before the
//! first database, so a database without the master keys means that those were lost, and that is
//! refused: fresh ones would make every sealed access key unreadable without a word.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stowage_keyring::{Keyring, Source};
use stowage_types::{ExposeSecret as _, Random, SecretString, SystemClock, SystemRandom};

use crate::config;
use crate::error::StartError;
use crate::roles::part;

/// How much is written and removed again at start, to find a full disk before any database does.
const PROBE_BYTES: usize = 256 * 1024;

/// File of the seed of the key that assertions are signed with.
const SIGNING_KEY: &str = "signing.key";
/// File of the administrator's token.
const ADMIN_TOKEN: &str = "admin.token";
/// File of the master keys, where no other is set.
pub(crate) const KEYRING: &str = "keyring";

/// File that says that the databases beside it were copied to a server, and to which.
const MOVED: &str = "databases-moved";

/// The data folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked; the lock ends with the process, however it ends.
    _lock: File,
}

/// The secrets of an installation.
#[derive(Debug)]
pub struct Secrets {
    /// Seed of the key that assertions are signed with.
    pub signing_seed: [u8; 32],
    /// The administrator's token.
    pub admin_token: SecretString,
    /// The master keys.
    pub keyring: Arc<Keyring>,
}

impl Secrets {
    /// Those in a folder, which has them all; master keys may come from elsewhere.
    ///
    /// # Errors
    /// [`StartError::Secret`], [`StartError::Part`] of the keyring.
    pub fn read(folder: &Path, keyring: &config::Keyring) -> Result<Self, StartError> {
        let token = token_file(folder);
        Ok(Self {
            signing_seed: read_signing_seed(folder)?,
            admin_token: read_secret(&token)?.ok_or_else(|| missing(token))?,
            keyring: read_keyring(folder, keyring)?,
        })
    }
}

impl DataDir {
    /// Takes the folder if it exists already.
    ///
    /// # Errors
    /// [`StartError::Held`] if another process has it; [`StartError::Folder`] otherwise.
    pub fn take_existing(path: &Path) -> Result<Option<Self>, StartError> {
        if path.join("lock").exists() { Self::take(path).map(Some) } else { Ok(None) }
    }

    /// Makes the folder if need be, and takes it.
    ///
    /// # Errors
    /// See [`Self::take_existing`].
    pub fn create(path: &Path) -> Result<Self, StartError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| folder_error(path, "made", error))?;
        Self::take(path)
    }

    fn take(path: &Path) -> Result<Self, StartError> {
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|error| folder_error(path, "written to", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::Held { path: path.to_owned(), pid: holder(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(folder_error(path, "locked", error)),
        }
        let dir = Self { path: path.to_owned(), _lock: lock };
        dir.probe().map_err(|error| folder_error(path, "written to", error))?;
        dir.note_holder().map_err(|error| folder_error(path, "written to", error))?;
        dir.warn_of_readers();
        Ok(dir)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database of a role.
    #[must_use]
    pub fn database(&self, role: &str) -> PathBuf {
        self.path.join(format!("{role}.db"))
    }

    /// What the embedded engine keeps.
    #[must_use]
    pub fn engine(&self) -> PathBuf {
        self.path.join("s3")
    }

    /// The administrator's token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        token_file(&self.path)
    }

    /// Where the databases of this folder were copied to, if they were.
    ///
    /// # Errors
    /// [`StartError::Secret`] if the note cannot be read.
    pub fn moved_to(&self) -> Result<Option<String>, StartError> {
        let note = read_secret(&self.path.join(MOVED))?;
        Ok(note.map(|note| note.expose_secret().to_owned()))
    }

    /// Notes that they were. From then on nobody starts on the files by mistake.
    ///
    /// # Errors
    /// [`StartError::Folder`]
    pub fn note_moved(&self, to: &str) -> Result<(), StartError> {
        let path = self.path.join(MOVED);
        let written = write_secret(&path, &SecretString::from(to));
        written.map_err(|error| folder_error(&path, "written", error))
    }

    /// Reads the secrets; makes them on first start.
    ///
    /// # Errors
    /// [`StartError::Secret`] if one is malformed, may be read by others, or is missing beside
    /// databases that were made with it.
    pub fn secrets(
        &self,
        keyring: &config::Keyring,
        random: &dyn Random,
    ) -> Result<Secrets, StartError> {
        if self.database("accounts").exists()
            && let Source::File(path) = keyring_source(&self.path, keyring)
            && !path.exists()
        {
            return Err(lost(path));
        }
        make_secrets(&self.path, &[], keyring, random)?;
        Secrets::read(&self.path, keyring)
    }

    /// Writes and syncs a file and removes it: finds a read-only folder and a full disk.
    fn probe(&self) -> io::Result<()> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0x5a; PROBE_BYTES])?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    /// A folder that was there before keeps its mode: whoever made it may have had a reason.
    fn warn_of_readers(&self) {
        let mode = self.path.metadata().map_or(0, |folder| folder.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            let (path, mode) = (self.path.display(), format!("{mode:03o}"));
            tracing::warn!(%path, mode, "others may look into the data folder; `chmod 700` it");
        }
    }

    /// Leaves the process id in the lock file, for the message to a second process.
    fn note_holder(&self) -> io::Result<()> {
        let mut lock = &self._lock;
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    }
}

/// Makes the secrets that all processes of an installation share, and passwords in files of these
/// names: those that are not there yet. Answers which it made. Master keys that come from elsewhere
/// are not made.
///
/// # Errors
/// [`StartError::Folder`], [`StartError::Secret`], [`StartError::Part`] of the keyring.
pub fn make_secrets(
    folder: &Path,
    passwords: &[String],
    keyring: &config::Keyring,
    random: &dyn Random,
) -> Result<Vec<PathBuf>, StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| folder_error(folder, "made", error))?;
    let mut made = Vec::new();
    let names = [SIGNING_KEY, ADMIN_TOKEN].into_iter().chain(passwords.iter().map(String::as_str));
    for path in names.map(|name| folder.join(name)) {
        if !path.exists() {
            made.push(path.clone());
        }
        secret(&path, random)?;
    }
    if let Source::File(path) = keyring_source(folder, keyring) {
        if !path.exists() {
            made.push(path);
        }
        open_keyring(folder, keyring)?;
    }
    Ok(made)
}

/// Reads the seed of the key that assertions are signed with.
///
/// # Errors
/// [`StartError::Secret`]
pub fn read_signing_seed(folder: &Path) -> Result<[u8; 32], StartError> {
    let path = folder.join(SIGNING_KEY);
    let seed = read_secret(&path)?.ok_or_else(|| missing(path.clone()))?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(seed.expose_secret(), &mut bytes).map_err(|_| {
        let why = "does not hold 64 hex characters".to_owned();
        StartError::Secret { path, why }
    })?;
    Ok(bytes)
}

/// Where the master keys come from; a file beside the other secrets, if nothing else is set.
#[must_use]
pub fn keyring_source(secrets: &Path, keyring: &config::Keyring) -> Source {
    keyring.source(&secrets.join(KEYRING))
}

/// Reads the master keys; makes the file of them if that is their source and it is not there.
///
/// # Errors
/// [`StartError::Part`]
fn open_keyring(secrets: &Path, keyring: &config::Keyring) -> Result<Arc<Keyring>, StartError> {
    let (source, clock) = (keyring_source(secrets, keyring), Arc::new(SystemClock));
    let opened = Keyring::open_source(source, keyring.rules(), clock, &SystemRandom);
    opened.map(Arc::new).map_err(|error| part("the keyring", error))
}

/// Reads the master keys that all processes share: a file must be there.
///
/// # Errors
/// [`StartError::Secret`], [`StartError::Part`]
pub fn read_keyring(secrets: &Path, keyring: &config::Keyring) -> Result<Arc<Keyring>, StartError> {
    match keyring_source(secrets, keyring) {
        Source::File(path) if !path.exists() => Err(missing(path)),
        _ => open_keyring(secrets, keyring),
    }
}

fn missing(path: PathBuf) -> StartError {
    let why = "is missing: all processes share their secrets; `stowage secrets make` makes them \
               once, and secrets_dir (STOWAGE_SECRETS_DIR) says where they are"
        .to_owned();
    StartError::Secret { path, why }
}

/// Reads a secret; makes it where there is none.
fn secret(path: &Path, random: &dyn Random) -> Result<SecretString, StartError> {
    if let Some(secret) = read_secret(path)? {
        return Ok(secret);
    }
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let secret = SecretString::from(hex::encode(bytes));
    write_secret(path, &secret).map_err(|error| folder_error(path, "written", error))?;
    Ok(secret)
}

/// The files that a copy of the folder must have beside databases, objects and master keys, those
/// that are there.
#[must_use]
pub fn kept_files(data_dir: &Path, secrets_dir: &Path) -> Vec<PathBuf> {
    let files = [secrets_dir.join(SIGNING_KEY), token_file(secrets_dir), data_dir.join(MOVED)];
    files.into_iter().filter(|file| file.exists()).collect()
}

/// Where the administrator's token is.
#[must_use]
pub fn token_file(data_dir: &Path) -> PathBuf {
    data_dir.join(ADMIN_TOKEN)
}

/// Reads a secret; `None` if there is no such file.
///
/// # Errors
/// [`StartError::Secret`] if it is unreadable, empty, or may be read by others.
pub fn read_secret(path: &Path) -> Result<Option<SecretString>, StartError> {
    let refuse = |why: String| StartError::Secret { path: path.to_owned(), why };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
    };
    let mode = file.metadata().map_err(|e| refuse(e.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(refuse(format!(
            "may be read by others (mode {:03o}); if nobody did, run `chmod 600` on it",
            mode & 0o777
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(refuse("is empty; restore it from a backup".to_owned())),
        secret => Ok(Some(SecretString::from(secret))),
    }
}

/// Reads a secret that the configuration names.
///
/// # Errors
/// [`StartError::Secret`] if there is no such file, and as [`read_secret`].
pub(crate) fn secret_in(file: &Path) -> Result<SecretString, StartError> {
    let missing = || StartError::Secret { path: file.to_owned(), why: "is missing".to_owned() };
    read_secret(file)?.ok_or_else(missing)
}

fn write_secret(path: &Path, secret: &SecretString) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    // A left-over of a crash keeps the mode it had.
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{}", secret.expose_secret())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn lost(path: PathBuf) -> StartError {
    let why = "is missing although the databases beside it were made with it; \
               restore it from a backup"
        .to_owned();
    StartError::Secret { path, why }
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn folder_error(path: &Path, deed: &'static str, source: io::Error) -> StartError {
    StartError::Folder { path: path.to_owned(), deed, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let keyring = config::Keyring::default();
        let first = DataDir::create(&path).unwrap().secrets(&keyring, &SystemRandom).unwrap();
        let again = DataDir::create(&path).unwrap().secrets(&keyring, &SystemRandom).unwrap();
        assert_eq!(first.signing_seed, again.signing_seed);
        assert_eq!(first.admin_token.expose_secret(), again.admin_token.expose_secret());
        assert_eq!(mode(&path), 0o700);
        for file in ["signing.key", "admin.token", "lock"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DataDir::create(folder.path()).unwrap();
        let error = DataDir::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::create(folder.path()).unwrap();
        let keyring = config::Keyring::default();
        dir.secrets(&keyring, &SystemRandom).unwrap();
        std::fs::set_permissions(dir.token_file(), Permissions::from_mode(0o644)).unwrap();
        let error = dir.secrets(&keyring, &SystemRandom).unwrap_err().to_string();
        assert!(error.contains("admin.token") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_lost_secret_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::create(folder.path()).unwrap();
        std::fs::write(dir.database("accounts"), b"").unwrap();
        let keyring = config::Keyring::default();
        let error = dir.secrets(&keyring, &SystemRandom).unwrap_err().to_string();
        assert!(error.contains("keyring") && error.contains("backup"), "{error}");
        assert!(!folder.path().join("signing.key").exists());
    }
}
