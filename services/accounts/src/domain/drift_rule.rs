//! What is a drift, and what is not. Pure: it gets what was seen, once and once more.
//!
//! Figures are whole numbers that are counted once on their way from the engine to the bill, so a
//! difference is never noise. It can be on its way, though, or change while it is looked at: hence
//! the second look, and hours that have long ended.

use stowage_types::hour_of;
use time::OffsetDateTime;

use super::drift_side::{EngineStored, Flows, Hours, Look, Period, Span};

/// Hours told of one row.
pub(crate) const HOURS_TOLD: usize = 24;
/// How often what an engine changed by between looks may lie between it and the meter of an
/// account that is written to meanwhile.
const BUSY_FACTOR: i128 = 10;
const MILLION: i128 = 1_000_000;

const NOT_COUNTED: &str = "nobody counts traffic where the account is";
const FORGOTTEN: &str = "storage has no reports of that time any more";
const WAITING: &str = "something of it waits in storage to be sent to metering";
const CHANGING: &str = "it is changing at this moment";
const TOLD_LATE: &str = "its engine tells changes minutes later; it must stay the same for an hour";
const MOVING: &str = "the account is being moved";
const CORRECTED_LATER: &str = "the next bill corrects it";
const NOT_SAMPLED: &str = "of that time it is not known what samples were sent";
const NO_PERIOD: &str = "nothing was billed for it yet";

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    StoredBytes,
    ReceivedBytes,
    SentBytes,
    ReadRequests,
    WriteRequests,
    PeriodTrafficBytes,
    PeriodStoredPeakBytes,
    PeriodStoredAverageBytes,
    SampledBytes,
    SampledBuckets,
}

/// Where a measure is in what was counted.
type Of = fn(&Flows) -> i64;

/// What is counted by the hour.
const FLOWS: [(Measure, Of); 6] = [
    (Measure::ReceivedBytes, |flows| flows.received_bytes),
    (Measure::SentBytes, |flows| flows.sent_bytes),
    (Measure::ReadRequests, |flows| flows.read_requests),
    (Measure::WriteRequests, |flows| flows.write_requests),
    (Measure::SampledBytes, |flows| flows.sampled_bytes),
    (Measure::SampledBuckets, |flows| flows.sampled_buckets),
];

impl Measure {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::StoredBytes => "stored_bytes",
            Self::ReceivedBytes => "received_bytes",
            Self::SentBytes => "sent_bytes",
            Self::ReadRequests => "read_requests",
            Self::WriteRequests => "write_requests",
            Self::PeriodTrafficBytes => "period_traffic_bytes",
            Self::PeriodStoredPeakBytes => "period_stored_peak_bytes",
            Self::PeriodStoredAverageBytes => "period_stored_average_bytes",
            Self::SampledBytes => "sampled_bytes",
            Self::SampledBuckets => "sampled_buckets",
        }
    }

    fn is_of_samples(self) -> bool {
        matches!(self, Self::SampledBytes | Self::SampledBuckets)
    }
}

/// From when on a difference counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threshold {
    pub(crate) ppm: u32,
    pub(crate) floor_bytes: u64,
    pub(crate) floor_requests: u64,
}

impl Threshold {
    fn is_exceeded(&self, measure: Measure, (one, other): (i64, i64)) -> bool {
        let floor = match measure {
            Measure::ReadRequests | Measure::WriteRequests => self.floor_requests,
            Measure::SampledBuckets => 0,
            _ => self.floor_bytes,
        };
        let apart = (i128::from(one) - i128::from(other)).abs();
        let larger = i128::from(one).abs().max(i128::from(other).abs());
        apart > i128::from(floor) && apart * MILLION > i128::from(self.ppm) * larger
    }
}

/// What one of the three says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) value: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

/// How far two figures are from each other: the later one less the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) value: i64,
    /// In millionths of the larger of the two, towards zero.
    pub(crate) ppm: i64,
}

impl Difference {
    fn of(later: Figure, earlier: Figure) -> Self {
        let apart = i128::from(later.value) - i128::from(earlier.value);
        let larger = i128::from(later.value).abs().max(i128::from(earlier.value).abs());
        let ppm = if larger == 0 { 0 } else { apart * MILLION / larger };
        Self { value: narrow(apart), ppm: narrow(ppm) }
    }
}

/// An hour in which engine and meter differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hour {
    pub(crate) hour: OffsetDateTime,
    pub(crate) engine: i64,
    pub(crate) meter: i64,
}

/// One measure, as all three have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) measure: Measure,
    /// `None`: at this moment.
    pub(crate) span: Option<Span>,
    pub(crate) engine: Option<Figure>,
    pub(crate) meter: Figure,
    pub(crate) billed: Option<Figure>,
    pub(crate) is_drifting: bool,
    /// Why it is none at present, or why a figure is missing.
    pub(crate) not_judged: Option<String>,
    /// The first of the hours that differ.
    pub(crate) hours: Vec<Hour>,
    pub(crate) hour_count: usize,
}

impl Row {
    fn new(measure: Measure, meter: Figure) -> Self {
        let (span, engine, billed, not_judged) = (None, None, None, None);
        let (is_drifting, hours, hour_count) = (false, Vec::new(), 0);
        Self { measure, span, engine, meter, billed, is_drifting, not_judged, hours, hour_count }
    }

    /// Meter less engine.
    pub(crate) fn meter_difference(&self) -> Option<Difference> {
        Some(Difference::of(self.meter, self.engine?))
    }

    /// Bill less meter.
    pub(crate) fn billed_difference(&self) -> Option<Difference> {
        Some(Difference::of(self.billed?, self.meter))
    }

    /// Meter less engine, or where these agree, bill less meter.
    pub(crate) fn difference(&self) -> i64 {
        let differs = |of: &Difference| of.value != 0;
        let by_engine = self.meter_difference().filter(differs);
        by_engine.or_else(|| self.billed_difference()).map_or(0, |of| of.value)
    }

    /// What must be the same when it is looked at again.
    fn differences(&self) -> (Option<i64>, Option<i64>) {
        let value = |of: Difference| of.value;
        (self.meter_difference().map(value), self.billed_difference().map(value))
    }

    fn not_judged(mut self, why: &str) -> Self {
        (self.is_drifting, self.not_judged) = (false, Some(why.to_owned()));
        self
    }
}

/// What else is known of an account.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances {
    pub(crate) is_moving: bool,
    /// What an engine that tells changes late says it stores, if it has said so for long enough.
    pub(crate) believed: Option<i64>,
}

/// All measures of an account as it was seen once. What exceeds the threshold is drifting as far as
/// one look tells.
pub(crate) fn compare(look: &Look, span: Span, threshold: &Threshold) -> Vec<Row> {
    let mut rows = vec![stored(look, threshold)];
    rows.extend(FLOWS.map(|(measure, of)| flow(look, span, threshold, (measure, of))));
    match &look.period {
        Some(period) => rows.extend(of_period(period, threshold)),
        None => {
            let none = Figure { value: 0, as_of: look.meter.as_of };
            rows.push(Row::new(Measure::PeriodTrafficBytes, none).not_judged(NO_PERIOD));
        }
    }
    rows
}

fn stored(look: &Look, threshold: &Threshold) -> Row {
    let as_of = look.meter.sample_time;
    let mut row = Row::new(Measure::StoredBytes, Figure { value: look.meter.stored_bytes, as_of });
    match &look.engine.stored {
        Ok(EngineStored { bytes, time, .. }) => {
            row.engine = Some(Figure { value: *bytes, as_of: *time });
            row.is_drifting = threshold.is_exceeded(row.measure, (row.meter.value, *bytes));
            row
        }
        Err(why) => row.not_judged(why),
    }
}

fn flow(look: &Look, span: Span, threshold: &Threshold, (measure, of): (Measure, Of)) -> Row {
    let as_of = look.meter.as_of;
    let from = match measure.is_of_samples() {
        true => look.engine.sampled_from,
        false => look.engine.counted_from,
    };
    let known = from.and_then(|from| span.since(from));
    let shown = known.unwrap_or(span);
    let sum = |hours: &Hours| {
        hours.range(shown.from..shown.to).map(|(_, flows)| i128::from(of(flows))).sum::<i128>()
    };
    let mut row = Row::new(measure, Figure { value: narrow(sum(&look.meter.hours)), as_of });
    row.span = Some(shown);
    if known.is_none() {
        return row.not_judged(match from {
            _ if measure.is_of_samples() => NOT_SAMPLED,
            Some(_) => FORGOTTEN,
            None => NOT_COUNTED,
        });
    }
    let engine = Figure { value: narrow(sum(&look.engine.hours)), as_of: look.engine.report_time };
    row.engine = Some(engine);
    row.is_drifting = threshold.is_exceeded(measure, (row.meter.value, engine.value));
    for hour in differing(look, shown, of) {
        row.is_drifting |= threshold.is_exceeded(measure, (hour.meter, hour.engine));
        row.hour_count += 1;
        if row.hours.len() < HOURS_TOLD {
            row.hours.push(hour);
        }
    }
    row
}

/// The hours in which engine and meter differ, oldest first.
fn differing(look: &Look, span: Span, of: Of) -> impl Iterator<Item = Hour> {
    let (engine, meter) = (&look.engine.hours, &look.meter.hours);
    let mut starts: Vec<OffsetDateTime> = [engine, meter]
        .into_iter()
        .flat_map(|h| h.range(span.from..span.to))
        .map(|h| *h.0)
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let value = |hours: &Hours, hour| hours.get(&hour).map_or(0, of);
    let hour = |hour| Hour { hour, engine: value(engine, hour), meter: value(meter, hour) };
    let hours: Vec<Hour> = starts.into_iter().map(hour).collect();
    hours.into_iter().filter(|hour| hour.engine != hour.meter)
}

fn of_period(period: &Period, threshold: &Threshold) -> [Row; 3] {
    let (billed, meter) = (&period.billed, &period.meter);
    let row = |measure, meter_value: i128, billed_value: i128| {
        let as_of = meter.iter().filter_map(|part| part.as_of).max();
        let mut row = Row::new(measure, Figure { value: narrow(meter_value), as_of });
        row.span = Some(period.span);
        row.billed = Some(Figure { value: narrow(billed_value), as_of: billed.bill_time });
        let differs = (row.meter.value, narrow(billed_value));
        match threshold.is_exceeded(measure, differs) {
            true if billed.is_corrected_later => row.not_judged(CORRECTED_LATER),
            is_drifting => Row { is_drifting, ..row },
        }
    };
    let seconds = i128::from((period.span.to - period.span.from).whole_seconds()).max(1);
    let mut moved = row(
        Measure::PeriodTrafficBytes,
        meter.iter().map(|part| part.moved_bytes).sum(),
        billed.parts.iter().map(|part| part.moved_bytes).sum(),
    );
    let counted = period
        .engine
        .as_ref()
        .filter(|engine| engine.counted_from.is_some_and(|from| from <= hour_of(period.span.from)));
    if let Some(engine) = counted {
        let bytes = i128::from(engine.moved.received_bytes) + i128::from(engine.moved.sent_bytes);
        moved.engine = Some(Figure { value: narrow(bytes), as_of: engine.report_time });
        if threshold.is_exceeded(moved.measure, (moved.meter.value, narrow(bytes))) {
            (moved.is_drifting, moved.not_judged) = (true, None);
        }
    }
    let peak = |bytes: i64| i128::from(bytes);
    [
        moved,
        row(
            Measure::PeriodStoredPeakBytes,
            meter.iter().map(|part| peak(part.stored_bytes_peak)).max().unwrap_or(0),
            billed.parts.iter().map(|part| peak(part.stored_bytes_peak)).max().unwrap_or(0),
        ),
        row(
            Measure::PeriodStoredAverageBytes,
            meter.iter().map(|part| part.byte_seconds).sum::<i128>() / seconds,
            billed.parts.iter().map(|part| part.byte_seconds).sum::<i128>() / seconds,
        ),
    ]
}

/// Judges what was seen twice: the rows of the second look, and of these what stays a drift.
///
/// `after` is what the engine stores when all else of the second look was asked for.
pub(crate) fn judge(
    (first, second): (&Look, &Look),
    after: &Result<EngineStored, String>,
    (span, threshold): (Span, &Threshold),
    circumstances: Circumstances,
) -> Vec<Row> {
    let before = compare(first, span, threshold);
    let rows = compare(second, span, threshold);
    let confirmed = |row: Row| {
        let was = before.iter().find(|was| was.measure == row.measure);
        let Some(was) = was.filter(|_| row.is_drifting) else { return row };
        if second.engine.is_waiting {
            return row.not_judged(WAITING);
        }
        if row.measure == Measure::StoredBytes {
            return judge_stored(
                (was, row),
                &second.engine.stored,
                after,
                threshold,
                circumstances,
            );
        }
        match was.differences() == row.differences() {
            true => row,
            false => row.not_judged(CHANGING),
        }
    };
    rows.into_iter().map(confirmed).collect()
}

fn judge_stored(
    (was, row): (&Row, Row),
    now: &Result<EngineStored, String>,
    after: &Result<EngineStored, String>,
    threshold: &Threshold,
    circumstances: Circumstances,
) -> Row {
    let (Some(first), Ok(now), Ok(after)) = (was.engine, now, after) else {
        return row.not_judged(CHANGING);
    };
    if circumstances.is_moving {
        return row.not_judged(MOVING);
    }
    let said = [first.value, now.bytes, after.bytes];
    let (least, most) = (said.iter().min().copied(), said.iter().max().copied());
    let (least, most) = (least.unwrap_or(now.bytes), most.unwrap_or(now.bytes));
    let is_quiet = least == most;
    if now.is_told_late {
        return match is_quiet && circumstances.believed == Some(now.bytes) {
            true => row,
            false => row.not_judged(TOLD_LATE),
        };
    }
    if is_quiet {
        return match was.meter.value == row.meter.value {
            true => row,
            false => row.not_judged(CHANGING),
        };
    }
    let nearest = row.meter.value.clamp(least, most);
    let apart = (i128::from(row.meter.value) - i128::from(nearest)).abs();
    let is_far = apart > BUSY_FACTOR * (i128::from(most) - i128::from(least));
    match is_far && threshold.is_exceeded(row.measure, (row.meter.value, nearest)) {
        true => row,
        false => row.not_judged(CHANGING),
    }
}

/// Sums that no table could hold are as much as it can.
fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
