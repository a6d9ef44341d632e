//! A location whose engine makes keys itself: IAM's, of a double of AWS.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use stowage_testkit::{Account, Process};
use tempfile::TempDir;

fn setting(name: &str) -> String {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.unwrap_or_else(|| panic!("{name} is not set: run this by `cargo xtask test --only aws`"))
}

/// The configuration that names the location, beside that of the engine of its own.
fn config(folder: &TempDir) -> PathBuf {
    let secret = folder.path().join("aws.secret");
    let mut file = fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&secret);
    let file = file.as_mut().expect("a file can be made in a temporary folder");
    let text = setting("STOWAGE_TEST_AWS_SECRET_KEY");
    std::io::Write::write_all(file, text.as_bytes()).expect("a file can be written");
    let path = folder.path().join("stowage.toml");
    let url = setting("STOWAGE_TEST_AWS_URL");
    let text = format!(
        "[location.EU]\nengine = \"aws\"\nendpoint = {url:?}\niam_endpoint = {url:?}\n\
         access_key = {:?}\nsecret_key_file = {secret:?}\nmarker = \"end-to-end\"\n",
        setting("STOWAGE_TEST_AWS_ACCESS_KEY"),
    );
    fs::write(&path, text).expect("a file can be written");
    path
}

async fn plan_at(server: &Process, location: &str) -> i64 {
    let title = format!("In {location}");
    let mut arguments = vec!["plan", "create", "--title", &title, "--location", location];
    arguments.extend(["--quota", "1GiB", "--bucket-max", "5", "--price", "EUR=4.99"]);
    arguments.extend(["--storage-overage", "EUR=0.05", "--traffic-overage", "EUR=0.01"]);
    let plan = server.admin_json(&arguments).await;
    plan["plan_id"].as_i64().expect("a plan has a number")
}

async fn read(account: &Account, key: &str) -> Result<Vec<u8>, String> {
    let got = account.s3().get_object().bucket(&account.bucket).key(key).send().await;
    let got = got.map_err(|error| error.code().unwrap_or_default().to_owned())?;
    Ok(got.body.collect().await.expect("the body arrives").to_vec())
}

async fn write(account: &Account, key: &str, body: &[u8]) -> Result<(), String> {
    let put = account.s3().put_object().bucket(&account.bucket).key(key);
    let put = put.body(body.to_vec().into()).send().await;
    put.map(drop).map_err(|error| error.code().unwrap_or_default().to_owned())
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_keys_are_iams_is_ordered_used_rotated_suspended_and_deleted() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = config(&folder);
    let path = path.to_str().expect("a path in UTF-8");
    let server = Process::start_with(&[("STOWAGE_CONFIG", path)]).await;
    let site = &server.site;
    let plan_id = plan_at(&server, "EU").await;
    let customer = site.customer("aws@example.com", "EUR").await;
    let bucket = format!("aws-{}", std::process::id());
    let account = site.order_at(&customer.token, (plan_id, "EU"), &bucket).await;
    assert!(account.access_key.starts_with("AKIA"), "{} is none of IAM's", account.access_key);
    write(&account, "docs/a.txt", b"first").await.expect("a put succeeds");
    let s3uid = account.s3uid.as_str();
    let action = async |action: &str, parameters: &[(&str, &str)]| {
        site.facade.action(action, &customer.token, parameters).await.success()
    };
    let more = format!("{bucket}-more");
    action("create_bucket", &[("s3uid", s3uid), ("bucket_name", &more)]).await;
    let listed = action("get_buckets", &[("s3uid", s3uid)]).await;
    assert!(listed.to_string().contains(&more), "{listed}");
    let there = Account { bucket: more.clone(), ..account.clone() };
    write(&there, "k", b"second").await.expect("a put succeeds");

    // Both keys work until the old one is revoked; a third is none that IAM would make.
    let name = format!("accounts/{s3uid}");
    let made = server.admin_json(&["key", "rotate", &name]).await;
    let (access_key, secret_key) = (text(&made["access_key"]), text(&made["secret_key"]));
    let renewed = Account { access_key, secret_key, ..account.clone() };
    for keys in [&account, &renewed] {
        assert_eq!(read(keys, "docs/a.txt").await.expect("a get succeeds"), b"first");
    }
    let third = server.admin(&["key", "rotate", &name]).await;
    assert!(!third.status.success());
    server.admin_json(&["key", "revoke", &name, &account.access_key]).await;
    assert_eq!(read(&account, "docs/a.txt").await.unwrap_err(), "InvalidAccessKeyId");
    write(&renewed, "docs/a.txt", b"newer").await.expect("a put succeeds");

    server.admin_json(&["account", "suspend", &name]).await;
    assert_eq!(read(&renewed, "docs/a.txt").await.unwrap_err(), "AccessDenied");
    server.admin_json(&["account", "resume", &name]).await;
    assert_eq!(read(&renewed, "docs/a.txt").await.expect("a get succeeds"), b"newer");

    // It may go elsewhere, and nobody with keys of his own comes here.
    let elsewhere = site.customer("mover@example.com", "EUR").await;
    let home = plan_at(&server, "NL").await;
    let other = site.order_at(&elsewhere.token, (home, "NL"), &format!("{bucket}-nl")).await;
    let name = format!("accounts/{}", other.s3uid);
    let refused = server.admin(&["account", "move", &name, "--to", "EU"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("takes no keys but its own"), "{why}");

    action("delete_account", &[("s3uid", s3uid)]).await;
    assert_eq!(read(&renewed, "docs/a.txt").await.unwrap_err(), "InvalidAccessKeyId");
}
