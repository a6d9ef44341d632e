//! Several processes, and changes of a location that meet each other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use stowage_db::{Tx, args};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_runtime::reason_of;
use stowage_types::{S3uid, SystemRandom, name};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::kit::{Kit, OWNER, Settings, assert_reason, until, wanted};
use crate::location_changes::{SERVER, adding, kit_of, otherwise, wanted_there};

/// Long enough for whoever does not wait.
const A_WHILE: Duration = Duration::from_millis(200);

fn some_uid() -> S3uid {
    S3uid::generate(&SystemRandom)
}

#[tokio::test]
async fn every_process_drives_what_one_has_added_and_lets_go_of_what_was_removed() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    let mut kit = kit_of(&settings).await;
    let mut twin = kit.twin(settings.clone()).await;
    kit.add(adding()).await.unwrap();
    // Nothing has looked yet, and it is there when it is asked for.
    let uid = some_uid();
    twin.ensure(wanted_there(&uid)).await.unwrap();
    assert!(engine.account(&uid).is_some());
    twin.run_tasks();
    kit.run_tasks();
    twin.create_bucket(OWNER, &uid, "photos").await.unwrap();
    engine.put("photos", "a", 9);
    until(async || {
        let told = [kit.meter.last(&uid, "photos"), twin.meter.last(&uid, "photos")];
        told.contains(&Some((9, 1)))
    })
    .await;
    kit.remove(&uid, true).await.unwrap();
    twin.remove_location("DE").await.unwrap();
    // The server's own, and this one here.
    until(async || Arc::strong_count(&engine) == 2).await;
    let refused = kit.create_bucket(OWNER, &uid, "more").await;
    assert_reason(refused, Code::NotFound, ErrorReason::AccountNotFound);
}

#[tokio::test]
async fn of_two_processes_that_add_a_location_one_does() {
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    let twin = kit.twin(settings.clone()).await;
    let (one, two) = join(kit.add(adding()), twin.add(adding())).await;
    assert_eq!(one.unwrap(), two.unwrap());
    let told = "SELECT count(*) FROM outbox WHERE type = 'stowage.storage.location.changed.v1'";
    assert_eq!(kit.count(told).await, 1);
    kit.remove_location("DE").await.unwrap();

    let other = otherwise(|of| of.marker = "another".to_owned());
    let (one, two) = join(kit.add(adding()), twin.add(other)).await;
    let refused = one.and(two).unwrap_err();
    assert_eq!(reason_of(&refused), Some(ErrorReason::LocationExists), "{refused:?}");
}

/// Waits a little for a call that should be held up; answers it as it goes on.
async fn held_up<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let mut call = tokio::spawn(call);
    let early = tokio::time::timeout(A_WHILE, &mut call).await;
    assert!(early.is_err(), "it did not wait");
    call
}

fn removal(kit: &Kit) -> impl Future<Output = Result<(), Status>> + Send + 'static {
    let name = "locations/DE".to_owned();
    let request = kit.as_administrator(pb::RemoveLocationRequest { name, ..Default::default() });
    let mut locations = kit.locations();
    async move { locations.remove_location(request).await.map(drop) }
}

#[tokio::test]
async fn an_order_that_is_noted_first_keeps_its_location() {
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    kit.add(adding()).await.unwrap();
    let mut tx = kit.db().begin().await.unwrap();
    let insert = "INSERT INTO account (s3uid, customer_id, location, state, create_time, \
                  update_time) VALUES ($1, $2, 'DE', 'PENDING', $3, $3)";
    let now = time::OffsetDateTime::UNIX_EPOCH;
    tx.execute(insert, args![some_uid().as_str(), OWNER, now]).await.unwrap();
    let removing = held_up(removal(&kit)).await;
    tx.commit().await.unwrap();
    let refused = removing.await.unwrap();
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationNotEmpty);
}

/// Removes DE in a transaction that goes on.
async fn removing(kit: &Kit) -> Tx {
    let mut tx = kit.db().begin().await.unwrap();
    let lock = "SELECT code FROM location WHERE code = 'DE' FOR UPDATE";
    let _: (String,) = tx.fetch_one(lock, args![]).await.unwrap();
    let remove = "UPDATE location SET remove_time = update_time WHERE code = 'DE'";
    tx.execute(remove, args![]).await.unwrap();
    tx
}

#[tokio::test]
async fn an_order_or_a_move_that_comes_second_is_refused() {
    let settings = Settings::default();
    let engine = settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    kit.add(adding()).await.unwrap();
    let (uid, at_nl) = (some_uid(), kit.account().await);
    let tx = removing(&kit).await;
    let (request, mut accounts) = (kit.as_service(wanted_there(&uid)), kit.accounts());
    let ordering = held_up(async move { accounts.ensure_engine_account(request).await }).await;
    let start = pb::StartAccountMoveRequest {
        name: name::account_move(&at_nl, Uuid::from_u128(7)),
        location: "locations/DE".to_owned(),
        keys: wanted(&at_nl).keys,
        validate_only: false,
    };
    let (request, mut moves) = (kit.as_service(start), kit.moves());
    let moving = held_up(async move { moves.start_account_move(request).await }).await;
    tx.commit().await.unwrap();
    let refused = ordering.await.unwrap();
    assert_reason(refused, Code::NotFound, ErrorReason::LocationNotFound);
    let refused = moving.await.unwrap();
    assert_reason(refused, Code::FailedPrecondition, ErrorReason::LocationClosed);
    assert_eq!(kit.count("SELECT count(*) FROM account WHERE location = 'DE'").await, 0);
    assert_eq!(kit.count("SELECT count(*) FROM account_move").await, 0);
    assert!(engine.account(&uid).is_none() && engine.account(&at_nl).is_none());
}

#[tokio::test]
async fn however_orders_and_a_removal_meet_no_account_is_left_without_a_location() {
    let settings = Settings::default();
    settings.servers.start(SERVER);
    let kit = kit_of(&settings).await;
    let twin = kit.twin(settings.clone()).await;
    for _ in 0..20 {
        kit.add(adding()).await.unwrap();
        let uids: Vec<_> = (0..6).map(|_| some_uid()).collect();
        let orders = join_all(uids.iter().map(|uid| kit.ensure(wanted_there(uid))));
        let (ordered, removed) = join(orders, twin.remove_location("DE")).await;
        let made = ordered.iter().filter(|order| order.is_ok()).count();
        assert_eq!(removed.is_ok(), made == 0, "{removed:?} {ordered:?}");
        let homeless = "SELECT count(*) FROM account a JOIN location l ON l.code = a.location \
                        WHERE l.remove_time IS NOT NULL AND a.state <> 'REMOVED'";
        assert_eq!(kit.count(homeless).await, 0);
        for uid in &uids {
            kit.remove(uid, true).await.unwrap();
        }
    }
}
