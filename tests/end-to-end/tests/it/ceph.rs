//! A location whose engine is a real Ceph RADOS Gateway, from the order to the deletion.

mod import;

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use stowage_testkit::{Account, Customer, Process, eventually};
use tempfile::TempDir;

/// How long what an account may do takes to arrive at the engine.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// RGW writes its usage log every second here; it is read every minute.
const METERED_WITHIN: Duration = Duration::from_secs(180);

fn setting(name: &str) -> String {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.unwrap_or_else(|| panic!("{name} is not set: run this by `cargo xtask test --only ceph`"))
}

/// A server without an engine of its own, at a location whose engine is RGW.
struct Installation {
    server: Process,
    customer: Customer,
    plan_id: i64,
    _folder: TempDir,
}

/// A file that nobody else may read.
fn secret_file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    let mut file = fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let file = file.as_mut().expect("a file can be made in a temporary folder");
    std::io::Write::write_all(file, text.as_bytes()).expect("a file can be written");
    path
}

/// The configuration that names the location.
fn config(folder: &TempDir) -> PathBuf {
    let secret = secret_file(folder, "ceph.secret", &setting("STOWAGE_TEST_CEPH_SECRET_KEY"));
    let path = folder.path().join("stowage.toml");
    let text = format!(
        "[s3]\nenabled = false\n\n[location.DE]\nengine = \"ceph-rgw\"\nendpoint = {:?}\n\
         access_key = {:?}\nsecret_key_file = {:?}\nmarker = \"end-to-end\"\n",
        setting("STOWAGE_TEST_CEPH_URL"),
        setting("STOWAGE_TEST_CEPH_ACCESS_KEY"),
        secret,
    );
    fs::write(&path, text).expect("a file can be written");
    path
}

impl Installation {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = config(&folder);
        let path = config.to_str().expect("a path in UTF-8");
        let server = Process::start_with(&[("STOWAGE_CONFIG", path)]).await;
        let plan_id = plan_at(&server, "DE").await;
        let customer = server.site.customer("ceph@example.com", "EUR").await;
        Self { server, customer, plan_id, _folder: folder }
    }

    async fn order(&self, bucket: &str) -> Account {
        self.server.site.order_at(&self.customer.token, (self.plan_id, "DE"), bucket).await
    }

    async fn action(&self, action: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let site = &self.server.site;
        site.facade.action(action, &self.customer.token, parameters).await.success()
    }

    /// What an account's figures show of a bucket, and of its traffic.
    async fn usage_of(&self, s3uid: &str, bucket: &str) -> [f64; 2] {
        let answer = self.action("get_buckets_rmq", &[("s3uid", s3uid)]).await;
        let rows = answer["message"].as_array().cloned().unwrap_or_default();
        let row = rows.into_iter().find(|row| row["name"] == bucket).unwrap_or_default();
        let traffic = answer["metering"]["total_traffic_gb"].as_f64();
        [row["usage"].as_f64(), traffic].map(Option::unwrap_or_default)
    }
}

async fn read(account: &Account, key: &str) -> Result<Vec<u8>, String> {
    let got = account.s3().get_object().bucket(&account.bucket).key(key).send().await;
    let got = got.map_err(|error| error.code().unwrap_or_default().to_owned())?;
    Ok(got.body.collect().await.expect("the body arrives").to_vec())
}

async fn write(account: &Account, key: &str, body: Vec<u8>) -> Result<(), String> {
    let put = account.s3().put_object().bucket(&account.bucket).key(key).body(body.into());
    put.send().await.map(drop).map_err(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_on_ceph_is_ordered_used_metered_suspended_and_deleted() {
    let it = Installation::start().await;
    let bucket = format!("ceph-{}", std::process::id());
    let account = it.order(&bucket).await;
    assert_eq!(account.endpoint, setting("STOWAGE_TEST_CEPH_URL"));
    write(&account, "docs/a.txt", vec![b'x'; 50_000]).await.expect("a put succeeds");
    assert_eq!(read(&account, "docs/a.txt").await.expect("a get succeeds").len(), 50_000);

    // The control plane sees what is in it.
    let s3uid = account.s3uid.as_str();
    let listed = it.action("get_files", &[("s3uid", s3uid), ("bucket_name", &bucket)]).await;
    assert!(listed.to_string().contains("docs/"), "{listed}");
    let more = format!("{bucket}-more");
    it.action("create_bucket", &[("s3uid", s3uid), ("bucket_name", &more)]).await;
    let buckets = account.s3().list_buckets().send().await.expect("a listing").buckets().len();
    assert_eq!(buckets, 2);

    // A customer has what he stored and moved in his figures.
    eventually("usage arrives", METERED_WITHIN, async || {
        let [stored, moved] = it.usage_of(s3uid, &bucket).await;
        if stored > 0.0 && moved > 0.0 { Ok(()) } else { Err(format!("{stored} {moved}")) }
    })
    .await;

    let name = format!("accounts/{s3uid}");
    it.server.admin_json(&["account", "suspend", &name]).await;
    eventually("it is suspended", SHOWN_WITHIN, async || {
        match read(&account, "docs/a.txt").await {
            Err(code) if code == "UserSuspended" => Ok(()),
            other => Err(format!("{:?}", other.map(|body| body.len()))),
        }
    })
    .await;
    it.server.admin_json(&["account", "resume", &name]).await;
    eventually("it is open again", SHOWN_WITHIN, async || {
        read(&account, "docs/a.txt").await.map(drop)
    })
    .await;

    it.action("delete_account", &[("s3uid", s3uid)]).await;
    eventually("its keys open nothing", SHOWN_WITHIN, async || {
        match read(&account, "docs/a.txt").await {
            Err(code) if code == "InvalidAccessKeyId" => Ok(()),
            other => Err(format!("{:?}", other.map(|body| body.len()))),
        }
    })
    .await;
}

/// Refuses to be added with settings that are wrong, and says which.
async fn is_refused(server: &Process, arguments: &[&str], flag: &str) {
    let output = server.admin(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("{flag}: ")), "{flag}: {said}");
    assert!(!said.contains(&setting("STOWAGE_TEST_CEPH_SECRET_KEY")), "a secret is told");
}

/// Codes of the locations that the facade offers.
async fn offered(server: &Process, token: &str) -> Vec<String> {
    let facade = &server.site.facade;
    let answer = facade.action("get_available_locations", token, &[]).await.success();
    let rows = answer["locations"].as_array().cloned().unwrap_or_default();
    rows.iter().filter_map(|row| row["location"].as_str().map(str::to_owned)).collect()
}

/// A server without any engine, and the customer who waits for one.
async fn without_locations() -> (Process, Customer, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("stowage.toml");
    let text = "[s3]\nenabled = false\n\n[storage]\nremoval_settle_ms = 1000\n";
    fs::write(&path, text).expect("a file can be written");
    let path = path.to_str().expect("a path in UTF-8");
    let server = Process::start_with(&[("STOWAGE_CONFIG", path)]).await;
    let customer = server.site.customer("waiting@example.com", "EUR").await;
    (server, customer, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_added_used_drained_and_removed_by_commands() {
    let (mut server, customer, folder) = without_locations().await;
    let token = customer.token.as_str();
    assert_eq!(offered(&server, token).await, [""; 0]);
    let (url, secret) = (setting("STOWAGE_TEST_CEPH_URL"), setting("STOWAGE_TEST_CEPH_SECRET_KEY"));
    let access_key = setting("STOWAGE_TEST_CEPH_ACCESS_KEY");
    let (right, wrong) =
        (secret_file(&folder, "right", &secret), secret_file(&folder, "wrong", "mistyped"));
    let [right, wrong] = [&right, &wrong].map(|path| path.to_str().expect("a path in UTF-8"));
    let add = |secret, more: &[&'static str]| {
        let all = ["location", "add", "DE", "--engine", "ceph", "--endpoint", url.as_str()];
        let keys = ["--access-key", access_key.as_str(), "--secret-key-file", secret];
        [&all[..], &keys[..], &["--marker", "added"], more].concat()
    };
    is_refused(&server, &add(wrong, &[]), "--secret-key-file").await;
    let nowhere = "http://127.0.0.1:1";
    is_refused(&server, &add(right, &["--admin-endpoint", nowhere]), "--admin-endpoint").await;
    is_refused(&server, &add(right, &["--s3-endpoint", nowhere]), "--s3-endpoint").await;
    is_refused(&server, &add("/no/such/file", &[]), "--secret-key-file").await;
    assert_eq!(offered(&server, token).await, [""; 0]);

    for _ in 0..2 {
        let added = server.admin_json(&add(right, &[])).await;
        assert_eq!((&added["state"], &added["origin"]), (&"open".into(), &"added".into()));
        assert!(!added.to_string().contains(&secret), "a secret is told");
    }
    assert_eq!(offered(&server, token).await, ["DE"]);
    let plan_id = plan_at(&server, "DE").await;
    let bucket = named("added");
    let account = server.site.order_at(token, (plan_id, "DE"), &bucket).await;
    write(&account, "docs/a.txt", vec![b'x'; 50_000]).await.expect("a put succeeds");
    eventually("usage arrives", METERED_WITHIN, async || {
        let parameters = [("s3uid", account.s3uid.as_str())];
        let answer = server.site.facade.action("get_buckets_rmq", token, &parameters).await;
        let answer = answer.success();
        let figures = ["total_storage_gb", "total_traffic_gb"]
            .map(|name| answer["metering"][name].as_f64().unwrap_or_default());
        if figures.iter().all(|figure| *figure > 0.0) { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;

    drains_and_refuses(&server, token, plan_id).await;
    // A restart finds it as it was.
    server.stop("TERM").await;
    server.restart().await;
    for name in ["storage.db", "storage.db-wal"] {
        let bytes = fs::read(server.data().join(name)).unwrap_or_default();
        let has_it = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!has_it, "the secret is in {name}");
    }
    let token = server.site.login(&customer.api_key).await;
    let parameters = [("s3uid", account.s3uid.as_str()), ("bucket_name", &bucket)];
    let listed = server.site.facade.action("get_files", &token, &parameters).await.success();
    assert!(listed.to_string().contains("docs/"), "{listed}");
    server.site.facade.action("delete_account", &token, &parameters[..1]).await.success();
    is_removed(&server, plan_id).await;
    assert_eq!(offered(&server, &token).await, [""; 0]);
    eventually("all of it is in the audit", SHOWN_WITHIN, async || {
        let audit = server.admin_json(&["audit", "list"]).await.to_string();
        let missing = ["location.added", "location.drained", "location.removed"]
            .into_iter()
            .find(|event| !audit.contains(*event));
        assert!(!audit.contains(&secret), "a secret is in the audit");
        missing.map_or(Ok(()), |event| Err(format!("{event}: {audit}")))
    })
    .await;
}

/// Drains DE, with an account there.
async fn drains_and_refuses(server: &Process, token: &str, plan_id: i64) {
    let output = server.admin(&["location", "drain", "DE"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains(&plan_id.to_string()), "{said}");
    assert_eq!(offered(server, token).await, [""; 0]);
    let (id, bucket) = (plan_id.to_string(), named("late"));
    let order = [("plan_id", id.as_str()), ("location", "DE"), ("bucket_name", &bucket)];
    let refused = server.site.facade.action("create_order", token, &order).await.failure();
    assert_eq!(refused, "location DE takes no orders at present");
    let output = server.admin(&["location", "remove", "DE"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not empty: 1 account"), "{said}");
}

/// Removes DE once what was used there is collected.
async fn is_removed(server: &Process, plan_id: i64) {
    eventually("it is removed", SHOWN_WITHIN, async || {
        let output = server.admin(&["location", "remove", "DE", "--output", "json"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(said);
        }
        assert!(said.contains(&plan_id.to_string()), "plans are named: {said}");
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert_eq!(row, serde_json::json!({ "code": "DE", "removed": true }));
        Ok(())
    })
    .await;
}

/// The name of a bucket of this run.
fn named(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

/// A plan of a location; its number.
async fn plan_at(server: &Process, location: &str) -> i64 {
    let mut arguments = vec!["plan", "create", "--title", "In one place", "--location", location];
    arguments.extend(["--quota", "1GiB", "--bucket-max", "5", "--price", "EUR=4.99"]);
    arguments.extend(["--storage-overage", "EUR=0.05", "--traffic-overage", "EUR=0.01"]);
    let plan = server.admin_json(&arguments).await;
    plan["plan_id"].as_i64().expect("a plan has a number")
}

/// A server with an engine of its own at NL, and RGW at DE.
async fn two_locations() -> (Process, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = config(&folder);
    let text = fs::read_to_string(&path).expect("a file can be read");
    let text = text.replace("[s3]\nenabled = false\n\n", "");
    fs::write(&path, format!("{text}\n[storage]\nmove_settle_ms = 1000\n")).expect("it is written");
    let path = path.to_str().expect("a path in UTF-8");
    (Process::start_with(&[("STOWAGE_CONFIG", path)]).await, folder)
}

/// An account at NL.
async fn ordered(server: &Process) -> (Customer, Account) {
    let site = &server.site;
    let plan_id = plan_at(server, "NL").await;
    let customer = site.customer("mover@example.com", "EUR").await;
    let account = site.order_at(&customer.token, (plan_id, "NL"), &named("move")).await;
    (customer, account)
}

/// Objects of every kind; answers their keys and contents.
async fn put_all(account: &Account) -> Vec<(&'static str, Vec<u8>)> {
    let mut stored = Vec::new();
    for key in ["docs/a.txt", "a b+c", "//", "ü/é/😀", "..", "a%20b"] {
        let body = key.repeat(100).into_bytes();
        write(account, key, body.clone()).await.expect("a put succeeds");
        stored.push((key, body));
    }
    // More than goes over in one piece.
    let large: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    write(account, "large", large.clone()).await.expect("a put succeeds");
    stored.push(("large", large));
    let put = account.s3().put_object().bucket(&account.bucket).key("described");
    let put = put.content_type("text/plain").metadata("colour", "dark blue");
    put.body(b"x".to_vec().into()).send().await.expect("a put succeeds");
    stored.push(("described", b"x".to_vec()));
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moves_from_the_embedded_engine_to_ceph_with_its_keys_and_objects() {
    let (server, _folder) = two_locations().await;
    let site = &server.site;
    let (customer, account) = ordered(&server).await;
    let stored = put_all(&account).await;
    let name = format!("accounts/{}", account.s3uid);
    let moved = server.admin_json(&["account", "move", &name, "--to", "DE", "--wait"]).await;
    assert_eq!((moved["state"].as_str(), moved["to"].as_str()), (Some("switched"), Some("DE")));
    assert!(moved["copied_objects"].as_i64() >= Some(8), "{moved}");
    eventually("the account says where it is", SHOWN_WITHIN, async || {
        let shown = server.admin_json(&["account", "show", &name]).await;
        let is_there = shown["location"] == "DE"
            && shown["endpoint"] == setting("STOWAGE_TEST_CEPH_URL").as_str();
        if is_there { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    // The keys that the customer has had open the new side and no more the old one.
    assert!(read(&account, "docs/a.txt").await.is_err(), "the old side opens still");
    let there = Account { endpoint: setting("STOWAGE_TEST_CEPH_URL"), ..account.clone() };
    for (key, body) in &stored {
        assert!(read(&there, key).await.as_ref() == Ok(body), "{key} is not what it was");
    }
    let got = there.s3().get_object().bucket(&there.bucket).key("described").send().await;
    let got = got.expect("a get succeeds");
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(got.metadata().and_then(|meta| meta.get("colour")).unwrap(), "dark blue");
    write(&there, "docs/a.txt", b"newer".to_vec()).await.expect("what was moved is the customer's");
    server.admin_json(&["account", "move-confirm", &name]).await;
    eventually("the old side is gone", SHOWN_WITHIN, async || {
        let shown = server.admin_json(&["account", "move-status", &name]).await;
        if shown["state"] == "confirmed" { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    // Stored once, whichever side it was: 20 MB, each byte of which the customer has sent once and
    // then read once.
    eventually("figures are those of one side", METERED_WITHIN, async || {
        let parameters = [("s3uid", account.s3uid.as_str())];
        let answer = site.facade.action("get_buckets_rmq", &customer.token, &parameters);
        let answer = answer.await.success();
        let figure = |name: &str| answer["metering"][name].as_f64().unwrap_or_default();
        let stored = figure("total_storage_gb");
        let moved = figure("total_traffic_gb");
        let is_once = (0.0186..0.0187).contains(&stored) && (0.0372..0.0374).contains(&moved);
        if is_once { Ok(()) } else { Err(format!("{stored} {moved} {answer}")) }
    })
    .await;
    let history = server.admin_json(&["audit", "list"]).await;
    for event in ["account.move_begun", "account.moved", "account.move_confirmed"] {
        assert!(history.to_string().contains(event), "{event} is not in the audit: {history}");
    }
    site.facade
        .action("delete_account", &customer.token, &[("s3uid", &account.s3uid)])
        .await
        .success();
}
