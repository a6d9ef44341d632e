//! Stored answers move under another key of their vault, some at a time, while calls run.

use stowage_proto::METHODS;

use crate::key::binding;
use crate::{Requests, store};

/// Bytes at the beginning of what a vault seals that say under which key.
pub const HEADER_BYTES: usize = 5;

/// How many sealed answers begin in one way: with the first bytes of what the vault sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Under {
    /// As [`crate::Vault::header`].
    pub header: Vec<u8>,
    /// How many.
    pub count: i64,
}

/// What became of some answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Those that were moved.
    pub moved: i64,
    /// Those that do not open; they stay as they are.
    pub refused: i64,
    /// The last that was looked at: scope and id. `None`: there are no more.
    pub next: Option<(String, String)>,
}

impl Requests {
    /// How many sealed answers there are, by the key they are under.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_sealed(&self) -> Result<Vec<Under>, stowage_db::Error> {
        let rows = store::count_sealed(&self.0.db, &secret_methods()).await?;
        Ok(rows.into_iter().map(|(header, count)| Under { header, count }).collect())
    }

    /// Moves sealed answers under the vault's present key: at most `max`, those after the request
    /// `after`. An answer that was changed or forgotten meanwhile is left alone.
    ///
    /// # Errors
    /// Those of the database; then none of these was moved.
    pub async fn rewrap(
        &self,
        after: (&str, &str),
        max: i64,
    ) -> Result<Rewrapped, stowage_db::Error> {
        let mut done = Rewrapped::default();
        let Some(vault) = &self.0.vault else { return Ok(done) };
        let header = vault.header();
        let from = (&header[..], after);
        let rows = store::list_sealed(&self.0.db, &secret_methods(), from, max).await?;
        if i64::try_from(rows.len()).is_ok_and(|found| found == max) {
            done.next = rows.last().map(|row| (row.scope.clone(), row.request_id.clone()));
        }
        // Before the writer is held.
        let mut changed = Vec::with_capacity(rows.len());
        for row in rows {
            match vault.rewrap(&row.answer, &binding(&row.scope, &row.request_id)) {
                Ok(new) => changed.extend(new.map(|new| (row, new))),
                Err(error) => {
                    done.refused += 1;
                    let (scope, id) = (&row.scope, &row.request_id);
                    tracing::warn!(%error, scope, id, "a stored answer does not open");
                }
            }
        }
        if changed.is_empty() {
            return Ok(done);
        }
        let mut tx = self.0.db.begin().await?;
        for (old, new) in changed {
            done.moved += i64::from(store::replace_sealed(&mut tx, &old, new).await?);
        }
        tx.commit().await?;
        Ok(done)
    }
}

/// Methods whose answers are sealed.
fn secret_methods() -> Vec<&'static str> {
    let secret = METHODS.iter().filter(|method| method.reads_secret && method.mutates);
    secret.map(|method| method.path).collect()
}
