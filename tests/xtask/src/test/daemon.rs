//! Servers of a test run that end with it: how they are started, noted, asked and ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::run;

/// Ports to choose from: the system gives those above 32767 to outgoing connections at random.
const PORTS: std::ops::Range<u16> = 21_000..32_000;
/// How long one may take to stop before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(50);
/// Lines of what it said last.
const LAST_LINES: usize = 10;

/// A program that is killed when this process ends, however it does.
pub(super) fn dying_with_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts it; what it says goes into `<name>.out`, and its number into `<name>.pid`.
pub(super) fn spawn(command: &mut Command, name: &Path) -> Result<Child, String> {
    let fail = |error: std::io::Error| format!("cannot start {}: {error}", name.display());
    let output = File::create(name.with_extension("out")).map_err(fail)?;
    let errors = output.try_clone().map_err(fail)?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(fail)?;
    let noted = fs::write(name.with_extension("pid"), child.id().to_string());
    noted.inspect_err(|_| end(&mut child)).map_err(fail)?;
    Ok(child)
}

/// Whether it has not ended by itself.
pub(super) fn runs(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Ends one, and waits until it has.
pub(super) fn end(child: &mut Child) {
    signal("-TERM", child.id());
    let until = Instant::now() + STOPS_WITHIN;
    while Instant::now() < until && runs(child) {
        thread::sleep(PAUSE);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Ends one of a run that was killed, should it have outlived it: the process whose number was
/// noted, if it was started with this file; the number may have gone to another since.
pub(super) fn kill_noted(number: &Path, file: &Path) {
    let noted = fs::read_to_string(number).unwrap_or_default();
    if let Ok(process) = noted.parse()
        && runs_with(process, file)
    {
        signal("-KILL", process);
    }
}

/// The end of what one said.
pub(super) fn last_words(output: &Path) -> String {
    let text = fs::read_to_string(output).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Whether one answers well to anybody who asks for a path.
pub(super) fn answers(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut head = vec![0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| head == b"HTTP/1.1 200")
}

/// Ports that are free now; all are held until the last is found, so that they differ.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let count = u32::from(PORTS.end - PORTS.start);
    // Runs side by side begin at different ones.
    let begin = std::process::id().wrapping_mul(97) % count;
    let ports = (0..count).map(|step| PORTS.start + ((begin + step) % count) as u16);
    let bound = |port| TcpListener::bind(("127.0.0.1", port)).ok().map(|held| (port, held));
    let held: Vec<_> = ports.filter_map(bound).take(N).collect();
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports.try_into().map_err(|_| format!("no free port in {PORTS:?}"))
}

pub(super) fn random_id() -> Result<String, String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid");
    id.map(|id| id.trim().to_owned()).map_err(|error| format!("no random numbers: {error}"))
}

/// Whether the process was started with a file.
fn runs_with(process: u32, file: &Path) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    file.to_str().is_some_and(|path| String::from_utf8_lossy(&words).contains(path))
}

fn signal(signal: &str, process: u32) {
    run::succeeds(Command::new("kill").args([signal, &process.to_string()]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_are_none_of_outgoing_connections() {
        let [one, two] = free_ports().unwrap();
        assert!(one != two && PORTS.contains(&one) && PORTS.contains(&two));
    }

    #[test]
    fn only_a_process_with_our_settings_is_ours() {
        assert!(!runs_with(std::process::id(), Path::new("/nowhere/ceph.conf")));
        assert!(!runs_with(u32::MAX, Path::new("/nowhere/ceph.conf")));
    }
}
