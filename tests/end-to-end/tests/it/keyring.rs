//! The master key is rotated while everything else goes on; and what a backup needs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stowage_testkit::{Account, Process, Site};

use crate::cli::{admin, json};

const SETTINGS: [(&str, &str); 2] =
    [("STOWAGE_KEYRING_USABLE_AFTER_MS", "1500"), ("STOWAGE_KEYRING_RETIRE_AFTER_MS", "1500")];

/// Databases with secrets in them.
const DATABASES: [&str; 2] = ["accounts.db", "s3/index.sqlite"];

/// Orders, and puts with the new keys, until it is told to stop; answers how many. Panics at the
/// first failure.
async fn order_on(site: Site, token: String, plan_id: i64, stop: Arc<AtomicBool>) -> usize {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let account = site.order(&token, plan_id, &format!("turn-{done}")).await;
        put_and_get(&account).await;
        done += 1;
    }
    done
}

/// Writes an object with an account's keys, and reads it.
pub(crate) async fn put_and_get(account: &Account) {
    let s3 = account.s3();
    let put = s3.put_object().bucket(&account.bucket).key("k").body(vec![7; 100].into());
    put.send().await.expect("a put succeeds");
    let got = s3.get_object().bucket(&account.bucket).key("k").send().await;
    got.expect("a get succeeds");
}

/// S3 and the facade, which opens the secret each time, until it is told to stop.
async fn use_on(site: Site, token: String, account: Account, stop: Arc<AtomicBool>) -> usize {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        put_and_get(&account).await;
        let shown = site.show_key(&token, &account.s3uid, "secret_key").await;
        assert_eq!(shown, account.secret_key);
        done += 1;
    }
    done
}

fn copy(from: &Path, to: &Path) {
    for database in DATABASES {
        for end in ["", "-wal", "-shm"] {
            let name = format!("{database}{end}");
            let target = to.join(&name);
            fs::create_dir_all(target.parent().expect("it is in a folder")).expect("it is made");
            let _ = fs::remove_file(&target);
            if from.join(&name).exists() {
                fs::copy(from.join(&name), target).expect("it is copied");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_disturbs_nobody_and_an_old_backup_needs_the_old_master_key() {
    let mut server = Process::start_with(&SETTINGS).await;
    let customer = server.site.customer("turn@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "before").await;
    put_and_get(&account).await;
    // A backup: databases and master keys, of one moment.
    server.stop("TERM").await;
    let backup = tempfile::tempdir().expect("a folder can be made");
    copy(&server.data(), backup.path());
    fs::copy(server.data().join("keyring"), backup.path().join("keyring")).expect("it is copied");
    server.restart().await;

    let stop = Arc::new(AtomicBool::new(false));
    let (site, token) = (server.site.clone(), customer.token.clone());
    let orders = tokio::spawn(order_on(site.clone(), token.clone(), plan_id, Arc::clone(&stop)));
    let uses = tokio::spawn(use_on(site, token, account.clone(), Arc::clone(&stop)));
    let rotated = json(&server, &["keyring", "rotate"]).await;
    let again = json(&server, &["keyring", "rewrap"]).await;
    // Calls under way have their time before the old one may go.
    let early = admin(&server, &["keyring", "retire", "1"]).await;
    let retired = async {
        loop {
            let output = admin(&server, &["keyring", "retire", "1"]).await;
            if output.status.success() {
                break;
            }
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(why.contains("calls under way"), "{why}");
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, retired).await.expect("the old master key can go");
    stop.store(true, Ordering::Relaxed);
    let (orders, uses) =
        (orders.await.expect("no order fails"), uses.await.expect("no call fails"));
    assert!(orders > 0 && uses > 0, "{orders} orders, {uses} uses");
    for row in rotated.as_array().expect("a row for each role") {
        assert!(row["moved"].as_i64() > Some(0) && row["refused"] == 0, "{row}");
    }
    assert_eq!(again[0]["refused"], 0, "{again}");
    let early = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(early.is_empty() || early.contains("calls under way"), "{early}");

    // The databases of before with the keyring of now: what is in them is refused.
    server.stop("TERM").await;
    copy(backup.path(), &server.data());
    server.restart().await;
    let token = server.site.login(&customer.api_key).await;
    let parameters = [("s3uid", account.s3uid.as_str()), ("s3_key", "secret_key")];
    let answer = server.site.facade.action("show_key", &token, &parameters).await;
    assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text());
    assert!(server.log().contains("master key 1, which"), "the log says why");
    let put = account.s3().get_object().bucket(&account.bucket).key("k").send().await;
    let status = put.expect_err("it is refused").raw_response().map(|raw| raw.status().as_u16());
    assert_eq!(status, Some(503));
    let status = json(&server, &["keyring", "status"]).await;
    let lost = status.as_array().expect("rows").iter().filter(|row| row["state"] == "lost");
    assert_eq!(lost.count(), 2, "{status}");

    // With the keyring of the backup all is as it was.
    server.stop("TERM").await;
    copy(backup.path(), &server.data());
    fs::copy(backup.path().join("keyring"), server.data().join("keyring")).expect("it is copied");
    server.restart().await;
    put_and_get(&account).await;
    let token = server.site.login(&customer.api_key).await;
    let shown = server.site.show_key(&token, &account.s3uid, "secret_key").await;
    assert_eq!(shown, account.secret_key);
}
