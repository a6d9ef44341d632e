//! What is stored during one window: a step function, in four numbers.

use time::OffsetDateTime;

use super::Step;

/// One window of what is stored, by an account or a bucket.
///
/// It holds for the whole window: behind `last_time`, `last_bytes` is taken to stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) step: Step,
    pub(crate) start: OffsetDateTime,
    /// Most bytes until `last_time`. Apart from `last_bytes`, so that values which held for no
    /// time at all (two buckets sampled at one moment) are no peak.
    pub(crate) peak_before_bytes: i64,
    pub(crate) last_bytes: i64,
    pub(crate) last_time: OffsetDateTime,
    /// Bytes times microseconds, over the whole window.
    pub(crate) byte_micros: i128,
}

impl Window {
    /// A window in which nothing has happened yet: it begins with what the one before left.
    pub(crate) fn carried(step: Step, start: OffsetDateTime, bytes: i64) -> Self {
        Self {
            step,
            start,
            peak_before_bytes: 0,
            last_bytes: bytes,
            last_time: start,
            byte_micros: i128::from(bytes) * step.length().whole_microseconds(),
        }
    }

    pub(crate) fn end(&self) -> OffsetDateTime {
        self.start + self.step.length()
    }

    pub(crate) fn peak_bytes(&self) -> i64 {
        self.peak_before_bytes.max(self.last_bytes)
    }

    /// At `time`, which is in the window and not before `last_time`, the bytes become others.
    pub(crate) fn change(&mut self, time: OffsetDateTime, by_bytes: i64) {
        if time > self.last_time {
            self.peak_before_bytes = self.peak_bytes();
        }
        self.last_time = time;
        self.last_bytes += by_bytes;
        self.byte_micros += i128::from(by_bytes) * (self.end() - time).whole_microseconds();
    }

    /// Bytes times microseconds until `now`, if that is within the window.
    pub(crate) fn byte_micros_until(&self, now: OffsetDateTime) -> i128 {
        // A sample a little ahead of our clock counts as now.
        let until = now.max(self.last_time).min(self.end());
        self.byte_micros - i128::from(self.last_bytes) * (self.end() - until).whole_microseconds()
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-11-23 15:00 UTC);
    const MICROS: i128 = 1_000_000;

    #[test]
    fn a_window_integrates_and_finds_its_peak() {
        let mut window = Window::carried(Step::Hour, START, 10);
        assert_eq!((window.peak_bytes(), window.byte_micros), (10, 36_000 * MICROS));
        window.change(START + Duration::minutes(30), 20);
        window.change(START + Duration::minutes(45), -25);
        assert_eq!((window.peak_bytes(), window.last_bytes), (30, 5));
        assert_eq!(window.byte_micros, (10 * 1800 + 30 * 900 + 5 * 900) * MICROS);
        let until = window.byte_micros_until(START + Duration::minutes(46));
        assert_eq!(until, (10 * 1800 + 30 * 900 + 5 * 60) * MICROS);
    }

    #[test]
    fn what_held_for_no_time_is_no_peak() {
        let mut window = Window::carried(Step::Hour, START, 100);
        window.change(START, -100);
        window.change(START, 7);
        assert_eq!(window.peak_bytes(), 7);
        let later = START + Duration::MINUTE;
        window.change(later, 50);
        window.change(later, -55);
        assert_eq!(window.peak_bytes(), 7);
    }

    #[test]
    fn more_than_64_bits_are_exact() {
        let window = Window::carried(Step::Day, START, 1 << 53);
        assert_eq!(window.byte_micros, (1_i128 << 53) * 86_400 * MICROS);
    }
}
