//! What many accounts used, each in a window of its own.

use stowage_auth::{RequestContext, Scope};
use stowage_types::{S3uid, Violations};
use time::OffsetDateTime;

use super::{Metering, Period, Step, Window};
use crate::error::Error;
use crate::store;

/// Microseconds of a second.
const MICROS: i128 = 1_000_000;

/// An account, and from when to when.
#[derive(Debug, Clone)]
pub(crate) struct AccountWindow {
    pub(crate) s3uid: S3uid,
    pub(crate) period: Period,
}

/// What an account used in a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) received_bytes: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) stored_bytes_last: i64,
    pub(crate) byte_seconds: i128,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// A part of a window that is made of whole hours, or of whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) step: Step,
    pub(crate) period: Period,
}

impl Metering {
    /// Sums up each window, taken back to whole hours at both ends.
    pub(crate) async fn summarize(
        &self,
        cx: &RequestContext,
        windows: &[AccountWindow],
    ) -> Result<Vec<Summary>, Error> {
        let windows = self.whole_hours(windows)?;
        let is_seen = self.seen(cx, &windows).await?;
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let stretches: Vec<(&S3uid, Vec<Stretch>)> =
            windows.iter().map(|window| (&window.s3uid, stretches(window.period))).collect();
        let moved = store::summary::moved(&self.db, &stretches).await?;
        let stored = store::summary::stored(&self.db, &stretches).await?;
        let known = store::summary::known(&self.db, &windows).await?;
        let of = |(index, window): (usize, &AccountWindow)| {
            if !is_seen[index] {
                return Summary::default();
            }
            let known = known.get(&index).copied().unwrap_or_default();
            let rows = stored.get(&index).map(Vec::as_slice).unwrap_or_default();
            let (received_bytes, sent_bytes) = moved.get(&index).copied().unwrap_or_default();
            Summary {
                received_bytes,
                sent_bytes,
                as_of: known.as_of,
                ..sum_up(window.period, known.carried_bytes, rows)
            }
        };
        Ok(windows.iter().enumerate().map(of).collect())
    }

    /// Which of them the caller sees. What is foreign has used nothing, as what is not known.
    async fn seen(
        &self,
        cx: &RequestContext,
        windows: &[AccountWindow],
    ) -> Result<Vec<bool>, Error> {
        if cx.principal.scope() == Scope::Everything {
            return Ok(vec![true; windows.len()]);
        }
        let mut is_seen = Vec::with_capacity(windows.len());
        for window in windows {
            match self.meter(cx, &window.s3uid).await {
                Ok(_) => is_seen.push(true),
                Err(Error::MeterNotFound) => is_seen.push(false),
                Err(error) => return Err(error),
            }
        }
        Ok(is_seen)
    }

    pub(super) fn whole_hours(
        &self,
        windows: &[AccountWindow],
    ) -> Result<Vec<AccountWindow>, Error> {
        let now = self.clock.now();
        let mut violations = Violations::default();
        let mut taken = Vec::with_capacity(windows.len());
        for (index, AccountWindow { s3uid, period }) in windows.iter().enumerate() {
            let from = Step::Hour.start_of(period.from);
            let to = Step::Hour.start_of(period.to);
            if from > to {
                violations.push(format!("windows[{index}].to_time"), "is before from_time");
            } else if to > now {
                violations.push(format!("windows[{index}].to_time"), "is not past yet");
            }
            taken.push(AccountWindow { s3uid: s3uid.clone(), period: Period { from, to } });
        }
        violations.finish()?;
        Ok(taken)
    }
}

/// Cuts a window of whole hours into hours, the whole days between them, and hours again: fewer
/// rows to read, which say the same.
pub(super) fn stretches(Period { from, to }: Period) -> Vec<Stretch> {
    let first_midnight = Step::Day.end_of(from).min(to);
    let last_midnight = Step::Day.start_of(to).max(first_midnight);
    [
        (Step::Hour, from, first_midnight),
        (Step::Day, first_midnight, last_midnight),
        (Step::Hour, last_midnight, to),
    ]
    .into_iter()
    .filter(|(_, from, to)| from < to)
    .map(|(step, from, to)| Stretch { step, period: Period { from, to } })
    .collect()
}

/// Goes along the rows of a window, oldest first; between them what was stored stays.
fn sum_up(period: Period, carried_bytes: i64, rows: &[Window]) -> Summary {
    let (mut at, mut bytes, mut peak, mut byte_micros) = (period.from, carried_bytes, 0, 0_i128);
    let mut stay = |bytes: i64, from: OffsetDateTime, to: OffsetDateTime, peak: i64| {
        byte_micros += i128::from(bytes) * (to - from).whole_microseconds();
        // What held for no time is no peak.
        if to > from { peak.max(bytes) } else { peak }
    };
    let mut of_rows = 0_i128;
    for row in rows {
        peak = stay(bytes, at, row.start, peak).max(row.peak_bytes());
        of_rows += row.byte_micros;
        (at, bytes) = (row.end(), row.last_bytes);
    }
    peak = stay(bytes, at, period.to, peak);
    Summary {
        stored_bytes_peak: peak,
        stored_bytes_last: bytes,
        byte_seconds: (byte_micros + of_rows) / MICROS,
        ..Summary::default()
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_window_is_cut_at_its_midnights() {
        let hours = |from, to| (Step::Hour, from, to);
        let days = |from, to| (Step::Day, from, to);
        let (a, b) = (datetime!(2026-01-31 10:00 UTC), datetime!(2026-02-28 10:00 UTC));
        let (a0, b0) = (datetime!(2026-02-01 0:00 UTC), datetime!(2026-02-28 0:00 UTC));
        let noon = datetime!(2026-02-28 12:00 UTC);
        for (from, to, expected) in [
            (a, b, vec![hours(a, a0), days(a0, b0), hours(b0, b)]),
            (a0, b0, vec![days(a0, b0)]),
            (b, noon, vec![hours(b, noon)]),
            (b0, noon, vec![hours(b0, noon)]),
            (a, a0, vec![hours(a, a0)]),
            (a, a0 + Duration::HOUR, vec![hours(a, a0), hours(a0, a0 + Duration::HOUR)]),
            (a, a, vec![]),
        ] {
            let cut = stretches(Period { from, to });
            let cut: Vec<_> = cut.iter().map(|s| (s.step, s.period.from, s.period.to)).collect();
            assert_eq!(cut, expected, "{from} to {to}");
        }
    }

    #[test]
    fn what_is_stored_stays_between_rows() {
        let from = datetime!(2026-02-01 0:00 UTC);
        let period = Period { from, to: from + Duration::days(3) };
        let day = i128::from(86_400_u32);
        let quiet = sum_up(period, 7, &[]);
        assert_eq!((quiet.stored_bytes_peak, quiet.stored_bytes_last), (7, 7));
        assert_eq!(quiet.byte_seconds, 7 * 3 * day);

        let mut second = Window::carried(Step::Day, from + Duration::DAY, 7);
        second.change(from + Duration::hours(36), 3);
        let grown = sum_up(period, 7, &[second]);
        assert_eq!((grown.stored_bytes_peak, grown.stored_bytes_last), (10, 10));
        assert_eq!(grown.byte_seconds, 7 * day + 7 * day / 2 + 10 * day / 2 + 10 * day);

        // Emptied at the very start: what was carried held for no time.
        let mut first = Window::carried(Step::Day, from, 7);
        first.change(from, -7);
        assert_eq!(sum_up(period, 7, &[first]), Summary::default());
    }
}
