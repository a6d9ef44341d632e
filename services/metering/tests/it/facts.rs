//! Facts of collectors: what becomes of each.

use stowage_db::args;
use stowage_proto::common::ErrorReason;
use stowage_proto::metering as pb;
use stowage_proto::metering::FactKind::{
    Deleted, ReadRequests, ReceivedBytes, RefusedBytes, RefusedRequests, SentBytes, Stored,
};
use stowage_proto::metering::FactStatus::{Duplicate, Refused, Stored as IsStored};
use stowage_proto::metering::UsageStep;
use stowage_runtime::{field_violations, reason_of};
use stowage_types::timestamp;
use time::Duration;
use tonic::Code;

use crate::kit::{Kit, NOW, dimensions, fact, told, uid};

const OTHER_PAYLOAD: &str = "id used for another payload";

fn stored() -> (pb::FactStatus, String) {
    (IsStored, String::new())
}

fn duplicate() -> (pb::FactStatus, String) {
    (Duplicate, String::new())
}

fn refused(why: &str) -> (pb::FactStatus, String) {
    (Refused, why.to_owned())
}

#[tokio::test]
async fn every_kind_of_fact_has_its_figure() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let facts = [
        ("1", Stored, 500),
        ("2", ReceivedBytes, 10),
        ("3", SentBytes, 20),
        ("4", ReadRequests, 2),
        ("5", pb::FactKind::WriteRequests, 3),
        ("6", RefusedRequests, 4),
        ("7", RefusedBytes, 5),
    ];
    let facts: Vec<_> =
        facts.into_iter().map(|(id, kind, value)| fact(id, "photos", kind, value)).collect();
    assert_eq!(kit.tell(facts).await, vec![stored(); 7]);
    for (bucket, step) in
        [("photos", UsageStep::Hour), ("", UsageStep::Hour), ("photos", UsageStep::Month)]
    {
        let answer = kit.history((1, bucket), step, (NOW, NOW + Duration::MINUTE)).await;
        let [window] = &answer.windows[..] else { panic!("{answer:?}") };
        assert_eq!((window.stored_bytes_peak, window.stored_bytes_last), (500, 500));
        assert_eq!((window.received_bytes, window.sent_bytes), (10, 20));
        assert_eq!((window.read_requests, window.write_requests), (2, 3));
        assert_eq!((window.refused_requests, window.refused_bytes), (4, 5));
    }
    let account = kit.account(1).await;
    // Refused ones are charged to nobody.
    assert_eq!((account.received_bytes, account.sent_bytes), (10, 20));
    assert_eq!(account.source(), pb::UsageSource::Latest);
    assert_eq!(kit.tell(vec![fact("8", "photos", Deleted, 0)]).await, [stored()]);
    assert_eq!(kit.account(1).await.stored_bytes, 0);
}

#[tokio::test]
async fn each_fact_is_answered_for_itself() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let at = |time, fact: pb::Fact| pb::Fact { time: Some(timestamp(time)), ..fact };
    let old = NOW - Duration::days(36);
    let facts = vec![
        fact("1", "a", SentBytes, 7),
        fact("1", "a", SentBytes, 7),
        fact("1", "a", SentBytes, 8),
        fact("2", "a", pb::FactKind::Unspecified, 7),
        fact("", "a", SentBytes, 7),
        at(old, fact("3", "a", SentBytes, 7)),
        at(NOW + Duration::HOUR, fact("4", "a", SentBytes, 7)),
        pb::Fact { s3uid: "x".to_owned(), ..fact("5", "a", SentBytes, 7) },
        pb::Fact { time: None, ..fact("6", "a", SentBytes, 7) },
        fact("7", "", Stored, 7),
        fact("8", "a", Stored, -7),
        pb::Fact { object_count: 1, ..fact("9", "a", SentBytes, 7) },
        fact("10", "a", Deleted, 7),
        fact("11", "a", SentBytes, -2),
    ];
    let outcomes = kit.tell(facts.clone()).await;
    let (statuses, whys): (Vec<_>, Vec<_>) = outcomes.iter().cloned().unzip();
    assert_eq!((statuses[0], statuses[1], statuses[13]), (IsStored, Duplicate, IsStored));
    assert_eq!(outcomes[2], refused(OTHER_PAYLOAD));
    assert_eq!(statuses[2..13], [Refused; 11]);
    assert!(whys[2..13].iter().all(|why| !why.is_empty()), "{whys:?}");
    assert_eq!(kit.account(1).await.sent_bytes, 5);
    let answer = kit.record(vec![told(facts)]).await.unwrap();
    let counts = (answer.stored_count, answer.duplicate_count, answer.refused_count);
    assert_eq!(counts, (0, 3, 11));
    assert_eq!(kit.account(1).await.sent_bytes, 5);
}

#[tokio::test]
async fn an_id_is_its_sources_own_and_is_used_once_whatever_the_day() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    kit.open(dimensions(2)).await;
    assert_eq!(kit.tell(vec![fact("1", "a", SentBytes, 7)]).await, [stored()]);
    let other = pb::RecordFactsRequest {
        source: "log/front-2".to_owned(),
        facts: vec![fact("1", "a", SentBytes, 8)],
        ..Default::default()
    };
    assert_eq!(kit.record(vec![other]).await.unwrap().stored_count, 1);
    let was = |days| Some(timestamp(NOW - Duration::days(days)));
    for (days, s3uid) in [(1, 1), (9, 1), (17, 1), (33, 1), (0, 2)] {
        let again = pb::Fact { time: was(days), s3uid: uid(s3uid), ..fact("1", "a", SentBytes, 7) };
        assert_eq!(kit.tell(vec![again]).await, [refused(OTHER_PAYLOAD)], "{days} {s3uid}");
    }
    // A late one, found again when it is too late to be new.
    let late = pb::Fact { time: was(34), ..fact("2", "a", SentBytes, 7) };
    assert_eq!(kit.tell(vec![late.clone()]).await, [stored()]);
    kit.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(kit.tell(vec![late]).await, [duplicate()]);
}

#[tokio::test]
async fn conflicts_are_listed_the_last_one_first() {
    let kit = Kit::start().await;
    kit.tell((1..=3).map(|n| fact(&n.to_string(), "a", SentBytes, 7)).collect()).await;
    for id in ["1", "2", "3", "1"] {
        kit.clock.advance(std::time::Duration::from_secs(1));
        kit.tell(vec![fact(id, "b", SentBytes, 9)]).await;
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListFactConflictsRequest {
            source: "log/front-1".to_owned(),
            page_size: 2,
            page_token,
        };
        let page = kit.facts().list_fact_conflicts(kit.as_admin(request)).await.unwrap();
        let page = page.into_inner();
        listed.extend(page.conflicts.into_iter().map(|conflict| (conflict.id, conflict.count)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected = [("1", 2), ("3", 1), ("2", 1)].map(|(id, count)| (id.to_owned(), count));
    assert_eq!(listed, expected);
    let request = pb::ListFactConflictsRequest { source: "other".to_owned(), ..Default::default() };
    let page = kit.facts().list_fact_conflicts(kit.as_admin(request)).await.unwrap();
    assert!(page.into_inner().conflicts.is_empty());
}

#[tokio::test]
async fn messages_that_are_wrong_as_a_whole_are_refused_and_those_before_them_taken() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let good = told(vec![fact("1", "a", SentBytes, 7)]);
    let with = |source: &str| pb::RecordFactsRequest { source: source.to_owned(), ..told(vec![]) };
    let many = told(vec![fact("2", "a", SentBytes, 7); 10_001]);
    let no_reason = pb::RecordFactsRequest { correction: true, ..good.clone() };
    for (bad, field) in [
        (with(""), "source"),
        (with("stowage/storage"), "source"),
        (with(&"x".repeat(201)), "source"),
        (many, "facts"),
        (no_reason, "reason"),
    ] {
        let error = kit.record(vec![good.clone(), bad]).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(field_violations(&error)[0].0, field);
    }
    assert_eq!(kit.account(1).await.sent_bytes, 7);
    let most = (0..10_000).map(|n| fact(&format!("m{n:05}"), "a", SentBytes, 1)).collect();
    assert_eq!(kit.record(vec![told(most)]).await.unwrap().stored_count, 10_000);
    assert_eq!(kit.account(1).await.sent_bytes, 10_007);
}

#[tokio::test]
async fn corrections_are_an_administrators_and_told_to_the_audit() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let long_ago = NOW - Duration::days(200);
    let at = |fact: pb::Fact| pb::Fact { time: Some(timestamp(long_ago)), ..fact };
    let facts = vec![at(fact("1", "a", SentBytes, 70)), at(fact("2", "a", Stored, 7))];
    let reason = "ticket 12".to_owned();
    let message = pb::RecordFactsRequest { correction: true, reason, ..told(facts.clone()) };
    let error = kit.record(vec![message.clone()]).await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::RoleNotAllowed));
    assert_eq!(kit.tell(facts).await.iter().filter(|(status, _)| *status == Refused).count(), 2);
    for (stored_count, duplicate_count) in [(1, 0), (0, 1)] {
        let messages = kit.as_admin(futures_util::stream::iter([message.clone()]));
        let answer = kit.facts().record_facts(messages).await.unwrap().into_inner();
        // What was stored so long ago has no samples beside it that it could be worked into.
        assert_eq!((answer.stored_count, answer.duplicate_count), (stored_count, duplicate_count));
        assert_eq!(answer.refused_count, 1);
    }
    let day = (long_ago, long_ago + Duration::DAY);
    let answer = kit.history((1, "a"), UsageStep::Day, day).await;
    assert_eq!(answer.windows[0].sent_bytes, 70);
    let events = "SELECT count(*) FROM outbox WHERE type = 'stowage.metering.usage.corrected.v1'";
    let (told,): (i64,) = kit.db.fetch_one(events, args![]).await.unwrap();
    assert_eq!(told, 1, "what changed nothing is not told");
}

#[tokio::test]
async fn facts_are_taken_by_who_acts_for_nobody() {
    let kit = Kit::start().await;
    let messages = || futures_util::stream::iter([told(vec![])]);
    let refused = kit.facts().record_facts(kit.as_customer(101, messages())).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::RoleNotAllowed));
    assert_eq!(kit.record(vec![told(vec![])]).await.unwrap().outcomes, []);
}

#[tokio::test]
async fn facts_that_come_at_once_by_two_ways_all_count_once() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let sources = (0..8).map(async |source| {
        // Each fact comes from two, in different batches.
        let ids = (0..40).map(|n| (source / 2) * 40 + (n * 7 + source) % 40);
        let facts = ids.map(|n| fact(&format!("{n:03}"), &format!("b{}", n % 5), SentBytes, 1));
        let facts: Vec<_> = facts.collect();
        for batch in facts.chunks(9) {
            kit.tell(batch.to_vec()).await;
        }
    });
    futures_util::future::join_all(sources).await;
    assert_eq!(kit.account(1).await.sent_bytes, 160);
}

#[tokio::test]
async fn what_would_pass_what_can_be_counted_is_refused_and_what_was_there_stays() {
    const MAX: i64 = 1 << 53;
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    assert_eq!(kit.tell(vec![fact("1", "photos", SentBytes, MAX - 5)]).await, [stored()]);
    assert_eq!(kit.tell(vec![fact("2", "photos", SentBytes, 5)]).await, [stored()]);
    let many = (0..9_000).map(|n| fact(&format!("many{n}"), "other", ReceivedBytes, MAX));
    for facts in [vec![fact("3", "photos", SentBytes, MAX)], many.collect()] {
        let refused = kit.record(vec![told(facts)]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(field_violations(&refused)[0].0, "facts");
    }
    // It can be taken back, and then there is room.
    assert_eq!(kit.tell(vec![fact("4", "photos", SentBytes, -MAX)]).await, [stored()]);
    assert_eq!(kit.tell(vec![fact("3", "photos", SentBytes, MAX)]).await, [stored()]);
    let account = kit.account(1).await;
    assert_eq!((account.sent_bytes, account.received_bytes), (MAX, 0));
}
