//! What the operator's command line prints, and how it says no.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::process::{Process, finish, stderr, stowage};

/// Blanks what differs from run to run and keeps the width: times, keys, ids.
fn redacted(text: &str) -> String {
    let blank = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_time = word.len() == 20 && word.ends_with('Z') && digits == 14;
        let is_key = word.starts_with("sk_");
        let is_id = word.len() == 36 && word.matches('-').count() == 4;
        let to = |c: char| if c.is_ascii_alphanumeric() { '0' } else { c };
        if is_time || is_key || is_id { word.chars().map(to).collect() } else { word.to_owned() }
    };
    let lines = text.lines().map(|line| line.split(' ').map(blank).collect::<Vec<_>>().join(" "));
    lines.map(|line| line + "\n").collect()
}

const TIME: &str = "0000-00-00000:00:000";

#[test]
fn customers_and_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let ada = ["customer", "create", "--email", "ada@example.com", "--currency", "eur"];
    let made = process.admin_json(&ada);
    let id = made["customer_id"].as_i64().unwrap().to_string();
    assert!(made["api_key"].as_str().unwrap().starts_with("sk_"), "{made}");
    assert_eq!(made["currency"], "EUR");

    let list = process.admin_prints(&["customer", "list"]);
    let title = "CUSTOMER  EMAIL            CURRENCY  CREATED\n";
    let wanted = format!("{title}{id:<8}  ada@example.com  EUR       {TIME}\n");
    assert_eq!(redacted(&list), wanted);
    let card = process.admin_prints(&["customer", "show", &id]);
    let wanted =
        format!("CUSTOMER  {id}\nEMAIL     ada@example.com\nCURRENCY  EUR\nCREATED   {TIME}\n");
    assert_eq!(redacted(&card), wanted);

    let key = process.admin_json(&["api-key", "create", &id, "--label", "backup script"]);
    assert!(key["api_key"].as_str().unwrap().starts_with("sk_"), "{key}");
    let key_id = key["id"].as_str().unwrap();
    let revoked = process.admin_json(&["api-key", "revoke", key_id]);
    assert!(revoked["revoke_time"].is_string(), "{revoked}");
    let keys = process.admin_json(&["api-key", "list", &id]);
    assert_eq!(keys.as_array().unwrap().len(), 2, "{keys}");
    assert_eq!(keys[1]["label"], "backup script");
    assert!(keys[0].get("api_key").is_none(), "a key is shown once: {keys}");
}

#[test]
fn plans_from_creation_to_archive() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let create = "plan create --title Large --price EUR=9.80 --price USD=10.5 \
                  --storage-overage EUR=0.05 --traffic-overage EUR=0.01 --quota 1TiB \
                  --storage-overage USD=0.06 --traffic-overage USD=0.02";
    let create: Vec<&str> = create.split_whitespace().collect();
    let plan = process.admin_json(&create);
    let id = plan["plan_id"].as_i64().unwrap().to_string();
    assert_eq!(plan["prices"]["EUR"]["price"], "9.8");
    assert_eq!(plan["prices"]["EUR"]["storage_overage"], "0.05");
    assert_eq!(plan["prices"]["USD"]["traffic_overage"], "0.02");
    assert_eq!((&plan["quota_bytes"], &plan["version"]), (&(1_i64 << 40).into(), &1.into()));

    let update = ["plan", "update", &id, "--price", "EUR=8", "--title", "Larger"];
    let changed = process.admin_json(&update);
    assert_eq!((&changed["version"], &changed["title"]), (&2.into(), &"Larger".into()));
    assert_eq!(changed["prices"]["EUR"]["price"], "8");
    assert_eq!(changed["prices"]["EUR"]["storage_overage"], "0.05", "what was not named stays");

    process.admin_prints(&["plan", "archive", &id]);
    let card = process.admin_prints(&["plan", "show", &id]);
    assert!(card.contains("STATE             archived\n"), "{card}");
    let list = process.admin_prints(&["plan", "list", "--limit", "1"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.starts_with("PLAN  VERSION  TITLE"), "{list}");
}

#[test]
fn the_location_of_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let list = process.admin_json(&["location", "list"]);
    let endpoint = format!("http://{}", process.s3);
    assert_eq!(
        list,
        serde_json::json!([{
            "code": "NL", "engine": "embedded", "endpoint": endpoint, "region": "us-east-1",
            "storage_types": ["standard"], "state": "open", "origin": "configured",
        }])
    );
    assert_eq!(process.admin_json(&["account", "list"]), serde_json::json!([]));
}

#[test]
fn a_location_is_drained_and_its_secrets_come_from_files_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder.path().join("data"));
    for (command, state) in [("drain", "draining"), ("undrain", "open")] {
        let row = process.admin_json(&["location", command, "NL"]);
        assert_eq!(row["state"], state, "{row}");
    }
    let shared = folder.path().join("shared");
    fs::write(&shared, "hush").unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o644)).unwrap();
    let shared = shared.to_str().unwrap();
    let endpoint = "http://127.0.0.1:1";
    let add = "location add DE --engine ceph-rgw --access-key AK --endpoint";
    let add: Vec<&str> = add.split(' ').chain([endpoint]).collect();
    for (more, code, said) in [
        (&["--secret-key-file", shared][..], 2, "--secret-key-file: "),
        (&["--secret-key-file", shared], 2, "chmod 600"),
        (&["--secret-key-file", "-"], 2, "--secret-key-file: standard input is empty"),
        (&["--secret-key-file", "/absent"], 2, "--secret-key-file: /absent does not exist"),
        (&["--ca-file", "/absent"], 2, "--ca-file: /absent"),
        (&[], 2, "--secret-key-file: must be set"),
        (&["--secret-key", "hush"], 2, "--secret-key"),
    ] {
        let output = process.admin(&[add.as_slice(), more].concat());
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{more:?}: {}", stderr(&output));
    }
    for (words, code, said) in [
        (&["location", "update", "NL"][..], 2, "--secret-key-file"),
        (&["location", "update", "NL", "--access-key", "AK"], 1, "as the configuration says"),
        (&["location", "remove", "NL"], 1, "take it out of the configuration"),
        (&["location", "drain", "XX"], 1, "location not found"),
        (&["location", "drain", "nl"], 2, "CODE: "),
    ] {
        let output = process.admin(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }

    // A secret that comes by standard input gets as far as the server, which asks the engine.
    let mut command = stowage(&process.data);
    command.env("STOWAGE_ADDR", &process.gateway).arg("admin").args(&add);
    command.args(["--secret-key-file", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hush\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--endpoint: does not answer") && !said.contains("hush"), "{said}");
    let list = process.admin_prints(&["location", "list"]);
    assert!(list.starts_with("CODE  ENGINE") && list.lines().count() == 2, "{list}");
}

#[test]
fn trouble_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    for (arguments, code, parts) in [
        (&["customer", "show", "999999"][..], 1, &["customer"][..]),
        (
            &["customer", "create", "--email", "nobody", "--currency", "EURO"],
            2,
            &["--email: ", "--currency: "],
        ),
        (&["plan", "create", "--title", "x", "--price", "EUR=-1"], 2, &["--price"]),
        (&["plan", "create", "--title", "x", "--price", "9.80"], 2, &["EUR=9.80"]),
        (&["plan", "create", "--title", "x", "--price", "EUR=1"], 2, &["--storage-overage: "]),
        (&["plan", "update", "1"], 2, &["--title"]),
        (&["account", "show", "999999"], 1, &["account"]),
        (&["bucket", "delete", "--with-contents", "999999", "photos"], 1, &["account"]),
        (&["bucket", "delete", "--no-wait", "999999", "photos"], 2, &["--with-contents"]),
        (&["customer", "list", "--limit", "0"], 2, &["--limit"]),
    ] {
        let output = process.admin(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_server_that_is_away_and_a_token_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut away = stowage(folder.path());
    away.args(["admin", "plan", "list"]);
    let output = finish(&mut away);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("stowage serve"), "no token: {}", stderr(&output));

    away.env("STOWAGE_TOKEN", "anything").env("STOWAGE_ADDR", "127.0.0.1:1");
    let output = finish(&mut away);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no server answers"), "{}", stderr(&output));

    let process = Process::start(folder.path());
    away.env("STOWAGE_ADDR", &process.gateway);
    let output = finish(&mut away);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("STOWAGE_TOKEN") && !said.contains("anything"), "{said}");
}

#[tokio::test]
async fn invoices_are_listed_and_paid_once() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let list = process.admin_prints(&["invoice", "list"]);
    assert!(list.starts_with("INVOICE  CUSTOMER  ACCOUNT"), "{list}");
    assert_eq!(process.admin_json(&["invoice", "list", "--state", "open"]), serde_json::json!([]));
    let pay = ["invoice", "pay", "1", "--reference", "BANK-1"];
    for (words, exit, said) in [
        (&["invoice", "show", "1"][..], 1, "invoice not found"),
        (&pay, 1, "invoice not found"),
        (&["invoice", "show", "0"], 2, "is not a name like invoices/1"),
        (&["invoice", "pay", "1", "--reference", " "], 2, "--reference: must be a text"),
        (&["invoice", "list", "--customer", "x"], 2, "--customer"),
    ] {
        let output = process.admin(words);
        assert_eq!(output.status.code(), Some(exit), "{words:?}");
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }
}
