//! A network between the engine and RGW that loses answers, and tells what was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::kit::url;

/// Passes on what comes. Dropped, it is gone.
pub(crate) struct Proxy {
    pub(crate) url: String,
    seen: Arc<Seen>,
    _listening: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    /// First lines of requests.
    asked: Mutex<Vec<String>>,
    /// Begins the request whose answer is lost next.
    lost: Mutex<Option<String>>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Seen>::default();
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, Arc::clone(&seen)));
        Self { url: own, seen, _listening: listening }
    }

    /// Loses the answer to the next request that begins so, once RGW has given it.
    pub(crate) fn lose(&self, beginning: &str) {
        *self.seen.lost.lock().unwrap() = Some(beginning.to_owned());
    }

    /// Whether an answer was to be lost, and has not been.
    pub(crate) fn is_waiting(&self) -> bool {
        self.seen.lost.lock().unwrap().is_some()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let upstream = url().trim_start_matches("http://").to_owned();
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&upstream).await.unwrap();
        connections.spawn(pass(client, server, Arc::clone(&seen)));
    }
}

/// One request after the other: the engine's have no bodies here, and come in one piece.
async fn pass(mut client: TcpStream, mut server: TcpStream, seen: Arc<Seen>) {
    let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(length @ 1..) = read else { return };
                is_lost = seen.take(&question[..length]);
                if server.write_all(&question[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if is_lost || client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Seen {
    /// Notes a request; answers whether its answer is to be lost.
    fn take(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let mut lost = self.lost.lock().unwrap();
        let is_lost = lost.as_ref().is_some_and(|beginning| line.starts_with(beginning));
        if is_lost {
            *lost = None;
        }
        self.asked.lock().unwrap().push(line);
        is_lost
    }
}
