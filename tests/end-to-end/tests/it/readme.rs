//! The README's walk-through, pasted as it stands into a shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stowage_testkit::{Process, program};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The README's one block of shell.
fn walk_through() -> String {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let (_, after) = readme.split_once("```sh\n").expect("the README has a block of shell");
    after.split_once("```").expect("the block ends").0.to_owned()
}

/// Runs the block against `server`: only the addresses and the place of the program are changed,
/// since a test may not take the default ports.
fn paste(server: &Process) -> Output {
    let script = walk_through()
        .replace("127.0.0.1:8080", &server.site.gateway.to_string())
        .replace("127.0.0.1:9000", &server.site.s3.to_string())
        .replace("./target/release/stowage", &program().display().to_string());
    let mut shell = Command::new("bash");
    // The tests' own; the program knows all of its settings.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"STOWAGE_") {
            shell.env_remove(name);
        }
    }
    shell
        .args(["-e", "-o", "pipefail", "-c", &script])
        .current_dir(repository())
        .env("STOWAGE_ADDR", server.site.gateway.to_string())
        .env("STOWAGE_DATA_DIR", server.data())
        // Debian's rclone does not start with this set.
        .env_remove("AWS_CA_BUNDLE")
        .output()
        .expect("bash runs")
}

#[tokio::test]
async fn the_readme_s_walk_through_runs_when_pasted() {
    let server = Process::start().await;
    let output = paste(&server);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it ended with {}\n{out}\n{err}", output.status);

    let size = fs::metadata(repository().join("README.md")).expect("there is a README").len();
    for expected in [
        r#""action":"list_plans""#.to_owned(),
        "the same bytes came back".to_owned(),
        format!(r#""key":"docs/readme.md","size":{size}"#),
        r#""message":[{"name":"ada-photos","usage":1"#.to_owned(),
        r#""s3_users":[{"id":1,"#.to_owned(),
    ] {
        assert!(out.contains(&expected), "{expected} is not in\n{out}\n{err}");
    }
    assert!(!out.contains(r#""total_traffic_gb":0.0,"#), "traffic was counted\n{out}");
    assert!(!out.contains(r#""code":-1"#), "no call failed\n{out}");
}
