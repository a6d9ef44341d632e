//! One line of the table.

use std::fmt;
use std::time::Duration;

/// What was measured against what was promised.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    measured: String,
    target: String,
    /// `None`: told for information, nothing is promised.
    is_met: Option<bool>,
}

impl Figure {
    /// A time that must not be longer than `target`.
    pub(crate) fn time(what: impl Into<String>, measured: Duration, target: Duration) -> Self {
        Self {
            what: what.into(),
            measured: in_ms(measured),
            target: format!("≤ {}", in_ms(target)),
            is_met: Some(measured <= target),
        }
    }

    /// A number that must be at least `target`.
    pub(crate) fn at_least(what: impl Into<String>, measured: f64, target: f64) -> Self {
        Self {
            what: what.into(),
            measured: short(measured),
            target: format!("≥ {}", short(target)),
            is_met: Some(measured >= target),
        }
    }

    /// A number that must be at most `target`.
    pub(crate) fn at_most(what: impl Into<String>, measured: f64, target: f64) -> Self {
        Self {
            what: what.into(),
            measured: short(measured),
            target: format!("≤ {}", short(target)),
            is_met: Some(measured <= target),
        }
    }

    /// Something worth knowing that nothing is promised about.
    pub(crate) fn told(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), target: String::new(), is_met: None }
    }

    /// A ratio that others are to be seen beside.
    pub(crate) fn ratio(what: impl Into<String>, measured: f64) -> Self {
        Self::told(what, short(measured))
    }

    /// What could not be measured, and why.
    pub(crate) fn missing(what: impl Into<String>, why: impl Into<String>) -> Self {
        let measured = format!("not measured: {}", why.into().replace(['|', '\n'], " "));
        Self { what: what.into(), measured, target: String::new(), is_met: None }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.is_met {
            Some(true) => "ok",
            Some(false) => "short",
            None => "",
        };
        let Self { what, measured, target, .. } = self;
        write!(f, "| {what} | {measured} | {target} | {verdict} |")
    }
}

/// The table, in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut lines =
        vec!["| figure | measured | target | |".to_owned(), "|---|---|---|---|".to_owned()];
    lines.extend(figures.iter().map(ToString::to_string));
    lines.join("\n")
}

/// Milliseconds, to be read by people.
pub(crate) fn in_ms(time: Duration) -> String {
    format!("{} ms", short(time.as_secs_f64() * 1000.0))
}

/// Three digits that mean something.
fn short(number: f64) -> String {
    match number {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// The time that `percent` of `times` are not above. `times` is put in order.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        for (percent, ms) in [(50, 100), (99, 198), (100, 200), (0, 1)] {
            assert_eq!(percentile(&mut times, percent), Duration::from_millis(ms), "{percent}");
        }
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }

    #[test]
    fn a_figure_says_whether_it_is_met() {
        let ms = Duration::from_millis;
        let text = table(&[
            Figure::time("ready", ms(250), ms(300)),
            Figure::at_least("ratio", 0.39, 0.4),
            Figure::at_most("MiB", 61.0, 60.0),
            Figure::told("keys", "10"),
            Figure::missing("rate", "no | server"),
        ]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| ready | 250 ms | ≤ 300 ms | ok |",
                "| ratio | 0.39 | ≥ 0.40 | short |",
                "| MiB | 61.0 | ≤ 60.0 | short |",
                "| keys | 10 |  |  |",
                "| rate | not measured: no   server |  |  |",
            ]
        );
    }
}
