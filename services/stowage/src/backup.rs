//! A backup of the data folder, made while the server runs: what a loss of power at one moment
//! would have left. `BACKUP.md` says how it is used.
//!
//! Files of objects never change, so most are saved beforehand. Then writing to all databases
//! stops for a moment, in which those that are new are saved too: a file that an index speaks of
//! goes only after a transaction that lets go of it. The master keys are saved in the same moment:
//! before it some of those that records are under may not be there yet, and after it some may have
//! been retired.
//!
//! The folder gets its name when all of it is there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use stowage_db::snapshot::{self, Snapshot};
use stowage_db::{Error as DbError, OpenError};

use crate::data;
use crate::databases::ROLES;

/// New files below which the rest is left to the moment in which nobody writes.
const NEW_FEW: u64 = 200;
/// How often that is tried for.
const PASSES_MAX: u32 = 5;

/// What is saved from where to where.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) data: PathBuf,
    pub(crate) secrets: PathBuf,
    /// The file of master keys; absent if they come from elsewhere.
    pub(crate) keyring: Option<PathBuf>,
    pub(crate) to: PathBuf,
    /// Whether the roles' databases are in the data folder.
    pub(crate) has_databases: bool,
    /// Whether the embedded engine's index and objects are.
    pub(crate) has_engine: bool,
}

/// What was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) databases: Vec<String>,
    pub(crate) object_files: u64,
    pub(crate) secrets: Vec<String>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("there is no installation in {path:?}: it has no {missing}")]
    Absent { path: PathBuf, missing: String },
    #[error("{path:?} is there already; a backup goes into a folder of its own")]
    Present { path: PathBuf },
    #[error("{path:?} cannot be saved: {source}")]
    Files { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("a database cannot be saved: {source}{}", cause(source))]
    Database {
        #[from]
        source: DbError,
    },
    #[error(
        "the file of an object is missing or cut off: {blob}; run this again, and if it stays \
             so, look after the disk"
    )]
    Object { blob: String },
}

fn cause(error: &DbError) -> String {
    let cause = std::error::Error::source(error);
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

/// Saves everything in the data folder.
pub(crate) async fn save(places: &Places) -> Result<Saved, BackupError> {
    let Places { data, secrets, to, .. } = places;
    let partial = partial_of(to);
    for path in [to, &partial] {
        if path.exists() {
            return Err(BackupError::Present { path: path.clone() });
        }
    }
    let (files, databases) = databases(places, &partial)?;
    let blobs = Blobs { from: data.join("s3/blobs"), to: partial.join("s3/blobs") };
    let blobs = places.has_engine.then_some(blobs);
    make_folder(&partial)?;
    let mut object_files = 0;
    if let Some(blobs) = &blobs {
        make_folder(&partial.join("s3"))?;
        object_files += blobs.save_most()?;
    }
    let mut snapshot = Snapshot::begin(files).await?;
    if let Some(blobs) = &blobs {
        object_files += blobs.save_new()?;
    }
    let mut kept = Vec::new();
    if let Some(keyring) = places.keyring.as_ref().filter(|file| file.exists()) {
        copy(keyring, &partial.join(data::KEYRING))?;
        kept.push(data::KEYRING.to_owned());
    }
    snapshot.release().await;
    snapshot.finish().await?;
    if let Some(blobs) = &blobs {
        blobs.check(&partial.join("s3/index.sqlite")).await?;
    }
    for file in data::kept_files(data, secrets) {
        let name = file.file_name().unwrap_or_default();
        copy(&file, &partial.join(name))?;
        kept.push(name.to_string_lossy().into_owned());
    }
    sync(&partial)?;
    fs::rename(&partial, to).map_err(|source| files_error(to, source))?;
    sync(to.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    Ok(Saved { databases, object_files, secrets: kept })
}

/// `backup` is `backup.partial` while it is being made.
fn partial_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    to.with_file_name(name)
}

/// The databases that are in the data folder, and their names.
fn databases(
    places: &Places,
    partial: &Path,
) -> Result<(Vec<snapshot::File>, Vec<String>), BackupError> {
    let roles = ROLES.map(|(role, _)| format!("{role}.db"));
    let mut names = Vec::new();
    if places.has_engine {
        names.push("s3/index.sqlite".to_owned());
    }
    if places.has_databases {
        names.extend(roles);
    }
    let files = names.iter().map(|name| {
        let (from, to) = (places.data.join(name), partial.join(name));
        match from.exists() {
            true => Ok(snapshot::File { from, to }),
            false => Err(BackupError::Absent { path: places.data.clone(), missing: name.clone() }),
        }
    });
    let files = files.collect::<Result<_, _>>()?;
    Ok((files, names))
}

/// The files of objects.
struct Blobs {
    from: PathBuf,
    to: PathBuf,
}

impl Blobs {
    /// Saves files until few new ones come; answers how many.
    fn save_most(&self) -> Result<u64, BackupError> {
        let mut saved = 0;
        for _ in 0..PASSES_MAX {
            let new = self.save_new()?;
            saved += new;
            if new < NEW_FEW {
                break;
            }
        }
        Ok(saved)
    }

    /// Saves the files that were not saved yet; answers how many. On one file system it is a
    /// second name of the same file, which costs no room.
    fn save_new(&self) -> Result<u64, BackupError> {
        let mut new = 0;
        make_folder(&self.to)?;
        for first in entries(&self.from)? {
            for second in entries(&first)? {
                let place = second.strip_prefix(&self.from).unwrap_or(&second);
                let folder = self.to.join(place);
                make_folder(&folder)?;
                for file in entries(&second)? {
                    let to = folder.join(file.file_name().unwrap_or_default());
                    let is_unfinished = file.extension().is_some();
                    if !is_unfinished && !to.exists() && link_or_copy(&file, &to)? {
                        new += 1;
                    }
                }
                sync(&folder)?;
            }
        }
        Ok(new)
    }

    /// Makes sure that every file that the saved index speaks of was saved whole.
    async fn check(&self, index: &Path) -> Result<(), BackupError> {
        const SQL: &str = "SELECT blob, size_bytes FROM segment WHERE blob IS NOT NULL \
            UNION ALL SELECT blob, size_bytes FROM part";
        let options = SqliteConnectOptions::new().filename(index).read_only(true);
        let mut connection =
            options.disable_statement_logging().connect().await.map_err(DbError::from)?;
        let mut rows = sqlx::query_as::<_, (String, i64)>(SQL).fetch(&mut connection);
        while let Some((blob, size_bytes)) = rows.try_next().await.map_err(DbError::from)? {
            let (first, second) = (blob.get(..2).unwrap_or("00"), blob.get(2..4).unwrap_or("00"));
            let file = self.to.join(first).join(second).join(&blob).metadata();
            if !file.is_ok_and(|file| i64::try_from(file.len()) == Ok(size_bytes)) {
                return Err(BackupError::Object { blob });
            }
        }
        drop(rows);
        connection.close().await.map_err(DbError::from)?;
        Ok(())
    }
}

/// What is in a folder; nothing if it has gone.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |source| files_error(folder, source);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let entries = listed.map_err(failed)?.map(|entry| Ok(entry?.path()));
            entries.collect::<io::Result<_>>().map_err(failed)
        }
    }
}

/// `false`: it has gone, since nothing speaks of it any more.
fn link_or_copy(from: &Path, to: &Path) -> Result<bool, BackupError> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(true);
    }
    match copy(from, to) {
        Err(BackupError::Files { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        copied => copied.map(|()| true),
    }
}

/// A copy with the same mode, on disk.
fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    copied.map_err(|source| files_error(from, source))
}

fn make_folder(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| files_error(path, source))
}

fn sync(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| files_error(folder, source))
}

fn files_error(path: &Path, source: io::Error) -> BackupError {
    BackupError::Files { path: path.to_owned(), source }
}
