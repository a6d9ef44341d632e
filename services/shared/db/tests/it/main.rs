//! The database as its users see it: real files, real fsync.

#![cfg(test)]

mod lease;
mod open;
mod transactions;
mod values;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::path::PathBuf;
use std::sync::LazyLock;
use stowage_db::Db;
use tempfile::TempDir;

const FIRST: &str = "CREATE TABLE sequence (name text PRIMARY KEY, value bigint NOT NULL);
    CREATE TABLE purse (id bigint PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0));
    CREATE TABLE coin (id uuid PRIMARY KEY, at timestamptz, what jsonb, good boolean, note text,
        raw bytea, purse bigint REFERENCES purse (id), UNIQUE (note, good));
    CREATE UNIQUE INDEX coin_note_lower ON coin (lower(note)) WHERE raw IS NOT NULL;";

const SECOND: &str = "CREATE TABLE later (id bigint PRIMARY KEY);";

static OLD: LazyLock<Migrator> = LazyLock::new(|| migrator(&[FIRST]));
static NEW: LazyLock<Migrator> = LazyLock::new(|| migrator(&[FIRST, SECOND]));

fn migrator(texts: &[&'static str]) -> Migrator {
    let migration = |(text, version): (&&'static str, i64)| {
        let kind = MigrationType::Simple;
        Migration::new(version, "a step".into(), kind, text.into_sql_str(), false)
    };
    Migrator::with_migrations(texts.iter().zip(1..).map(migration).collect())
}

struct Kit {
    folder: TempDir,
    db: Db,
}

impl Kit {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let db = Db::open(&folder.path().join("role.db"), &OLD).await.unwrap();
        Self { folder, db }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("role.db")
    }
}
