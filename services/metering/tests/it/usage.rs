//! Figures of one account.

use stowage_proto::metering::UsageStep;
use stowage_types::{from_timestamp, timestamp};
use time::Duration;
use time::macros::datetime;

use crate::kit::{Kit, NOW, dimensions, minutes_ago, sample, traffic};

#[tokio::test]
async fn the_default_period_is_this_month() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    for (time, sent) in
        [(datetime!(2026-10-31 23:00 UTC), 1), (datetime!(2026-11-01 0:00 UTC), 20), (NOW, 300)]
    {
        kit.moves(1, vec![traffic("photos", time, sent)]).await;
    }
    let account = kit.account(1).await;
    assert_eq!((account.sent_bytes, account.received_bytes), (320, 2));
}

#[tokio::test]
async fn an_account_without_facts_has_zeros_and_no_as_of() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let account = kit.account(1).await;
    assert_eq!(account.dimensions, Some(dimensions(1)));
    assert_eq!((account.stored_bytes, account.stored_bytes_peak), (0, 0));
    assert!(account.buckets.is_empty() && account.as_of_time.is_none());
}

#[tokio::test]
async fn as_of_is_the_time_of_the_newest_fact() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let as_of = async || from_timestamp(&kit.account(1).await.as_of_time.unwrap()).unwrap();
    kit.stores(1, vec![sample("photos", minutes_ago(10), 1)]).await;
    assert_eq!(as_of().await, minutes_ago(10));
    kit.stores(1, vec![sample("photos", minutes_ago(90), 1)]).await;
    assert_eq!(as_of().await, minutes_ago(10));
    kit.moves(1, vec![traffic("", NOW, 1)]).await;
    assert_eq!(as_of().await, NOW);
}

#[tokio::test]
async fn a_quiet_account_has_usage_in_every_later_day() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", NOW, 10)]).await;
    kit.clock.advance(std::time::Duration::from_secs(400 * 86_400));
    let day = datetime!(2027-11-01 0:00 UTC);
    let answer = kit.history((1, ""), UsageStep::Day, (day, day + Duration::days(3))).await;
    let days: Vec<_> = answer
        .windows
        .iter()
        .map(|w| (w.stored_bytes_peak, w.stored_bytes_last, w.stored_byte_seconds.as_str()))
        .collect();
    assert_eq!(days, [(10, 10, "864000"); 3]);
    let account = kit.account_in(1, Some(day), None).await;
    assert_eq!(account.stored_bytes_peak, 10);
    // Nothing is carried into what has not begun.
    let future = kit.clock_now() + Duration::DAY;
    let answer = kit.history((1, ""), UsageStep::Day, (future, future + Duration::DAY)).await;
    assert!(answer.windows.is_empty());
    let account = kit.account_in(1, Some(future), Some(future + Duration::DAY)).await;
    assert_eq!(account.stored_bytes_peak, 0);
}

#[tokio::test]
async fn a_history_has_the_bucket_asked_for_and_leaves_empty_steps_out() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let morning = datetime!(2026-11-23 8:00 UTC);
    kit.moves(1, vec![traffic("a", morning, 5), traffic("b", morning, 6), traffic("", NOW, 7)])
        .await;
    let day = (morning - Duration::hours(8), NOW);
    let sent = async |bucket: &str| -> Vec<(i64, i64, i64)> {
        let answer = kit.history((1, bucket), UsageStep::Hour, day).await;
        answer.windows.iter().map(|w| (w.sent_bytes, w.read_requests, w.write_requests)).collect()
    };
    assert_eq!(sent("a").await, [(5, 2, 3)]);
    assert_eq!(sent("").await, [(11, 4, 6), (7, 2, 3)]);
    assert!(sent("absent").await.is_empty());
}

#[tokio::test]
async fn a_history_has_at_most_1000_steps() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let start = NOW - Duration::days(34);
    kit.stores(1, vec![sample("photos", start, 10)]).await;
    kit.clock.advance(std::time::Duration::from_secs(30 * 86_400));
    let span = (start, start + Duration::days(60));
    let answer = kit.history((1, ""), UsageStep::Hour, span).await;
    assert_eq!(answer.windows.len(), 1000);
    assert_eq!(answer.windows[0].start_time, Some(timestamp(start - Duration::minutes(30))));
}

#[tokio::test]
async fn a_period_that_is_over_answers_the_same_bytes_whatever_comes_behind_it() {
    use prost::Message as _;
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let night = datetime!(2026-11-21 2:10 UTC);
    kit.stores(1, vec![sample("photos", night, 10)]).await;
    kit.moves(1, vec![traffic("photos", night + Duration::hours(3), 5)]).await;
    let (from, to) = (datetime!(2026-11-20 0:00 UTC), datetime!(2026-11-22 0:00 UTC));
    let ask = async || {
        let mut answers = Vec::new();
        for step in [UsageStep::Hour, UsageStep::Day] {
            for bucket in ["", "photos", "none"] {
                let answer = kit.history((1, bucket), step, (from, to)).await;
                answers.push((answer.as_of_time, answer.encode_to_vec()));
            }
        }
        answers
    };
    let first = ask().await;
    let moved = timestamp(datetime!(2026-11-21 6:00 UTC));
    let as_of: Vec<_> = first.iter().map(|(as_of, _)| *as_of).collect();
    assert_eq!(as_of, [Some(moved), Some(moved), None, Some(moved), Some(moved), None]);
    kit.stores(1, vec![sample("photos", NOW, 70)]).await;
    kit.moves(1, vec![traffic("photos", NOW, 6)]).await;
    kit.clock.advance(std::time::Duration::from_secs(40 * 86_400));
    assert!(ask().await == first);
}
