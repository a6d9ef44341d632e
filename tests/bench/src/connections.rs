//! What kept connections cost while nobody uses them.

use std::net::SocketAddr;

use stowage_testkit::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::figure::Figure;
use crate::start::resident_mib;

/// Connections that are measured.
const CONNECTIONS: usize = 256;
/// Connections that are opened and closed before, so that what the first ones bring is there.
const WARM_UP: usize = 8;
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

pub(crate) async fn measure(server: &Process) -> Figure {
    let what = format!("{CONNECTIONS} idle keep-alive connections, MiB");
    let token = server.site.customer("idle@bench.example", "EUR").await.token;
    let measured = async {
        drop(open(server.site.gateway, &token, WARM_UP).await?);
        let before = resident_mib(server.pid())?;
        let held = open(server.site.gateway, &token, CONNECTIONS).await?;
        let after = resident_mib(server.pid())?;
        drop(held);
        Ok::<_, String>(after - before)
    };
    match measured.await {
        Ok(mib) => Figure::at_most(what, mib, 8.0),
        Err(why) => Figure::missing(what, why),
    }
}

/// Connections that have asked the facade once each and wait.
async fn open(address: SocketAddr, token: &str, count: usize) -> Result<Vec<TcpStream>, String> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(ask_once(address, token).await.map_err(|error| error.to_string())?);
    }
    Ok(held)
}

async fn ask_once(address: SocketAddr, token: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /s3/list_plans?token={token} HTTP/1.1\r\nhost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok()).filter(|length| *length > 0);
    let (true, Some(length)) = (text.starts_with("http/1.1 200"), length) else {
        return Err(std::io::Error::other(format!("refused: {text}")));
    };
    let mut body: Vec<u8> = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(stream)
}
