//! The figures that the last closed periods of accounts were billed by.

use std::collections::BTreeMap;

use stowage_db::{Args, Db, Error};
use time::OffsetDateTime;

use crate::domain::billed_usage::{BilledSegment, BilledUsage};
use crate::domain::period::Span;

#[derive(sqlx::FromRow)]
struct Row {
    s3uid: String,
    start_time: OffsetDateTime,
    end_time: OffsetDateTime,
    is_sealed: bool,
    close_time: OffsetDateTime,
    bill_time: Option<OffsetDateTime>,
    from_time: Option<OffsetDateTime>,
    to_time: Option<OffsetDateTime>,
    received_bytes: Option<i64>,
    sent_bytes: Option<i64>,
    stored_peak_bytes: Option<i64>,
    stored_byte_seconds: Option<String>,
}

impl Row {
    fn segment(&self) -> Option<BilledSegment> {
        Some(BilledSegment {
            span: Span { start: self.from_time?, end: self.to_time? },
            received_bytes: self.received_bytes?,
            sent_bytes: self.sent_bytes?,
            stored_peak_bytes: self.stored_peak_bytes?,
            stored_byte_seconds: self.stored_byte_seconds.clone()?,
        })
    }

    fn period(self) -> BilledUsage {
        BilledUsage {
            s3uid: self.s3uid,
            period: Span { start: self.start_time, end: self.end_time },
            bill_time: self.close_time,
            is_corrected_later: !self.is_sealed,
            segments: Vec::new(),
        }
    }
}

/// The last closed period of each account that has one, by s3uid, with the latest revision of its
/// segments.
pub(crate) async fn list_last(db: &Db, s3uids: &[&str]) -> Result<Vec<BilledUsage>, Error> {
    let mut args = Args::new();
    let places = args.push_all(s3uids.iter().copied());
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT s.s3uid, p.start_time, p.end_time, p.is_sealed, p.close_time, \
         b.create_time AS bill_time, u.from_time, u.to_time, u.received_bytes, \
         u.sent_bytes, u.stored_peak_bytes, u.stored_byte_seconds \
         FROM subscription s JOIN closed_period p ON p.order_key = s.order_key \
         LEFT JOIN usage_snapshot u ON u.order_key = p.order_key AND u.number = p.number \
         AND NOT EXISTS (SELECT 1 FROM usage_snapshot r WHERE r.order_key = u.order_key \
         AND r.number = u.number AND r.segment = u.segment AND r.revision > u.revision) \
         LEFT JOIN bill b ON b.bill_key = u.bill_key \
         WHERE s.s3uid IN ({places}) AND p.number > 0 \
         AND NOT EXISTS (SELECT 1 FROM closed_period n WHERE n.order_key = p.order_key \
         AND n.number > p.number) \
         ORDER BY s.s3uid, p.end_time DESC, u.segment"
    );
    let rows: Vec<Row> = db.fetch_all_built(sql, args).await?;
    let mut usages: BTreeMap<String, BilledUsage> = BTreeMap::new();
    for row in rows {
        let segment = row.segment();
        let (end, bill_time) = (row.end_time, row.bill_time);
        let usage = usages.entry(row.s3uid.clone()).or_insert_with(|| row.period());
        // An account that was ordered anew has an older one behind it.
        if usage.period.end == end {
            usage.bill_time = bill_time.map_or(usage.bill_time, |time| time.max(usage.bill_time));
            usage.segments.extend(segment);
        }
    }
    Ok(usages.into_values().collect())
}
