//! Rollups worked out anew from facts.

use stowage_db::args;
use stowage_proto::common::ErrorReason;
use stowage_proto::metering as pb;
use stowage_proto::metering::FactKind::{SentBytes, Stored};
use stowage_proto::metering::UsageStep;
use stowage_runtime::reason_of;
use stowage_types::{from_timestamp, timestamp};
use time::{Duration, Time};

use crate::kit::{Kit, NOW, dimensions, fact, told, uid};

/// Facts of some days, of one account.
fn facts(n: u8) -> Vec<pb::Fact> {
    let of = |index: i64| pb::Fact {
        s3uid: uid(n),
        time: Some(timestamp(NOW - Duration::hours(7 * index))),
        ..fact(
            &format!("{n}-{index:03}"),
            ["a", "b"][usize::try_from(index % 2).unwrap()],
            if index % 3 == 0 { Stored } else { SentBytes },
            index * 10,
        )
    };
    (0..60).map(of).collect()
}

async fn filled(accounts: u8) -> Kit {
    let kit = Kit::start().await;
    for n in 1..=accounts {
        kit.open(dimensions(n)).await;
        kit.record(vec![told(facts(n))]).await.unwrap();
    }
    kit
}

async fn damage(kit: &Kit, sql: &'static str) {
    let mut tx = kit.db.begin().await.unwrap();
    assert!(tx.execute(sql, args![uid(1)]).await.unwrap() > 0, "{sql}");
    tx.commit().await.unwrap();
}

async fn histories(kit: &Kit) -> Vec<pb::QueryUsageResponse> {
    let span = (NOW - Duration::days(30), NOW);
    let mut all = Vec::new();
    for bucket in ["", "a", "b"] {
        for step in [UsageStep::Hour, UsageStep::Day, UsageStep::Month] {
            all.push(kit.history((1, bucket), step, span).await);
        }
    }
    all
}

#[tokio::test]
async fn whatever_is_wrong_is_told_and_mended() {
    let kit = filled(2).await;
    let before = histories(&kit).await;
    for sql in [
        "UPDATE traffic SET sent_bytes = sent_bytes + 1 WHERE s3uid = $1 AND bucket = ''",
        "DELETE FROM traffic WHERE s3uid = $1 AND step = 0",
        "UPDATE traffic SET bucket = bucket || '-x' WHERE s3uid = $1 AND bucket <> ''",
        "UPDATE stored SET last_bytes = 1, byte_micros = '7' WHERE s3uid = $1 AND step = 1",
        "DELETE FROM stored WHERE s3uid = $1",
        "UPDATE stored SET bucket = 'c' WHERE s3uid = $1 AND bucket = 'a'",
        "DELETE FROM sample WHERE s3uid = $1",
    ] {
        damage(&kit, sql).await;
        let told = kit.rebuild(&[], true).await;
        assert!(told.difference_count > 0, "{sql}");
        assert!(told.differences.iter().all(|found| found.s3uid == uid(1)), "{sql}");
        let again = kit.rebuild(&[], true).await;
        assert_eq!(again.differences, told.differences, "comparing changes nothing: {sql}");
        assert_eq!(kit.rebuild(&[uid(2)], false).await.difference_count, 0, "{sql}");
        let mended = kit.rebuild(&[uid(1)], false).await;
        assert_eq!((mended.account_count, mended.fact_count), (1, 60));
        assert!(mended.difference_count > 0);
        assert_eq!(kit.rebuild(&[], true).await.differences, [], "{sql}");
        assert_eq!(histories(&kit).await, before, "{sql}");
    }
}

#[tokio::test]
async fn accounts_are_done_page_by_page() {
    let kit = filled(5).await;
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::RebuildRollupsRequest { page_size: 2, page_token, ..Default::default() };
        let page = kit.facts().rebuild_rollups(kit.as_admin(request)).await.unwrap().into_inner();
        pages.push(page.account_count);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [2, 2, 1]);
    let page_token = "nonsense".to_owned();
    let request = pb::RebuildRollupsRequest { page_token, ..Default::default() };
    let error = kit.facts().rebuild_rollups(kit.as_admin(request)).await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::PageTokenInvalid));
}

#[tokio::test]
async fn days_whose_facts_are_gone_stay_as_they_are() {
    let kit = filled(1).await;
    let before = histories(&kit).await;
    kit.clock.advance(std::time::Duration::from_secs(30 * 86_400));
    let rebuilt = kit.rebuild(&[], false).await;
    let from = from_timestamp(&rebuilt.from_time.unwrap()).unwrap();
    let midnight = NOW.replace_time(Time::MIDNIGHT);
    assert_eq!(from, midnight - Duration::days(9), "forty days ago, and the day begun then");
    assert_eq!(rebuilt.difference_count, 0);
    let span = (NOW - Duration::days(30), NOW - Duration::days(10));
    let after = kit.history((1, ""), UsageStep::Hour, span).await;
    assert!(before[0].windows.starts_with(&after.windows));
}

#[tokio::test]
async fn what_came_before_facts_were_kept_is_left_alone() {
    let mut kit = filled(1).await;
    let before = histories(&kit).await;
    let mut tx = kit.db.begin().await.unwrap();
    tx.execute("DELETE FROM fact", args![]).await.unwrap();
    tx.execute("DELETE FROM fact_start", args![]).await.unwrap();
    tx.commit().await.unwrap();
    kit.restart().await;
    let rebuilt = kit.rebuild(&[], false).await;
    let from = from_timestamp(&rebuilt.from_time.unwrap()).unwrap();
    assert_eq!(from, NOW.replace_time(Time::MIDNIGHT) + Duration::DAY);
    assert_eq!(rebuilt.difference_count, 0);
    assert_eq!(histories(&kit).await, before);
}
