//! The operator's command line, against the real program.

use std::process::{Command, Output};

use serde_json::Value;
use stowage_testkit::{Process, program};

use crate::walk::{number, text};

/// Runs `stowage admin …` against the server.
async fn admin(server: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program()).arg("admin").args(arguments).env_clear();
    command.env("STOWAGE_ADDR", format!("http://{}", server.site.gateway));
    command.env("STOWAGE_TOKEN", &server.site.admin_token);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the command can be waited for").expect("the command starts")
}

/// Runs it with JSON output.
async fn json(server: &Process, arguments: &[&str]) -> Value {
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
