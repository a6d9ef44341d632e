//! Usage, rollups and conflicts of facts at the operator's command line.

use std::path::Path;

use stowage_db::{Db, args};
use stowage_types::{Clock as _, SystemClock};

use crate::process::{Process, stderr};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// Writes a meter with one fact beside a server that is stopped, and a rollup that is wrong.
#[tokio::main(flavor = "current_thread")]
async fn write(data: &Path) {
    const METER: &str = "INSERT INTO meter (s3uid, account_id, customer_id, email, email_lower, \
        plan_id, location, storage_type, billing, gb_bytes) \
        VALUES ($1, 1, 1, 'a@b.c', 'a@b.c', 1, 'NL', 'standard', 'ledger', 1000000000)";
    const LATEST: &str = "INSERT INTO account (s3uid, stored_bytes, as_of_time) VALUES ($1, 0, $2)";
    const FACT: &str = "INSERT INTO fact (span, source, id, digest, s3uid, bucket, kind, time, \
        value, object_count) VALUES ($4, 'log', '1', $1, $2, 'photos', 4, $3, 5, 0)";
    const ROLLUP: &str = "INSERT INTO traffic (s3uid, bucket, step, start_time, received_bytes, \
        sent_bytes, read_requests, write_requests) VALUES ($1, '', 1, $2, 0, 7, 0, 0)";
    const CONFLICT: &str = "INSERT INTO fact_conflict (source, id, s3uid, refused, count, \
        last_time) VALUES ('log', '1', $1, 'something else', 3, $2)";
    let metering = Db::open(&data.join("metering.db"), &stowage_metering::MIGRATOR).await.unwrap();
    let now = SystemClock.now();
    let midnight = now.replace_time(time::Time::MIDNIGHT);
    let mut tx = metering.begin().await.unwrap();
    tx.execute(METER, args![ACCOUNT]).await.unwrap();
    tx.execute(LATEST, args![ACCOUNT, now]).await.unwrap();
    let span = midnight.unix_timestamp() / (8 * 86_400);
    tx.execute(FACT, args![vec![0_u8; 16], ACCOUNT, midnight, span]).await.unwrap();
    tx.execute(ROLLUP, args![ACCOUNT, midnight]).await.unwrap();
    tx.execute(CONFLICT, args![ACCOUNT, now]).await.unwrap();
    tx.commit().await.unwrap();
    metering.close().await;
}

#[test]
fn rollups_are_compared_and_mended_and_usage_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(process.admin_json(&["metering", "rebuild", "--verify"]), serde_json::json!([]));
    process.signal("TERM");
    process.wait();
    write(folder.path());
    let process = Process::start(folder.path());

    let verify = ["metering", "rebuild", "--verify", "--output", "json"];
    for arguments in [&verify[..], &[&verify[..], &[ACCOUNT]].concat()] {
        let found = process.admin(arguments);
        assert_eq!(found.status.code(), Some(1), "{}", stderr(&found));
        let rows: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
        let rows = rows.as_array().unwrap();
        let is = |row: &serde_json::Value| {
            let wanted = [ACCOUNT, "", "day", "sent_bytes", "7", "5"];
            let fields = ["account", "bucket", "step", "field", "stored", "computed"];
            fields.into_iter().zip(wanted).all(|(field, wanted)| row[field] == wanted)
        };
        assert_eq!((rows.len(), rows.iter().filter(|row| is(row)).count()), (4, 1), "{rows:?}");
        assert!(stderr(&found).contains("not what the facts come to"), "{}", stderr(&found));
    }
    let mended = process.admin(&["metering", "rebuild", ACCOUNT]);
    assert_eq!(mended.status.code(), Some(0), "{}", stderr(&mended));
    assert!(stderr(&mended).contains("1 accounts, 1 facts, 4 figures differed"));
    assert_eq!(process.admin_json(&["metering", "rebuild", "--verify"]), serde_json::json!([]));

    let days = process.admin_json(&["usage", ACCOUNT]);
    assert_eq!((&days[0]["sent_bytes"], &days[0]["source"]), (&5.into(), &"day_rollups".into()));
    let csv = process.admin_prints(&["usage", ACCOUNT, "--bucket=photos", "--step=hour", "--csv"]);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((lines.len(), lines[0][10], lines[1][10]), (2, "sent_bytes", "5"), "{csv}");
    assert_eq!((lines[1][0], lines[1][16]), (ACCOUNT, "hour_rollups"), "{csv}");
    let month = process.admin_prints(&["usage", ACCOUNT, "--step=month"]);
    assert_eq!(month.lines().count(), 2, "{month}");

    let conflicts = process.admin_json(&["metering", "conflicts", "--source=log"]);
    assert_eq!((&conflicts[0]["id"], &conflicts[0]["count"]), (&"1".into(), &3.into()));
    for (arguments, code, part) in [
        (vec!["usage", &ACCOUNT[..31]], 2, "ACCOUNT: "),
        (vec!["usage", "ffffffffffffffffffffffffffffffff"], 1, "no such meter"),
        (vec!["usage", ACCOUNT, "--from=yesterday"], 2, "--from"),
        (vec!["metering", "rebuild", "--from=x"], 2, "token"),
    ] {
        let output = process.admin(&arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
