//! What clients expect of S3, case by case: the groups of Ceph's public catalogue of S3 tests
//! (<https://github.com/ceph/s3-tests>) that are about what this engine does, restated as tables.
//!
//! A row is one request that an SDK could not always say, signed by hand, and the answer: status
//! and code, and where it matters headers and content. Which groups are covered, which are not and
//! why, is in the engine's README. Where Amazon's S3 and Ceph's gateway differ, Amazon's answer is
//! expected and the row says so.

mod buckets;
mod conditions;
mod copies;
mod deletions;
mod headers;
mod listings;
mod metadata;
mod multipart;
mod objects;
mod parts;
mod ranges;
mod signing;
mod urls;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use stowage_engine_embedded::fuzzing::sign_request;
use stowage_types::{Clock as _, SystemClock};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Account, Kit};

/// A row's headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// What the server said.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands in the first element of a name.
    fn element(&self, name: &str) -> Option<String> {
        self.elements(name).into_iter().next()
    }

    /// What stands in all elements of a name, in their order.
    fn elements(&self, name: &str) -> Vec<String> {
        let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        let pieces = text.split(begin.as_str()).skip(1);
        pieces.filter_map(|piece| Some(plain(piece.split_once(end.as_str())?.0))).collect()
    }

    /// Status and code; the code is empty where there is none.
    fn outcome(&self) -> (u16, String) {
        let code = if self.status < 300 { None } else { self.element("Code") };
        (self.status, code.unwrap_or_default())
    }

    fn etag(&self) -> String {
        self.header("etag").unwrap_or_default().to_owned()
    }
}

/// A text of XML without its escapes.
fn plain(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// An engine, and an account that asks.
struct Asker {
    kit: Kit,
    account: Account,
}

impl Asker {
    /// With these buckets.
    async fn start(buckets: &[&str]) -> Self {
        let kit = Kit::start().await;
        let account = kit.account(1).await;
        for bucket in buckets {
            account.bucket(bucket).await;
        }
        Self { kit, account }
    }

    /// Sends a request signed by the account, at this moment.
    async fn ask(&self, line: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
        self.ask_at(SystemClock.now(), line, headers, body).await
    }

    /// Sends a request signed by the account at another time: `METHOD target`.
    async fn ask_at(
        &self,
        now: OffsetDateTime,
        line: &str,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Answer {
        let (method, target) = line.split_once(' ').unwrap();
        let uri = format!("http://{}{target}", self.kit.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let host = self.kit.address.to_string();
        let request = request.header("host", host).body(Bytes::copy_from_slice(body));
        let mut request = request.unwrap();
        sign_request(&mut request, &self.account.keys, "eu-test-1", now).unwrap();
        self.send(&request).await
    }

    /// Sends a request as it is, with the length of its body unless it says how that is told.
    async fn send(&self, request: &Request<Bytes>) -> Answer {
        let target = request.uri().path_and_query().unwrap();
        let mut bytes = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
        for (name, value) in request.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let headers = request.headers();
        if !headers.contains_key("content-length") && !headers.contains_key("transfer-encoding") {
            bytes.extend(format!("content-length: {}\r\n", request.body().len()).into_bytes());
        }
        bytes.extend_from_slice(b"connection: close\r\n\r\n");
        bytes.extend_from_slice(request.body());
        self.send_bytes(&bytes).await
    }

    /// Sends bytes as they are.
    async fn send_bytes(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.kit.address).await.unwrap();
        // A server that refuses may close before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end =
            end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8(answer.clone())));
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }

    /// Stores an object by `PUT`, and answers its entity tag.
    async fn store(&self, target: &str, body: &[u8]) -> String {
        let put = self.ask(&format!("PUT {target}"), &[], body).await;
        assert_eq!(put.status, 200, "{target}: {put:?}");
        put.etag()
    }

    /// Asks for every row, and compares status and code with what the row expects.
    async fn expect(&self, rows: &[Row<'_>]) {
        for (n, (line, headers, body, status, code)) in rows.iter().enumerate() {
            let answer = self.ask(line, headers, body.as_bytes()).await;
            let found = answer.outcome();
            let wanted = (*status, (*code).to_owned());
            assert_eq!(found, wanted, "row {n}, {line} {headers:?}: {answer:?}");
        }
    }
}

/// A request and what it is answered: line, headers, body, status, code.
type Row<'a> = (&'a str, Headers<'a>, &'a str, u16, &'a str);
