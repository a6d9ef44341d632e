//! Users of RGW that were there before, from the list to their figures.

use std::fs;
use std::process::Output;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use stowage_engine::KeyPair;
use stowage_engine_embedded::fuzzing::sign_request;
use stowage_testkit::Facade;
use stowage_types::{Clock as _, SystemClock};

use super::*;

/// One who is on RGW, and what nobody but him knows.
struct Panel {
    name: String,
    account: Account,
}

/// Does something at the Admin Ops API, as whoever was there before.
async fn operator(method: &str, path: &str, query: &[(&str, &str)]) {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish()
        .replace('+', "%20");
    let path = format!("/admin/{path}?{query}");
    let url = setting("STOWAGE_TEST_CEPH_URL");
    let place = url.trim_start_matches("http://");
    let keys = KeyPair {
        access_key: setting("STOWAGE_TEST_CEPH_ACCESS_KEY"),
        secret_key: setting("STOWAGE_TEST_CEPH_SECRET_KEY").into(),
    };
    let request = Request::builder().method(method).uri(format!("{url}{path}"));
    let request = request.header("host", place).body(Bytes::new());
    let mut request = request.expect("a request");
    sign_request(&mut request, &keys, "us-east-1", SystemClock.now()).expect("a signature");
    *request.uri_mut() = path.parse().expect("a path");
    let address = place.parse().expect("an address");
    let answer = Facade::new(address).send(request).await;
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
}

/// A user with a bucket and an object in it.
async fn settled(kind: &str, more: &[(&str, &str)]) -> Panel {
    let name = format!("{kind} {}", named("panel"));
    let access_key = format!("{:0<20}", named("K").to_uppercase().replace('-', "") + kind);
    let secret_key = format!("secret of {name}");
    let about = [
        ("uid", name.as_str()),
        ("display-name", "Alice Smith"),
        ("access-key", access_key.as_str()),
        ("secret-key", secret_key.as_str()),
        ("max-buckets", "5"),
    ];
    operator("PUT", "user", &[&about[..], more].concat()).await;
    let account = Account {
        s3uid: String::new(),
        access_key,
        secret_key,
        endpoint: setting("STOWAGE_TEST_CEPH_URL"),
        bucket: named(kind),
    };
    account.s3().create_bucket().bucket(&account.bucket).send().await.expect("a bucket");
    write(&account, "before.txt", vec![b'x'; 50_000]).await.expect("a put succeeds");
    Panel { name, account }
}

async fn import(it: &Installation, arguments: &[&str]) -> (Output, Vec<Value>) {
    let all = [&["--output", "json", "import", "--location", "DE"], arguments].concat();
    let output = it.server.admin(&all).await;
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, rows.as_array().cloned().unwrap_or_default())
}

fn state_of<'a>(rows: &'a [Value], panel: &Panel) -> &'a str {
    let row = rows.iter().find(|row| row["name"] == panel.name.as_str());
    row.and_then(|row| row["state"].as_str()).unwrap_or("not listed")
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_were_there_are_imported_and_notice_nothing() {
    let it = Installation::start().await;
    let alice = settled("alice", &[]).await;
    let bob = settled("bob", &[("user-caps", "usage=read")]).await;
    let carol = settled("carol", &[]).await;
    let (output, rows) = import(&it, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for panel in [&alice, &bob, &carol] {
        assert_eq!(state_of(&rows, panel), "unmapped", "{rows:?}");
    }
    let file = it.server.data().join("map.csv");
    let plan = it.plan_id;
    let line = |panel: &Panel, email: &str| format!("{},{email},{plan}\n", panel.name);
    let email = "ceph@example.com";
    let text = ["name,email,plan\n".to_owned(), line(&alice, email), line(&bob, email)].concat();
    fs::write(&file, text + &format!("nobody,{email},{plan}\n")).expect("a file can be written");
    let map = ["--map", file.to_str().expect("a path in UTF-8")];

    // Looked at first: then nothing is done.
    for _ in 0..2 {
        let (output, rows) = import(&it, &[&map[..], &["--dry-run"]].concat()).await;
        assert_eq!(output.status.code(), Some(1), "conflicts are told by the code");
        assert_eq!(state_of(&rows, &alice), "possible", "{rows:?}");
        assert_eq!(state_of(&rows, &bob), "conflict", "{rows:?}");
        assert_eq!(state_of(&rows, &carol), "unmapped", "{rows:?}");
        let nobody = rows.iter().find(|row| row["name"] == "nobody").expect("it is listed");
        assert_eq!(nobody["state"], "conflict");
    }
    let (_, rows) = import(&it, &map).await;
    assert_eq!(state_of(&rows, &alice), "imported", "{rows:?}");
    assert_eq!(state_of(&rows, &bob), "conflict", "{rows:?}");
    let (_, rows) = import(&it, &map).await;
    assert_eq!(state_of(&rows, &alice), "known", "a second run changes nothing: {rows:?}");
    let s3uid = rows.iter().find(|row| row["name"] == alice.name.as_str()).expect("it is listed");
    let s3uid = s3uid["s3uid"].as_str().expect("an s3uid").to_owned();
    is_an_account(&it, &alice, &s3uid).await;

    // Bob is mended and comes too; carol stays who she is.
    operator("DELETE", "user", &[("caps", ""), ("uid", &bob.name), ("user-caps", "usage=read")])
        .await;
    let (_, rows) = import(&it, &map).await;
    assert_eq!(state_of(&rows, &bob), "imported", "{rows:?}");
    assert_eq!(state_of(&rows, &carol), "unmapped", "{rows:?}");
    for panel in [&bob, &carol] {
        assert_eq!(read(&panel.account, "before.txt").await.expect("a get").len(), 50_000);
        operator("DELETE", "user", &[("uid", &panel.name), ("purge-data", "true")]).await;
    }
}

/// All that is done with accounts is done with it.
async fn is_an_account(it: &Installation, alice: &Panel, s3uid: &str) {
    let account = &alice.account;
    assert_eq!(read(account, "before.txt").await.expect("a get succeeds").len(), 50_000);
    write(account, "after.txt", vec![b'y'; 1_000]).await.expect("a put succeeds");
    let told = it.action("get_users", &[]).await.to_string();
    assert!(told.contains(s3uid), "{told}");
    let parameters = [("s3uid", s3uid), ("bucket_name", account.bucket.as_str())];
    let listed = it.action("get_files", &parameters).await.to_string();
    assert!(listed.contains("before.txt") && listed.contains("after.txt"), "{listed}");
    eventually("what it stores is metered", METERED_WITHIN, async || {
        let [stored, _] = it.usage_of(s3uid, &account.bucket).await;
        if stored > 0.0 { Ok(()) } else { Err(stored.to_string()) }
    })
    .await;
    let name = format!("accounts/{s3uid}");
    let keys = it.server.admin_json(&["key", "list", &name]).await.to_string();
    assert!(keys.contains(&account.access_key), "{keys}");
    it.server.admin_json(&["account", "suspend", &name]).await;
    eventually("it is suspended", SHOWN_WITHIN, async || match read(account, "before.txt").await {
        Err(code) if code == "UserSuspended" => Ok(()),
        other => Err(format!("{:?}", other.map(|body| body.len()))),
    })
    .await;
    it.server.admin_json(&["account", "resume", &name]).await;
    let audit = it.server.admin_json(&["audit", "list"]).await.to_string();
    for event in ["account.adoption_begun", "account.adopted"] {
        assert!(audit.contains(event), "{event}: {audit}");
    }
    it.action("delete_account", &[("s3uid", s3uid)]).await;
    eventually("its keys open nothing", SHOWN_WITHIN, async || {
        match read(account, "before.txt").await {
            Err(code) if code == "InvalidAccessKeyId" => Ok(()),
            other => Err(format!("{:?}", other.map(|body| body.len()))),
        }
    })
    .await;
}
