//! What happens to facts.

use stowage_bus::PublishError;
use stowage_proto::metering::UsageStep;
use stowage_proto::storage::UsageCollected;
use stowage_types::{from_timestamp, timestamp};
use time::Duration;

use crate::kit::{Kit, NOW, dimensions, gone, minutes_ago, sample, traffic, uid};

#[tokio::test]
async fn an_event_that_comes_twice_counts_once() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let message = UsageCollected {
        s3uid: uid(1),
        samples: vec![sample("photos", NOW, 500)],
        traffic: vec![traffic("photos", NOW, 70)],
    };
    let event = kit.event(&message);
    for _ in 0..3 {
        kit.bus.publish(&event).await.unwrap();
    }
    let account = kit.account(1).await;
    assert_eq!((account.stored_bytes, account.sent_bytes), (500, 70));
}

#[tokio::test]
async fn every_publisher_knows_its_queue() {
    assert_eq!(Kit::start().await.bus.undeclared(), [""; 0]);
}

#[tokio::test]
async fn facts_before_their_meter_show_once_it_is_open() {
    let kit = Kit::start().await;
    kit.stores(1, vec![sample("photos", NOW, 500)]).await;
    kit.open(dimensions(1)).await;
    assert_eq!(kit.account(1).await.stored_bytes, 500);
}

#[tokio::test]
async fn late_samples_mend_the_past_and_leave_the_present() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("photos", minutes_ago(10), 500)]).await;
    let days_ago = |days| NOW - Duration::days(days);
    kit.stores(1, vec![sample("photos", days_ago(34), 9_000)]).await;
    kit.stores(1, vec![sample("photos", days_ago(20), 100)]).await;
    let account = kit.account_in(1, Some(days_ago(40)), None).await;
    assert_eq!((account.stored_bytes, account.stored_bytes_peak), (500, 9_000));
    let account = kit.account_in(1, Some(days_ago(15)), Some(days_ago(14))).await;
    assert_eq!(account.stored_bytes_peak, 100, "carried from the late sample");
}

#[tokio::test]
async fn facts_outside_the_window_are_refused_and_not_retried() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let old = NOW - Duration::days(36);
    let message = UsageCollected {
        s3uid: uid(1),
        samples: vec![
            sample("photos", old, 1),
            sample("photos", NOW + Duration::minutes(6), 2),
            sample("photos", NOW + Duration::minutes(4), 3),
            sample("photos", NOW, -4),
            sample("", NOW, 4),
        ],
        traffic: vec![traffic("photos", old, 5), traffic("photos", NOW, 6)],
    };
    kit.send(message).await.unwrap();
    let account = kit.account_in(1, Some(old - Duration::DAY), None).await;
    assert_eq!((account.stored_bytes, account.sent_bytes), (3, 6));
    let as_of = from_timestamp(&account.as_of_time.unwrap()).unwrap();
    assert_eq!(as_of, NOW + Duration::minutes(4));
}

#[tokio::test]
async fn what_is_no_usage_at_all_is_refused_for_good() {
    let kit = Kit::start().await;
    let nobody = UsageCollected { s3uid: "?".to_owned(), samples: vec![], traffic: vec![] };
    let refused = kit.send(nobody).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))), "{refused:?}");
    let mut event = kit.event(&UsageCollected::default());
    event.data = vec![0xff];
    let refused = kit.bus.publish(&event).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn an_accounts_peak_is_that_of_the_sum_over_its_buckets() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let (one, two) = (minutes_ago(20), minutes_ago(10));
    kit.stores(1, vec![sample("a", one, 100), sample("b", one, 0)]).await;
    // What "a" loses "b" gains at the same moment: 100 at any time, never 200 nor 0.
    kit.stores(1, vec![sample("b", two, 100)]).await;
    kit.stores(1, vec![sample("a", two, 0)]).await;
    let account = kit.account(1).await;
    assert_eq!((account.stored_bytes, account.stored_bytes_peak), (100, 100));
}

#[tokio::test]
async fn a_deleted_bucket_leaves_and_may_come_back() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.stores(1, vec![sample("a", minutes_ago(20), 7), sample("b", minutes_ago(20), 5)]).await;
    kit.stores(1, vec![gone("a", minutes_ago(10))]).await;
    // Traffic that is told late does not bring it back.
    kit.moves(1, vec![traffic("a", NOW, 1)]).await;
    let account = kit.account(1).await;
    let names: Vec<_> = account.buckets.iter().map(|b| b.bucket.as_str()).collect();
    assert_eq!((names, account.stored_bytes), (vec!["b"], 5));
    kit.stores(1, vec![sample("a", minutes_ago(5), 1)]).await;
    assert_eq!(kit.account(1).await.buckets.len(), 2);
}

#[tokio::test]
async fn corrections_are_new_facts() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.moves(1, vec![traffic("a", NOW, 100)]).await;
    kit.moves(1, vec![traffic("a", NOW, -30)]).await;
    assert_eq!(kit.account(1).await.sent_bytes, 70);
}

#[tokio::test]
async fn petabytes_are_exact() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let midnight = NOW.replace_time(time::Time::MIDNIGHT) - Duration::days(2);
    let bytes = (1_i64 << 53) - 1;
    let samples = (0..20).map(|n| sample(&format!("b{n}"), midnight, bytes)).collect();
    kit.stores(1, samples).await;
    let span = (midnight, midnight + Duration::DAY);
    let answer = kit.history((1, ""), UsageStep::Day, span).await;
    let expected = i128::from(bytes) * 20 * 86_400;
    assert!(expected > i128::from(i64::MAX));
    assert_eq!(answer.windows[0].stored_byte_seconds, expected.to_string());
    assert_eq!(answer.windows[0].stored_bytes_peak, bytes * 20);
    assert_eq!(answer.windows[0].start_time, Some(timestamp(midnight)));
}
