//! Which batches of metering fronts are written.

use stowage_db::{Error, Tx, args};
use stowage_storage_front::{Batch, Row};
use time::OffsetDateTime;

use crate::domain::usage::Totals;

/// Notes that a batch is written; `false`: it was before. Whoever else writes it at this moment is
/// waited for.
pub(crate) async fn advance(
    tx: &mut Tx,
    location: &str,
    batch: &Batch,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let rows = tx
        .execute(
            "INSERT INTO front_process (process, location, sequence, update_time) \
             VALUES ($1, $2, $3, $4) \
             ON CONFLICT (process) DO UPDATE SET sequence = $3, update_time = $4 \
             WHERE front_process.sequence < $3",
            args![batch.process, location, batch.sequence, now],
        )
        .await?;
    Ok(rows == 1)
}

/// Adds what moved to the totals that were sent on: every process has its own part of them.
pub(crate) async fn add_totals(
    tx: &mut Tx,
    location: &str,
    row: &Row,
    moved: Totals,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO traffic_total (location, s3uid, bucket, hour, received_bytes, sent_bytes, \
         read_requests, write_requests) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (location, s3uid, bucket, hour) DO UPDATE SET \
         received_bytes = traffic_total.received_bytes + $5, \
         sent_bytes = traffic_total.sent_bytes + $6, \
         read_requests = traffic_total.read_requests + $7, \
         write_requests = traffic_total.write_requests + $8",
        args![
            location,
            row.uid.as_str(),
            &row.bucket,
            row.hour,
            moved.received_bytes,
            moved.sent_bytes,
            moved.read_requests,
            moved.write_requests,
        ],
    )
    .await?;
    Ok(())
}

/// Forgets processes that have written nothing since before `before`.
pub(crate) async fn forget(tx: &mut Tx, before: OffsetDateTime) -> Result<(), Error> {
    tx.execute("DELETE FROM front_process WHERE update_time < $1", args![before]).await?;
    Ok(())
}
