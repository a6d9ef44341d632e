//! Whether every part of a server holds what its clients were told, once, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use stowage_proto::accounts::saga_service_client::SagaServiceClient;
use stowage_proto::accounts::{AccountState, ListSagasRequest, Saga, SagaStatus};
use stowage_proto::billing::subscription_service_client::SubscriptionServiceClient;
use stowage_proto::billing::{BatchGetSubscriptionsRequest, SubscriptionState};
use stowage_proto::metering::RankAccountsRequest;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_testkit::{Process, Site, eventually, read_texts, s3_client};

use super::client::{Book, Client};

/// How long after a start open sagas may take to end.
const SAGAS_WITHIN: Duration = Duration::from_secs(5);
/// How long events may take to arrive.
const EVENTS_WITHIN: Duration = Duration::from_secs(30);
/// Most rows of a page.
const PAGE: i32 = 1000;
/// What belongs to accounts that are there, and to no other: where it is, and how it is found.
const OWNED: &[(&str, &str)] = &[
    ("accounts.db", "SELECT s3uid FROM account WHERE state NOT IN ('FAILED', 'DELETED')"),
    ("accounts.db", "SELECT s3uid FROM access_key WHERE sealed IS NOT NULL"),
    ("storage.db", "SELECT s3uid FROM account WHERE state <> 'REMOVED'"),
    ("s3/index.sqlite", "SELECT uid FROM account"),
    ("s3/index.sqlite", "SELECT uid FROM access_key"),
    ("billing.db", "SELECT s3uid FROM subscription WHERE state NOT IN ('cancelled', 'terminated')"),
    ("billing.db", "SELECT s3uid FROM ledger_order WHERE state IN ('placed', 'active')"),
    ("metering.db", "SELECT s3uid FROM meter WHERE closed_time IS NULL"),
];
/// Work that is left to do.
const LEFT: &[(&str, &str)] = &[
    ("accounts.db", "SELECT type FROM outbox"),
    ("storage.db", "SELECT type FROM outbox"),
    ("billing.db", "SELECT type FROM outbox"),
    ("metering.db", "SELECT type FROM outbox"),
];

async fn sagas(site: &Site, status: SagaStatus) -> Vec<Saga> {
    let request = ListSagasRequest { status: status.into(), page_size: PAGE, ..Default::default() };
    let answer = SagaServiceClient::new(site.as_admin()).list_sagas(request).await;
    answer.expect("sagas are listed").into_inner().sagas
}

/// Waits as long as sagas may take after a start; none may be stuck.
pub(super) async fn sagas_have_ended(site: &Site) {
    eventually("open sagas end", SAGAS_WITHIN, async || {
        match sagas(site, SagaStatus::Running).await {
            open if open.is_empty() => Ok(()),
            open => Err(format!("{open:?}")),
        }
    })
    .await;
    let stuck = sagas(site, SagaStatus::Stuck).await;
    assert!(stuck.is_empty(), "{stuck:?}");
}

/// Checks everything, once no event is on its way.
pub(super) async fn all_agree(process: &Process, clients: &[Client]) {
    sagas_have_ended(&process.site).await;
    let path = |file: &str| -> PathBuf { process.data().join(file) };
    eventually("events arrive", EVENTS_WITHIN, async || {
        for (file, query) in LEFT {
            let left = read_texts(&path(file), query).await?;
            if !left.is_empty() {
                return Err(format!("{file}: {left:?}"));
            }
        }
        Ok(())
    })
    .await;
    let mut there: Vec<String> = Vec::new();
    let mut buckets: Vec<String> = Vec::new();
    for Client { book, .. } in clients {
        there.extend(book.accounts.keys().cloned());
        buckets.extend(book.accounts.values().flatten().cloned());
    }
    there.sort();
    buckets.sort();
    for (file, query) in OWNED {
        let found = read_texts(&path(file), query).await.expect("it can be read");
        assert_same(&format!("{file}: {query}"), &found, &there);
    }
    let found = read_texts(&path("s3/index.sqlite"), "SELECT name FROM bucket").await;
    assert_same("buckets of the engine", &found.expect("it can be read"), &buckets);
    history_agrees(process, clients).await;
    for client in clients {
        contracts_agree(&process.site, client).await;
    }
}

/// Each thing that was done is in history once, and each that was undone too.
async fn history_agrees(process: &Process, clients: &[Client]) {
    const EVENTS: &str = "SELECT s3uid || ' ' || event || ' ' || count(*) FROM history \
        WHERE s3uid <> '' AND event <> 'key.read' AND event <> 'bucket.created' \
        GROUP BY s3uid, event";
    const BUCKETS: &str = "SELECT s3uid || ' ' || json_extract(new_json, '$.bucket') \
        FROM history WHERE event = 'bucket.created'";
    const FAILED: &str = "SELECT s3uid FROM account WHERE state = 'FAILED'";
    let path = process.data().join("accounts.db");
    let read = async |query| read_texts(&path, query).await.expect("history can be read");
    let (mut events, mut buckets) = (Vec::new(), Vec::new());
    for s3uid in read(FAILED).await {
        events.extend(["ordered", "failed"].map(|event| format!("{s3uid} account.{event} 1")));
    }
    for Client { book: Book { accounts, deleted, first, .. }, .. } in clients {
        for (s3uid, of) in accounts.iter().chain(deleted) {
            let more = of.iter().filter(|bucket| first.get(s3uid) != Some(bucket));
            buckets.extend(more.map(|bucket| format!("{s3uid} {bucket}")));
            let done = ["ordered", "activated", "deletion_begun", "deleted"].into_iter();
            let done = done.take(2 + 2 * usize::from(deleted.contains_key(s3uid)));
            events.extend(done.map(|event| format!("{s3uid} account.{event} 1")));
        }
    }
    events.sort();
    buckets.sort();
    assert_same("events of accounts in history", &read(EVENTS).await, &events);
    assert_same("buckets made, in history", &read(BUCKETS).await, &buckets);
}

/// The same seen through the doors: accounts, subscriptions, meters, and S3 with the keys sold.
async fn contracts_agree(site: &Site, client: &Client) {
    let Client { customer, book, .. } = client;
    let accounts = site.accounts(&customer.token).await;
    let found: Vec<&String> = accounts.iter().map(|account| &account.s3uid).collect();
    let wanted: Vec<&String> = book.accounts.keys().collect();
    assert_eq!(sorted(found), wanted, "{}", customer.email);

    let service_ids = accounts.iter().map(|account| account.service_id).collect();
    let request = BatchGetSubscriptionsRequest { service_ids, ..Default::default() };
    let mut billing = SubscriptionServiceClient::new(site.as_admin());
    let found = billing.batch_get_subscriptions(request).await.expect("billing answers");
    let found = found.into_inner().subscriptions;
    assert!(found.iter().all(|one| one.state() == SubscriptionState::Active), "{found:?}");
    assert_eq!(sorted(found.iter().map(|one| &one.s3uid).collect()), wanted);

    let request =
        RankAccountsRequest { customer_id: customer.id, page_size: PAGE, ..Default::default() };
    let ranked = UsageServiceClient::new(site.as_admin()).rank_accounts(request).await;
    let ranked = ranked.expect("metering answers").into_inner().accounts;
    let metered: BTreeMap<String, i64> = ranked
        .into_iter()
        .filter_map(|one| one.dimensions.map(|of| (of.s3uid, of.account_id)))
        .collect();
    let sold = accounts.iter().map(|account| (account.s3uid.clone(), account.account_id));
    assert_eq!(metered, sold.collect(), "{}", customer.email);

    for account in &accounts {
        assert_eq!(account.state(), AccountState::Active, "{account:?}");
        let key = async |which| site.show_key(&customer.token, &account.s3uid, which).await;
        let (access, secret) = (key("access_key").await, key("secret_key").await);
        let listed = s3_client(&account.endpoint, &access, &secret).list_buckets().send().await;
        let listed = listed.expect("the keys that were sold are good");
        let names = listed.buckets().iter().filter_map(|bucket| bucket.name());
        let names: Vec<&str> = names.collect();
        let wanted: Vec<&String> = book.accounts[&account.s3uid].iter().collect();
        assert_eq!(names, wanted, "{}", account.s3uid);
    }
}

/// Names the differences only: there may be hundreds of rows.
fn assert_same(what: &str, found: &[String], wanted: &[String]) {
    let lacking: Vec<&String> = wanted.iter().filter(|one| !found.contains(one)).collect();
    let left_over: Vec<&String> = found.iter().filter(|one| !wanted.contains(one)).collect();
    assert!(
        found == wanted,
        "{what}: {} found of {}; lacking: {lacking:?}; left over: {left_over:?}",
        found.len(),
        wanted.len(),
    );
}

fn sorted(mut texts: Vec<&String>) -> Vec<&String> {
    texts.sort();
    texts
}
