//! A program whose standard output is the text of master keys: no shell, bounded in time and
//! size. What it says on standard error goes to that of this process.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::Error;
use crate::text::BYTES_MAX;

/// How often its end is looked for once its output has ended.
const POLL: Duration = Duration::from_millis(5);

/// Runs it and returns what it printed, within `limit`.
pub(crate) fn run(words: &[String], limit: Duration) -> Result<Zeroizing<String>, Error> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::Command { program: String::new(), why: "is empty".to_owned() })?;
    let failed = |why: String| Error::Command { program: program.clone(), why };
    let until = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    let read = child.stdout.take().and_then(|out| read_within(out, limit));
    let ended = wait_until(&mut child, until);
    if ended.is_err() {
        // Both fail only if it has ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    let late = || failed(format!("did not end within {} s", limit.as_secs_f32()));
    let too_much = || failed(format!("printed more than {BYTES_MAX} bytes, or no text"));
    let text = read.ok_or_else(late)?.ok_or_else(too_much)?;
    match ended.map_err(|()| late())? {
        Some(0) => Ok(text),
        Some(code) => Err(failed(format!("ended with exit code {code}"))),
        None => Err(failed("was ended by a signal".to_owned())),
    }
}

/// `Some(None)`: too much, or not text. `None`: not in time.
fn read_within(out: ChildStdout, limit: Duration) -> Option<Option<Zeroizing<String>>> {
    let (send, receive) = mpsc::sync_channel(1);
    // Its own thread: a child of the child may keep the pipe open for ever.
    thread::spawn(move || {
        let mut text = Zeroizing::new(String::with_capacity(8192));
        let read = out.take(BYTES_MAX + 1).read_to_string(&mut text);
        let is_whole = read.is_ok_and(|bytes| u64::try_from(bytes).is_ok_and(|n| n <= BYTES_MAX));
        let _ = send.send(is_whole.then_some(text));
    });
    receive.recv_timeout(limit).ok()
}

/// Its exit code, `None` after a signal.
fn wait_until(child: &mut Child, until: Instant) -> Result<Option<i32>, ()> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if Instant::now() < until => thread::sleep(POLL),
            _ => return Err(()),
        }
    }
}
