//! A private Garage for a test run: one node on free ports of 127.0.0.1, gone at the end.
//!
//! No system has a package of it, and building it takes long: the run that needs it is one of its
//! own, and what was built is kept below the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::daemon::{self, free_ports, random_id};
use crate::run;

/// What tests are told.
const URL: &str = "STOWAGE_TEST_GARAGE_URL";
const ADMIN_URL: &str = "STOWAGE_TEST_GARAGE_ADMIN_URL";
const ADMIN_TOKEN: &str = "STOWAGE_TEST_GARAGE_ADMIN_TOKEN";
/// Where a binary is that need not be built.
const BINARY: &str = "STOWAGE_GARAGE_BIN";
/// What is built.
const VERSION: &str = "2.5.0";
/// What is not needed for tests is left out.
const FEATURES: &str = "bundled-libs,sqlite";
/// Name of the folder, below that of the run.
const FOLDER: &str = "garage";
const SETTINGS: &str = "garage.toml";
/// Begins the names of what it says and of its number.
const NAME: &str = "node";
/// How long it may take to start on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A Garage that runs until this is dropped.
pub(crate) struct Node {
    folder: PathBuf,
    s3: u16,
    admin: u16,
    token: String,
    child: Option<Child>,
}

/// The program: one that was named, one on the path, one that was built before, or a new one.
pub(crate) fn binary() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(BINARY) {
        let named = run::root().join(named);
        let absent = || format!("{BINARY} names {}, which is no file", named.display());
        return if named.is_file() { Ok(named) } else { Err(absent()) };
    }
    if run::is_on_path("garage") {
        return Ok(PathBuf::from("garage"));
    }
    let folder = run::target().join("engines").join("garage");
    let built = folder.join("bin").join("garage");
    if !built.is_file() {
        println!("missing: garage; building {VERSION}, about 25 minutes on two cores, once");
        let mut install = run::cargo();
        install.args(["install", "garage", "--version", VERSION, "--locked", "--root"]);
        install.arg(&folder).arg("--target-dir").arg(folder.join("build"));
        install.args(["--no-default-features", "--features", FEATURES]);
        run::shown(&mut install)?;
    }
    Ok(built)
}

impl Node {
    /// Starts one with its files below `folder`, and waits until it answers.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Result<Self, String> {
        let begun = Instant::now();
        let [s3, admin, peers] = free_ports()?;
        let token = random_id()?;
        let mut node = Self { folder: folder.join(FOLDER), s3, admin, token, child: None };
        let settings = node.settings(peers, &random_id()?.replace('-', "").repeat(2));
        fs::create_dir_all(&node.folder)
            .and_then(|()| fs::write(node.folder.join(SETTINGS), settings))
            .map_err(|error| format!("cannot write {}: {error}", node.folder.display()))?;
        let booted = node.spawn(binary).and_then(|()| node.wait());
        booted.map_err(|why| {
            format!("{why}\n{}", daemon::last_words(&node.folder.join(NAME).with_extension("out")))
        })?;
        println!("Garage answers after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(node)
    }

    /// Tells a command where it is, and by which token it is administered.
    pub(crate) fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let url = |port| format!("http://127.0.0.1:{port}");
        command.env(URL, url(self.s3)).env(ADMIN_URL, url(self.admin));
        command.env(ADMIN_TOKEN, &self.token)
    }

    fn settings(&self, peers: u16, secret: &str) -> String {
        let (at, Self { s3, admin, token, .. }) = (self.folder.display(), self);
        format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{peers}\"\n\
             rpc_public_addr = \"127.0.0.1:{peers}\"\nrpc_secret = \"{secret}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\nadmin_token = \"{token}\"\n"
        )
    }

    /// Starts it so that it is killed when this process ends, however it does.
    fn spawn(&mut self, binary: &Path) -> Result<(), String> {
        let mut command = daemon::dying_with_us(binary);
        command.arg("-c").arg(self.folder.join(SETTINGS)).args(["server", "--single-node"]);
        command.env("RUST_LOG", "warn");
        self.child = Some(daemon::spawn(&mut command, &self.folder.join(NAME))?);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + STARTS_WITHIN;
        while Instant::now() < until {
            if daemon::answers(self.admin, "/health") {
                return Ok(());
            }
            if !self.child.as_mut().is_some_and(daemon::runs) {
                return Err("Garage has ended by itself".to_owned());
            }
            thread::sleep(PAUSE);
        }
        Err(format!("Garage is not ready after {STARTS_WITHIN:?}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            daemon::end(child);
        }
    }
}

/// Ends the Garage of a run that was killed, should it have outlived it.
pub(crate) fn stop_abandoned(folder: &Path) {
    let folder = folder.join(FOLDER);
    daemon::kill_noted(&folder.join(NAME).with_extension("pid"), &folder.join(SETTINGS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_where_it_is_and_nobody_else_reaches_it() {
        let (folder, token) = (PathBuf::from("/nowhere"), "hush".to_owned());
        let node = Node { folder, s3: 1, admin: 2, token, child: None };
        let settings = node.settings(3, "secret");
        let addresses = settings.lines().filter(|line| line.contains("addr"));
        assert!(addresses.clone().count() == 4, "{settings}");
        assert!(addresses.clone().all(|line| line.contains("127.0.0.1:")), "{settings}");
        let mut command = Command::new("true");
        node.at(&mut command);
        let told = command.get_envs().filter(|(_, value)| value.is_some()).count();
        assert_eq!(told, 3);
    }
}
