//! Events that accounts refused for good, as operators see them and hand them over again.

use std::sync::Arc;
use std::time::Duration;

use stowage_auth::Principal;
use stowage_bus::{Outbox, backlog};
use stowage_proto::accounts as pb;
use stowage_proto::billing::PlanChanged;
use stowage_proto::common::{DeadLetter, ErrorReason};
use stowage_proto::storage::ContentChanged;
use stowage_types::{CustomerId, SystemRandom};
use tonic::{Code, Response, Status};

use crate::kit::{Kit, acting_for, admin, assert_reason};

/// Sends one event of each kind as the other roles do, and waits until neither is in the outbox.
async fn relay(kit: &Kit, content: &ContentChanged, plan: &PlanChanged) {
    let outbox = Outbox::new("stowage/test", kit.clock.clone(), Arc::new(SystemRandom));
    let mut tx = kit.db.begin().await.unwrap();
    let kind = "stowage.storage.content.changed.v1";
    outbox.push(&mut tx, kind, "accounts/x", content).await.unwrap();
    outbox.push(&mut tx, "stowage.billing.plan.changed.v1", "plans/7", plan).await.unwrap();
    tx.commit().await.unwrap();
    // The relay pauses between its attempts, so this does too.
    let drained = async {
        while backlog(&kit.db).await.unwrap().pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), drained).await.unwrap();
}

async fn list(kit: &Kit, by: &Principal) -> Result<Vec<DeadLetter>, Status> {
    let request = pb::ListDeadLettersRequest::default();
    let listed = kit.dead_letters().list_dead_letters(kit.by(by, request)).await;
    listed.map(|page| page.into_inner().dead_letters)
}

async fn replay(kit: &Kit, name: &str) -> Result<DeadLetter, Status> {
    let request = pb::ReplayDeadLetterRequest { name: name.to_owned(), request_id: "r".to_owned() };
    let replayed = kit.dead_letters().replay_dead_letter(kit.by(&admin(), request)).await;
    replayed.map(Response::into_inner)
}

#[tokio::test]
async fn a_poison_event_of_history_is_kept_and_those_behind_it_go_on() {
    let kit = Kit::start().await;
    let poison = ContentChanged { s3uid: "nobody".to_owned(), ..Default::default() };
    let plan = PlanChanged { plan_id: 7, event: "plan.created".to_owned(), ..Default::default() };
    relay(&kit, &poison, &plan).await;
    assert!(kit.history(&admin()).await.contains(&"plan.created".to_owned()));
    let letters = list(&kit, &admin()).await.unwrap();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.consumer.as_str(), letter.attempts), ("accounts.history", 5));
    let acting = acting_for(&Principal { customer: Some(CustomerId(1)), ..admin() });
    let refused = list(&kit, &acting).await.unwrap_err();
    assert_reason(&refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);

    let refused = replay(&kit, &letter.name).await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, ErrorReason::DeadLetterRefused);
    // As if a version that takes it had come.
    let event = "stowage.billing.plan.changed.v1";
    let data =
        prost::Message::encode_to_vec(&PlanChanged { event: "plan.archived".to_owned(), ..plan });
    let mut tx = kit.db.begin().await.unwrap();
    let sql = "UPDATE dead_letter SET type = $1, data = $2";
    tx.execute(sql, stowage_db::args![event, data]).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        replay(&kit, &letter.name).await.unwrap();
    }
    let history = kit.history(&admin()).await;
    for (event, count) in [("plan.archived", 1), ("dead_letter.replayed", 1)] {
        let found = history.iter().filter(|found| *found == event).count();
        assert_eq!(found, count, "{event} of {history:?}");
    }
}
