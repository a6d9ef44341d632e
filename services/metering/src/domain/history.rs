//! Usage of an account or a bucket in steps.

use std::iter::Peekable;
use std::vec::IntoIter;

use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::fact::AHEAD_MAX;
use super::{Every, Metering, Moved, Period, Step, WHOLE_ACCOUNT, Window, percentile};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Steps of an answer, at most.
const STEPS_MAX: usize = 1000;
/// Rows that are read at a time.
const ROWS_MAX: usize = 1000;
/// Months whose days are read at a time: fewer than an answer may have steps.
const MONTHS_AT_ONCE: i32 = 24;
/// Microseconds of a second.
const MICROS: i128 = 1_000_000;
/// Seconds of an hour.
const HOUR_SECONDS: i128 = 3_600;

/// Usage in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageStep {
    pub(crate) start: OffsetDateTime,
    pub(crate) end: OffsetDateTime,
    pub(crate) moved: Moved,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) stored_bytes_last: i64,
    /// Bytes times microseconds, until now if the step is not over.
    pub(crate) byte_micros: i128,
    pub(crate) stored_bytes_p95: i64,
}

impl UsageStep {
    pub(crate) fn byte_seconds(&self) -> i128 {
        self.byte_micros / MICROS
    }

    pub(crate) fn byte_hours(&self) -> i128 {
        self.byte_micros / MICROS / HOUR_SECONDS
    }

    /// Average of what is stored, until now if the step is not over.
    pub(crate) fn stored_bytes_average(&self, now: OffsetDateTime) -> i64 {
        average(self.byte_micros, (self.start, self.end), now)
    }
}

/// Average over a span until now. What nothing is known of yet, a sample ahead of our clock, is
/// not divided by no time.
pub(super) fn average(
    byte_micros: i128,
    (start, end): (OffsetDateTime, OffsetDateTime),
    now: OffsetDateTime,
) -> i64 {
    let micros = (now.clamp(start, end) - start).whole_microseconds();
    let average = byte_micros.checked_div(micros).unwrap_or(0);
    i64::try_from(average).unwrap_or(i64::MAX)
}

/// What a history is of.
#[derive(Debug, Clone)]
pub(crate) struct HistoryOf {
    pub(crate) s3uid: S3uid,
    /// Empty: the whole account.
    pub(crate) bucket: String,
    pub(crate) every: Every,
}

/// Usage in steps, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) steps: Vec<UsageStep>,
    pub(crate) as_of: Option<OffsetDateTime>,
    /// When it was asked: steps that are not over end then.
    pub(crate) now: OffsetDateTime,
}

impl Metering {
    /// Usage in steps.
    pub(crate) async fn history(
        &self,
        cx: &RequestContext,
        of: &HistoryOf,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
    ) -> Result<History, Error> {
        let now = self.clock.now();
        let HistoryOf { s3uid, bucket, every } = of;
        self.meter(cx, s3uid).await?;
        let period = every.widened(Period::of(from, to, now)?);
        let of = Of { s3uid, bucket, step: every.rows() };
        let as_of = self.as_of(of, period.to).await?;
        let mut steps = match every {
            Every::Month => self.months(of, period, now).await?,
            Every::Step(_) => self.steps(of, period, ROWS_MAX).await?,
        };
        percentile::fill(&self.db, of, &mut steps, now).await?;
        Ok(History { steps, as_of, now })
    }

    /// When the newest fact before `end` was true. Of a period that is over it follows from its
    /// rollups alone: what comes behind it changes nothing of its answer.
    async fn as_of(
        &self,
        of: Of<'_>,
        end: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let Of { s3uid, bucket, .. } = of;
        if end > self.clock.now() {
            return Ok(match bucket {
                WHOLE_ACCOUNT => {
                    store::account::find(&self.db, s3uid).await?.map(|row| row.as_of_time)
                }
                _ => store::bucket::as_of(&self.db, s3uid, bucket).await?,
            });
        }
        let sampled = store::stored::newest_before(&self.db, of, end).await?;
        let hours = Of { step: Step::Hour, ..of };
        let moved = store::traffic::last_before(&self.db, hours, end).await?;
        let moved = moved.map(|start| start + Step::Hour.length());
        Ok(sampled.into_iter().chain(moved).max())
    }

    /// The months of a period in which there is something, made of their days.
    async fn months(
        &self,
        of: Of<'_>,
        period: Period,
        now: OffsetDateTime,
    ) -> Result<Vec<UsageStep>, Error> {
        let firsts =
            [store::stored::first(&self.db, of).await?, store::traffic::first(&self.db, of).await?];
        let Some(first) = firsts.into_iter().flatten().min() else { return Ok(Vec::new()) };
        let mut from = period.from.max(Every::Month.start_of(first));
        let end = period.to.min(Every::Month.end_of(now + AHEAD_MAX));
        let mut months: Vec<UsageStep> = Vec::new();
        while from < end && months.len() < STEPS_MAX {
            let to = Every::add_months(from, MONTHS_AT_ONCE).min(end);
            for day in self.steps(of, Period { from, to }, ROWS_MAX).await? {
                add_day(&mut months, &day);
            }
            from = to;
        }
        months.truncate(STEPS_MAX);
        months.iter_mut().for_each(|month| end_month(month, now));
        Ok(months)
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
            end: start + self.step.length(),
            moved: moved.map(|(_, moved)| moved).unwrap_or_default(),
            stored_bytes_peak: window.peak_bytes(),
            stored_bytes_last: window.last_bytes,
            byte_micros: window.byte_micros_until(self.now),
            stored_bytes_p95: 0,
        }
    }
}

/// Adds a day to the month it is in, which then ends with it. Days come in order; one that is left
/// out stores nothing.
fn add_day(months: &mut Vec<UsageStep>, day: &UsageStep) {
    let start = Every::Month.start_of(day.start);
    match months.last_mut() {
        Some(month) if month.start == start => {
            month.moved = month.moved.plus(day.moved);
            month.stored_bytes_peak = month.stored_bytes_peak.max(day.stored_bytes_peak);
            month.stored_bytes_last = day.stored_bytes_last;
            month.byte_micros += day.byte_micros;
            month.end = day.end;
        }
        _ => months.push(UsageStep { start, ..day.clone() }),
    }
}

/// Lets a month end where it does, and not with its last day in which there was something.
fn end_month(month: &mut UsageStep, now: OffsetDateTime) {
    let end = Every::add_months(month.start, 1);
    if month.end < end && month.end <= now {
        month.stored_bytes_last = 0;
    }
    month.end = end;
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
            |s: &UsageStep| (hour(s), s.stored_bytes_peak, s.stored_bytes_last, s.byte_seconds());
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
            ((of.s3uid, WHOLE_ACCOUNT, Step::Hour, start), moved)
        });
        store::traffic::add(&mut tx, moves.into_iter()).await.unwrap();
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
