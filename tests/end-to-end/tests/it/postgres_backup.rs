//! Backup and restore of an installation on PostgreSQL: `pg_dump`, then the data folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use stowage_db::testing::Scratch;
use stowage_testkit::Process;

use crate::backup::{Busy, assert_consistent};

/// A program of PostgreSQL's client package: on the path, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin").join(name));
    debian.filter(|path| path.is_file()).max().unwrap_or_else(|| PathBuf::from(name))
}

async fn run(command: &mut Command) {
    let output = tokio::task::block_in_place(|| command.output()).expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

async fn back_up(server: &Process, url: &str, folder: &Path) -> PathBuf {
    let dump = folder.join("databases.dump");
    let mut command = Command::new(program("pg_dump"));
    run(command.args(["--format=custom", "--dbname", url, "--file"]).arg(&dump)).await;
    let to = folder.join("data");
    let saved = server.admin_json(&["backup", "--to", &to.display().to_string()]).await;
    assert_eq!(saved["databases"], serde_json::json!(["s3/index.sqlite"]));
    dump
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_then_the_folder_restore_a_busy_server() {
    let (place, other) = (Scratch::whole().await, Scratch::whole().await);
    let url = place.server_url();
    let server = Process::start_with(&[("STOWAGE_DATABASE_URL", url)]).await;
    let busy = Busy::start(&server.site, "busy-too@example.com").await;
    let folder = tempfile::tempdir().expect("a folder");
    let dump = back_up(&server, url, folder.path()).await;
    let (customer, ordered) = busy.stop().await;
    drop(server);

    let url = other.server_url();
    let mut command = Command::new(program("pg_restore"));
    run(command.args(["--exit-on-error", "--no-owner", "--dbname", url]).arg(&dump)).await;
    let settings = [("STOWAGE_DATABASE_URL", url)];
    let restored = Process::start_from(&folder.path().join("data"), &settings).await;
    let found = assert_consistent(&restored, &customer, &ordered).await;
    // The folder is a moment later: what was ordered or deleted in between is all that differs.
    for (kind, s3uid, _) in &found {
        let is_of_engine = kind.starts_with("engine_account");
        assert!(is_of_engine && ordered.contains_key(s3uid), "{found:?}");
    }
    let (paid, _) = restored.site.plans().await;
    restored.site.order(&customer.token, paid, "after-the-restore").await;
}
