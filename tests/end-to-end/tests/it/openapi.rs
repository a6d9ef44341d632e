//! The facade against its own document, by a tool that reads such documents and makes up requests:
//! `schemathesis`, which `cargo xtask test` installs below the target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use serde_json::Value;
use stowage_testkit::{Account, Kit};

/// Longest time that requests are made up for, in seconds; the run ends some seconds later.
const SECONDS_MAX: &str = "45";

/// What every answer must be: no fault of ours, and as the document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// Actions that do well with the document's examples, which are sent first: their successes are
/// seen however little time is left for the rest.
const DONE_WELL: &[&str] = &[
    "list_plans",
    "create_order",
    "create_account",
    "create_bucket",
    "get_files",
    "delete_file",
    "get_buckets_rmq",
    "get_buckets",
    "show_key",
    "get_users",
    "history",
    "delete_payment_account",
    "cancel_payment_account_deletion",
];

/// The program, in the target folder above the running test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors()
        .map(|folder| folder.join("schemathesis/bin/schemathesis"))
        .find(|path| path.is_file())
        .expect("schemathesis is missing: run `cargo xtask test`")
}

/// The document with examples that do well: the account is a real one, but where accounts are
/// deleted, and orders are for a bucket that nobody has yet.
fn with_real_account(document: &str, account: &Account) -> String {
    let mut document: Value = serde_json::from_str(document).expect("the document is JSON");
    let body = "/paths/~1s3~1create_bucket/post/requestBody/content/application~1json";
    let example = document
        .pointer(&format!("{body}/schema/properties/s3uid/examples/0"))
        .and_then(Value::as_str)
        .expect("an s3uid has an example")
        .to_owned();
    let paths = document["paths"].as_object_mut().expect("the document has paths");
    for (path, item) in paths {
        let text = item.to_string();
        let text = match path.as_str() {
            "/s3/delete_account" => text,
            "/s3/create_order" => text.replace(&account.bucket, "ordered"),
            "/s3/create_account" => text.replace(&account.bucket, "created"),
            _ => text.replace(&example, &account.s3uid),
        };
        *item = serde_json::from_str(&text).expect("a text was replaced by a text");
    }
    document.to_string()
}

async fn run(file: PathBuf, url: String, token: String, home: &Path) -> Output {
    let mut command = Command::new(program());
    command.arg("run").arg(file).args(["--url", &url]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS]);
    // One worker: with more, Python 3.11 trips over itself when it parses in two threads at once.
    command.args(["--workers", "1", "--max-examples", "10", "--max-time", SECONDS_MAX]);
    command.args(["--seed", "1", "--warnings", "off", "--no-color"]);
    command.env_clear().env("HOME", home).env("LC_ALL", "C.UTF-8").current_dir(home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the command can be waited for").expect("schemathesis starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facade_is_what_its_document_says() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("reader@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let account = kit.site.order(&customer.token, plan_id, "ada-photos").await;
    let put = account.s3().put_object().bucket("ada-photos").key("stays.txt");
    put.body(Bytes::from_static(b"here").into()).send().await.expect("an object is stored");

    let document = kit.site.facade.get("/openapi.json", &[]).await;
    assert_eq!(document.headers["content-type"], "application/json");
    let document = String::from_utf8(document.body.to_vec()).expect("the document is text");
    let home = tempfile::tempdir().expect("a temporary folder");
    let file = home.path().join("openapi.json");
    std::fs::write(&file, with_real_account(&document, &account)).expect("a file is written");

    let url = format!("http://{}", kit.site.gateway);
    let output = run(file, url, customer.token.clone(), home.path()).await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it ended with {}\n{out}\n{err}", output.status);

    let metrics = kit.site.facade.get("/metrics", &[]).await.text();
    let is_done_well = |action: &str| {
        metrics.lines().any(|line| {
            line.starts_with("stowage_gateway_facade_calls_total")
                && line.contains(&format!("action=\"{action}\""))
                && line.contains("outcome=\"ok\"")
        })
    };
    for action in DONE_WELL {
        assert!(is_done_well(action), "{action} succeeded at least once\n{out}");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_document_and_asks_nobody_else() {
    let kit = Kit::start().await;
    let page = kit.site.facade.get("/docs", &[]).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().expect("a policy is text");
    assert!(policy.starts_with("default-src 'none'; connect-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = page.text();
    assert!(text.contains("fetch(\"openapi.json\")") && !text.contains("://"), "{text}");
    kit.stop().await;
}
