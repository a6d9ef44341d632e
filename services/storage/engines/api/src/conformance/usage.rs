//! Figures.

use super::{Outcome, Suite, ensure, text};
use crate::{StorageFigures, UsageCursor};

impl Suite<'_> {
    pub(super) async fn usage_is_absolute(&self) -> Outcome {
        let uid = self.account(12, |_| {}).await?;
        let name = self.bucket("usage")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(12, &name, "k", 1000).await?;
        if !self.engine.capabilities().immediate_figures {
            return Ok(());
        }
        let mut cursor = UsageCursor::default();
        let mut stored = None;
        for _ in 0..1000 {
            let batch = self.engine.collect_usage(&cursor, 100).await.map_err(text)?;
            for row in batch.storage.iter().filter(|row| row.uid == uid) {
                stored = Some((row.stored_bytes, row.object_count, row.deleted));
            }
            cursor = batch.next;
            if !batch.more {
                break;
            }
        }
        ensure(stored == Some((1000, 1, false)), &format!("collected {stored:?}"))?;
        let usage = self.engine.account_usage(&uid).await.map_err(text)?;
        let seen = (usage.bucket_count, usage.object_count, usage.stored_bytes);
        ensure(seen == (1, 1, 1000), &format!("{usage:?}"))
    }

    /// Reads usage from a cursor to its end; answers the rows of an account, and where it ended.
    async fn collect(
        &self,
        number: u32,
        from: &UsageCursor,
    ) -> Result<(Vec<StorageFigures>, UsageCursor), String> {
        let uid = self.uid(number)?;
        let (mut rows, mut cursor) = (Vec::new(), from.clone());
        for _ in 0..1000 {
            let batch = self.engine.collect_usage(&cursor, 100).await.map_err(text)?;
            rows.extend(batch.storage.into_iter().filter(|row| row.uid == uid));
            cursor = batch.next;
            if !batch.more {
                break;
            }
        }
        Ok((rows, cursor))
    }

    pub(super) async fn usage_goes_on_where_it_ended(&self) -> Outcome {
        if !self.engine.capabilities().immediate_figures {
            return Ok(());
        }
        let uid = self.account(48, |_| {}).await?;
        let name = self.bucket("goes-on")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(48, &name, "a", 100).await?;
        let (_, seen) = self.collect(48, &UsageCursor::default()).await?;
        let kept = UsageCursor::from_text(seen.as_str());
        self.put(48, &name, "b", 50).await?;
        let (rows, _) = self.collect(48, &kept).await?;
        let last = rows.last().map(|row| (row.stored_bytes, row.object_count));
        ensure(last == Some((150, 2)), &format!("collected {rows:?}"))?;
        // Read again it is the same, not more.
        let (rows, _) = self.collect(48, &kept).await?;
        let last = rows.last().map(|row| (row.stored_bytes, row.object_count));
        ensure(last == Some((150, 2)), &format!("collected {rows:?} the second time"))
    }

    pub(super) async fn usage_of_a_deleted_bucket_is_nothing(&self) -> Outcome {
        if !self.engine.capabilities().deletions_at_once {
            return Ok(());
        }
        let uid = self.account(49, |_| {}).await?;
        let name = self.bucket("deleted")?;
        self.engine.create_bucket(&uid, &name).await.map_err(text)?;
        self.put(49, &name, "a", 100).await?;
        let (_, seen) = self.collect(49, &UsageCursor::default()).await?;
        self.engine.remove_account(&uid, true).await.map_err(text)?;
        let (rows, _) = self.collect(49, &seen).await?;
        let last = rows.last().map(|row| (row.stored_bytes, row.object_count, row.deleted));
        ensure(last == Some((0, 0, true)), &format!("collected {rows:?}"))
    }
}
