//! The real program as a child, to be killed and started again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tempfile::TempDir;

use crate::{Facade, Site, eventually, try_eventually};

/// How long a start or an end may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ports that children listen on: below those the system hands out for outgoing connections, so
/// that no connection of another test can sit on one.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How many pairs of ports are tried before giving up.
const ATTEMPTS_MAX: u32 = 10;

/// The program to test: `TEST_STOWAGE_BINARY`, else `stowage` beside or above the running test.
///
/// # Panics
/// When there is none; the message says how to build it.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("TEST_STOWAGE_BINARY") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("stowage"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("there is no program beside {}: run `cargo build -p stowage`", test.display())
        })
}

/// The real program, serving all roles from a folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    child: Child,
    folder: TempDir,
    gateway: SocketAddr,
    s3: SocketAddr,
    settings: Vec<(OsString, OsString)>,
    /// From the last start to the first answer that it is ready.
    pub ready_after: Duration,
    /// Ready for calls; made anew by each start.
    pub site: Site,
}

impl Process {
    /// Starts the program on an empty folder and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the program with further environment variables.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_program(program(), settings).await
    }

    /// Starts the program at `program`.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    pub async fn start_program(program: PathBuf, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start_in(folder, program, settings).await
    }

    /// Starts the program on a copy of a data folder, such as a backup.
    ///
    /// # Panics
    /// When it cannot be copied, or the program does not become ready; the message has its log.
    pub async fn start_from(backup: &Path, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let copied = Command::new("cp").arg("-a").arg(backup).arg(data(folder.path())).status();
        assert!(copied.is_ok_and(|status| status.success()), "a folder can be copied");
        Self::start_in(folder, program(), settings).await
    }

    async fn start_in(folder: TempDir, program: PathBuf, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<(OsString, OsString)> =
            settings.iter().map(|(name, value)| (name.into(), value.into())).collect();
        for attempt in 1..=ATTEMPTS_MAX {
            let (gateway, s3) = (free_port(), free_port());
            let begun = Instant::now();
            let mut child = spawn(&program, folder.path(), [gateway, s3], &settings);
            match wait_until_ready(&mut child, folder.path(), gateway).await {
                Ok(admin_token) => {
                    let ready_after = begun.elapsed();
                    let site = Site::new(gateway, s3, admin_token);
                    return Self {
                        program,
                        child,
                        folder,
                        gateway,
                        s3,
                        settings,
                        ready_after,
                        site,
                    };
                }
                // Another program may have taken a port in between; anything else is an error.
                Err(why) if attempt < ATTEMPTS_MAX && why.contains("in use") => {
                    end(&mut child);
                }
                Err(why) => {
                    end(&mut child);
                    panic!("{} did not become ready: {why}", program.display());
                }
            }
        }
        panic!("no free ports were found in {ATTEMPTS_MAX} attempts")
    }

    /// Sets a variable for all further starts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.into(), value.into()));
    }

    /// Runs `stowage admin …` as an operator on the same machine: with the server's settings and
    /// data folder. Waits a minute at most.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("60").arg(&self.program).arg("admin").args(arguments).env_clear();
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.env("STOWAGE_DATA_DIR", self.data());
        command.env("STOWAGE_ADDR", format!("http://{}", self.gateway));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.expect("the command can be waited for").expect("the command starts")
    }

    /// What it answers as JSON.
    ///
    /// # Panics
    /// When it fails.
    pub async fn admin_json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.admin(&[arguments, &["--output", "json"]].concat()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        data(self.folder.path())
    }

    /// All it has printed, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Kills it without warning, as a loss of power does.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Starts it again on the same folder and addresses, and does not wait: it can be killed while
    /// it starts. [`Self::restart`] makes it one that answers.
    pub fn launch(&mut self) {
        end(&mut self.child);
        let addresses = [self.gateway, self.s3];
        self.child = spawn(&self.program, self.folder.path(), addresses, &self.settings);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Starts it again on the same folder and addresses, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    pub async fn restart(&mut self) {
        let begun = Instant::now();
        self.launch();
        match wait_until_ready(&mut self.child, self.folder.path(), self.gateway).await {
            Ok(token) => {
                self.ready_after = begun.elapsed();
                self.site = Site::new(self.gateway, self.s3, token);
            }
            Err(why) => panic!("did not start again: {why}"),
        }
    }

    /// Asks it to end by a signal such as `TERM`, and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self, signal: &str) -> ExitStatus {
        send_signal(self.pid(), signal);
        let child = &mut self.child;
        eventually("the program ends", PATIENCE, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Sends a signal by the system's own `kill`, since std knows SIGKILL only.
pub(crate) fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{signal} {pid} works");
}

/// Kills it if it runs, and takes its exit code so that it is gone.
pub(crate) fn end(child: &mut Child) {
    // Both fail only if it has ended and was waited for.
    let _ = child.kill();
    let _ = child.wait();
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn spawn(
    program: &Path,
    folder: &Path,
    [gateway, s3]: [SocketAddr; 2],
    settings: &[(OsString, OsString)],
) -> Child {
    let open = || -> io::Result<File> {
        File::options().create(true).append(true).open(folder.join("log"))
    };
    let out = open().expect("a log can be opened in a temporary folder");
    let err = open().expect("a log can be opened in a temporary folder");
    Command::new(program)
        .current_dir(folder)
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .env("STOWAGE_DATA_DIR", data(folder))
        .env("STOWAGE_GATEWAY_ADDR", gateway.to_string())
        .env("STOWAGE_S3_ADDR", s3.to_string())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()))
}

/// The administrator's token once `/readyz` says yes; else why not, with the log.
async fn wait_until_ready(
    child: &mut Child,
    folder: &Path,
    gateway: SocketAddr,
) -> Result<String, String> {
    let facade = Facade::new(gateway);
    let mut ended = None;
    let ready = try_eventually(PATIENCE, async || {
        if let Ok(Some(status)) = child.try_wait() {
            // Ends the polling: it will not become ready any more.
            ended = Some(status);
            return Ok(());
        }
        let request = http::Request::get("/readyz").body(bytes::Bytes::new());
        let answer = facade.try_send(request.expect("a path makes a request")).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    if let Some(status) = ended {
        return Err(format!("it ended with {status}:\n{}", log(folder)));
    }
    ready.map_err(|why| format!("{why}:\n{}", log(folder)))?;
    fs::read_to_string(data(folder).join("admin.token"))
        .map(|token| token.trim().to_owned())
        .map_err(|error| format!("no administrator's token: {error}"))
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Test programs that run side by side begin at different places.
    let pid_part = std::process::id().wrapping_mul(97) % u32::from(count);
    let pid_part = u16::try_from(pid_part).unwrap_or_default();
    for _ in 0..count {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(pid_part) % count;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port between {} and {} is free", PORTS.start, PORTS.end)
}
