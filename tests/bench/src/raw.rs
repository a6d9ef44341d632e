//! Objects by presigned URLs over a bare socket: the least that a client can do. Plain blocking
//! calls on a thread of their own, as the file copy that they are compared with.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;

const KEY: &str = "raw";
/// How much is read and written at once, in bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Stores a file.
pub(crate) async fn put(s3: &Client, bucket: &str, from: &Path) -> Result<(), String> {
    let request = s3.put_object().bucket(bucket).key(KEY).presigned(for_a_while()?).await;
    let url = request.map_err(|error| format!("{error:?}"))?.uri().to_owned();
    let from = from.to_owned();
    on_a_thread(move || {
        let mut file = File::open(from)?;
        let length = file.metadata()?.len();
        let mut stream = send_head("PUT", &url, length)?;
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                break;
            }
            stream.write_all(&block[..read])?;
        }
        read_head(&mut BufReader::new(stream)).map(drop)
    })
    .await
}

/// Reads the object over a file, which is on disk when this returns.
pub(crate) async fn get(s3: &Client, bucket: &str, to: &Path) -> Result<(), String> {
    let request = s3.get_object().bucket(bucket).key(KEY).presigned(for_a_while()?).await;
    let url = request.map_err(|error| format!("{error:?}"))?.uri().to_owned();
    let to = to.to_owned();
    on_a_thread(move || {
        let mut stream = BufReader::with_capacity(BLOCK_BYTES, send_head("GET", &url, 0)?);
        let mut left = read_head(&mut stream)?;
        let mut file = File::options().write(true).open(to)?;
        while left > 0 {
            let block = stream.fill_buf()?;
            let count = block.len();
            if count == 0 {
                return Err(std::io::Error::other(format!("{left} bytes are missing")));
            }
            file.write_all(block)?;
            stream.consume(count);
            left = left.saturating_sub(count as u64);
        }
        file.sync_all()
    })
    .await
}

async fn on_a_thread(
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

fn for_a_while() -> Result<PresigningConfig, String> {
    PresigningConfig::expires_in(Duration::from_secs(600)).map_err(|error| error.to_string())
}

fn send_head(method: &str, url: &str, length: u64) -> std::io::Result<TcpStream> {
    let rest = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let (host, path) =
        rest.ok_or_else(|| std::io::Error::other(format!("{url} is not plain HTTP")))?;
    let mut stream = TcpStream::connect(host)?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// Reads the head of an answer that must be a success, and returns the length of its body.
fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<u64> {
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if status.is_empty() {
            status.clone_from(&line);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            let fault = |_| std::io::Error::other(format!("{line:?} is no length"));
            length = value.trim().parse().map_err(fault)?;
        }
        if line.is_empty() {
            break;
        }
    }
    if status.contains(" 200 ") {
        return Ok(length);
    }
    Err(std::io::Error::other(format!("the server says {status:?}")))
}
