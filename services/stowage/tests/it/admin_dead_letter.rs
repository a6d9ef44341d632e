//! Dead letters at the operator's command line: as a version with a mistake would have left them.

use std::path::Path;

use stowage_db::{Db, args};
use stowage_types::{Clock as _, SystemClock, SystemRandom, new_id};

use crate::process::{Process, stderr};

/// Writes a letter beside a server that is stopped; answers its id.
async fn write(db: &Db, consumer: &str, kind: &str, data: Vec<u8>) -> String {
    const SQL: &str = "INSERT INTO dead_letter (id, consumer, event_id, source, type, subject, \
        time, data, status, reason, attempts, create_time, update_time) VALUES ($1, $2, $1, \
        'stowage/storage', $3, 'accounts/x', $4, $5, 'waiting', 'it was refused', 5, $4, $4)";
    let (id, now) = (new_id(&SystemClock, &SystemRandom), SystemClock.now());
    let mut tx = db.begin().await.unwrap();
    tx.execute(SQL, args![id, consumer, kind, now, data]).await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

/// One that metering takes now, and one that accounts refuses still.
#[tokio::main(flavor = "current_thread")]
async fn write_both(data: &Path) -> (String, String) {
    let open = async |role: &str, migrator| {
        Db::open(&data.join(format!("{role}.db")), migrator).await.unwrap()
    };
    let accounts = open("accounts", &stowage_accounts::MIGRATOR).await;
    let metering = open("metering", &stowage_metering::MIGRATOR).await;
    // Field 1 of both messages is the account, a text.
    let message = |account: &str| {
        let mut bytes = vec![0x0a, u8::try_from(account.len()).unwrap()];
        bytes.extend(account.as_bytes());
        bytes
    };
    let refused = "stowage.storage.content.changed.v1";
    let refused = write(&accounts, "accounts.history", refused, message("nobody")).await;
    let good = "stowage.storage.usage.collected.v1";
    let good = write(&metering, "metering", good, message(&"a".repeat(32))).await;
    accounts.close().await;
    metering.close().await;
    (good, refused)
}

#[test]
fn dead_letters_are_listed_shown_and_handed_over_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(process.admin_json(&["dead-letter", "list"]), serde_json::json!([]));
    process.signal("TERM");
    process.wait();
    let (good, refused) = write_both(folder.path());
    let process = Process::start(folder.path());

    let list = process.admin_json(&["dead-letter", "list", "--status", "waiting"]);
    let ids: Vec<&str> =
        list.as_array().unwrap().iter().flat_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, [good.as_str(), refused.as_str()], "newest first, of both roles");
    assert!(list[0].get("data_hex").is_none(), "{list}");
    assert_eq!(list[1]["event"]["type"], "stowage.storage.content.changed.v1");
    let one = process.admin_json(&["dead-letter", "list", "--limit", "1"]);
    assert_eq!(one.as_array().unwrap().len(), 1, "{one}");
    let table = process.admin_prints(&["dead-letter", "list", "--consumer", "metering"]);
    let fields: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().take(3).collect();
    assert_eq!(fields, [good.as_str(), "metering", "waiting"], "{table}");
    let card = process.admin_prints(&["dead-letter", "show", &refused]);
    for part in
        ["REASON    it was refused\n", "ROLE      accounts\n", "DATA      0a066e6f626f6479\n"]
    {
        assert!(card.contains(part), "{card}");
    }

    let both = process.admin(&["dead-letter", "replay", &refused, &good, "--output", "json"]);
    assert_eq!(both.status.code(), Some(1), "{}", stderr(&both));
    let taken: serde_json::Value = serde_json::from_slice(&both.stdout).unwrap();
    assert_eq!((&taken[0]["id"], &taken[0]["status"]), (&good.as_str().into(), &"taken".into()));
    let said = stderr(&both);
    assert!(said.contains(&refused) && said.contains("dead-letter replay"), "{said}");
    let shown = process.admin_json(&["dead-letter", "show", &refused]);
    assert_eq!((&shown["status"], &shown["attempts"]), (&"waiting".into(), &6.into()));

    let absent = "01890000-0000-7000-8000-000000000000";
    for (arguments, code, part) in [
        (["dead-letter", "replay", good.as_str()], 1, "taken already; nothing was done"),
        (["dead-letter", "show", absent], 1, "stowage admin dead-letter list"),
        (["dead-letter", "show", "7"], 2, "LETTER: "),
        (["dead-letter", "list", "--status=odd"], 2, "--status"),
    ] {
        let output = process.admin(&arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(part), "{arguments:?}: {said}");
    }
}
