//! The rule, without anybody to ask.

use time::macros::datetime;

use super::super::drift_side::{Billed, BilledPart, Engine, Meter, MeterPart};
use super::*;

const FROM: OffsetDateTime = datetime!(2026-11-20 0:00 UTC);
const SPAN: Span = Span { from: FROM, to: datetime!(2026-11-27 0:00 UTC) };
const EXACT: Threshold = Threshold { ppm: 0, floor_bytes: 0, floor_requests: 0 };

fn flows(bytes: i64) -> Flows {
    Flows {
        received_bytes: bytes,
        sent_bytes: 2 * bytes,
        read_requests: 10,
        write_requests: 1,
        sampled_buckets: 3,
        sampled_bytes: 5 * bytes,
    }
}

fn stored(bytes: i64) -> Result<EngineStored, String> {
    Ok(EngineStored { bytes, time: None, is_told_late: false })
}

/// An account that agrees, with traffic in some hours.
fn look() -> Look {
    let hours: Hours =
        (0..100).map(|n| (FROM + time::Duration::hours(n), flows(1_000_000))).collect();
    let engine = Engine {
        moved: Flows::default(),
        hours: hours.clone(),
        counted_from: Some(FROM - time::Duration::days(50)),
        sampled_from: Some(FROM),
        report_time: Some(SPAN.to),
        stored: stored(1_000),
        is_waiting: false,
    };
    let meter = Meter { hours, stored_bytes: 1_000, sample_time: None, as_of: Some(SPAN.to) };
    Look { engine, meter, period: None }
}

fn lose(look: &mut Look, hour: i64, bytes: i64) {
    let hour = look.meter.hours.entry(FROM + time::Duration::hours(hour)).or_default();
    hour.sent_bytes -= bytes;
}

fn drifting(rows: &[Row]) -> Vec<(Measure, i64)> {
    let drifting = rows.iter().filter(|row| row.is_drifting);
    drifting.map(|row| (row.measure, row.difference())).collect()
}

/// What is judged when both looks see the same.
fn twice(look: &Look, threshold: &Threshold) -> Vec<Row> {
    let circumstances = Circumstances::default();
    judge((look, look), &look.engine.stored, (SPAN, threshold), circumstances)
}

fn why_not(rows: &[Row], measure: Measure) -> Option<&str> {
    rows.iter().find(|row| row.measure == measure)?.not_judged.as_deref()
}

#[test]
fn a_difference_has_the_sign_of_the_later_figure() {
    let figure = |value| Figure { value, as_of: None };
    for (later, earlier, value, ppm) in [
        (0, 0, 0, 0),
        (5, 5, 0, 0),
        (999_999, 1_000_000, -1, -1),
        (1_000_000, 999_999, 1, 1),
        (0, 8, -8, -1_000_000),
        (8, 0, 8, 1_000_000),
        (10_000_000, 9_999_999, 1, 0),
        (i64::MAX, i64::MIN, i64::MAX, 1_999_999),
    ] {
        let difference = Difference::of(figure(later), figure(earlier));
        assert_eq!((difference.value, difference.ppm), (value, ppm), "{later} less {earlier}");
    }
}

#[test]
fn a_threshold_is_exceeded_by_share_and_by_floor() {
    let bytes = Measure::SentBytes;
    let of = |ppm, floor_bytes| Threshold { ppm, floor_bytes, floor_requests: 3 };
    for (threshold, measure, figures, exceeds) in [
        (of(0, 0), bytes, (1, 1), false),
        (of(0, 0), bytes, (1_000_000_000, 1_000_000_001), true),
        (of(100, 0), bytes, (1_000_000, 999_900), false),
        (of(100, 0), bytes, (1_000_000, 999_899), true),
        (of(0, 100), bytes, (0, 100), false),
        (of(0, 100), bytes, (0, 101), true),
        (of(0, 100), Measure::ReadRequests, (0, 3), false),
        (of(0, 100), Measure::ReadRequests, (0, 4), true),
        (of(1_000_000, 0), bytes, (0, 7), false),
        (of(100, 0), bytes, (i64::MAX, 0), true),
    ] {
        assert_eq!(threshold.is_exceeded(measure, figures), exceeds, "{threshold:?} {figures:?}");
    }
}

#[test]
fn a_small_fact_is_seen_in_its_hour_that_the_window_would_hide() {
    let mut look = look();
    lose(&mut look, 7, 300);
    let threshold = Threshold { ppm: 100, ..EXACT };
    assert_eq!(drifting(&twice(&look, &threshold)), [(Measure::SentBytes, -300)]);
    let coarse = Threshold { ppm: 200, ..EXACT };
    assert_eq!(drifting(&twice(&look, &coarse)), []);
    // What was lost in one hour and doubled in another is two errors.
    lose(&mut look, 9, -300);
    let rows = twice(&look, &threshold);
    assert_eq!(drifting(&rows), [(Measure::SentBytes, 0)]);
    let sent = rows.iter().find(|row| row.measure == Measure::SentBytes).unwrap();
    let hours: Vec<i64> = sent.hours.iter().map(|hour| hour.meter - hour.engine).collect();
    assert_eq!((hours, sent.hour_count), (vec![-300, 300], 2));
}

#[test]
fn hours_outside_of_the_window_and_before_reports_begin_are_not_compared() {
    let mut look = look();
    lose(&mut look, 168, 5);
    lose(&mut look, -1, 5);
    assert_eq!(drifting(&twice(&look, &EXACT)), []);
    lose(&mut look, 3, 5);
    look.engine.counted_from = Some(FROM + time::Duration::hours(4));
    let rows = twice(&look, &EXACT);
    assert_eq!(drifting(&rows), []);
    let sent = rows.iter().find(|row| row.measure == Measure::SentBytes).unwrap();
    assert_eq!(sent.span.map(|span| span.from), look.engine.counted_from);
    look.engine.counted_from = Some(SPAN.to);
    assert_eq!(why_not(&twice(&look, &EXACT), Measure::SentBytes), Some(FORGOTTEN));
    look.engine.counted_from = None;
    let rows = twice(&look, &EXACT);
    assert_eq!(why_not(&rows, Measure::SentBytes), Some(NOT_COUNTED));
    let is_moved = |row: &&Row| !row.measure.is_of_samples() && row.span.is_some();
    assert!(rows.iter().filter(is_moved).all(|row| row.engine.is_none()));
}

#[test]
fn a_lost_sample_is_seen_in_its_hour_also_of_a_bucket_that_was_empty() {
    let hour = FROM + time::Duration::hours(7);
    let mut emptied = look();
    emptied.meter.hours.get_mut(&hour).unwrap().sampled_buckets -= 1;
    assert_eq!(drifting(&twice(&emptied, &EXACT)), [(Measure::SampledBuckets, -1)]);
    let mut filled = look();
    filled.meter.hours.get_mut(&hour).unwrap().sampled_bytes -= 9;
    assert_eq!(drifting(&twice(&filled, &EXACT)), [(Measure::SampledBytes, -9)]);
    filled.engine.sampled_from = Some(hour + time::Duration::HOUR);
    assert_eq!(drifting(&twice(&filled, &EXACT)), [], "it is not known what was sent then");
    filled.engine.sampled_from = None;
    let rows = twice(&filled, &EXACT);
    assert_eq!(why_not(&rows, Measure::SampledBytes), Some(NOT_SAMPLED));
}

#[test]
fn what_changes_between_the_looks_or_waits_is_not_judged() {
    let (mut first, mut second) = (look(), look());
    lose(&mut first, 3, 5);
    let after = second.engine.stored.clone();
    let judged = |first: &Look, second: &Look| {
        judge((first, second), &after, (SPAN, &EXACT), Circumstances::default())
    };
    assert_eq!(drifting(&judged(&first, &second)), [], "it has arrived");
    lose(&mut second, 3, 4);
    let rows = judged(&first, &second);
    assert_eq!((drifting(&rows), why_not(&rows, Measure::SentBytes)), (vec![], Some(CHANGING)));
    lose(&mut second, 3, 1);
    assert_eq!(drifting(&judged(&first, &second)), [(Measure::SentBytes, -5)]);
    second.engine.is_waiting = true;
    let rows = judged(&first, &second);
    assert_eq!((drifting(&rows), why_not(&rows, Measure::SentBytes)), (vec![], Some(WAITING)));
}

#[test]
fn what_is_stored_is_judged_by_all_that_the_engine_said() {
    // What the engine said three times, what the meter had twice, and whether that is a drift.
    for (engine, meter, drifts) in [
        ([1_000, 1_000, 1_000], [1_000, 1_000], false),
        ([1_000, 1_000, 1_000], [999, 999], true),
        ([1_000, 1_000, 1_000], [1_001, 1_001], true),
        ([1_000, 1_000, 1_000], [998, 999], false),
        // It is written to; the meter follows.
        ([1_000, 1_100, 1_200], [990, 1_050], false),
        ([1_000, 1_100, 1_200], [1_000, 1_200], false),
        ([1_000, 1_100, 1_200], [900, 950], false),
        ([1_000, 900, 1_000], [1_500, 1_400], false),
        // The meter is where the engine has not been for long.
        ([10_000, 10_001, 10_002], [5_000, 5_002], true),
        ([10_000, 10_001, 10_002], [15_000, 15_002], true),
    ] {
        let (mut first, mut second) = (look(), look());
        first.engine.stored = stored(engine[0]);
        second.engine.stored = stored(engine[1]);
        (first.meter.stored_bytes, second.meter.stored_bytes) = (meter[0], meter[1]);
        let judged = |circumstances| {
            let after = stored(engine[2]);
            drifting(&judge((&first, &second), &after, (SPAN, &EXACT), circumstances))
        };
        let found = judged(Circumstances::default());
        assert_eq!(!found.is_empty(), drifts, "{engine:?} {meter:?}");
        let moving = Circumstances { is_moving: true, believed: None };
        assert_eq!(judged(moving), [], "{engine:?} {meter:?}");
    }
}

#[test]
fn an_engine_that_tells_changes_late_is_believed_by_what_was_noted() {
    let mut look = look();
    let late = EngineStored { bytes: 7, time: None, is_told_late: true };
    look.engine.stored = Ok(late);
    let judged = |believed| {
        let circumstances = Circumstances { is_moving: false, believed };
        judge((&look, &look), &look.engine.stored, (SPAN, &EXACT), circumstances)
    };
    for believed in [None, Some(8)] {
        let rows = judged(believed);
        assert_eq!(drifting(&rows), []);
        assert_eq!(why_not(&rows, Measure::StoredBytes), Some(TOLD_LATE));
    }
    assert_eq!(drifting(&judged(Some(7))), [(Measure::StoredBytes, 993)]);
}

#[test]
fn an_engine_that_is_away_is_told_and_the_rest_is_judged() {
    let mut look = look();
    look.engine.stored = Err("the engine does not say".to_owned());
    lose(&mut look, 3, 5);
    let rows = twice(&look, &EXACT);
    assert_eq!(drifting(&rows), [(Measure::SentBytes, -5)]);
    assert_eq!(why_not(&rows, Measure::StoredBytes), Some("the engine does not say"));
}

#[test]
fn a_bill_is_held_against_meter_and_engine_of_its_period() {
    let part = |moved_bytes, byte_seconds| BilledPart {
        span: SPAN,
        moved_bytes,
        stored_bytes_peak: 9,
        byte_seconds,
    };
    let meter = |moved_bytes, byte_seconds| MeterPart {
        moved_bytes,
        stored_bytes_peak: 9,
        byte_seconds,
        as_of: None,
    };
    let seconds = i128::from((SPAN.to - SPAN.from).whole_seconds());
    let mut look = look();
    let engine = Engine {
        moved: Flows { received_bytes: 70, sent_bytes: 30, ..Flows::default() },
        ..look.engine.clone()
    };
    let bill = |is_corrected_later| Period {
        span: SPAN,
        billed: Billed {
            bill_time: None,
            is_corrected_later,
            parts: vec![part(60, seconds), part(40, seconds)],
        },
        meter: vec![meter(60, 5 * seconds), meter(40, seconds - 1)],
        engine: Some(engine.clone()),
    };
    look.period = Some(bill(false));
    let rows = twice(&look, &EXACT);
    assert_eq!(drifting(&rows), [(Measure::PeriodStoredAverageBytes, -3)]);
    look.period = Some(bill(true));
    let rows = twice(&look, &EXACT);
    let average = Measure::PeriodStoredAverageBytes;
    assert_eq!((drifting(&rows), why_not(&rows, average)), (vec![], Some(CORRECTED_LATER)));
    // The engine says that the meter is wrong: no bill will mend that.
    let mut period = bill(true);
    period.meter[1].moved_bytes = 50;
    look.period = Some(period.clone());
    assert_eq!(drifting(&twice(&look, &EXACT)), [(Measure::PeriodTrafficBytes, 10)]);
    // Reports of its beginning are gone.
    period.engine.as_mut().unwrap().counted_from = Some(FROM + time::Duration::HOUR);
    look.period = Some(period);
    let rows = twice(&look, &EXACT);
    let traffic = rows.iter().find(|row| row.measure == Measure::PeriodTrafficBytes).unwrap();
    assert_eq!((traffic.engine, traffic.is_drifting), (None, false));
}
