//! The operator's command line, against the real program.

use std::process::{Command, Output};

use serde_json::Value;
use stowage_testkit::{Process, program};

use crate::walk::{number, text};

/// Runs `stowage admin …` against the server.
pub(crate) async fn admin(server: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program()).arg("admin").args(arguments).env_clear();
    command.env("STOWAGE_ADDR", format!("http://{}", server.site.gateway));
    command.env("STOWAGE_TOKEN", &server.site.admin_token);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the command can be waited for").expect("the command starts")
}

/// Runs it with JSON output.
pub(crate) async fn json(server: &Process, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = admin(server, &arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
}

/// The rows of a listing, whether bare or under one name.
fn rows(listing: &Value) -> &[Value] {
    let bare = listing.as_array();
    let named = || listing.as_object()?.values().find_map(Value::as_array);
    bare.or_else(named).map_or(&[], Vec::as_slice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_made_on_the_command_line_can_order() {
    let server = Process::start().await;
    let arguments = ["customer", "create", "--email", "cli@example.com", "--currency", "EUR"];
    let customer = json(&server, &arguments).await;
    let api_key = text(&customer, "api_key");
    let customer_id = text(&customer, "customer_id");
    assert!(api_key.starts_with("sk_") && number(&customer["customer_id"]) > 0.0, "{customer}");

    let token = server.site.login(&api_key).await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&token, plan_id, "from-the-cli").await;

    for (arguments, field, expected) in [
        (vec!["customer", "list"], "email", "cli@example.com"),
        (vec!["plan", "list"], "title", "Standard S3 Plan"),
        (vec!["account", "list"], "s3uid", account.s3uid.as_str()),
        (vec!["location", "list"], "code", "NL"),
    ] {
        let listing = json(&server, &arguments).await;
        let is_there = rows(&listing).iter().any(|row| text(row, field) == expected);
        assert!(is_there, "{arguments:?}: {expected} in {listing}");
        let table = admin(&server, &arguments).await;
        let table = String::from_utf8_lossy(&table.stdout).into_owned();
        assert!(table.contains(expected), "{arguments:?}: {expected} in\n{table}");
    }
    let shown = json(&server, &["account", "show", &account.s3uid]).await;
    assert!(shown.to_string().contains(&account.s3uid), "{shown}");
    assert!(!shown.to_string().contains(&account.secret_key), "no secret is shown");
    let shown = json(&server, &["customer", "show", &customer_id]).await;
    assert!(shown.to_string().contains("cli@example.com"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_words_and_by_the_exit_code() {
    let server = Process::start().await;
    let create = ["customer", "create", "--email", "twice@example.com", "--currency", "EUR"];
    json(&server, &create).await;
    let malformed = ["customer", "create", "--email", "nobody", "--currency", "EUR"];
    // 2 is for what was typed wrong, 1 for what the server cannot do.
    for (arguments, code) in [
        (create.to_vec(), 1),
        (malformed.to_vec(), 2),
        (vec!["customer", "create", "--mail", "a@example.com"], 2),
        (vec!["customer", "show", "424242"], 1),
        (vec!["account", "show", "00000000000000000000000000000000"], 1),
    ] {
        let output = admin(&server, &arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: nothing for a pipe to read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_deleted_with_all_that_is_in_it() {
    let server = Process::start().await;
    let customer = server.site.customer("full@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "full-of-files").await;
    let s3 = account.s3();
    for number in 0..30 {
        let put = s3.put_object().bucket(&account.bucket).key(format!("f/{number}"));
        put.body(vec![b'x'; 100].into()).send().await.expect("an object is stored");
    }
    let begin = s3.create_multipart_upload().bucket(&account.bucket).key("unfinished");
    begin.send().await.expect("an upload begins");
    let place = [account.s3uid.as_str(), account.bucket.as_str()];
    let empty = admin(&server, &[&["bucket", "delete"][..], &place].concat()).await;
    let error = String::from_utf8_lossy(&empty.stderr).into_owned();
    assert!(empty.status.code() == Some(1) && error.contains("not empty"), "{error}");
    let never = admin(&server, &[&["bucket", "pause"][..], &place].concat()).await;
    assert_eq!(never.status.code(), Some(1));

    let delete =
        [&["bucket", "delete", "--with-contents", "--output", "json"][..], &place].concat();
    let output = admin(&server, &delete).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    assert!(error.contains("done: 30 of 30 objects deleted"), "{error}");
    let row: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((text(&row, "state").as_str(), number(&row["deleted_bytes"])), ("done", 3000.0));
    s3.head_bucket().bucket(&account.bucket).send().await.expect_err("the bucket is gone");

    let late = admin(&server, &[&["bucket", "cancel"][..], &place].concat()).await;
    let error = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(late.status.code() == Some(1) && error.contains("DONE"), "{error}");
    let listing = json(&server, &["bucket", "deletions", &account.s3uid]).await;
    assert_eq!(rows(&listing).len(), 1, "{listing}");
    // An empty one goes at once.
    s3.create_bucket().bucket("empty-one").send().await.expect("a bucket is made");
    let gone = json(&server, &["bucket", "delete", &account.s3uid, "empty-one"]).await;
    assert_eq!(text(&gone, "state"), "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_a_bucket_outlives_a_kill() {
    let mut server = Process::start().await;
    let customer = server.site.customer("killed@example.com", "EUR").await;
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "goes-on").await;
    let s3 = account.s3();
    let puts = (0..400).map(|number| {
        let put = s3.put_object().bucket(&account.bucket).key(format!("f/{number}"));
        put.body(vec![b'x'; 10].into()).send()
    });
    for put in futures_util::future::join_all(puts).await {
        put.expect("an object is stored");
    }
    let place = [account.s3uid.as_str(), account.bucket.as_str()];
    let start = [&["bucket", "delete", "--with-contents", "--no-wait"][..], &place].concat();
    let started = json(&server, &start).await;
    assert_eq!(number(&started["start_objects"]), 400.0);
    server.kill();
    server.restart().await;
    // The same again waits for the one that runs, or finds that there is nothing left.
    let again = [&["bucket", "delete", "--with-contents"][..], &place].concat();
    admin(&server, &again).await;
    let listing = json(&server, &["bucket", "deletions", &account.s3uid]).await;
    let deletions = rows(&listing);
    assert_eq!(deletions.len(), 1, "{listing}");
    assert_eq!(text(&deletions[0], "state"), "done", "{listing}");
    assert_eq!(number(&deletions[0]["deleted_objects"]), 400.0, "{listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_kept_on_the_command_line() {
    let server = Process::start().await;
    let customer = server.site.customer("books@example.com", "EUR").await;
    let id = customer.id.to_string();
    json(&server, &["credit", "terms", &id, "prepaid"]).await;
    let credit =
        ["credit", "add", &id, "--amount", "EUR=50", "--reference", "BANK-1", "--output", "table"];
    for _ in 0..2 {
        let booked = admin(&server, &credit).await;
        assert!(String::from_utf8_lossy(&booked.stdout).contains("EUR=50"), "booked once");
    }
    // Announced for later, and changed once more before it holds.
    for (price, day) in [("EUR=12.80", "2099-01-01"), ("EUR=12.90", "2099-06-01")] {
        let change = ["plan", "update", "1", "--price", price, "--effective", day];
        assert!(admin(&server, &change).await.status.success(), "{price}");
    }
    let (plan_id, _) = server.site.plans().await;
    let account = server.site.order(&customer.token, plan_id, "on-credit").await;

    let shown = admin(&server, &["invoice", "show", "1"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["paid", "9.8: Standard S3 Plan, ", account.s3uid.as_str()] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let page = admin(&server, &["invoice", "show", "1", "--html"]).await;
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.starts_with("<!doctype html>") && page.contains("9.80"), "{page}");
    let verified = json(&server, &["invoice", "verify", "1"]).await;
    assert_eq!(verified["agrees"], true, "{verified}");
    let all = json(&server, &["invoice", "verify", "--all"]).await;
    assert_eq!(rows(&all), [] as [Value; 0], "nothing differs");
    let exported = admin(&server, &["invoice", "export", "--customer", &id]).await;
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    let lines: Vec<&str> = exported.lines().collect();
    assert_eq!(lines.len(), 2, "{exported}");
    assert!(lines[0].starts_with("BilledCost,") && lines[1].starts_with("9.8,"), "{exported}");
    let note = [
        "invoice",
        "credit-note",
        "1",
        "--amount",
        "EUR=2",
        "--reason",
        "late",
        "--reference",
        "N1",
    ];
    json(&server, &note).await;
    let left = json(&server, &["credit", "show", &id]).await;
    assert_eq!(left["credits"][0]["usable"], "42.2", "{left}");
    let nobody = admin(&server, &["credit", "terms", "4242", "prepaid"]).await;
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
}
