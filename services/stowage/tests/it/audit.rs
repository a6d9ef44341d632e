//! `stowage admin audit`, and what it says of a database that somebody has changed.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use stowage_accounts::MIGRATOR;
use stowage_db::{Db, args};

use crate::process::{Process, stderr};

/// Does something to the database of accounts, of which no server knows.
fn tamper(data: &Path, sql: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(&data.join("accounts.db"), &MIGRATOR).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert!(tx.execute(sql, args![]).await.unwrap() > 0, "{sql}");
        tx.commit().await.unwrap();
        db.close().await;
    });
}

/// Two customers with a key each. Answers their ids.
fn with_customers(process: &Process) -> [String; 2] {
    ["ada@example.com", "bob@example.com"].map(|email| {
        let create = ["customer", "create", "--email", email, "--currency", "EUR"];
        process.admin_json(&create)["customer_id"].to_string()
    })
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn acts_are_listed_newest_first_and_whole_chains_verify() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let [ada, bob] = with_customers(&process);
    let plan = "plan create --title Large --price EUR=9.80 --storage-overage EUR=0.05 \
                --traffic-overage EUR=0.01 --quota 1TiB";
    process.admin_json(&plan.split_whitespace().collect::<Vec<_>>());

    let his = process.admin_json(&["audit", "list", "--customer", &ada]);
    let events: Vec<_> = his.as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
    assert_eq!(events, ["api_key.created", "customer.created"]);
    assert_eq!((&his[1]["sequence"], &his[1]["actor"]), (&1.into(), &"administrator".into()));
    assert_eq!(his[1]["new"], serde_json::json!({ "currency": "EUR" }));
    assert!(his[1]["old"].is_null() && his[1]["acted_for_customer_id"].is_null(), "{his}");
    assert!(!his[1]["request_id"].as_str().unwrap().is_empty(), "{his}");
    let table = process.admin_prints(&["audit", "list", "--limit", "2"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("TIME  "), "{table}");

    let whole = process.admin_json(&["audit", "verify", "--customer", &ada]);
    assert_eq!((&whole["state"], &whole["entries"]), (&"whole".into(), &2.into()));
    assert_eq!(whole["head_hash"], his[0]["hash"]);
    assert!(whole["broken"].is_null(), "{whole}");
    let all = process.admin_json(&["audit", "verify"]);
    let ids = all.as_array().unwrap().iter().map(|row| row["customer_id"].to_string());
    assert_eq!(ids.collect::<Vec<_>>(), ["0".to_owned(), ada, bob]);
    assert!(all.as_array().unwrap().iter().all(|row| row["state"] == "whole"), "{all}");

    for (arguments, code) in [
        (["audit", "verify", "--customer", "999999"], 1),
        (["audit", "list", "--customer", "-1"], 2),
        (["audit", "list", "--customer", "ada"], 2),
    ] {
        let output = process.admin(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

/// What is done to the file, whose chain it breaks (0: of nobody), and how.
const TAMPERINGS: &[(&str, &str, &str)] = &[
    ("UPDATE history SET new_json = '{\"currency\":\"USD\"}' WHERE id = 1", "ada", "changed"),
    ("UPDATE history SET create_time = 'never' WHERE id = 2", "ada", "unreadable"),
    ("DELETE FROM history WHERE id = 3", "bob", "missing"),
    ("DELETE FROM history WHERE id = 4", "bob", "cut_off"),
    ("UPDATE history SET sequence = sequence + 10 WHERE id = 1", "ada", "missing"),
    (
        "UPDATE audit_chain SET sequence = 1, hash = (SELECT hash FROM history WHERE id = 1) \
         WHERE customer_id = 1001",
        "ada",
        "stray",
    ),
    ("UPDATE audit_chain SET hash = zeroblob(32) WHERE customer_id = 1002", "bob", "head_changed"),
    ("DELETE FROM audit_chain WHERE customer_id = 0", "nobody", "head_missing"),
];

#[test]
fn a_file_that_somebody_has_changed_is_found_and_what_to_do_is_said() {
    for (sql, whose, how) in TAMPERINGS {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(folder.path());
        let [ada, bob] = with_customers(&process);
        process.signal("TERM");
        process.wait();
        tamper(folder.path(), sql);

        let process = Process::start(folder.path());
        let broken = match *whose {
            "ada" => ada.as_str(),
            "bob" => bob.as_str(),
            _ => "0",
        };
        let all = process.admin(&["audit", "verify", "--output", "json"]);
        let said = stderr(&all);
        assert_eq!(all.status.code(), Some(1), "{sql}: {said}");
        assert!(said.contains(&format!("customer {broken}: ")), "{sql}: {said}");
        assert!(said.contains("backup") && said.contains("accounts.db"), "{sql}: {said}");
        for row in json(&all).as_array().unwrap() {
            let id = row["customer_id"].to_string();
            let is_his = id == broken;
            assert_eq!(row["state"], if is_his { "broken" } else { "whole" }, "{sql}: {row}");
            assert_eq!(row["broken"]["kind"], if is_his { (*how).into() } else { Value::Null });
        }
        let one = process.admin(&["audit", "verify", "--customer", broken]);
        assert_eq!(one.status.code(), Some(1), "{sql}: {}", stderr(&one));
        assert!(String::from_utf8_lossy(&one.stdout).contains("broken"), "{sql}");
    }
}
