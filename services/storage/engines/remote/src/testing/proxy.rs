//! A network between an engine and its server that loses answers, brings questions twice, and tells
//! what was asked.

use std::sync::{Arc, Mutex};

use stowage_engine::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes on what comes. Dropped, it is gone.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    seen: Arc<Seen>,
    _listening: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    /// First lines of requests.
    asked: Mutex<Vec<String>>,
    /// What happens to a request that begins so, once as many of them have passed.
    fate: Mutex<Option<(String, usize, Fate)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    /// The server answers, and nobody hears it.
    Lost,
    /// The server is asked twice, and its second answer is the one that is heard.
    Doubled,
}

impl Proxy {
    /// In front of the server at `upstream`, a URL.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = format!("http://{}", listener.local_addr().expect("it is bound"));
        let seen = Arc::<Seen>::default();
        let mut listening = JoinSet::new();
        let upstream = upstream.trim_start_matches("http://").to_owned();
        listening.spawn(accept(listener, upstream, Arc::clone(&seen)));
        Self { url: own, seen, _listening: listening }
    }

    /// Loses the answer to the next request that begins so, once the server has given it.
    pub fn lose(&self, beginning: &str) {
        self.lose_after(beginning, 0);
    }

    /// Loses the answer to a request that begins so, after as many of them as `passed`.
    pub fn lose_after(&self, beginning: &str, passed: usize) {
        self.decide(beginning, passed, Fate::Lost);
    }

    /// Brings the next request that begins so twice.
    pub fn double(&self, beginning: &str) {
        self.decide(beginning, 0, Fate::Doubled);
    }

    /// Lets all pass that comes.
    pub fn calm(&self) {
        *self.seen.fate.lock().expect("no test panics with it") = None;
    }

    fn decide(&self, beginning: &str, passed: usize, fate: Fate) {
        *self.seen.fate.lock().expect("no test panics with it") =
            Some((beginning.to_owned(), passed, fate));
    }

    /// Whether a request has yet to come that something shall happen to.
    pub fn is_waiting(&self) -> bool {
        self.seen.fate.lock().expect("no test panics with it").is_some()
    }

    /// First lines of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().expect("no test panics with it").clone()
    }
}

async fn accept(listener: TcpListener, upstream: String, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        connections.spawn(pass(client, upstream.clone(), Arc::clone(&seen)));
    }
}

/// One request after the other: the engine's are short, and come in one piece.
async fn pass(mut client: TcpStream, upstream: String, seen: Arc<Seen>) {
    let mut server = TcpStream::connect(&upstream).await.expect("the server is there");
    let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut fate = Fate::Passed;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(length @ 1..) = read else { return };
                fate = seen.take(&question[..length]);
                if fate == Fate::Doubled {
                    let first = TcpStream::connect(&upstream).await;
                    let mut first = first.expect("the server is there");
                    first.write_all(&question[..length]).await.expect("it takes it");
                    assert!(first.read(&mut answer).await.expect("it answers") > 0);
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
        let mut next = self.fate.lock().expect("no test panics with it");
        let fate = next.take_if(|(beginning, passed, _)| {
            let is_meant = line.starts_with(beginning.as_str());
            let is_next = is_meant && *passed == 0;
            *passed -= usize::from(is_meant && !is_next);
            is_next
        });
        self.asked.lock().expect("no test panics with it").push(line);
        fate.map_or(Fate::Passed, |(_, _, fate)| fate)
    }
}

/// Loses the answer to a request within a call, and makes the call again.
///
/// # Panics
/// When the call does not make the request, or the second one fails.
pub async fn twice<F>(proxy: &Proxy, beginning: &str, call: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    proxy.lose(beginning);
    let first = call().await;
    assert!(!proxy.is_waiting(), "{beginning} was not asked");
    assert!(matches!(first, Err(Error::Unavailable { .. })), "{beginning}: {first:?}");
    let second = call().await;
    assert!(second.is_ok(), "{beginning}: {second:?}");
}
