//! Habits of clients in the field, with the tools that have them: curl, PHP, Python's requests.
//!
//! The tools are Debian's, and `cargo xtask test` installs them. Strict decoding as in Go is in
//! `go_types.rs`.

use std::path::Path;
use std::process::Output;

use stowage_testkit::{Kit, Site};

use crate::tools::{run, text};

/// Debian's Python, whatever else is on the path: `requests` is installed for it.
const PYTHON: &str = "/usr/bin/python3";

/// Runs a client with the address, a customer's token and the id of a plan.
async fn run_client(program: &str, name: &str, source: &str) {
    let kit = Kit::start().await;
    let customer = kit.site.customer("field@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), source).expect("a file");
    let (base, plan_id) = (format!("http://{}", kit.site.gateway), plan_id.to_string());
    let arguments = [name, &base, &customer.token, &plan_id];
    let output = run(program, folder.path(), &[], &arguments).await;
    assert_eq!(text(&output).trim(), "all was right");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn php_works_with_streams_and_with_curl() {
    run_client("php", "client.php", include_str!("field/client.php")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_requests_works_with_every_kind_of_body() {
    run_client(PYTHON, "client.py", include_str!("field/client.py")).await;
}

/// Calls of curl: what is sent, and a part of the answer.
async fn curl(site: &Site, home: &Path, arguments: &[&str], path: &str) -> Output {
    let url = format!("http://{}{path}", site.gateway);
    let all = [&["-sS", "--noproxy", "*", "-w", " %{http_code}"], arguments, &[&url]].concat();
    run("curl", home, &[], &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_works_as_people_type_it() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("field@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    let account = kit.site.order(&customer.token, plan_id, "curled").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path();
    let token = format!("token={}", customer.token);
    let s3uid = format!("s3uid={}", account.s3uid);
    let both = format!("{token}&{s3uid}");
    let json = format!(r#"{{"token":"{}","s3uid":"{}"}}"#, customer.token, account.s3uid);
    let bearer = format!("Authorization: Bearer {}", customer.token);
    let named = format!("/s3.php?action=get_user_info&{both}");
    let asked = format!("/s3/get_buckets?{both}");
    // Curl asks before it sends a body of this size, and waits for the answer.
    std::fs::write(home.join("big"), format!("{both}&pad={}", "x".repeat(900_000)))
        .expect("a file");
    std::fs::write(home.join("too-big"), format!("pad={}", "x".repeat(1_100_000))).expect("a file");
    let curled = r#"{"name":"curled""#;
    for (arguments, path, expected, status) in [
        (vec!["-X", "GET", "--data", &both], "/s3/get_buckets", curled, "200"),
        (vec!["-X", "GET", "-d", &token, "-d", &s3uid], "/s3/get_buckets", curled, "200"),
        (vec!["-X", "POST", "--data", &both], "/s3/get_buckets", curled, "200"),
        (vec!["-G", "--data", &both], "/s3/get_buckets", curled, "200"),
        (vec!["--data-urlencode", &token, "-d", &s3uid], "/s3/get_buckets", curled, "200"),
        (vec!["-F", &token, "-F", &s3uid], "/s3/get_buckets", curled, "200"),
        (vec!["-X", "GET", "-F", &token, "-F", &s3uid], "/s3/get_buckets", curled, "200"),
        (vec!["--json", &json], "/s3/get_buckets", curled, "200"),
        (vec!["-H", &bearer, "-d", &s3uid], "/s3/get_buckets", curled, "200"),
        (vec![], &asked, curled, "200"),
        (vec!["-X", "POST"], &asked, curled, "200"),
        (vec!["-X", "GET", "-d", ""], &asked, curled, "200"),
        (vec!["--http1.0", "-d", &both], "/s3/get_buckets", curled, "200"),
        (vec!["--http2-prior-knowledge", "-d", &both], "/s3/get_buckets", curled, "200"),
        (vec!["-H", "Transfer-Encoding: chunked", "-d", &both], "/s3/get_buckets", curled, "200"),
        (vec!["-d", "@big"], "/s3/get_buckets", curled, "200"),
        (vec!["-d", "@too-big"], "/s3/get_buckets", "request body too large", "413"),
        (vec![], &named, "\"action\":\"get_buckets_rmq\"", "200"),
        (vec!["-X", "GET", "--data", &both], "/s3/create_bucket", "method not allowed", "405"),
        (vec!["-X", "GET", "--data", &s3uid], "/s3/get_buckets", "invalid token", "401"),
        (vec!["-d", &both, "-H", "Content-Type: text/plain"], "/s3/get_buckets", "type", "415"),
    ] {
        let answer = text(&curl(&kit.site, home, &arguments, path).await);
        let is_as_expected = answer.contains(expected) && answer.ends_with(status);
        assert!(is_as_expected, "curl {arguments:?} {path}: {answer}");
    }
    kit.stop().await;
}
