//! Facts of collectors through the gateway, while the program is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use stowage_proto::accounts::ListAuditEntriesRequest;
use stowage_proto::accounts::audit_service_client::AuditServiceClient;
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_proto::metering::{
    Fact, FactKind, QueryUsageRequest, RebuildRollupsRequest, RecordFactsRequest,
    RecordFactsResponse, UsageStep, UsageWindow,
};
use stowage_testkit::{Kit, Process, Site, eventually};
use stowage_types::{Clock as _, SystemClock, timestamp};
use time::OffsetDateTime;
use tonic::Status;

const BUCKETS: [&str; 3] = ["a", "b", "c"];

/// Facts of what moved in the last days.
fn facts(s3uid: &str, now: OffsetDateTime, count: i64) -> Vec<Fact> {
    let kinds = [FactKind::SentBytes, FactKind::ReceivedBytes, FactKind::RefusedRequests];
    let of = |n: i64| {
        let place = usize::try_from(n).unwrap_or(0);
        Fact {
            id: format!("{n:06}"),
            s3uid: s3uid.to_owned(),
            bucket: BUCKETS[place % 3].to_owned(),
            time: Some(timestamp(now - time::Duration::minutes(7 * n))),
            kind: kinds[place / 3 % 3].into(),
            value: n + 1,
            object_count: 0,
        }
    };
    (0..count).map(of).collect()
}

async fn record(
    site: &Site,
    messages: Vec<RecordFactsRequest>,
) -> Result<RecordFactsResponse, Status> {
    let mut client = FactServiceClient::new(site.as_admin());
    let answer = client.record_facts(futures_util::stream::iter(messages)).await?;
    Ok(answer.into_inner())
}

fn message(facts: &[Fact]) -> RecordFactsRequest {
    let (source, facts) = ("log/front-1".to_owned(), facts.to_vec());
    RecordFactsRequest { source, facts, ..Default::default() }
}

async fn days(site: &Site, s3uid: &str, bucket: &str, now: OffsetDateTime) -> Vec<UsageWindow> {
    let request = QueryUsageRequest {
        s3uid: s3uid.to_owned(),
        bucket: bucket.to_owned(),
        from_time: Some(timestamp(now - time::Duration::days(20))),
        to_time: Some(timestamp(now)),
        step: UsageStep::Day.into(),
    };
    let answer = UsageServiceClient::new(site.as_admin()).query_usage(request).await;
    answer.expect("usage can be asked for").into_inner().windows
}

/// What the facts come to by day, of a bucket: sent, received, refused.
fn sums(facts: &[Fact], bucket: &str) -> BTreeMap<i64, [i64; 3]> {
    let mut days: BTreeMap<i64, [i64; 3]> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| bucket.is_empty() || fact.bucket == bucket) {
        let day = fact.time.map_or(0, |time| time.seconds.div_euclid(86_400));
        let place = match fact.kind() {
            FactKind::SentBytes => 0,
            FactKind::ReceivedBytes => 1,
            _ => 2,
        };
        days.entry(day).or_default()[place] += fact.value;
    }
    days
}

async fn agrees(site: &Site, s3uid: &str, facts: &[Fact], now: OffsetDateTime) {
    for bucket in ["", "a", "b", "c"] {
        let told = days(site, s3uid, bucket, now).await;
        let told: BTreeMap<i64, [i64; 3]> = told
            .iter()
            .map(|window| {
                let day = window.start_time.map_or(0, |time| time.seconds.div_euclid(86_400));
                (day, [window.sent_bytes, window.received_bytes, window.refused_requests])
            })
            .collect();
        assert_eq!(told, sums(facts, bucket), "{bucket:?}");
    }
    let s3uids = vec![s3uid.to_owned()];
    let verify = RebuildRollupsRequest { s3uids, verify_only: true, ..Default::default() };
    let found = FactServiceClient::new(site.as_admin()).rebuild_rollups(verify).await;
    let found = found.expect("rollups can be compared").into_inner();
    assert_eq!((found.account_count, found.differences), (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_count_once_wherever_a_kill_falls() {
    let mut server = Process::start().await;
    let customer = server.site.customer("measured@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "measured").await;
    let now = SystemClock.now();
    let all = facts(&account.s3uid, now, 2_400);
    // Where the kill falls differs from run to run; what must hold does not.
    for (round, delay_ms) in [0, 2, 5, 9, 14, 20, 30, 50].into_iter().enumerate() {
        // Each part overlaps the one before, and comes in messages cut differently.
        let part = &all[(round * 280).saturating_sub(60)..(round + 1) * 280];
        let messages: Vec<_> = part.chunks(40 + round).map(message).collect();
        let site = server.site.clone();
        let sent = messages.clone();
        let mut call = tokio::spawn(async move { record(&site, sent).await });
        let early = tokio::time::timeout(Duration::from_millis(delay_ms), &mut call).await;
        server.kill();
        let first = match early {
            Ok(first) => first,
            Err(_) => call.await,
        };
        server.restart().await;
        let again = record(&server.site, messages).await.expect("facts are taken");
        assert_eq!(again.refused_count, 0, "round {round}");
        if let Ok(first) = first.expect("the client does not panic") {
            let known = i64::try_from(part.len()).expect("a few");
            assert_eq!((again.duplicate_count, first.refused_count), (known, 0), "round {round}");
        }
    }
    let rest = record(&server.site, all.chunks(1_000).map(message).collect()).await;
    let rest = rest.expect("facts are taken");
    assert_eq!(rest.stored_count + rest.duplicate_count, 2_400);
    agrees(&server.site, &account.s3uid, &all, now).await;
    // Another payload under a known id changes nothing.
    let other = Fact { value: 1 << 40, ..all[0].clone() };
    let refused = record(&server.site, vec![message(&[other])]).await.expect("it is answered");
    assert_eq!(refused.outcomes[0].why, "id used for another payload");
    agrees(&server.site, &account.s3uid, &all, now).await;
    assert!(server.stop("TERM").await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_in_the_audit() {
    let kit = Kit::start().await;
    let site = &kit.site;
    let customer = site.customer("corrected@example.com", "EUR").await;
    let account = site.order(&customer.token, site.plans().await.0, "corrected").await;
    let long_ago = SystemClock.now() - time::Duration::days(100);
    let fact =
        Fact { time: Some(timestamp(long_ago)), ..facts(&account.s3uid, long_ago, 1).remove(0) };
    let refused = record(site, vec![message(std::slice::from_ref(&fact))]).await;
    assert_eq!(refused.expect("it is answered").refused_count, 1);
    let reason = "ticket 12".to_owned();
    let correction = RecordFactsRequest { correction: true, reason, ..message(&[fact]) };
    let booked = record(site, vec![correction]).await.expect("it is booked");
    assert_eq!(booked.stored_count, 1);
    eventually("the audit has it", Duration::from_secs(20), async || {
        let request = ListAuditEntriesRequest { newest_first: true, ..Default::default() };
        let mut audit = AuditServiceClient::new(site.as_admin());
        let page = audit.list_audit_entries(request).await.expect("entries are listed");
        let entries = page.into_inner().entries;
        let has_it = entries.iter().any(|entry| {
            entry.event == "usage.corrected"
                && entry.actor == "administrator"
                && entry.s3uid == account.s3uid
                && entry.new_json.contains("ticket 12")
        });
        if has_it { Ok(()) } else { Err(format!("{entries:#?}")) }
    })
    .await;
    kit.stop().await;
}
