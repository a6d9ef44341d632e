//! Backups that are made while customers order, and what is restored from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stowage_proto::accounts::AccountState;
use stowage_testkit::{Account, Customer, Process, Site, eventually, s3_client};
use tokio::task::JoinHandle;

use crate::walk::text;

/// A customer who orders, fills and deletes accounts until he is told to stop.
pub(crate) struct Busy {
    pub(crate) customer: Customer,
    stop: Arc<AtomicBool>,
    work: JoinHandle<Vec<Account>>,
}

/// Orders under way at once.
const AT_ONCE: usize = 3;

impl Busy {
    /// Returns when the first accounts are there.
    pub(crate) async fn start(site: &Site, email: &str) -> Self {
        let customer = site.customer(email, "EUR").await;
        let (paid, _) = site.plans().await;
        let stop = Arc::new(AtomicBool::new(false));
        let (its, token, stopped) = (site.clone(), customer.token.clone(), Arc::clone(&stop));
        let work = tokio::spawn(async move {
            let mut all = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let round = all.len();
                let orders = (round..round + AT_ONCE).map(|n| order(&its, &token, paid, n));
                all.extend(futures_util::future::join_all(orders).await);
                let s3uid = all[round].s3uid.clone();
                its.facade.action("delete_account", &token, &[("s3uid", &s3uid)]).await.success();
            }
            all
        });
        let busy = Self { customer, stop, work };
        eventually("orders run", Duration::from_secs(60), async || {
            match site.accounts(&busy.customer.token).await.len() {
                0..=3 => Err("too few accounts".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        busy
    }

    /// All accounts that were ordered, by their s3uid.
    pub(crate) async fn stop(self) -> (Customer, BTreeMap<String, Account>) {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.work.await.expect("every order is answered");
        (self.customer, all.into_iter().map(|a| (a.s3uid.clone(), a)).collect())
    }
}

/// Orders an account and puts a small object, which is in the index, and a large one, in a file.
async fn order(site: &Site, token: &str, plan: i64, n: usize) -> Account {
    let account = site.order(token, plan, &format!("busy-{n}")).await;
    for (key, bytes) in [("small", 100), ("large", 60_000)] {
        let body = account.s3uid.clone().into_bytes().repeat(bytes / 32);
        let put = account.s3().put_object().bucket(&account.bucket).key(key);
        put.body(body.into()).send().await.expect("an object is stored");
    }
    account
}

/// What `reconcile` found: kind, account, and whether it is mended.
pub(crate) async fn reconcile(server: &Process) -> Vec<(String, String, bool)> {
    let output = server.admin(&["reconcile", "--output", "json"]).await;
    let error = String::from_utf8_lossy(&output.stderr);
    let findings: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {error}"));
    let row = |finding: &serde_json::Value| {
        (text(finding, "kind"), text(finding, "s3uid"), finding["mended"] == true)
    };
    findings.as_array().expect("a list").iter().map(row).collect()
}

/// Waits until nothing is under way, reconciles, and looks at every account. Answers what a first
/// round of reconciliation found.
pub(crate) async fn assert_consistent(
    server: &Process,
    customer: &Customer,
    ordered: &BTreeMap<String, Account>,
) -> Vec<(String, String, bool)> {
    let site = &server.site;
    let settled = async || {
        let accounts = site.accounts(&customer.token).await;
        let state = |a: &stowage_proto::accounts::Account| a.state;
        let under_way = [AccountState::Pending as i32, AccountState::Deleting as i32];
        match accounts.iter().map(state).any(|state| under_way.contains(&state)) {
            true => Err(format!("{accounts:?}")),
            false => Ok(accounts),
        }
    };
    let accounts = eventually("what was under way ends", Duration::from_secs(60), settled).await;
    assert!(accounts.len() > 2, "{accounts:?}");
    let found = reconcile(server).await;
    let left: Vec<_> = reconcile(server).await;
    for account in &accounts {
        let s3uid = account.s3uid.as_str();
        assert_eq!(account.state, AccountState::Active as i32, "{account:?}");
        // The keys of an order whose answer was given after the backup are its own all the same.
        let access_key = site.show_key(&customer.token, s3uid, "access_key").await;
        let secret_key = site.show_key(&customer.token, s3uid, "secret_key").await;
        if let Some(known) = ordered.get(s3uid) {
            assert_eq!((&access_key, &secret_key), (&known.access_key, &known.secret_key));
        }
        let s3 = s3_client(&format!("http://{}", site.s3), &access_key, &secret_key);
        let buckets = s3.list_buckets().send().await.expect("the account's keys are good");
        for bucket in buckets.buckets() {
            let name = bucket.name().unwrap_or_default();
            let listing = s3.list_objects_v2().bucket(name).send().await.expect("a listing");
            for object in listing.contents() {
                let key = object.key().unwrap_or_default();
                let got = s3.get_object().bucket(name).key(key).send().await;
                let body = got.expect("an object").body.collect().await.expect("its bytes");
                assert!(body.into_bytes().starts_with(s3uid.as_bytes()), "{s3uid}/{key}");
            }
        }
    }
    // Whatever is billed is there: an orphan would be found at the first round or the second.
    for (kind, s3uid, mended) in found.iter().chain(&left) {
        let is_billing = kind.starts_with("subscription");
        assert!(*mended || !is_billing, "{kind} of {s3uid}: {found:?} {left:?}");
    }
    let verified = server.admin(&["audit", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_busy_server_is_one_moment_of_it() {
    let server = Process::start().await;
    let busy = Busy::start(&server.site, "busy@example.com").await;
    let early = server.site.accounts(&busy.customer.token).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut backups = Vec::new();
    for n in 0..3 {
        let to = folder.path().join(format!("backup-{n}"));
        let saved = server.admin_json(&["backup", "--to", &to.display().to_string()]).await;
        assert_eq!(saved["databases"].as_array().map(Vec::len), Some(5), "{saved}");
        backups.push(to);
    }
    let taken = server.admin(&["backup", "--to", &backups[0].display().to_string()]).await;
    assert_eq!(taken.status.code(), Some(1), "a backup is never written over");
    let (customer, ordered) = busy.stop().await;
    let late = server.site.accounts(&customer.token).await;
    drop(server);
    for backup in [&backups[0], &backups[2]] {
        let restored = Process::start_from(backup, &[]).await;
        let found = assert_consistent(&restored, &customer, &ordered).await;
        assert!(found.is_empty(), "one moment agrees with itself: {found:?}");
        let there = restored.site.accounts(&customer.token).await;
        for account in early.iter().filter(|a| late.iter().any(|late| late.s3uid == a.s3uid)) {
            assert!(there.iter().any(|there| there.s3uid == account.s3uid), "{account:?}");
        }
        // It goes on.
        let (paid, _) = restored.site.plans().await;
        restored.site.order(&customer.token, paid, "after-the-restore").await;
    }
}
