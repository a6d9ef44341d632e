//! Events that metering refused for good, as operators see them and hand them over again.

use std::sync::Arc;
use std::time::Duration;
use stowage_bus::{Outbox, RelaySettings, backlog, relay_with};
use stowage_proto::common::{DeadLetter, DeadLetterStatus, ErrorReason};
use stowage_proto::metering as pb;
use stowage_proto::storage::UsageCollected;
use stowage_runtime::{metadata_of, reason_of};
use stowage_types::SystemRandom;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use crate::kit::{Kit, NOW, dimensions, sample, uid};

async fn list(kit: &Kit, request: pb::ListDeadLettersRequest) -> pb::ListDeadLettersResponse {
    let listed = kit.dead_letters().list_dead_letters(kit.as_service(request)).await;
    listed.unwrap().into_inner()
}

async fn get(kit: &Kit, name: &str) -> Result<DeadLetter, Status> {
    let request = pb::GetDeadLetterRequest { name: name.to_owned() };
    let found = kit.dead_letters().get_dead_letter(kit.as_service(request)).await;
    found.map(Response::into_inner)
}

async fn replay(kit: &Kit, name: &str, request_id: &str) -> Result<DeadLetter, Status> {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    let request = pb::ReplayDeadLetterRequest { name, request_id };
    let replayed = kit.dead_letters().replay_dead_letter(kit.as_service(request)).await;
    replayed.map(Response::into_inner)
}

/// Sends events as storage does, until none is left in the outbox.
async fn relay(kit: &Kit, messages: &[UsageCollected]) {
    let outbox = Outbox::new("stowage/storage", kit.clock.clone(), Arc::new(SystemRandom));
    let mut tx = kit.db.begin().await.unwrap();
    for message in messages {
        let subject = format!("accounts/{}", message.s3uid);
        let kind = stowage_metering::USAGE_COLLECTED;
        outbox.push(&mut tx, kind, &subject, message).await.unwrap();
    }
    tx.commit().await.unwrap();
    let (stop, back_off) = (CancellationToken::new(), Duration::from_millis(1));
    let settings =
        RelaySettings { back_off_min: back_off, back_off_max: back_off, ..Default::default() };
    let bus = kit.bus.clone();
    let relay = tokio::spawn(relay_with(settings, kit.db.clone(), &outbox, bus, stop.clone()));
    let drained = async {
        while backlog(&kit.db).await.unwrap().pending > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), drained).await.unwrap();
    stop.cancel();
    relay.await.unwrap();
}

fn refusal(status: &Status) -> (Code, Option<ErrorReason>) {
    (status.code(), reason_of(status))
}

#[tokio::test]
async fn a_poison_event_is_kept_and_taken_once_its_cause_is_gone() {
    let kit = Kit::start().await;
    kit.open(dimensions(1)).await;
    let collected = |n: u8| UsageCollected {
        s3uid: uid(n),
        samples: vec![sample("photos", NOW, 5)],
        traffic: vec![],
    };
    let poison = UsageCollected { s3uid: "nobody".to_owned(), ..collected(1) };
    relay(&kit, &[poison, collected(1)]).await;
    assert_eq!(backlog(&kit.db).await.unwrap().dead, 0);
    let usage = pb::GetAccountUsageRequest { s3uid: uid(1), ..Default::default() };
    let usage = kit.usage().get_account_usage(kit.as_service(usage)).await.unwrap();
    assert_eq!(usage.into_inner().stored_bytes, 5, "the one behind it was taken");

    let page = list(&kit, pb::ListDeadLettersRequest::default()).await;
    assert_eq!(page.dead_letters.len(), 1, "{page:?}");
    let letter = get(&kit, &page.dead_letters[0].name).await.unwrap();
    assert_eq!((letter.consumer.as_str(), letter.attempts), ("metering", 5));
    assert!(letter.reason.starts_with("s3uid "), "{}", letter.reason);
    assert!(page.dead_letters[0].event_data.is_empty() && !letter.event_data.is_empty());

    let refused = replay(&kit, &letter.name, "one").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, Some(ErrorReason::DeadLetterRefused)));
    assert!(metadata_of(&refused, "why").is_some_and(|why| why.starts_with("s3uid ")));
    assert_eq!(get(&kit, &letter.name).await.unwrap().attempts, 6);

    // As if a version that takes it had come.
    let mended = prost::Message::encode_to_vec(&collected(1));
    let mut tx = kit.db.begin().await.unwrap();
    let sql = "UPDATE dead_letter SET data = $1";
    tx.execute(sql, stowage_db::args![mended]).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        let taken = replay(&kit, &letter.name, "one").await.unwrap();
        assert_eq!(taken.status(), DeadLetterStatus::Taken, "a repeat gets the first answer");
    }
    let again = replay(&kit, &letter.name, "two").await.unwrap_err();
    assert_eq!(refusal(&again), (Code::FailedPrecondition, Some(ErrorReason::DeadLetterTaken)));
    let waiting = DeadLetterStatus::Waiting.into();
    let waiting = pb::ListDeadLettersRequest { status: waiting, ..Default::default() };
    assert!(list(&kit, waiting).await.dead_letters.is_empty());
}

#[tokio::test]
async fn pages_follow_each_other_and_what_is_malformed_is_told() {
    let kit = Kit::start().await;
    let poison = |n| UsageCollected { s3uid: format!("nobody-{n}"), ..Default::default() };
    relay(&kit, &[poison(1), poison(2), poison(3)]).await;
    let mut request = pb::ListDeadLettersRequest { page_size: 2, ..Default::default() };
    let first = list(&kit, request.clone()).await;
    request.page_token = first.next_page_token.clone();
    let second = list(&kit, request.clone()).await;
    assert_eq!((first.dead_letters.len(), second.next_page_token.as_str()), (2, ""));
    let all = [first.dead_letters, second.dead_letters].concat();
    assert!(all.is_sorted_by(|one, next| one.name > next.name), "newest first");
    let mut subjects: Vec<_> = all.iter().map(|letter| letter.event_subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["accounts/nobody-1", "accounts/nobody-2", "accounts/nobody-3"]);
    request.consumer = "other".to_owned();
    let call = kit.dead_letters().list_dead_letters(kit.as_service(request)).await.unwrap_err();
    assert_eq!(refusal(&call), (Code::InvalidArgument, Some(ErrorReason::PageTokenInvalid)));
    let absent = "deadLetters/00000000-0000-7000-8000-000000000000";
    for (name, reason) in
        [("x", ErrorReason::InvalidField), (absent, ErrorReason::DeadLetterNotFound)]
    {
        let status = get(&kit, name).await.unwrap_err();
        assert_eq!(reason_of(&status), Some(reason), "{name}");
        let status = replay(&kit, name, "").await.unwrap_err();
        assert_eq!(reason_of(&status), Some(reason), "{name}");
    }
    let ask = kit.as_customer(101, pb::ListDeadLettersRequest::default());
    let refused = kit.dead_letters().list_dead_letters(ask).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
