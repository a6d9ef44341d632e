//! Sagas at the operator's command line: two that are stuck, as an outage would leave them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use stowage_db::{Db, args};
use stowage_types::{Clock as _, SystemClock, SystemRandom, new_id};

use crate::process::{Process, stderr};

const ORDER: &str = "accounts.create_account.v1";
const DELETION: &str = "accounts.delete_account.v1";
/// Storage writes them too.
const REMOVAL: &str = "storage.delete_bucket.v1";
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a stuck saga beside a server that is stopped; answers its id.
async fn write_stuck(db: &Db, kind: &str, direction: &str, state: &str) -> String {
    const SQL: &str = "INSERT INTO saga (id, kind, state, step, direction, status, attempts, \
        next_attempt_time, lease_owner, lease_until, failure_step, failure_reason, failure_why, \
        create_time, update_time, attempt_error) VALUES ($1, $2, $3, 1, $4, 'stuck', 50, $5, \
        'gone', $5, 'somewhere', 'ATTEMPTS_EXHAUSTED', 'no answer', $5, $5, 'a late no')";
    let (id, now) = (new_id(&SystemClock, &SystemRandom), SystemClock.now());
    let mut tx = db.begin().await.unwrap();
    tx.execute(SQL, args![id, kind, state, direction, now]).await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

/// An order that could not be undone and a deletion that could not go on, of accounts that no
/// other role knows any more.
#[tokio::main(flavor = "current_thread")]
async fn write_both(data: &Path) -> (String, String) {
    let path = data.join("accounts.db");
    let db = Db::open(&path, &stowage_accounts::MIGRATOR).await.unwrap();
    let uid = |digit: &str| digit.repeat(32);
    let order = serde_json::json!({
        "s3uid": uid("a"), "account_id": 7, "customer": 1001, "email": "ada@example.com",
        "currency": "EUR", "plan": 1, "plan_version": 1, "location": "NL",
        "storage_type": "standard", "endpoint": "http://127.0.0.1:9000", "quota_bytes": 1,
        "bucket_max": 1, "gb_bytes": 1_073_741_824, "bucket": "photos", "billing": "ledger",
        "service_id": 0, "order_id": 0, "invoice_id": 0, "actor": "customers/1001",
        "request_id": "r", "guard_key": null, "pending": null,
    });
    let deletion = serde_json::json!({
        "s3uid": uid("b"), "customer": 1001, "plan": 1, "service_id": 424_242,
        "actor": "customers/1001", "reason": "", "request_id": "r", "pending": null,
    });
    let order = write_stuck(&db, ORDER, "undoing", &order.to_string()).await;
    let deletion = write_stuck(&db, DELETION, "forward", &deletion.to_string()).await;
    db.close().await;
    (order, deletion)
}

fn metrics(process: &Process) -> String {
    let mut stream = TcpStream::connect(&process.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn shows_gauge(process: &Process, kind: &str, count: u32) {
    let line = format!("stowage_saga_stuck{{kind=\"{kind}\"}} {count}");
    until(&line, || metrics(process).lines().any(|found| found == line));
}

#[test]
fn stuck_sagas_are_counted_found_shown_and_brought_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(process.admin_json(&["saga", "list"]), serde_json::json!([]));
    shows_gauge(&process, ORDER, 0);
    process.signal("TERM");
    process.wait();
    let (order, deletion) = write_both(folder.path());

    // The gauge is right in a process that has seen neither get stuck.
    let process = Process::start(folder.path());
    shows_gauge(&process, ORDER, 1);
    shows_gauge(&process, DELETION, 1);
    let list = process.admin_json(&["saga", "list", "--status", "stuck"]);
    let ids: Vec<&str> =
        list.as_array().unwrap().iter().flat_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, [deletion.as_str(), order.as_str()], "newest first");
    assert!(list[0].get("state").is_none(), "{list}");
    let table = process.admin_prints(&["saga", "list", "--kind", ORDER]);
    assert!(table.starts_with("SAGA  "), "{table}");
    let line = table.lines().nth(1).unwrap();
    let fields: Vec<&str> = line.split_whitespace().take(8).collect();
    let wanted = [&order, "accounts", ORDER, "stuck", "undoing", "2/7", "place_order", "50"];
    assert_eq!(fields, wanted, "{table}");

    let card = process.admin_prints(&["saga", "show", &deletion]);
    for part in [
        "ROLE        accounts\n",
        "UNDO        never\n",
        "FAILED AT   somewhere\n",
        "WHY         no answer\n",
        "LAST ERROR  a late no\n",
    ] {
        assert!(card.contains(part), "{card}");
    }
    let shown = process.admin_json(&["saga", "show", &order]);
    assert_eq!(shown["state"]["bucket"], "photos", "{shown}");
    assert_eq!(shown["failure"]["reason"], "ATTEMPTS_EXHAUSTED");

    let tried = process.admin_json(&["saga", "retry", &deletion]);
    assert_eq!((&tried["status"], &tried["attempts"]), (&"running".into(), &0.into()));
    let turned = process.admin_json(&["saga", "undo", &order]);
    assert_eq!((&turned["status"], &turned["direction"]), (&"running".into(), &"undoing".into()));
    for (id, status) in [(&deletion, "completed"), (&order, "undone")] {
        until(status, || process.admin_json(&["saga", "show", id])["status"] == status);
    }
    shows_gauge(&process, ORDER, 0);
    shows_gauge(&process, DELETION, 0);
}

/// The deletion of a bucket that got stuck in storage.
#[tokio::main(flavor = "current_thread")]
async fn write_removal(data: &Path) -> String {
    let path = data.join("storage.db");
    let db = Db::open(&path, &stowage_storage::MIGRATOR).await.unwrap();
    let state = serde_json::json!({
        "uid": "c".repeat(32), "bucket": "photos", "location": "NL",
        "told": { "actor": "customers/1001", "request_id": "r" },
        "pending": null, "found": null, "kept": null,
    });
    let id = write_stuck(&db, REMOVAL, "forward", &state.to_string()).await;
    db.close().await;
    id
}

#[test]
fn sagas_of_every_role_are_listed_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    process.signal("TERM");
    process.wait();
    let (order, deletion) = write_both(folder.path());
    let removal = write_removal(folder.path());
    let process = Process::start(folder.path());
    shows_gauge(&process, REMOVAL, 1);
    let list = process.admin_json(&["saga", "list"]);
    let rows: Vec<_> =
        list.as_array().unwrap().iter().map(|row| (&row["id"], &row["role"])).collect();
    let wanted = [(removal.as_str(), "storage"), (&deletion, "accounts"), (&order, "accounts")];
    let wanted: Vec<_> = wanted.map(|(id, role)| (id.into(), role.into())).to_vec();
    let wanted: Vec<(&serde_json::Value, &serde_json::Value)> =
        wanted.iter().map(|(id, role)| (id, role)).collect();
    assert_eq!(rows, wanted, "newest first");
    assert_eq!(process.admin_json(&["saga", "list", "--limit", "1"])[0]["id"], removal.as_str());
    let shown = process.admin_json(&["saga", "show", &removal]);
    assert_eq!((&shown["role"], &shown["state"]["bucket"]), (&"storage".into(), &"photos".into()));
    assert_eq!(shown["attempt_error"], "a late no");
    let output = process.admin(&["saga", "undo", &removal]);
    assert!(stderr(&output).contains("stowage admin saga retry"), "{output:?}");
}

#[test]
fn what_cannot_be_done_is_told_with_what_can() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    process.signal("TERM");
    process.wait();
    let (order, deletion) = write_both(folder.path());
    let process = Process::start(folder.path());
    process.admin_json(&["saga", "retry", &order]);
    until("undone", || process.admin_json(&["saga", "show", &order])["status"] == "undone");
    let absent = "01890000-0000-7000-8000-000000000000";
    for (arguments, code, part) in [
        (["saga", "undo", deletion.as_str()], 1, "stowage admin saga retry"),
        (["saga", "undo", &order], 1, "stowage admin saga show"),
        (["saga", "retry", &order], 1, "it is undone"),
        (["saga", "show", absent], 1, "stowage admin saga list"),
        (["saga", "retry", "7"], 2, "SAGA: "),
        (["saga", "list", "--status=odd"], 2, "--status"),
    ] {
        let output = process.admin(&arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(part), "{arguments:?}: {said}");
    }
}
