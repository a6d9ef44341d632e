//! Traffic written down, and usage read by change number.

use stowage_db::{args, next_id};
use stowage_engine::{StorageFigures, TrafficTotals, UsageBatch, UsageCursor};
use stowage_types::S3uid;
use time::{Duration, OffsetDateTime};

use super::{Index, signed, unsigned};
use crate::error::Error;
use crate::traffic::{Payer, Totals};

/// How long traffic and deleted buckets can be read: longer than metering takes late facts.
const KEPT: Duration = Duration::days(100);

#[derive(sqlx::FromRow)]
struct BucketChange {
    changed: i64,
    uid: String,
    name: String,
    stored_bytes: i64,
    object_count: i64,
    deleted: bool,
}

#[derive(sqlx::FromRow)]
struct TrafficChange {
    changed: i64,
    hour: OffsetDateTime,
    uid: String,
    bucket: String,
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
    refused_requests: i64,
}

const LIVE: &str = "SELECT changed, uid, name, stored_bytes, object_count, false AS deleted
    FROM bucket WHERE changed > $1 AND changed <= $2 ORDER BY changed LIMIT $3";
const DEAD: &str = "SELECT changed, uid, name, 0 AS stored_bytes, 0 AS object_count,
    true AS deleted FROM dead_bucket WHERE changed > $1 AND changed <= $2
    ORDER BY changed LIMIT $3";
const TRAFFIC: &str = "SELECT changed, hour, uid, bucket, received_bytes, sent_bytes,
    read_requests, write_requests, refused_requests FROM traffic WHERE changed > $1 AND changed <= $2
    ORDER BY changed LIMIT $3";

impl Index {
    /// Adds what moved to the hours' totals and to the buckets' own.
    pub(crate) async fn add_traffic(&self, moved: &[(Payer, Totals)]) -> Result<(), Error> {
        if moved.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        for (payer, totals) in moved {
            let changed = next_id(&mut tx, "change").await?;
            let (received, sent) = (signed(totals.received_bytes), signed(totals.sent_bytes));
            let bucket = payer.bucket.as_ref();
            tx.execute(
                "INSERT INTO traffic (hour, uid, bucket, received_bytes, sent_bytes,
                   read_requests, write_requests, changed, refused_requests)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (hour, uid, bucket) DO UPDATE SET
                   received_bytes = traffic.received_bytes + excluded.received_bytes,
                   sent_bytes = traffic.sent_bytes + excluded.sent_bytes,
                   read_requests = traffic.read_requests + excluded.read_requests,
                   write_requests = traffic.write_requests + excluded.write_requests,
                   refused_requests = traffic.refused_requests + excluded.refused_requests,
                   changed = excluded.changed",
                args![
                    payer.hour,
                    payer.uid.as_str(),
                    bucket.map_or("", |bucket| bucket.name.as_str()),
                    received,
                    sent,
                    signed(totals.read_requests),
                    signed(totals.write_requests),
                    changed,
                    signed(totals.refused_requests)
                ],
            )
            .await?;
            if let Some(bucket) = bucket {
                // By id: a bucket made anew under the name starts at zero.
                tx.execute(
                    "UPDATE bucket SET received_bytes = received_bytes + $2,
                       sent_bytes = sent_bytes + $3 WHERE id = $1",
                    args![bucket.id, received, sent],
                )
                .await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Returns what changed after the cursor.
    pub(crate) async fn collect_usage(
        &self,
        cursor: &UsageCursor,
        max: u32,
    ) -> Result<UsageBatch, Error> {
        let after: i64 = match cursor.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| Error::Invalid("not a cursor".to_owned()))?,
        };
        let max = max.clamp(1, 10_000);
        // Read first: what changes while the rows are read lies above and is for the next time.
        let top: Option<(i64,)> = self
            .db
            .fetch_optional("SELECT value FROM sequence WHERE name = 'change'", args![])
            .await?;
        let top = top.map_or(0, |(value,)| value).max(after);
        let live: Vec<BucketChange> = self.db.fetch_all(LIVE, args![after, top, max]).await?;
        let dead: Vec<BucketChange> = self.db.fetch_all(DEAD, args![after, top, max]).await?;
        let traffic: Vec<TrafficChange> =
            self.db.fetch_all(TRAFFIC, args![after, top, max]).await?;
        let full = max as usize;
        let ends = [
            (live.len() == full).then(|| live.last().map(|row| row.changed)),
            (dead.len() == full).then(|| dead.last().map(|row| row.changed)),
            (traffic.len() == full).then(|| traffic.last().map(|row| row.changed)),
        ];
        let bound = ends.into_iter().flatten().flatten().min();
        let next = bound.unwrap_or(top);
        let mut storage: Vec<BucketChange> = live.into_iter().chain(dead).collect();
        storage.retain(|row| row.changed <= next);
        storage.sort_by_key(|row| row.changed);
        let sample_time = self.clock.now();
        Ok(UsageBatch {
            storage: storage
                .into_iter()
                .map(|row| row.figures(sample_time))
                .collect::<Result<_, _>>()?,
            traffic: traffic
                .into_iter()
                .filter(|row| row.changed <= next)
                .map(TrafficChange::totals)
                .collect::<Result<_, _>>()?,
            next: UsageCursor::from_text(next.to_string()),
            more: bound.is_some(),
        })
    }

    /// Forgets what is too old to be asked for.
    pub(crate) async fn forget_old(&self) -> Result<(), Error> {
        let until = self.clock.now() - KEPT;
        let mut tx = self.db.begin().await?;
        tx.execute("DELETE FROM traffic WHERE hour < $1", args![until]).await?;
        tx.execute("DELETE FROM dead_bucket WHERE delete_time < $1", args![until]).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn parse_uid(text: &str) -> Result<S3uid, Error> {
    S3uid::parse(text).map_err(|e| Error::Invalid(e.to_string()))
}

impl BucketChange {
    fn figures(self, sample_time: OffsetDateTime) -> Result<StorageFigures, Error> {
        Ok(StorageFigures {
            uid: parse_uid(&self.uid)?,
            bucket: self.name,
            stored_bytes: unsigned(self.stored_bytes),
            object_count: unsigned(self.object_count),
            sample_time,
            deleted: self.deleted,
        })
    }
}

impl TrafficChange {
    fn totals(self) -> Result<TrafficTotals, Error> {
        Ok(TrafficTotals {
            uid: parse_uid(&self.uid)?,
            bucket: self.bucket,
            hour: self.hour,
            received_bytes: unsigned(self.received_bytes),
            sent_bytes: unsigned(self.sent_bytes),
            read_requests: unsigned(self.read_requests),
            write_requests: unsigned(self.write_requests),
            refused_requests: unsigned(self.refused_requests),
        })
    }
}
