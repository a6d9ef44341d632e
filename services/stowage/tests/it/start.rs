//! The first start makes everything, the second changes none of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::process::Process;

const SECRETS: [&str; 3] = ["keyring", "signing.key", "admin.token"];

fn secrets(data: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    SECRETS.iter().map(|name| (*name, fs::read(data.join(name)).unwrap())).collect()
}

#[test]
fn the_second_start_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let seen = |process: &Process| {
        [&["plan", "list"][..], &["location", "list"], &["customer", "list"], &["account", "list"]]
            .map(|arguments| process.admin_json(arguments))
    };
    let mut process = Process::start(&data);
    let first = (secrets(&data), seen(&process).map(without_endpoint));
    process.signal("TERM");
    assert!(process.wait().success());
    let process = Process::start(&data);
    assert_eq!((secrets(&data), seen(&process).map(without_endpoint)), first);
    assert_eq!(first.1[0].as_array().unwrap().len(), 2, "two plans");
    assert_eq!(first.1[1][0]["code"], "NL");
}

/// The port of the endpoint is another at each start in tests.
fn without_endpoint(mut list: serde_json::Value) -> serde_json::Value {
    for item in list.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("endpoint");
    }
    list
}

#[test]
fn secrets_are_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _process = Process::start(&data);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in SECRETS {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn the_commands_of_the_banner_work_when_they_are_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("my data");
    let process = Process::start(&data);
    let is_command = |line: &&str| {
        line.starts_with("KEY=") || line.starts_with("TOKEN=") || line.starts_with("curl")
    };
    let commands: Vec<&str> = process.banner.lines().filter(is_command).collect();
    assert_eq!(commands.len(), 3, "{}", process.banner);
    let output = Command::new("sh").args(["-c", &commands.join("\n")]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("sk_") && lines[0].len() == 67, "{said}");
    assert_eq!(lines[1].len(), 64, "{said}");
    let plans: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!((&plans["result"], plans["plans"][0]["id"].is_number()), (&"OK".into(), true));
}
