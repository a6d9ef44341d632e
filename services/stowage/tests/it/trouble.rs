//! What keeps the server from starting, and what must not disturb it once it runs.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stowage::config::Config;
use stowage::error::StartError;
use stowage::server::Server;

use crate::process::{Process, finish, stderr, stowage};

fn config(data: &Path) -> Config {
    let mut config = Config { data_dir: data.to_owned(), ..Config::default() };
    config.gateway.addr.set_port(0);
    config.s3.addr.set_port(0);
    config
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut gateway = config(&data);
    gateway.gateway.addr = addr;
    let mut s3 = config(&data);
    s3.s3.addr = addr;
    for (config, setting) in [(gateway, "STOWAGE_GATEWAY_ADDR"), (s3, "STOWAGE_S3_ADDR")] {
        let error = Server::start(config).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(setting) && text.contains(&addr.to_string()), "{text}");
        assert_eq!(error.exit_code(), 1);
        assert!(!data.exists(), "nothing was made");
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    let output = finish(&mut stowage(folder.path()));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&first.id().to_string()) && said.contains("STOWAGE_DATA_DIR"), "{said}");
    first.admin_prints(&["plan", "list"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Server::start(config(&file.join("data"))).await.unwrap_err();
    assert!(matches!(error, StartError::Folder { .. }), "{error}");
    assert!(error.to_string().contains("STOWAGE_DATA_DIR"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    if fs::write(folder.path().join("probe"), "").is_ok() {
        // The superuser writes everywhere; the folder of processes takes no file from him either.
        let error = Server::start(config(Path::new("/proc/self"))).await.unwrap_err();
        assert!(matches!(error, StartError::Folder { .. }), "{error}");
        return;
    }
    let error = Server::start(config(folder.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Folder { .. }), "{error}");
}

#[test]
fn a_disk_that_takes_no_more_is_found_before_any_database() {
    let folder = tempfile::tempdir().unwrap();
    // No file may grow beyond 64 KiB: to a program that is what a full disk looks like.
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_stowage")]).env_clear();
    command.env("STOWAGE_DATA_DIR", folder.path()).env("STOWAGE_GATEWAY_ADDR", "127.0.0.1:0");
    command.env("STOWAGE_S3_ADDR", "127.0.0.1:0").stderr(Stdio::piped());
    let output = finish(&mut command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("too large") && said.contains("STOWAGE_DATA_DIR"), "{said}");
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["lock"]);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_none_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(folder.path())).await.unwrap();
    server.stop().await;
    let role = folder.path().join("metering.db");
    raise_version(&role).await;
    let others = ["accounts.db", "storage.db", "billing.db", "metering.db", "admin.token"];
    let read = || others.map(|name| fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let error = Server::start(config(folder.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Database { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("metering.db") && text.contains("newer"), "{text}");
    assert!(before == read(), "a file was changed");
}

/// Notes a migration that this program does not know, as a newer one would have.
async fn raise_version(path: &Path) {
    let db = stowage_db::Db::open(path, &stowage_metering::MIGRATOR).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
               execution_time) VALUES (9999, 'later', true, $1, 0)";
    tx.execute(sql, stowage_db::args![vec![0_u8]]).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;
}

#[test]
fn garbage_at_either_port_leaves_it_serving() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let noise: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let pieces: [&[u8]; 6] = [
        &noise,
        b"\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: \xff\r\nContent-Length: -1\r\n\r\n",
        b"POST /s3/\xff%%%00 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for address in [process.gateway.clone(), process.s3.clone()] {
        for piece in pieces {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            // It may hang up before it has read everything.
            let _ = stream.write_all(piece);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{address}: {answer}");
    }
    process.admin_prints(&["plan", "list"]);
    process.signal("TERM");
    assert!(process.wait().success());
}

#[tokio::test]
async fn a_secret_of_hooks_that_others_may_read_or_that_is_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("payments.secret");
    for (text, mode, said) in [
        (None, 0o600, "is missing"),
        (Some("0123456789abcdef0123456789abcdef"), 0o640, "may be read by others"),
        (Some("too short"), 0o600, "at least 32 characters"),
    ] {
        if let Some(text) = text {
            fs::write(&secret, text).unwrap();
            fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
        }
        let mut config = config(&folder.path().join("data"));
        config.billing.own.payment_hook_secret_file = Some(secret.clone());
        let error = Server::start(config).await.unwrap_err();
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(text.contains(said), "{text}");
    }
}
