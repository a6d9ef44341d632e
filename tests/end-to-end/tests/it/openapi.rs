//! The facade against its own document, by a tool that reads such documents and makes up requests,
//! `schemathesis`, and the document against the schema of such documents. `cargo xtask test`
//! installs both tools below the target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use serde_json::Value;
use stowage_testkit::{Account, Customer, Kit};

use crate::tools::python_program;

/// Longest time that requests are made up for, in seconds; the run ends some seconds later.
const SECONDS_MAX: &str = "30";
/// Fewest calls of each action.
const CALLS_MIN: u64 = 10;

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

/// The document with examples that do well: the account is a real one, but where accounts are
/// deleted, and orders are for a bucket that nobody has yet. Nothing logs out: all that came after
/// would be refused for its token.
fn with_examples(document: &str, (account, customer): (&Account, i64)) -> String {
    let mut document: Value = serde_json::from_str(document).expect("the document is JSON");
    let body = "/paths/~1s3~1create_bucket/post/requestBody/content/application~1json";
    let example = |name: &str| {
        let pointer = format!("{body}/schema/properties/{name}/examples/0");
        document.pointer(&pointer).unwrap_or_else(|| panic!("{name} has no example")).clone()
    };
    let (s3uid, id) = (example("s3uid"), example("id"));
    let s3uid = s3uid.as_str().expect("an s3uid is a text").to_owned();
    let id = format!("\"examples\":[{id}]");
    let paths = document["paths"].as_object_mut().expect("the document has paths");
    for (path, item) in paths {
        let text = item.to_string();
        let text = match path.as_str() {
            "/s3/delete_account" => text,
            "/s3/create_order" => text.replace(&account.bucket, "ordered"),
            "/s3/create_account" => text.replace(&account.bucket, "created"),
            "/auth.php" => text.replace(r#""logout","#, ""),
            _ => text.replace(&s3uid, &account.s3uid),
        };
        let text = text.replace(&id, &format!("\"examples\":[{customer}]"));
        *item = serde_json::from_str(&text).expect("a text was replaced by a text");
    }
    document.to_string()
}

async fn run(file: PathBuf, url: String, token: String, home: &Path) -> Output {
    let mut command = Command::new(python_program("schemathesis"));
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

/// An installation with a customer's account that has an object, and the document in a file.
struct Subject {
    kit: Kit,
    customer: Customer,
    home: tempfile::TempDir,
    file: PathBuf,
}

impl Subject {
    async fn start() -> Self {
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
        std::fs::write(&file, with_examples(&document, (&account, customer.id)))
            .expect("a file is written");
        Self { kit, customer, home, file }
    }

    /// Has requests made up with a token, and looks at the answers and at what was reached.
    async fn holds(self, token: &str, done_well: &[&str]) {
        let url = format!("http://{}", self.kit.site.gateway);
        let output = run(self.file.clone(), url, token.to_owned(), self.home.path()).await;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "it ended with {}\n{out}\n{err}", output.status);
        let calls = self.calls().await;
        let document = std::fs::read(&self.file).expect("the file is there");
        let document: Value = serde_json::from_slice(&document).expect("the document is JSON");
        let paths = document["paths"].as_object().expect("the document has paths");
        let actions = paths.keys().filter_map(|path| path.strip_prefix("/s3/"));
        for action in actions.chain(["login", "info"]) {
            let reached: u64 =
                calls.iter().filter(|call| call.0 == action).map(|call| call.2).sum();
            assert!(reached >= CALLS_MIN, "{action} was called {reached} times\n{out}");
        }
        for action in done_well {
            let is_ok = |(of, outcome, _): &&(String, String, u64)| of == action && outcome == "ok";
            assert!(calls.iter().any(|call| is_ok(&call)), "{action} succeeded once\n{out}");
        }
        self.kit.stop().await;
    }

    /// Calls of the facade so far: action, outcome, how many.
    async fn calls(&self) -> Vec<(String, String, u64)> {
        let metrics = self.kit.site.facade.get("/metrics", &[]).await.text();
        let lines = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("stowage_gateway_facade_calls_total{")?;
            let (labels, count) = rest.split_once("} ")?;
            let label = |name: &str| {
                let after = labels.split_once(&format!("{name}=\""))?.1;
                Some(after.split_once('"')?.0.to_owned())
            };
            Some((label("action")?, label("outcome")?, count.parse().ok()?))
        });
        lines.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_customer_the_facade_is_what_its_document_says() {
    let subject = Subject::start().await;
    let token = subject.customer.token.clone();
    subject.holds(&token, DONE_WELL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_an_administrator_the_facade_is_what_its_document_says() {
    let subject = Subject::start().await;
    let token = subject.kit.site.admin_token.clone();
    let done_well = [DONE_WELL, &["update_traffic_info"]].concat();
    subject.holds(&token, &done_well).await;
}

/// By the schema of OpenAPI 3.1 itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_one_of_openapi() {
    let kit = Kit::start().await;
    let document = kit.site.facade.get("/openapi.json", &[]).await.value();
    let home = tempfile::tempdir().expect("a temporary folder");
    let is_valid = |document: &Value| {
        let file = home.path().join("openapi.json");
        std::fs::write(&file, document.to_string()).expect("a file is written");
        let mut command = Command::new(python_program("openapi-spec-validator"));
        command.args(["--schema", "3.1"]).arg(&file);
        let output = command.output().expect("the validator starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(()).ok_or(text)
    };
    assert_eq!(is_valid(&document), Ok(()));
    // The validator is one that finds something.
    let mut bad = document;
    bad["paths"]["/s3/list_plans"]["get"]["parameters"][0]["in"] = "nowhere".into();
    is_valid(&bad).expect_err("a parameter is somewhere");
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
