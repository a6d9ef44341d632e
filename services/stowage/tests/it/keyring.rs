//! Master keys at the command line, and from where they come.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use stowage::config::{Config, Environment};

use crate::process::{Process, finish, stderr, stowage};

fn line(version: u32, digit: &str) -> String {
    format!("{version} {}\n", digit.repeat(64))
}

fn start(data: &Path, settings: &[(&str, &str)]) -> Process {
    let mut command = stowage(data);
    command.envs(settings.iter().copied()).arg("serve");
    Process::spawn(&mut command, data)
}

fn stop(mut process: Process) {
    process.signal("TERM");
    assert!(process.wait().success());
}

/// `moved` of each role.
fn moved(rows: &Value) -> Vec<(String, i64)> {
    let row = |row: &Value| (row["role"].as_str().unwrap().into(), row["moved"].as_i64().unwrap());
    rows.as_array().unwrap().iter().map(row).collect()
}

/// Versions of accounts with their states.
fn states(process: &Process) -> Vec<(u64, String)> {
    let rows = process.admin_json(&["keyring", "status"]);
    let of_accounts = rows.as_array().unwrap().iter().filter(|row| row["role"] == "accounts");
    let state =
        |row: &Value| (row["version"].as_u64().unwrap(), row["state"].as_str().unwrap().into());
    of_accounts.map(state).collect()
}

#[test]
fn a_file_of_master_keys_is_rotated_and_the_old_one_retired() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings =
        [("STOWAGE_KEYRING_USABLE_AFTER_MS", "100"), ("STOWAGE_KEYRING_RETIRE_AFTER_MS", "0")];
    let process = start(&data, &settings);
    process.admin_json(&["customer", "create", "--email", "a@example.com", "--currency", "EUR"]);
    let refused = process.admin(&["keyring", "retire", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("rotate first"), "{}", stderr(&refused));
    let rows = process.admin_json(&["keyring", "rotate"]);
    let roles: Vec<_> = moved(&rows).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["accounts", "storage"]);
    assert_eq!(states(&process), [(1, "old".to_owned()), (2, "in use".to_owned())]);
    assert_eq!(process.admin_json(&["keyring", "retire", "1"])["retired"], true);
    assert_eq!(states(&process), [(2, "in use".to_owned())]);
    let table = process.admin_prints(&["keyring", "status"]);
    assert!(table.starts_with("ROLE      VERSION  STATE"), "{table}");
    let unknown = process.admin(&["keyring", "retire", "1"]);
    assert!(stderr(&unknown).contains("keyring status"), "{}", stderr(&unknown));
    let mode = data.join("keyring").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    stop(process);
}

#[test]
fn master_keys_come_from_the_environment_or_from_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept elsewhere");
    let command = format!("['cat', '{}']", file.display());
    for variable in ["STOWAGE_KEYRING", "STOWAGE_KEYRING_COMMAND"] {
        let data = folder.path().join(variable);
        let run = |text: &str| {
            fs::write(&file, text).unwrap();
            let value = if variable == "STOWAGE_KEYRING" { text } else { command.as_str() };
            start(&data, &[(variable, value)])
        };
        let process = run(&line(1, "a"));
        assert!(!data.join("keyring").exists(), "{variable}");
        let create = ["customer", "create", "--email", "a@example.com", "--currency", "EUR"];
        process.admin_json(&create);
        let refused = process.admin(&["keyring", "rotate"]);
        assert_eq!(refused.status.code(), Some(1));
        let told = stderr(&refused);
        assert!(told.contains("add the line `2 <64 hex") && !told.contains("aaaa"), "{told}");
        stop(process);

        let process = run(&(line(1, "a") + &line(2, "b")));
        let rows = process.admin_json(&["keyring", "rewrap"]);
        assert_eq!(moved(&rows), [("accounts".to_owned(), 1), ("storage".to_owned(), 0)]);
        let refused = stderr(&process.admin(&["keyring", "retire", "1"]));
        assert!(refused.contains("remove its line there"), "{refused}");
        stop(process);

        let process = run(&line(2, "b"));
        assert_eq!(states(&process), [(2, "in use".to_owned())], "{variable}");
        stop(process);
    }
}

#[test]
fn a_source_of_no_use_is_named_and_nothing_of_it_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::write(&shared, line(1, "a")).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o644)).unwrap();
    let shared = shared.to_str().unwrap();
    for (settings, code, why) in [
        (vec![("STOWAGE_KEYRING", "1 aaaa")], 1, "64 hex"),
        (vec![("STOWAGE_KEYRING_FILE", shared)], 1, "chmod 600"),
        (vec![("STOWAGE_KEYRING_COMMAND", "/no/such/program x")], 1, "/no/such/program"),
        (vec![("STOWAGE_KEYRING_COMMAND", "false")], 1, "exit code 1"),
        (
            vec![("STOWAGE_KEYRING", "1 aaaa"), ("STOWAGE_KEYRING_COMMAND", "true")],
            2,
            "STOWAGE_KEYRING or keyring.command",
        ),
        (vec![("STOWAGE_KEYRING_USABLE_AFTER_MS", "99999999")], 2, "usable_after_ms"),
    ] {
        let mut command = stowage(&folder.path().join("data"));
        let output = finish(command.envs(settings.clone()).arg("serve"));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{settings:?}: {told}");
        assert!(told.contains(why) && !told.contains("aaaa"), "{settings:?}: {told}");
    }
}

#[test]
fn a_command_is_words_or_a_list_and_no_value_is_shown() {
    for (text, words) in [
        ("vault kv get  keyring", &["vault", "kv", "get", "keyring"][..]),
        ("['/opt/a b', 'c d']", &["/opt/a b", "c d"]),
    ] {
        let variables = [("STOWAGE_KEYRING_COMMAND".to_owned(), text.to_owned())];
        let environment: Environment = variables.into_iter().collect();
        let config = Config::load(&environment).unwrap();
        assert_eq!(config.keyring.command.unwrap(), words);
    }
    let variables = [("STOWAGE_KEYRING".to_owned(), line(1, "a"))];
    let environment: Environment = variables.into_iter().collect();
    let config = Config::load(&environment).unwrap();
    assert!(!format!("{config:?}").contains("aaaa"));
}

#[test]
fn a_backup_has_the_file_of_master_keys_wherever_it_is_or_says_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let text = line(1, "a");
    for (variable, value, has_file) in [
        ("STOWAGE_KEYRING_FILE", elsewhere.to_str().unwrap(), true),
        ("STOWAGE_KEYRING", text.as_str(), false),
    ] {
        let data = folder.path().join(variable);
        let process = start(&data, &[(variable, value)]);
        let to = folder.path().join(format!("backup of {variable}"));
        let mut backup = stowage(&data);
        backup.env(variable, value).args(["admin", "backup", "--to"]).arg(&to);
        let saved = finish(&mut backup);
        let told = stderr(&saved);
        assert_eq!(saved.status.code(), Some(0), "{variable}: {told}");
        assert!(!data.join("keyring").exists(), "{variable}");
        assert_eq!(to.join("keyring").exists(), has_file, "{variable}");
        assert_eq!(told.contains("come from the environment"), !has_file, "{variable}: {told}");
        if has_file {
            let read = |path: &Path| fs::read_to_string(path).unwrap();
            assert_eq!(read(&to.join("keyring")), read(&elsewhere));
        }
        stop(process);
    }
}
