//! Objects by presigned URLs over a bare socket: the least that a client can do.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const KEY: &str = "raw";
/// How much is read and written at once, in bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Stores a file.
pub(crate) async fn put(s3: &Client, bucket: &str, from: &Path) -> Result<(), String> {
    let request = s3.put_object().bucket(bucket).key(KEY).presigned(for_a_while()?).await;
    let url = request.map_err(|error| format!("{error:?}"))?.uri().to_owned();
    let mut file = File::open(from).await.map_err(|error| error.to_string())?;
    let length = file.metadata().await.map_err(|error| error.to_string())?.len();
    let mut stream = send_head("PUT", &url, length).await?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = file.read(&mut block).await.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        stream.write_all(&block[..read]).await.map_err(|error| error.to_string())?;
    }
    read_head(&mut BufReader::new(stream)).await.map(drop)
}

/// Reads the object into a file that is on disk when this returns.
pub(crate) async fn get(s3: &Client, bucket: &str, to: &Path) -> Result<(), String> {
    let request = s3.get_object().bucket(bucket).key(KEY).presigned(for_a_while()?).await;
    let url = request.map_err(|error| format!("{error:?}"))?.uri().to_owned();
    let stream = send_head("GET", &url, 0).await?;
    let mut stream = BufReader::with_capacity(BLOCK_BYTES, stream);
    let mut left = read_head(&mut stream).await?;
    let mut file = File::create(to).await.map_err(|error| error.to_string())?;
    while left > 0 {
        let block = stream.fill_buf().await.map_err(|error| error.to_string())?;
        let count = block.len();
        if count == 0 {
            return Err(format!("{left} bytes are missing"));
        }
        file.write_all(block).await.map_err(|error| error.to_string())?;
        stream.consume(count);
        left = left.saturating_sub(count as u64);
    }
    file.sync_all().await.map_err(|error| error.to_string())
}

fn for_a_while() -> Result<PresigningConfig, String> {
    PresigningConfig::expires_in(Duration::from_secs(600)).map_err(|error| error.to_string())
}

async fn send_head(method: &str, url: &str, length: u64) -> Result<TcpStream, String> {
    let rest = url.strip_prefix("http://").ok_or("the endpoint is not plain HTTP")?;
    let (host, path) = rest.split_once('/').ok_or("the URL has no path")?;
    let mut stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Reads the head of an answer that must be a success, and returns the length of its body.
async fn read_head(stream: &mut BufReader<TcpStream>) -> Result<u64, String> {
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
        if status.is_empty() {
            status.clone_from(&line);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| format!("{line:?} is no length"))?;
        }
        if line.is_empty() {
            break;
        }
    }
    if status.contains(" 200 ") { Ok(length) } else { Err(format!("the server says {status:?}")) }
}
