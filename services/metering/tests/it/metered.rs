//! What is metered, for whoever holds it against what engines say.

use stowage_proto::metering as pb;
use stowage_types::{from_timestamp, timestamp};
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};

use crate::kit::{Kit, NOW, dimensions, gone, minutes_ago, sample, traffic, uid};

fn window(n: u8, from: OffsetDateTime, to: OffsetDateTime) -> pb::AccountWindow {
    pb::AccountWindow {
        s3uid: uid(n),
        from_time: Some(timestamp(from)),
        to_time: Some(timestamp(to)),
    }
}

async fn ask(
    kit: &Kit,
    windows: Vec<pb::AccountWindow>,
    with_hours: bool,
) -> Result<Vec<pb::MeteredUsage>, Status> {
    let request = kit.as_service(pb::SumMeteredUsageRequest { windows, with_hours });
    Ok(kit.usage().sum_metered_usage(request).await?.into_inner().usages)
}

#[tokio::test]
async fn windows_are_summed_by_the_hour_and_the_last_samples_told() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let hours_ago = |hours| NOW - Duration::minutes(30) - Duration::hours(hours);
    kit.moves(
        1,
        vec![
            traffic("a", hours_ago(30), 1),
            traffic("a", hours_ago(5), 20),
            traffic("b", hours_ago(5), 300),
            traffic("", hours_ago(4), 4_000),
            traffic("a", hours_ago(0), 50_000),
        ],
    )
    .await;
    // Facts come before their meter too.
    kit.moves(2, vec![traffic("c", hours_ago(4), 7)]).await;
    kit.stores(1, vec![sample("a", minutes_ago(90), 10), sample("b", minutes_ago(80), 5)]).await;
    kit.stores(1, vec![gone("b", minutes_ago(70))]).await;
    let windows = vec![
        window(1, hours_ago(5) + Duration::minutes(10), hours_ago(0)),
        window(2, hours_ago(5), hours_ago(3)),
        window(1, hours_ago(48), hours_ago(5)),
        window(3, hours_ago(5), hours_ago(3)),
    ];
    let told = ask(&kit, windows.clone(), true).await.unwrap();
    let sent: Vec<i64> = told.iter().map(|usage| usage.sent_bytes).collect();
    assert_eq!(sent, [4_320, 7, 1, 0]);
    let hours = |usage: &pb::MeteredUsage| -> Vec<(OffsetDateTime, i64, i64)> {
        let of = |hour: &pb::MeteredHour| {
            let start = from_timestamp(hour.hour.as_ref().unwrap()).unwrap();
            (start, hour.sent_bytes, hour.read_requests)
        };
        usage.hours.iter().filter(|hour| hour.sent_bytes > 0).map(of).collect()
    };
    assert_eq!(hours(&told[0]), [(hours_ago(5), 320, 4), (hours_ago(4), 4_000, 2)]);
    assert_eq!((told[0].received_bytes, told[0].write_requests), (3, 9));
    assert_eq!((told[0].stored_bytes, told[3].stored_bytes), (10, 0));
    let samples: Vec<_> =
        ask(&kit, vec![window(1, hours_ago(5), hours_ago(0))], true).await.unwrap()[0]
            .hours
            .iter()
            .filter(|hour| hour.sampled_buckets > 0)
            .map(|hour| (hour.sampled_buckets, hour.sampled_bytes))
            .collect();
    // NOW is half past: 90 minutes ago an hour began, 80 and 70 are in it.
    assert_eq!(samples, [(2, 10)]);
    let time = |wire: &Option<prost_types::Timestamp>| {
        wire.as_ref().map(|wire| from_timestamp(wire).unwrap())
    };
    assert_eq!(time(&told[0].sample_time), Some(minutes_ago(70)));
    assert_eq!((time(&told[0].as_of_time), time(&told[3].as_of_time)), (Some(NOW), None));
    assert_eq!(time(&told[1].sample_time), None);

    let summed = ask(&kit, windows, false).await.unwrap();
    assert!(summed.iter().all(|usage| usage.hours.is_empty()));
    let same: Vec<i64> = summed.iter().map(|usage| usage.sent_bytes).collect();
    assert_eq!(same, sent);
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let kit = Kit::start().await;
    assert_eq!(ask(&kit, Vec::new(), true).await.unwrap(), []);
    let year = window(1, NOW - Duration::days(365), NOW);
    assert_eq!(ask(&kit, vec![year.clone(); 500], false).await.unwrap().len(), 500);
    for (windows, with_hours) in [
        (vec![year.clone(); 5], true),
        (vec![year.clone(); 501], false),
        (vec![window(1, NOW, NOW + Duration::HOUR)], true),
        (vec![window(1, NOW, NOW - Duration::HOUR)], true),
        (vec![pb::AccountWindow { s3uid: "x".to_owned(), ..year.clone() }], true),
        (vec![pb::AccountWindow { from_time: None, ..year }], true),
    ] {
        let refused = ask(&kit, windows, with_hours).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let request = kit.as_customer(7, pb::SumMeteredUsageRequest::default());
    let refused = kit.usage().sum_metered_usage(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
