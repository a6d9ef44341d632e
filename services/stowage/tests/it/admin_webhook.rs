//! Webhooks at the operator's command line, with a receiver that is away.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{Process, finish, stderr, stowage};

/// Writes the secret and the configuration; answers where it is.
fn configure(folder: &Path, mode: u32) -> String {
    let secret = folder.join("mailer.secret");
    std::fs::write(&secret, "a secret of the test").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    let config = folder.join("stowage.toml");
    let text = format!(
        "[accounts.webhooks.mailer]\nurl = \"http://127.0.0.1:1/\"\nsecret_file = {secret:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

#[test]
fn deliveries_are_listed_shown_and_sent_again() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = configure(folder.path(), 0o600);
    let mut command = stowage(data.path());
    let process = Process::spawn(command.env("STOWAGE_CONFIG", config).arg("serve"), data.path());
    let sent = process.admin_json(&["webhook", "test", "mailer"]);
    let id = sent["id"].as_str().unwrap().to_owned();
    assert_eq!((&sent["state"], &sent["webhook"]), (&"waiting".into(), &"mailer".into()));
    let begun = Instant::now();
    let refused = loop {
        let shown = process.admin_json(&["webhook", "show", &id]);
        if shown["attempts"] != 0 {
            break shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown}");
    };
    assert_eq!(refused["last_status"], 0, "{refused}");
    assert!(refused["last_error"].as_str().unwrap().contains("refused"), "{refused}");
    assert!(refused["body"].as_str().unwrap().contains("stowage.webhook.test.v1"), "{refused}");

    let webhooks = process.admin_json(&["webhook", "list"]);
    assert_eq!((&webhooks[0]["name"], &webhooks[0]["waiting"]), (&"mailer".into(), &1.into()));
    let waiting = process.admin_json(&["webhook", "deliveries", "--state", "waiting"]);
    assert_eq!((&waiting[0]["id"], waiting[0].get("body")), (&id.as_str().into(), None));
    assert_eq!(
        process.admin_json(&["webhook", "deliveries", "--webhook", "x"]),
        serde_json::json!([])
    );
    for table in [
        process.admin_prints(&["webhook", "list"]),
        process.admin_prints(&["webhook", "deliveries"]),
        process.admin_prints(&["webhook", "show", &id]),
    ] {
        assert!(table.contains("mailer"), "{table}");
    }
    let again = process.admin_json(&["webhook", "replay", &id]);
    assert_eq!(again["state"], "waiting");
    let absent = "01890000-0000-7000-8000-000000000000";
    for (arguments, code) in [
        (["webhook", "test", "nobody"], 1),
        (["webhook", "show", absent], 1),
        (["webhook", "replay", "7"], 2),
    ] {
        let output = process.admin(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_secret_that_others_may_read_keeps_it_from_starting() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = configure(folder.path(), 0o644);
    let output = finish(stowage(data.path()).env("STOWAGE_CONFIG", config).arg("serve"));
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains("mailer.secret"), "{said}");
    assert!(said.contains("may be read by others"), "{said}");
}
