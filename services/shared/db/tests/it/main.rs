//! The database as its users see it: real files, real fsync; a real server.

#![cfg(test)]

mod lease;
mod open;
mod postgres;
mod sqlite;
mod transactions;
mod values;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::path::Path;
use std::sync::LazyLock;
use stowage_db::Db;
use stowage_db::testing::Scratch;

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
    db: Db,
    place: Scratch,
}

impl Kit {
    async fn start() -> Self {
        let place = Scratch::new().await;
        let db = place.open("role", &OLD).await.unwrap();
        Self { db, place }
    }

    /// With a database of the server to itself.
    async fn whole() -> Self {
        let place = Scratch::whole().await;
        let db = place.open("role", &OLD).await.unwrap();
        Self { db, place }
    }

    /// On a file, whatever the tests run on.
    async fn on_file() -> Self {
        let place = Scratch::on_files();
        let db = place.open("role", &OLD).await.unwrap();
        Self { db, place }
    }

    fn folder(&self) -> &Path {
        self.place.folder()
    }
}
