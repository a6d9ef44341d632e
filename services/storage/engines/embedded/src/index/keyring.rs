//! What is sealed under which master key, and its move to the newest.

use std::collections::BTreeMap;

use stowage_db::args;
use stowage_engine::{EngineKeyring, MasterKey, Rewrapped};
use stowage_keyring::version_of;

use super::account::binding;
use super::{Index, unsigned};
use crate::error::Error;

impl Index {
    /// The master keys, and how many secrets are sealed under each.
    pub(crate) async fn keyring_view(&self) -> Result<EngineKeyring, Error> {
        const SQL: &str = "SELECT substr(sealed_secret, 1, 5), count(*) FROM access_key \
            GROUP BY substr(sealed_secret, 1, 5)";
        let rows: Vec<(Vec<u8>, i64)> = self.db.fetch_all(SQL, args![]).await?;
        let mut access_keys: BTreeMap<u32, u64> = BTreeMap::new();
        for (header, count) in rows {
            *access_keys.entry(version_of(&header).unwrap_or(0)).or_default() += unsigned(count);
        }
        let told = |key: stowage_keyring::Version| MasterKey {
            version: key.version,
            usable_time: key.usable_time,
        };
        Ok(EngineKeyring {
            master_keys: self.keyring.versions().into_iter().map(told).collect(),
            sealing_version: self.keyring.sealing_version(),
            access_keys: access_keys.into_iter().collect(),
        })
    }

    /// Moves secrets under the master key that new ones are sealed under: at most `max`, those
    /// after the access key `after`. One that was changed meanwhile is left alone.
    pub(crate) async fn rewrap(&self, after: &str, max: u32) -> Result<Rewrapped, Error> {
        const SQL: &str = "SELECT access_key, sealed_secret FROM access_key \
            WHERE access_key > $1 AND substr(sealed_secret, 1, 5) <> $2 \
            ORDER BY access_key LIMIT $3";
        let args = args![after, &self.keyring.header()[..], max];
        let rows: Vec<(String, Vec<u8>)> = self.db.fetch_all(SQL, args).await?;
        let mut done = Rewrapped::default();
        if u32::try_from(rows.len()).is_ok_and(|found| found == max) {
            done.next = rows.last().map(|(access_key, _)| access_key.clone());
        }
        // Before the writer is held.
        let mut changed = Vec::with_capacity(rows.len());
        for (access_key, old) in rows {
            match self.keyring.rewrap(&old, &binding(&access_key)) {
                Ok(new) => changed.extend(new.map(|new| (access_key, old, new))),
                Err(error) => {
                    done.refused += 1;
                    tracing::warn!(%error, access_key, "the secret of an access key does not open");
                }
            }
        }
        if changed.is_empty() {
            return Ok(done);
        }
        const MOVE: &str = "UPDATE access_key SET sealed_secret = $1 \
            WHERE access_key = $2 AND sealed_secret = $3";
        let mut tx = self.db.begin().await?;
        for (access_key, old, new) in changed {
            done.moved += tx.execute(MOVE, args![new, access_key, old]).await?;
        }
        tx.commit().await?;
        Ok(done)
    }
}
