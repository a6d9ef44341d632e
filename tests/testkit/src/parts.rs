//! Each part of the real program in processes of its own, on PostgreSQL and RabbitMQ.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use http::StatusCode;
use stowage_db::testing::Scratch;

use crate::process::{end, free_port, program, send_signal};
use crate::{Beside, Facade, Site, eventually, try_eventually};

/// How long a start or an end may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long work that was begun may take to end once nobody asks for more: a lease of a process
/// that was killed, and more.
const WORK_ENDS_WITHIN: Duration = Duration::from_secs(120);
/// The parts, in the order in which they are called.
pub const PARTS: [&str; 5] = ["storage", "billing", "metering", "accounts", "gateway"];

/// Runs the script by which a test run controls one of its servers.
///
/// # Panics
/// When there is none, or it fails.
pub async fn control(server: Server, word: &'static str) {
    let variable = match server {
        Server::Database => "STOWAGE_TEST_DATABASE_CONTROL",
        Server::Broker => "STOWAGE_TEST_AMQP_CONTROL",
    };
    let script = from_test_run(variable);
    let running = tokio::task::spawn_blocking(move || Command::new(script).arg(word).status());
    let status = running.await.expect("a script can be waited for");
    assert!(status.is_ok_and(|status| status.success()), "{server:?} {word}");
}

/// What a test run has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL.
    Database,
    /// RabbitMQ.
    Broker,
}

fn from_test_run(variable: &str) -> String {
    let value = std::env::var_os(variable).and_then(|value| value.into_string().ok());
    value.unwrap_or_else(|| {
        panic!("{variable} is not set: run this by `cargo xtask test --only resilience`")
    })
}

/// One process.
#[derive(Debug)]
struct Running {
    child: Child,
    address: SocketAddr,
    s3: Option<SocketAddr>,
}

/// Processes of all parts. Killed when dropped.
#[derive(Debug)]
pub struct Parts {
    program: PathBuf,
    running: BTreeMap<(&'static str, usize), Running>,
    settings: Vec<(String, String)>,
    admin_token: String,
    /// Dropped last: it has the database.
    scratch: Scratch,
}

impl Parts {
    /// Starts so many of each part, but storage once: its engine keeps the objects on its own disk.
    ///
    /// # Panics
    /// When one does not become ready; the message has its log.
    pub async fn start(replicas: usize) -> Self {
        Self::start_all(replicas, &[]).await
    }

    /// Starts so many of each with further environment variables.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_all(replicas: usize, further: &[(&str, &str)]) -> Self {
        Self::start_by((program(), replicas), further, |url| url.to_owned()).await
    }

    /// Starts one of each of the program at `program`, with further environment variables.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_program(program: PathBuf, further: &[(&str, &str)]) -> Self {
        Self::start_by((program, 1), further, |url| url.to_owned()).await
    }

    /// Starts them on a database that is reached by another address.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_with(replicas: usize, database: impl FnOnce(&str) -> String) -> Self {
        Self::start_by((program(), replicas), &[], database).await
    }

    async fn start_by(
        (program, replicas): (PathBuf, usize),
        further: &[(&str, &str)],
        database: impl FnOnce(&str) -> String,
    ) -> Self {
        let scratch = Scratch::whole().await;
        let folder = scratch.folder().to_owned();
        let id = folder.file_name().map(|name| name.to_string_lossy().replace('.', ""));
        let namespace = format!("test-{}", id.unwrap_or_default());
        let mut settings = vec![
            ("STOWAGE_DATABASE_URL".to_owned(), database(scratch.server_url())),
            ("STOWAGE_AMQP_URL".to_owned(), from_test_run("STOWAGE_TEST_AMQP_URL")),
            ("STOWAGE_AMQP_NAMESPACE".to_owned(), namespace),
            ("STOWAGE_SECRETS_DIR".to_owned(), folder.join("secrets").display().to_string()),
            ("STOWAGE_LOG_LEVEL".to_owned(), "warn".to_owned()),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        settings.extend(further.iter().map(owned));
        let mut places = Vec::new();
        for part in PARTS {
            let count = if part == "storage" { 1 } else { replicas };
            let addresses: Vec<SocketAddr> = (0..count).map(|_| free_port()).collect();
            let urls: Vec<String> = addresses.iter().map(|at| format!("http://{at}")).collect();
            if part != "gateway" {
                let name = format!("STOWAGE_{}_URL", part.to_uppercase());
                settings.push((name, urls.join(",")));
            }
            places.extend(addresses.into_iter().enumerate().map(|(n, at)| ((part, n), at)));
        }
        let secrets = Command::new(&program)
            .args(["secrets", "make"])
            .env_clear()
            .envs(settings.iter().cloned())
            .output();
        assert!(secrets.is_ok_and(|made| made.status.success()), "secrets are made");
        let admin_token = fs::read_to_string(folder.join("secrets/admin.token"));
        let admin_token = admin_token.expect("an administrator's token").trim().to_owned();
        let running = BTreeMap::new();
        let mut parts = Self { program, running, settings, admin_token, scratch };
        for ((part, n), address) in places {
            let s3 = (part == "storage").then(free_port);
            let child = parts.spawn((part, n), address, s3);
            parts.running.insert((part, n), Running { child, address, s3 });
        }
        let all: Vec<_> = parts.running.keys().copied().collect();
        for (part, n) in all {
            parts.ready(part, n).await;
        }
        parts
    }

    /// What their exchanges and queues at the broker begin with.
    ///
    /// # Panics
    /// Never: it is one of the settings.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let setting = self.settings.iter().find(|(name, _)| name == "STOWAGE_AMQP_NAMESPACE");
        &setting.expect("it is one of the settings").1
    }

    /// How many processes of a part there are.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.running.keys().filter(|(of, _)| *of == part).count()
    }

    /// The id of a process.
    ///
    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn pid(&self, part: &'static str, n: usize) -> u32 {
        self.running[&(part, n)].child.id()
    }

    /// The installation, seen through one of its gateways.
    #[must_use]
    pub fn site(&self, n: usize) -> Site {
        let s3 = self.running[&("storage", 0)].s3.expect("storage has S3");
        Site::new(self.address("gateway", n), s3, self.admin_token.clone())
    }

    /// Where a process listens.
    ///
    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn address(&self, part: &'static str, n: usize) -> SocketAddr {
        self.running[&(part, n)].address
    }

    /// The database of a role, to be looked at beside the server.
    #[must_use]
    pub fn beside(&self, role: &'static str) -> Beside {
        Beside::Schema { url: self.scratch.server_url().to_owned(), name: role }
    }

    /// Runs `stowage admin …` through the first gateway.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("60").arg(&self.program).arg("admin").args(arguments).env_clear();
        command.envs(self.settings.iter().cloned());
        command.env("STOWAGE_ADDR", format!("http://{}", self.address("gateway", 0)));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.expect("the command can be waited for").expect("the command starts")
    }

    /// Kills a process without warning.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn kill(&mut self, part: &'static str, n: usize) {
        end(&mut self.running.get_mut(&(part, n)).expect("a process of that part").child);
    }

    /// Stops a process by SIGTERM, and waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time, or not well; the message has its log.
    pub async fn stop(&mut self, part: &'static str, n: usize) {
        let log = self.log(part, n);
        let child = &mut self.running.get_mut(&(part, n)).expect("a process of that part").child;
        send_signal(child.id(), "TERM");
        let status: ExitStatus =
            eventually("the process ends", PATIENCE, async || match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                other => Err(format!("{other:?}")),
            })
            .await;
        assert!(status.success(), "{part} {n} ended with {status}:\n{log}");
    }

    /// Starts a process that has ended again where it was, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    pub async fn start_again(&mut self, part: &'static str, n: usize) {
        let Running { address, s3, .. } = self.running[&(part, n)];
        let child = self.spawn((part, n), address, s3);
        self.running.insert((part, n), Running { child, address, s3 });
        self.ready(part, n).await;
    }

    /// Waits until a process says that it is ready.
    ///
    /// # Panics
    /// When it does not in time; the message has its log.
    pub async fn ready(&mut self, part: &'static str, n: usize) {
        let facade = Facade::new(self.address(part, n));
        let child = &mut self.running.get_mut(&(part, n)).expect("a process of that part").child;
        let ready = try_eventually(PATIENCE, async || {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            let request = http::Request::get("/readyz").body(bytes::Bytes::new());
            let answer = facade.try_send(request.expect("a path makes a request")).await?;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        if let Err(why) = ready {
            panic!("{part} {n} is not ready: {why}\n{}", self.log(part, n));
        }
    }

    /// All that a process has printed, over all its starts.
    #[must_use]
    pub fn log(&self, part: &str, n: usize) -> String {
        fs::read_to_string(log_of(self.scratch.folder(), part, n)).unwrap_or_default()
    }

    /// Waits until no order is half-done and no event is on its way.
    ///
    /// # Panics
    /// When that is not so in time.
    pub async fn settle(&self) {
        const SAGAS: &str = "SELECT count(*) FROM saga WHERE status = 'running'";
        const EVENTS: &str = "SELECT count(*) FROM outbox";
        eventually("all work ends", WORK_ENDS_WITHIN, async || {
            for (role, sql) in [
                ("accounts", SAGAS),
                ("storage", SAGAS),
                ("accounts", EVENTS),
                ("storage", EVENTS),
                ("billing", EVENTS),
            ] {
                match self.beside(role).count(sql).await {
                    Ok(0) => {}
                    other => return Err(format!("{role}: {sql}: {other:?}")),
                }
            }
            Ok(())
        })
        .await;
    }

    fn spawn(
        &self,
        (part, n): (&'static str, usize),
        address: SocketAddr,
        s3: Option<SocketAddr>,
    ) -> Child {
        let folder = self.scratch.folder();
        let log = || File::options().create(true).append(true).open(log_of(folder, part, n));
        let mut command = Command::new(&self.program);
        command.args(["serve", part]).current_dir(folder).env_clear();
        command.envs(self.settings.iter().cloned());
        command.env("STOWAGE_DATA_DIR", folder.join("data"));
        command.env(format!("STOWAGE_{}_ADDR", part.to_uppercase()), address.to_string());
        if let Some(s3) = s3 {
            command.env("STOWAGE_S3_ADDR", s3.to_string());
        }
        command.stdin(Stdio::null());
        command.stdout(log().expect("a log can be opened in a temporary folder"));
        command.stderr(log().expect("a log can be opened in a temporary folder"));
        command.spawn().unwrap_or_else(|error| panic!("{part} does not start: {error}"))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            end(&mut running.child);
        }
        if std::thread::panicking() {
            for (part, n) in self.running.keys() {
                eprintln!("== {part} {n} ==\n{}", last_words(&self.log(part, *n)));
            }
        }
    }
}

fn log_of(folder: &Path, part: &str, n: usize) -> PathBuf {
    folder.join(format!("{part}-{n}.log"))
}

/// The last lines of a log.
fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
