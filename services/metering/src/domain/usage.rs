//! Figures of one account.

use std::iter::Peekable;
use std::vec::IntoIter;

use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::{Dimensions, Metering, Moved, Period, Step, WHOLE_ACCOUNT, Window};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Steps of an answer, at most.
const STEPS_MAX: usize = 1000;
/// Rows that are read at a time.
const ROWS_MAX: usize = 1000;
/// Microseconds of a second.
const MICROS: i128 = 1_000_000;

/// Latest figures of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketFigures {
    pub(crate) bucket: String,
    pub(crate) stored_bytes: i64,
    pub(crate) object_count: i64,
    pub(crate) as_of: OffsetDateTime,
}

/// Figures of an account.
#[derive(Debug, Clone)]
pub(crate) struct AccountFigures {
    pub(crate) dimensions: Dimensions,
    pub(crate) buckets: Vec<BucketFigures>,
    pub(crate) stored_bytes: i64,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// Usage in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageStep {
    pub(crate) start: OffsetDateTime,
    pub(crate) moved: Moved,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) stored_bytes_last: i64,
    pub(crate) byte_seconds: i128,
}

/// What a history is of.
#[derive(Debug, Clone)]
pub(crate) struct HistoryOf {
    pub(crate) s3uid: S3uid,
    /// Empty: the whole account.
    pub(crate) bucket: String,
    pub(crate) step: Step,
}

/// Usage in steps, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) steps: Vec<UsageStep>,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Metering {
    /// Latest figures, and those of a period, taken to whole hours.
    pub(crate) async fn account_figures(
        &self,
        cx: &RequestContext,
        s3uid: &S3uid,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
    ) -> Result<AccountFigures, Error> {
        let now = self.clock.now();
        let meter = self.meter(cx, s3uid).await?;
        let hours = Period::of(from, to, now)?.widened(Step::Hour);
        let of = Of { s3uid, bucket: WHOLE_ACCOUNT, step: Step::Hour };
        let account = store::account::find(&self.db, s3uid).await?;
        let (received_bytes, sent_bytes) = store::traffic::sum(&self.db, of, hours).await?;
        Ok(AccountFigures {
            dimensions: meter.dimensions,
            buckets: store::bucket::list(&self.db, s3uid).await?,
            stored_bytes: account.as_ref().map_or(0, |row| row.stored_bytes),
            stored_bytes_peak: self.peak(of, hours, now).await?,
            received_bytes,
            sent_bytes,
            as_of: account.map(|row| row.as_of_time),
        })
    }

    /// Most bytes stored at once in a period.
    async fn peak(&self, of: Of<'_>, period: Period, now: OffsetDateTime) -> Result<i64, Error> {
        let rows = store::stored::peak(&self.db, of, period).await?;
        if period.from > now || rows.is_some_and(|(_, first)| first == period.from) {
            return Ok(rows.map_or(0, |(peak, _)| peak));
        }
        let carried = store::stored::last_before(&self.db, of, period.from).await?;
        Ok(rows.map_or(carried, |(peak, _)| peak.max(carried)))
    }

    /// Usage in steps.
    pub(crate) async fn history(
        &self,
        cx: &RequestContext,
        of: &HistoryOf,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
    ) -> Result<History, Error> {
        let now = self.clock.now();
        let HistoryOf { s3uid, bucket, step } = of;
        self.meter(cx, s3uid).await?;
        let period = Period::of(from, to, now)?.widened(*step);
        let of = Of { s3uid, bucket, step: *step };
        let as_of = if bucket == WHOLE_ACCOUNT {
            store::account::find(&self.db, s3uid).await?.map(|row| row.as_of_time)
        } else {
            store::bucket::as_of(&self.db, s3uid, bucket).await?
        };
        Ok(History { steps: self.steps(of, period, ROWS_MAX).await?, as_of })
    }

    /// The steps of a period in which there is something. Reads `rows_max` rows at a time: there
    /// may be any number of rows in which nothing is stored and nothing moved.
    async fn steps(
        &self,
        of: Of<'_>,
        period: Period,
        rows_max: usize,
    ) -> Result<Vec<UsageStep>, Error> {
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let mut steps = Vec::new();
        let mut from = period.from;
        let mut carried = store::stored::last_before(&self.db, of, from).await?;
        while from < period.to && steps.len() < STEPS_MAX {
            let rest = Period { from, to: period.to };
            let windows = store::stored::list(&self.db, of, rest, limit).await?;
            let moved = store::traffic::list(&self.db, of, rest, limit).await?;
            // Behind the last row of a full page there may be more.
            let ends = [
                windows.get(rows_max - 1).map(|window| window.end()),
                moved.get(rows_max - 1).map(|(start, _)| *start + of.step.length()),
            ];
            let to = ends.into_iter().flatten().fold(period.to, OffsetDateTime::min);
            let mut walk = Walk {
                now: self.clock.now(),
                step: of.step,
                carried,
                windows: windows.into_iter().peekable(),
                moved: moved.into_iter().peekable(),
            };
            walk.append(&mut steps, Period { from, to });
            carried = walk.carried;
            from = to;
        }
        Ok(steps)
    }
}

/// Goes along a period and fills the windows without a row.
struct Walk {
    now: OffsetDateTime,
    step: Step,
    carried: i64,
    windows: Peekable<IntoIter<Window>>,
    moved: Peekable<IntoIter<(OffsetDateTime, Moved)>>,
}

impl Walk {
    fn append(&mut self, steps: &mut Vec<UsageStep>, period: Period) {
        let mut start = period.from;
        while start < period.to && steps.len() < STEPS_MAX {
            let Some(next) = self.next_start(start) else { break };
            start = next;
            if start >= period.to {
                break;
            }
            let step = self.at(start);
            if step.moved != Moved::default() || step.stored_bytes_peak != 0 {
                steps.push(step);
            }
            start += self.step.length();
        }
    }

    /// The next start at which there is something: here, while bytes are carried; else at the
    /// next row.
    fn next_start(&mut self, start: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.carried > 0 && start <= self.now {
            return Some(start);
        }
        let window = self.windows.peek().map(|window| window.start);
        let moved = self.moved.peek().map(|(start, _)| *start);
        window.into_iter().chain(moved).min()
    }

    fn at(&mut self, start: OffsetDateTime) -> UsageStep {
        let window = self.windows.next_if(|window| window.start == start);
        let moved = self.moved.next_if(|(at, _)| *at == start);
        // Nothing is carried into what has not begun.
        let bytes = if start <= self.now { self.carried } else { 0 };
        let window = window.unwrap_or_else(|| Window::carried(self.step, start, bytes));
        self.carried = if start <= self.now { window.last_bytes } else { self.carried };
        UsageStep {
            start,
            moved: moved.map(|(_, moved)| moved).unwrap_or_default(),
            stored_bytes_peak: window.peak_bytes(),
            stored_bytes_last: window.last_bytes,
            byte_seconds: window.byte_micros_until(self.now) / MICROS,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-23 0:00 UTC);

    fn walk(now: OffsetDateTime, carried: i64, windows: Vec<Window>) -> Vec<UsageStep> {
        let mut walk = Walk {
            now,
            step: Step::Hour,
            carried,
            windows: windows.into_iter().peekable(),
            moved: Vec::new().into_iter().peekable(),
        };
        let mut steps = Vec::new();
        walk.append(&mut steps, Period { from: START, to: START + Duration::DAY });
        steps
    }

    fn brief(steps: &[UsageStep]) -> Vec<(i64, i64, i64, i128)> {
        let hour = |step: &UsageStep| (step.start - START).whole_hours();
        let of =
            |s: &UsageStep| (hour(s), s.stored_bytes_peak, s.stored_bytes_last, s.byte_seconds);
        steps.iter().map(of).collect()
    }

    #[test]
    fn quiet_hours_carry_what_is_stored_until_now() {
        let mut window = Window::carried(Step::Hour, START + Duration::HOUR, 4);
        window.change(START + Duration::minutes(90), 2);
        let now = START + Duration::minutes(150);
        assert_eq!(
            brief(&walk(now, 4, vec![window])),
            [(0, 4, 4, 4 * 3600), (1, 6, 6, 10 * 1800), (2, 6, 6, 6 * 1800)]
        );
    }

    #[test]
    fn empty_hours_are_left_out() {
        let mut full = Window::carried(Step::Hour, START + 5 * Duration::HOUR, 0);
        full.change(full.start, 3);
        let mut emptied = Window::carried(Step::Hour, START + 6 * Duration::HOUR, 3);
        emptied.change(emptied.start + Duration::MINUTE, -3);
        let now = START + Duration::DAY;
        assert_eq!(
            brief(&walk(now, 0, vec![full, emptied])),
            [(5, 3, 3, 3 * 3600), (6, 3, 0, 3 * 60)]
        );
    }

    #[tokio::test]
    async fn pages_of_rows_make_the_same_steps() {
        use crate::store::tests::{Store, uid};
        let store = Store::start().await;
        let of = Of { s3uid: &uid(1), bucket: WHOLE_ACCOUNT, step: Step::Hour };
        let mut tx = store.db.begin().await.unwrap();
        let mut bytes = 0;
        let mut windows = Vec::new();
        for (hour, next) in [(0, 0), (1, 0), (2, 0), (3, 5), (4, 5), (6, 0), (7, 0), (9, 8)] {
            let start = START - Duration::DAY + hour * Duration::HOUR;
            let mut window = Window::carried(Step::Hour, start, bytes);
            window.change(start + Duration::MINUTE, next - bytes);
            bytes = next;
            windows.push((WHOLE_ACCOUNT, window));
        }
        let rows = windows.iter().map(|(bucket, window)| (*bucket, window));
        store::stored::put(&mut tx, of.s3uid, rows).await.unwrap();
        let moved = Moved { sent_bytes: 1, ..Moved::default() };
        let moves = [1, 2, 5, 8].map(|hour| {
            let start = START - Duration::DAY + hour * Duration::HOUR;
            ((WHOLE_ACCOUNT, Step::Hour, start), moved)
        });
        store::traffic::add(&mut tx, of.s3uid, moves.into_iter()).await.unwrap();
        tx.commit().await.unwrap();
        let period = Period { from: START - Duration::DAY, to: START };
        let all = store.metering.steps(of, period, 1000).await.unwrap();
        // Not the first hour, nor the seventh: nothing is stored and nothing moves.
        assert_eq!(all.len(), 22);
        for rows_max in 1..10 {
            let paged = store.metering.steps(of, period, rows_max).await.unwrap();
            assert_eq!(paged, all, "{rows_max}");
        }
    }
}
