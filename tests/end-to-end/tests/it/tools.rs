//! The walk-through with S3 clients that are not ours: Debian's rclone and s3cmd.
//!
//! `cargo xtask test` installs both. Where one is missing its test fails and says so: a test that
//! skips itself is not there when it is needed.

use std::path::Path;
use std::process::{Command, Output};

use stowage_testkit::{Account, Kit};

/// Longest time of one command, in seconds.
const COMMAND_SECONDS_MAX: &str = "120";

/// Names that clients must quote, and servers must not rewrite.
const NAMES: &[&str] =
    &["plain.txt", "sp ace+plus.txt", "été/neige ❄.txt", "deep/er/and/deeper.bin", "100%.txt"];

/// Runs a client with nothing of our environment but the path, and a home of its own.
pub(crate) async fn run(
    program: &str,
    home: &Path,
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> Output {
    let mut command = Command::new("timeout");
    command.arg(COMMAND_SECONDS_MAX).arg(program).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).current_dir(home).env("LC_ALL", "C.UTF-8");
    command.envs(settings.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("the command can be waited for").expect("the command starts");
    let line = format!("{program} {}", arguments.join(" "));
    assert_ne!(output.status.code(), Some(127), "{program} is missing: run `cargo xtask test`");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` ended with {}: {text}", output.status);
    output
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with a file of each name, and one that needs several parts.
fn make_files(folder: &Path) {
    for (n, name) in NAMES.iter().enumerate() {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        std::fs::write(path, format!("content of {name} ").repeat(1 + n * 100)).expect("a file");
    }
    let big: Vec<u8> = (0..17 * 1024 * 1024_u32).map(|n| (n / 251) as u8).collect();
    std::fs::write(folder.join("big.bin"), big).expect("a file");
}

/// Whether two folders hold the same files with the same content.
fn assert_same(left: &Path, right: &Path) {
    for name in NAMES.iter().chain(&["big.bin"]) {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect(name);
        assert!(read(left) == read(right), "{name} came back as it was");
    }
}

async fn account(kit: &Kit, bucket: &str) -> Account {
    let customer = kit.site.customer("tools@example.com", "EUR").await;
    let (plan_id, _) = kit.site.plans().await;
    kit.site.order(&customer.token, plan_id, bucket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_copies_in_and_out() {
    let kit = Kit::start().await;
    let account = account(&kit, "rclone-bucket").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path();
    std::fs::create_dir(home.join("out")).expect("a folder");
    make_files(&home.join("out"));
    let settings = [
        ("RCLONE_CONFIG_S_TYPE", "s3"),
        ("RCLONE_CONFIG_S_PROVIDER", "Other"),
        ("RCLONE_CONFIG_S_ENDPOINT", account.endpoint.as_str()),
        ("RCLONE_CONFIG_S_ACCESS_KEY_ID", account.access_key.as_str()),
        ("RCLONE_CONFIG_S_SECRET_ACCESS_KEY", account.secret_key.as_str()),
        ("RCLONE_CONFIG_S_CHUNK_SIZE", "5M"),
        ("RCLONE_CONFIG_S_UPLOAD_CUTOFF", "6M"),
        // One try of each: what works only at the tenth does not work.
        ("RCLONE_RETRIES", "1"),
        ("RCLONE_LOW_LEVEL_RETRIES", "1"),
    ];
    let rclone = async |arguments: &[&str]| run("rclone", home, &settings, arguments).await;

    rclone(&["copy", "out", "s:rclone-bucket"]).await;
    rclone(&["check", "out", "s:rclone-bucket"]).await;
    let listing = text(&rclone(&["lsf", "-R", "--files-only", "s:rclone-bucket"]).await);
    for name in NAMES {
        assert!(listing.lines().any(|line| line == *name), "{name} in {listing}");
    }
    rclone(&["copy", "s:rclone-bucket", "back"]).await;
    assert_same(&home.join("out"), &home.join("back"));

    rclone(&["moveto", "s:rclone-bucket/plain.txt", "s:rclone-bucket/moved.txt"]).await;
    rclone(&["deletefile", "s:rclone-bucket/100%.txt"]).await;
    let listing = text(&rclone(&["lsf", "s:rclone-bucket"]).await);
    assert!(listing.contains("moved.txt") && !listing.contains("plain.txt"), "{listing}");
    assert!(!listing.contains("100%"), "{listing}");
    rclone(&["mkdir", "s:rclone-second"]).await;
    rclone(&["purge", "s:rclone-bucket"]).await;
    let buckets = text(&rclone(&["lsd", "s:"]).await);
    assert!(buckets.contains("rclone-second") && !buckets.contains("rclone-bucket"), "{buckets}");
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_copies_in_and_out() {
    let kit = Kit::start().await;
    let account = account(&kit, "s3cmd-bucket").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path();
    std::fs::create_dir(home.join("out")).expect("a folder");
    std::fs::create_dir(home.join("back")).expect("a folder");
    make_files(&home.join("out"));
    let host = account.endpoint.trim_start_matches("http://").trim_end_matches('/');
    let config = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nhost_base = {host}\nhost_bucket = {host}\n\
         use_https = False\nmultipart_chunk_size_mb = 5\nmax_retries = 1\n",
        account.access_key, account.secret_key,
    );
    std::fs::write(home.join(".s3cfg"), config).expect("a file");
    let s3cmd = async |arguments: &[&str]| {
        let quiet = [&["--no-progress"], arguments].concat();
        run("s3cmd", home, &[], &quiet).await
    };

    s3cmd(&["sync", "out/", "s3://s3cmd-bucket/"]).await;
    let listing = text(&s3cmd(&["ls", "-r", "s3://s3cmd-bucket"]).await);
    for name in NAMES {
        let line = format!("s3://s3cmd-bucket/{name}");
        assert!(listing.lines().any(|found| found.ends_with(&line)), "{name} in {listing}");
    }
    s3cmd(&["sync", "s3://s3cmd-bucket/", "back/"]).await;
    assert_same(&home.join("out"), &home.join("back"));
    s3cmd(&["cp", "s3://s3cmd-bucket/plain.txt", "s3://s3cmd-bucket/copy.txt"]).await;
    s3cmd(&["del", "s3://s3cmd-bucket/plain.txt"]).await;
    let listing = text(&s3cmd(&["ls", "s3://s3cmd-bucket"]).await);
    assert!(listing.contains("copy.txt") && !listing.contains("plain.txt"), "{listing}");
    s3cmd(&["del", "--recursive", "--force", "s3://s3cmd-bucket"]).await;
    s3cmd(&["rb", "s3://s3cmd-bucket"]).await;
    kit.stop().await;
}
