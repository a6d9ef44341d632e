//! Which files may go, and which have to stay.

use std::collections::HashSet;

use stowage_db::args;

use super::Index;
use crate::error::Error;

impl Index {
    /// Files to unlink, by blob id, those after `after`: (blob, content).
    pub(crate) async fn garbage(
        &self,
        after: &str,
        max: u32,
    ) -> Result<Vec<(String, String)>, Error> {
        Ok(self
            .db
            .fetch_all(
                "SELECT blob, content FROM gc WHERE blob > $1 ORDER BY blob LIMIT $2",
                args![after, max],
            )
            .await?)
    }

    /// Forgets files that have been unlinked.
    pub(crate) async fn forget_garbage(&self, blobs: &[String]) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for blob in blobs {
            tx.execute("DELETE FROM gc WHERE blob = $1", args![blob]).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets all files to unlink: the sweep at start-up has done it.
    pub(crate) async fn forget_all_garbage(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        tx.execute("DELETE FROM gc", args![]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The blobs in use whose ids begin with `prefix`, two hexadecimal digits.
    pub(crate) async fn blobs_in_use(&self, prefix: &str) -> Result<HashSet<String>, Error> {
        let end = format!("{prefix}g");
        let rows: Vec<(String,)> = self
            .db
            .fetch_all(
                "SELECT blob FROM segment WHERE blob >= $1 AND blob < $2
                 UNION ALL SELECT blob FROM part WHERE blob >= $1 AND blob < $2",
                args![prefix, end],
            )
            .await?;
        Ok(rows.into_iter().map(|(blob,)| blob).collect())
    }
}
