//! Requests that are answered without their bodies being read: clients get the answer, and know
//! whether the connection goes on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use stowage_testkit::Kit;

const MIB: usize = 1024 * 1024;

/// A request line, the status it is refused with, and a port.
type Refused = (&'static str, &'static str, SocketAddr);

/// Requests whose bodies nobody wants.
fn refused(kit: &Kit) -> [Refused; 3] {
    let (gateway, s3) = (kit.site.gateway, kit.site.s3);
    [
        ("POST /s3/list_plans", "413", gateway),
        ("POST /nowhere", "404", gateway),
        ("PUT /bucket/key", "403", s3),
    ]
}

/// A connection on which answers are awaited for a bounded time.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the port is open");
        let patience = Some(std::time::Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a socket has timeouts");
        stream.set_write_timeout(patience).expect("a socket has timeouts");
        Self(BufReader::new(stream))
    }

    fn send_head(&mut self, line: &str, length: usize, header: &str) {
        let head =
            format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{header}\r\n");
        self.0.get_mut().write_all(head.as_bytes()).expect("the head is taken");
    }

    /// Sends a request to its last byte, as most clients do before they read.
    fn send(&mut self, line: &str, body: &[u8]) {
        self.send_head(line, body.len(), "");
        self.0.get_mut().write_all(body).expect("the body is taken");
    }

    /// The status and the headers of an answer; its body is read.
    fn answer(&mut self) -> (String, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer comes");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines.first().and_then(|line| line.split(' ').nth(1));
        let status = status.expect("an answer has a status").to_owned();
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
        self.0.read_exact(&mut vec![0; length]).expect("the body of the answer comes");
        (status, lines)
    }
}

fn is_last(headers: &[String]) -> bool {
    headers.iter().any(|header| header == "connection: close")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_read_out_and_the_connection_goes_on() {
    let kit = Kit::start().await;
    for (line, status, address) in refused(&kit) {
        let sent = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(address);
            for _ in 0..3 {
                connection.send(line, &vec![b'x'; 5 * MIB]);
                let (answered, headers) = connection.answer();
                assert_eq!(answered, status, "{line}");
                assert!(!is_last(&headers), "{line}: {headers:?}");
            }
        });
        sent.await.expect("the client gets its answers");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_not_told_to_send_a_refused_body() {
    let kit = Kit::start().await;
    for (line, status, address) in refused(&kit) {
        let sent = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(address);
            connection.send_head(line, 5 * MIB, "Expect: 100-continue\r\n");
            let (answered, headers) = connection.answer();
            assert_eq!(answered, status, "{line}: not 100");
            assert!(is_last(&headers), "{line}: {headers:?}");
        });
        sent.await.expect("the client gets its answer");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_that_does_not_come_is_not_waited_for() {
    let kit = Kit::start().await;
    for (line, status, address) in refused(&kit) {
        let sent = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(address);
            connection.send_head(line, 1024 * 1024 * MIB, "");
            let (answered, headers) = connection.answer();
            assert_eq!(answered, status, "{line}");
            assert!(is_last(&headers), "{line}: {headers:?}");
            let rest = connection.0.read(&mut [0; 1]).expect("the connection is closed");
            assert_eq!(rest, 0, "{line}: nothing follows");
        });
        sent.await.expect("the client gets its answer");
    }
    kit.stop().await;
}
