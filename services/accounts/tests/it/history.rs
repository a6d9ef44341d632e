use prost::Message as _;
use stowage_auth::Principal;
use stowage_bus::Event;
use stowage_proto::{accounts as pb, billing, storage};
use stowage_types::{Clock as _, SystemRandom, new_id};

use crate::kit::{Kit, staff};

async fn list(kit: &Kit, by: &Principal, message: pb::ListHistoryRequest) -> Vec<pb::HistoryEntry> {
    kit.accounts().list_history(kit.by(by, message)).await.unwrap().into_inner().entries
}

async fn change_plan(kit: &Kit, event: &str) -> Event {
    let changed = billing::PlanChanged {
        plan_id: 1,
        version: 2,
        event: event.into(),
        actor: "administrator".into(),
        old_json: String::new(),
        new_json: r#"{"prices":[{"currency":"EUR","units":9},{"currency":"USD","units":10}]}"#
            .into(),
        request_id: "r-1".into(),
    };
    let event = Event {
        id: new_id(&*kit.clock, &SystemRandom),
        source: "stowage/billing".into(),
        kind: "stowage.billing.plan.changed.v1".into(),
        subject: "plans/1".into(),
        time: kit.clock.now(),
        data: changed.encode_to_vec(),
    };
    kit.bus.publish(&event).await.unwrap();
    event
}

#[tokio::test]
async fn every_publisher_knows_the_queues_of_this_role() {
    assert_eq!(Kit::start().await.bus.undeclared(), [""; 0]);
}

#[tokio::test]
async fn changes_of_plans_are_history_once_and_customers_read_them_without_names() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let event = change_plan(&kit, "plan.updated").await;
    kit.bus.publish(&event).await.unwrap();
    let of_plan = pb::ListHistoryRequest { plan: "plans/1".into(), ..Default::default() };
    let entries = list(&kit, &staff(), of_plan.clone()).await;
    assert_eq!(entries.len(), 1, "the second delivery has no effect");
    assert_eq!(
        (entries[0].event.as_str(), entries[0].actor.as_str()),
        ("plan.updated", "administrator")
    );
    let entries = list(&kit, &customer, of_plan).await;
    assert_eq!(entries[0].actor, "provider");
    assert_eq!(entries[0].new_json, r#"{"prices":[{"currency":"EUR","units":9}]}"#);
}

#[tokio::test]
async fn what_storage_tells_of_contents_is_history_of_the_account() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap();
    let publish = async |s3uid: &str, what: &str, key: &str| {
        let changed = storage::ContentChanged {
            s3uid: s3uid.to_owned(),
            event: what.to_owned(),
            actor: "administrator for customers/1".to_owned(),
            bucket: "photos".to_owned(),
            key: key.to_owned(),
            request_id: "r-1".to_owned(),
        };
        let event = Event {
            id: new_id(&*kit.clock, &SystemRandom),
            source: "stowage/storage".into(),
            kind: "stowage.storage.content.changed.v1".into(),
            subject: account.name.clone(),
            time: kit.clock.now(),
            data: changed.encode_to_vec(),
        };
        kit.bus.publish(&event).await
    };
    publish(&account.s3uid, "bucket.created", "").await.unwrap();
    publish(&account.s3uid, "file.deleted", "a/b").await.unwrap();
    let of_account = pb::ListHistoryRequest { account: account.name.clone(), ..Default::default() };
    let entries = list(&kit, &customer, of_account).await;
    let shown: Vec<_> = entries
        .iter()
        .map(|e| (e.event.as_str(), e.old_json.as_str(), e.new_json.as_str()))
        .collect();
    let file = r#"{"bucket":"photos","key":"a/b"}"#;
    assert_eq!(
        shown[..2],
        [("file.deleted", file, ""), ("bucket.created", "", r#"{"bucket":"photos"}"#)]
    );
    assert_eq!(entries[0].actor, "administrator for customers/1");
    // Nobody's account is no history; the event is refused, and not lost silently.
    for s3uid in ["00000000000000000000000000000000", "x"] {
        assert!(publish(s3uid, "bucket.created", "").await.is_err(), "{s3uid}");
    }
}

#[tokio::test]
async fn a_customer_reads_his_own_entries_by_account_plan_and_page() {
    let kit = Kit::start().await;
    let (one, two) = (kit.customer("a@example.com").await, kit.customer("b@example.com").await);
    let account = kit.order(&one, "photos", "").await.unwrap();
    kit.order(&two, "films", "").await.unwrap();
    change_plan(&kit, "plan.archived").await;
    let events = |entries: &[pb::HistoryEntry]| -> Vec<String> {
        entries.iter().map(|entry| entry.event.clone()).collect()
    };
    let all = list(&kit, &one, pb::ListHistoryRequest::default()).await;
    let expected = ["plan.archived", "account.activated", "account.ordered", "customer.created"];
    assert_eq!(events(&all), expected, "newest first, nothing of the other");
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));

    let of_account = pb::ListHistoryRequest { account: account.name.clone(), ..Default::default() };
    assert_eq!(list(&kit, &one, of_account.clone()).await.len(), 2);
    assert_eq!(list(&kit, &two, of_account).await.len(), 0);
    let of_plan = pb::ListHistoryRequest {
        plan: "plans/1".into(),
        page_size: 1,
        skip: 1,
        ..Default::default()
    };
    let page = list(&kit, &one, of_plan.clone()).await;
    assert_eq!(events(&page), ["account.activated"]);
    assert_eq!(page[0].s3uid, account.s3uid);
    let all = pb::ListHistoryRequest { page_size: 0, skip: 0, ..of_plan };
    assert_eq!(list(&kit, &staff(), all).await.len(), 5);
}

#[tokio::test]
async fn readings_of_secrets_are_listed_only_when_asked_for() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap();
    for _ in 0..3 {
        let message = pb::ListAccessKeysRequest {
            parent: account.name.clone(),
            with_secrets: true,
            ..Default::default()
        };
        kit.accounts().list_access_keys(kit.by(&customer, message)).await.unwrap();
    }
    let changes = ["account.activated", "account.ordered"];
    let with_reads = [&["key.read"; 3][..], &changes].concat();
    for (with_reads, expected) in [(false, &changes[..]), (true, &with_reads)] {
        let account = account.name.clone();
        let message = pb::ListHistoryRequest { account, with_reads, ..Default::default() };
        let entries = list(&kit, &customer, message).await;
        let events: Vec<&str> = entries.iter().map(|entry| entry.event.as_str()).collect();
        assert_eq!(events, expected, "with_reads {with_reads}");
    }
}

#[tokio::test]
async fn bad_filters_are_told() {
    let kit = Kit::start().await;
    let bad = pb::ListHistoryRequest {
        plan: "x".into(),
        account: "y".into(),
        page_size: -1,
        skip: 100_001,
        with_reads: false,
    };
    let error = kit.accounts().list_history(kit.by(&staff(), bad)).await.unwrap_err();
    assert_eq!(stowage_runtime::field_violations(&error).len(), 4);
}
