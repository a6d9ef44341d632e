//! Whatever the order in which events come, and however often: the figures are those of a model
//! that looks at all facts at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stowage_proto::metering::{UsageStep, UsageWindow};
use stowage_proto::storage::{StorageSample, Traffic};
use stowage_types::{from_timestamp, timestamp};
use time::{Duration, OffsetDateTime, Time};

use crate::kit::{Kit, NOW, dimensions};

const BUCKETS: [&str; 3] = ["a", "b", "c"];
/// Days that the facts lie in, the last of them today.
const DAYS: i64 = 4;

fn first_midnight() -> OffsetDateTime {
    NOW.replace_time(Time::MIDNIGHT) - Duration::days(DAYS - 1)
}

#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Sample(StorageSample),
    Traffic(Traffic),
}

/// Facts at whole 20 minutes, so that many share a moment or fall on the start of a window.
pub(crate) fn fact() -> impl Strategy<Value = Fact> {
    let slots = (NOW - first_midnight()).whole_minutes() / 20;
    let time = (0..slots).prop_map(|slot| first_midnight() + Duration::minutes(20 * slot));
    let bytes = prop_oneof![Just(0), 1..50_i64, Just(1 << 53)];
    (0..BUCKETS.len(), time, bytes, 0..9_u8).prop_map(|(bucket, time, bytes, kind)| {
        let bucket = BUCKETS[bucket].to_owned();
        let time = timestamp(time);
        if kind < 3 {
            let bucket = if kind == 0 { String::new() } else { bucket };
            return Fact::Traffic(Traffic {
                bucket,
                hour: Some(time),
                received_bytes: bytes % 50,
                sent_bytes: 1,
                read_requests: 2,
                write_requests: 0,
                refused_requests: 3,
                refused_bytes: 0,
            });
        }
        Fact::Sample(StorageSample {
            bucket,
            stored_bytes: bytes,
            object_count: bytes % 7,
            sample_time: Some(time),
            deleted: kind == 3,
        })
    })
}

/// Events of one to four facts, and the order in which they come: any, each once or more often.
fn story() -> impl Strategy<Value = (Vec<Vec<Fact>>, Vec<usize>)> {
    proptest::collection::vec(proptest::collection::vec(fact(), 1..5), 1..14).prop_flat_map(
        |events| {
            let again = proptest::collection::vec(0..events.len(), 0..5);
            let count = events.len();
            let order = again
                .prop_map(move |again| (0..count).chain(again).collect::<Vec<_>>())
                .prop_shuffle();
            (Just(events), order)
        },
    )
}

/// The reference: every fact, and nothing worked out.
#[derive(Default)]
pub(crate) struct Model {
    /// By bucket and time: deleted, bytes, objects. Of several, the highest holds.
    samples: BTreeMap<(String, OffsetDateTime), (bool, i64, i64)>,
    traffic: Vec<(String, OffsetDateTime, i64)>,
}

impl Model {
    pub(crate) fn of(events: &[Vec<Fact>]) -> Self {
        let mut model = Self::default();
        for fact in events.iter().flatten() {
            match fact {
                Fact::Sample(s) => {
                    let time = from_timestamp(&s.sample_time.unwrap()).unwrap();
                    let (bytes, objects) =
                        if s.deleted { (0, 0) } else { (s.stored_bytes, s.object_count) };
                    let said = (s.deleted, bytes, objects);
                    let kept = model.samples.entry((s.bucket.clone(), time)).or_insert(said);
                    *kept = said.max(*kept);
                }
                Fact::Traffic(t) => {
                    let time = from_timestamp(&t.hour.unwrap()).unwrap();
                    model.traffic.push((t.bucket.clone(), time, t.received_bytes));
                }
            }
        }
        model
    }

    /// Bytes stored at a moment, by a bucket or, for an empty name, by all.
    fn stored(&self, bucket: &str, at: OffsetDateTime) -> i64 {
        let of = |name: &str| {
            let until = self.samples.range((name.to_owned(), first_midnight())..);
            let own = until.take_while(|((b, t), _)| b == name && *t <= at);
            own.last().map_or(0, |(_, said)| said.1)
        };
        if bucket.is_empty() { BUCKETS.iter().map(|name| of(name)).sum() } else { of(bucket) }
    }

    fn window(&self, bucket: &str, start: OffsetDateTime, end: OffsetDateTime) -> UsageWindow {
        let mut cuts: Vec<_> = self
            .samples
            .keys()
            .map(|(_, time)| *time)
            .filter(|time| (start..end).contains(time))
            .chain([start, NOW.clamp(start, end), end])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let peak = cuts[..cuts.len() - 1].iter().map(|at| self.stored(bucket, *at)).max();
        let seconds = self.byte_seconds(bucket, &cuts);
        let moved: Vec<_> = self
            .traffic
            .iter()
            .filter(|(b, t, _)| (bucket.is_empty() || b == bucket) && (start..end).contains(t))
            .collect();
        let count = i64::try_from(moved.len()).unwrap();
        UsageWindow {
            start_time: Some(timestamp(start)),
            received_bytes: moved.iter().map(|(_, _, bytes)| bytes).sum(),
            sent_bytes: count,
            read_requests: 2 * count,
            write_requests: 0,
            stored_bytes_peak: peak.unwrap_or(0),
            stored_bytes_last: self.stored(bucket, end - Duration::MICROSECOND),
            stored_byte_seconds: seconds.to_string(),
            stored_byte_hours: (seconds / 3600).to_string(),
            stored_bytes_average: average(seconds, start, end),
            stored_bytes_p95: self.p95(bucket, start, end),
            refused_requests: 3 * count,
            refused_bytes: 0,
        }
    }

    /// Bytes times seconds until now, between moments in order at which something changes.
    fn byte_seconds(&self, bucket: &str, cuts: &[OffsetDateTime]) -> i128 {
        let pairs = cuts.windows(2).filter(|pair| pair[1] <= NOW);
        let of = |pair: &[OffsetDateTime]| {
            let bytes = i128::from(self.stored(bucket, pair[0]));
            bytes * i128::from((pair[1] - pair[0]).whole_seconds())
        };
        pairs.map(of).sum()
    }

    /// Of the averages of all hours that have begun, in order, that at 95 in 100.
    fn p95(&self, bucket: &str, start: OffsetDateTime, end: OffsetDateTime) -> i64 {
        let mut averages = Vec::new();
        let mut hour = start;
        while hour < end && hour <= NOW {
            let until = (hour + Duration::HOUR).min(NOW);
            // Facts and the present are at whole tens of minutes.
            let every = (0..6).map(|ten| hour + Duration::minutes(10 * ten));
            let cuts: Vec<_> = every.filter(|at| *at < until).chain([until]).collect();
            averages.push(average(self.byte_seconds(bucket, &cuts), hour, until));
            hour += Duration::HOUR;
        }
        averages.sort_unstable();
        let rank = (averages.len() * 95).div_ceil(100);
        averages.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The one month that all facts are in.
    fn month(&self, bucket: &str) -> Option<UsageWindow> {
        let start = NOW.replace_time(Time::MIDNIGHT).replace_day(1).unwrap();
        let end = NOW.replace_time(Time::MIDNIGHT) + Duration::DAY;
        let window = self.window(bucket, start, end);
        let is_empty = window.sent_bytes == 0 && window.stored_bytes_peak == 0;
        (!is_empty).then_some(window)
    }

    fn windows(&self, bucket: &str, length: Duration) -> Vec<UsageWindow> {
        let mut windows = Vec::new();
        let mut start = first_midnight();
        while start < NOW {
            let window = self.window(bucket, start, start + length);
            if window.sent_bytes != 0 || window.stored_bytes_peak != 0 {
                windows.push(window);
            }
            start += length;
        }
        windows
    }
}

/// Average over a span until now.
fn average(byte_seconds: i128, start: OffsetDateTime, end: OffsetDateTime) -> i64 {
    let seconds = (NOW.clamp(start, end) - start).whole_seconds();
    i64::try_from(byte_seconds.checked_div(seconds.into()).unwrap_or(0)).unwrap()
}

async fn check(events: &[Vec<Fact>], order: &[usize]) {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let sent: Vec<_> = events.iter().map(|facts| kit.event_of(facts)).collect();
    for index in order {
        kit.bus.publish(&sent[*index]).await.unwrap();
    }
    agrees(&kit, &Model::of(events)).await;
}

/// All figures are those of the model, and rollups what the facts come to.
pub(crate) async fn agrees(kit: &Kit, model: &Model) {
    let span = (first_midnight(), NOW);
    for bucket in ["", "a", "b", "c"] {
        let answer = kit.history((1, bucket), UsageStep::Month, span).await;
        assert_eq!(answer.windows, Vec::from_iter(model.month(bucket)), "{bucket:?} month");
        for (step, length) in [(UsageStep::Hour, Duration::HOUR), (UsageStep::Day, Duration::DAY)] {
            let answer = kit.history((1, bucket), step, span).await;
            assert_eq!(answer.windows, model.windows(bucket, length), "{bucket:?} {step:?}");
        }
    }
    summaries_are(model, kit).await;
    latest_are(model, kit).await;
    let verified = kit.rebuild(&[], true).await;
    assert_eq!(verified.differences, [], "rollups are not what the facts come to");
}

async fn latest_are(model: &Model, kit: &Kit) {
    let account = kit.account_in(1, Some(first_midnight()), None).await;
    let (hours, now) = (model.windows("", Duration::HOUR), model.stored("", NOW));
    assert_eq!(account.stored_bytes, now);
    let peak = hours.iter().map(|window| window.stored_bytes_peak).max().unwrap_or(0);
    assert_eq!(account.stored_bytes_peak, peak);
    let received: i64 = model.traffic.iter().map(|(_, _, bytes)| bytes).sum();
    assert_eq!(account.received_bytes, received);
    let samples = model.samples.keys().map(|(_, time)| *time);
    let hour = |time: OffsetDateTime| time.replace_time(Time::MIDNIGHT) + hours_of(time);
    // What moved was known at the end of its hour, or when the event was made.
    let traffic = model.traffic.iter().map(|(_, time, _)| NOW.min(hour(*time) + Duration::HOUR));
    let as_of = account.as_of_time.map(|time| from_timestamp(&time).unwrap());
    assert_eq!(as_of, samples.chain(traffic).max());
    let mut newest: BTreeMap<&str, (bool, i64, i64)> = BTreeMap::new();
    for ((bucket, _), said) in &model.samples {
        newest.insert(bucket, *said);
    }
    let there: Vec<_> = newest
        .iter()
        .filter(|(_, (deleted, ..))| !deleted)
        .map(|(bucket, (_, bytes, objects))| (*bucket, *bytes, *objects))
        .collect();
    let told: Vec<_> = account
        .buckets
        .iter()
        .map(|b| (b.bucket.as_str(), b.stored_bytes, b.object_count))
        .collect();
    assert_eq!(told, there);
}

/// Windows of any hours: what billing asks for. All with one call, and an unknown account between.
async fn summaries_are(model: &Model, kit: &Kit) {
    let last = NOW.replace_time(Time::MIDNIGHT) + hours_of(NOW);
    let hours = (last - first_midnight()).whole_hours();
    let starts = [0, 1, 5, 23, 24, 25, 40, 47, 48, 70, hours - 1, hours];
    let pairs = starts.iter().flat_map(|from| starts.iter().map(move |to| (*from, *to)));
    let spans: Vec<_> = pairs
        .filter(|(from, to)| from <= to && *to <= hours)
        .map(|(from, to)| {
            let at = |hour| first_midnight() + Duration::hours(hour);
            (at(from), at(to))
        })
        .collect();
    let mut wanted = vec![(9, spans[0])];
    wanted.extend(spans.iter().map(|span| (1, *span)));
    let summaries = kit.summaries(&wanted).await;
    assert_eq!(summaries[0].stored_byte_seconds, "0", "nothing is known of it");
    assert_eq!((summaries[0].received_bytes, summaries[0].as_of_time), (0, None));
    for ((from, to), told) in spans.into_iter().zip(&summaries[1..]) {
        let window = model.window("", from, to);
        // A window of no time has no peak, and ends with what was stored before it.
        let peak = if from == to { 0 } else { window.stored_bytes_peak };
        assert_eq!(
            (told.received_bytes, told.sent_bytes, told.stored_bytes_peak),
            (window.received_bytes, window.sent_bytes, peak),
            "{from} to {to}"
        );
        assert_eq!(
            (told.stored_bytes_last, &told.stored_byte_seconds),
            (window.stored_bytes_last, &window.stored_byte_seconds),
            "{from} to {to}"
        );
    }
}

fn hours_of(time: OffsetDateTime) -> Duration {
    Duration::hours(time.hour().into())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn figures_do_not_depend_on_the_order_of_events((events, order) in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&events, &order));
    }
}
