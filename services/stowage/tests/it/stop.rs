//! How it stops, and that what was acknowledged is there afterwards, however it stopped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::{Process, stowage};

/// Begins a call and leaves its body unfinished.
fn half_a_call(process: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(&process.gateway).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let token = std::fs::read_to_string(process.data.join("admin.token")).unwrap();
    let head = format!(
        "POST /s3/list_plans HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\n",
        token.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Its answer shows that the call has begun.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&go_on));
    stream
}

#[test]
fn a_running_call_ends_and_the_exit_code_is_0() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(folder.path());
        let mut call = half_a_call(&process);
        process.signal(signal);
        while TcpStream::connect(&process.gateway).is_ok() {
            // Still taking calls: the signal has not arrived yet.
            std::thread::sleep(Duration::from_millis(5));
        }
        call.write_all(b"active=1").unwrap();
        let mut answer = String::new();
        call.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("200 OK") && answer.contains("\"plans\""), "{signal}: {answer}");
        assert_eq!(process.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_call_that_does_not_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = stowage(folder.path());
    let mut process =
        Process::spawn(command.env("STOWAGE_GATEWAY_STOP_MS_MAX", "200"), folder.path());
    let _call = half_a_call(&process);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let _call = half_a_call(&process);
    process.signal("TERM");
    while TcpStream::connect(&process.gateway).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(130));
}

#[test]
fn after_kill_9_everything_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let create = ["customer", "create", "--email", "ada@example.com", "--currency", "EUR"];
    let made = process.admin_json(&create);
    let token = std::fs::read(folder.path().join("admin.token")).unwrap();
    process.signal("KILL");
    assert_eq!(process.wait().code(), None);
    let process = Process::start(folder.path());
    let id = made["customer_id"].to_string();
    let found = process.admin_json(&["customer", "show", &id]);
    assert_eq!((&found["email"], &found["currency"]), (&made["email"], &made["currency"]));
    assert_eq!(std::fs::read(folder.path().join("admin.token")).unwrap(), token);
    let again = process.admin(&create);
    assert_eq!(again.status.code(), Some(1), "the address is taken");
}
