//! A network between the engine and Garage that loses answers, brings questions twice, and tells
//! what was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::kit::admin_url;

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
    /// What happens to the next request that begins so.
    fate: Mutex<Option<(String, Fate)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    /// Garage answers, and nobody hears it.
    Lost,
    /// Garage is asked twice, and its second answer is the one that is heard.
    Doubled,
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

    /// Loses the answer to the next request that begins so, once Garage has given it.
    pub(crate) fn lose(&self, beginning: &str) {
        *self.seen.fate.lock().unwrap() = Some((beginning.to_owned(), Fate::Lost));
    }

    /// Brings the next request that begins so twice.
    pub(crate) fn double(&self, beginning: &str) {
        *self.seen.fate.lock().unwrap() = Some((beginning.to_owned(), Fate::Doubled));
    }

    /// Whether a request has yet to come that something shall happen to.
    pub(crate) fn is_waiting(&self) -> bool {
        self.seen.fate.lock().unwrap().is_some()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let upstream = admin_url().trim_start_matches("http://").to_owned();
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(pass(client, upstream.clone(), Arc::clone(&seen)));
    }
}

/// One request after the other: the engine's are short, and come in one piece.
async fn pass(mut client: TcpStream, upstream: String, seen: Arc<Seen>) {
    let mut server = TcpStream::connect(&upstream).await.unwrap();
    let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut fate = Fate::Passed;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(length @ 1..) = read else { return };
                fate = seen.take(&question[..length]);
                if fate == Fate::Doubled {
                    let mut first = TcpStream::connect(&upstream).await.unwrap();
                    first.write_all(&question[..length]).await.unwrap();
                    assert!(first.read(&mut answer).await.unwrap() > 0);
                }
                if server.write_all(&question[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if fate == Fate::Lost || client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Seen {
    /// Notes a request; answers what happens to it.
    fn take(&self, bytes: &[u8]) -> Fate {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let mut next = self.fate.lock().unwrap();
        let fate = next.take_if(|(beginning, _)| line.starts_with(beginning.as_str()));
        self.asked.lock().unwrap().push(line);
        fate.map_or(Fate::Passed, |(_, fate)| fate)
    }
}
