//! S3 clients that are not ours, as customers run them: rclone, s3cmd, aws-cli and boto3.
//!
//! Each does what people do with it: sync there and back with deletions, an upload in parts, a
//! signed URL, a range, a copy on the server, keys that must be quoted. Every byte is compared.
//! `cargo xtask test` installs all four. Where one is missing its test fails and says so: a test
//! that skips itself is not there when it is needed.

mod aws_cli;
mod boto;
mod rclone;
mod s3cmd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stowage_testkit::{Account, Kit};
use tempfile::TempDir;

/// Longest time of one command, in seconds.
const COMMAND_SECONDS_MAX: &str = "120";

/// Names that clients must quote, and servers must not rewrite.
const NAMES: &[&str] = &[
    "plain.txt",
    "sp ace+plus.txt",
    "été/neige ❄.txt",
    "Grüße/Öl 🦀🧡.txt",
    "deep/er/and/deeper.bin",
    "100%.txt",
    "%41%2f%2525.txt",
    "q?u&e=r;y#x,$@:!.txt",
    "it's (1) [2] {3} ~^|`.txt",
    "<tag attr=\"v\">&amp;.txt",
    "..dots",
    "dots..",
    "...",
    "a/..b/c..",
    "-dash",
    "tail ",
];

/// A file that needs several parts, and bytes of it.
const BIG: &str = "big.bin";
const BIG_BYTES: usize = 17 * 1024 * 1024;

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
    let error = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "`{line}` ended with {status}: {error}{}", text(&output));
    output
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program of the tests' Python environment, in the target folder above the running test.
pub(crate) fn python_program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors()
        .map(|folder| folder.join("schemathesis/bin").join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run `cargo xtask test`"))
}

/// A server, an account with a bucket, and a folder with files to send.
struct Bench {
    kit: Kit,
    account: Account,
    bucket: String,
    folder: TempDir,
}

impl Bench {
    async fn start(bucket: &str) -> Self {
        let kit = Kit::start().await;
        let customer = kit.site.customer("tools@example.com", "EUR").await;
        let (plan_id, _) = kit.site.plans().await;
        let account = kit.site.order(&customer.token, plan_id, bucket).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        make_files(&folder.path().join("out"));
        std::fs::create_dir(folder.path().join("back")).expect("a folder");
        Self { kit, account, bucket: bucket.to_owned(), folder }
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Changes the files that are sent: one is gone, one is longer, one is new.
    fn change_files(&self) {
        let out = self.home().join("out");
        std::fs::remove_file(out.join("100%.txt")).expect("it is there");
        std::fs::write(out.join("plain.txt"), "another content, longer than the first was")
            .expect("a file");
        std::fs::write(out.join("new & shiny.txt"), "new").expect("a file");
    }

    /// Whether bucket and folders all hold the same files with the same content.
    async fn assert_synced(&self) {
        let sent = files(&self.home().join("out"));
        assert_same("what came back", &files(&self.home().join("back")), &sent);
        assert_same("what is stored", &self.objects().await, &sent);
    }

    /// Every object of the bucket with its content, by a client that none of the others is.
    async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let s3 = self.account.s3();
        let listed = s3.list_objects_v2().bucket(&self.bucket).send().await;
        let listed = listed.expect("the bucket is listed");
        let mut objects = BTreeMap::new();
        for object in listed.contents() {
            let key = object.key().expect("an object has a key");
            objects.insert(key.to_owned(), self.object(key).await);
        }
        objects
    }

    async fn object(&self, key: &str) -> Vec<u8> {
        let got = self.account.s3().get_object().bucket(&self.bucket).key(key).send().await;
        let got = got.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        got.body.collect().await.expect("a body").to_vec()
    }

    /// In how many parts an object was sent; 1: in one piece.
    async fn parts(&self, key: &str) -> u32 {
        let head = self.account.s3().head_object().bucket(&self.bucket).key(key).send().await;
        let head = head.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        let etag = head.e_tag().expect("an object has an entity tag").trim_matches('"');
        etag.split_once('-').map_or(1, |(_, parts)| parts.parse().expect("a number of parts"))
    }

    /// Follows a signed URL as a stranger to S3 would.
    async fn follow(&self, url: &str) -> Vec<u8> {
        run("curl", self.home(), &[], &["-sSf", "--noproxy", "*", url]).await.stdout
    }

    async fn stop(self) {
        self.kit.stop().await;
    }
}

/// A folder with a file of each name, and one that needs several parts.
fn make_files(folder: &Path) {
    for (n, name) in NAMES.iter().enumerate() {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        std::fs::write(path, format!("content of {name} ").repeat(1 + n * 100)).expect("a file");
    }
    std::fs::write(folder.join("empty"), "").expect("a file");
    std::fs::write(folder.join(BIG), big()).expect("a file");
}

fn big() -> Vec<u8> {
    (0..BIG_BYTES).map(|n| (n / 251) as u8).collect()
}

/// Every file below a folder with its content, by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("it is below the folder");
            let name = name.to_str().expect("names are UTF-8").to_owned();
            found.insert(name, std::fs::read(path).expect("a file can be read"));
        }
    }
    found
}

/// Names what differs only: contents are long.
fn assert_same(what: &str, found: &BTreeMap<String, Vec<u8>>, wanted: &BTreeMap<String, Vec<u8>>) {
    let differing = |(name, content): &(&String, &Vec<u8>)| wanted.get(*name) != Some(*content);
    let differing: Vec<_> = found.iter().filter(differing).map(|(name, _)| name).collect();
    let lacking: Vec<_> = wanted.keys().filter(|name| !found.contains_key(*name)).collect();
    let is_same = differing.is_empty() && lacking.is_empty();
    assert!(is_same, "{what}: lacking {lacking:?}; differing or left over {differing:?}");
}
