//! Runs the real binary on a folder of its own and on free ports.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary with nothing of this process's environment but the path.
pub(crate) fn stowage(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowage"));
    command
        .env_clear()
        .env("STOWAGE_DATA_DIR", data)
        .env("STOWAGE_GATEWAY_ADDR", "127.0.0.1:0")
        .env("STOWAGE_S3_ADDR", "127.0.0.1:0")
        .env("STOWAGE_LOG_LEVEL", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running server; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) data: PathBuf,
    pub(crate) banner: String,
    pub(crate) gateway: String,
    pub(crate) s3: String,
}

impl Process {
    /// Starts it and waits until it is up.
    pub(crate) fn start(data: &Path) -> Self {
        Self::spawn(stowage(data).arg("serve"), data)
    }

    pub(crate) fn spawn(command: &mut Command, data: &Path) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let Some(Ok(line)) = lines.next() else {
                let mut trouble = String::new();
                child.stderr.take().unwrap().read_to_string(&mut trouble).unwrap();
                panic!("it did not start: {trouble}");
            };
            banner.push_str(&line);
            banner.push('\n');
        }
        let address = |what: &str| {
            let line = banner.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
            line.rsplit("http://").next().unwrap().trim().to_owned()
        };
        let (gateway, s3) = (address("HTTP API"), address("S3 endpoint"));
        Self { child, data: data.to_owned(), banner, gateway, s3 }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Runs `stowage admin` against it.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = stowage(&self.data);
        command.env("STOWAGE_ADDR", &self.gateway).arg("admin").args(arguments);
        finish(&mut command)
    }

    /// What `stowage admin` prints; it must succeed.
    pub(crate) fn admin_prints(&self, arguments: &[&str]) -> String {
        let output = self.admin(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one JSON value that `stowage admin` prints.
    pub(crate) fn admin_json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.admin_prints(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that ends by itself.
pub(crate) fn finish(command: &mut Command) -> Output {
    let mut child = command.spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
