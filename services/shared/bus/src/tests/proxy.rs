//! A network between the bus and the broker that can fail.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes bytes on until it is told to cut. Dropped, it is gone.
pub(super) struct Proxy {
    pub(super) url: String,
    state: watch::Sender<State>,
    _listening: JoinSet<()>,
    passed: Arc<Mutex<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Counts the cuts; each connection lives until the next.
    cuts: u64,
    is_away: bool,
}

impl Proxy {
    /// In front of the broker at `url`.
    pub(super) async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let authority = url.split("://").nth(1).unwrap().split('/').next().unwrap();
        let upstream = authority.split('@').next_back().unwrap().to_owned();
        let url = url.replace(&upstream, &own);
        let (state, watching) = watch::channel(State::default());
        let passed = Arc::default();
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, upstream, watching, Arc::clone(&passed)));
        Self { url, state, _listening: listening, passed }
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends all connections, and takes none while it is away.
    pub(super) fn set_away(&self, is_away: bool) {
        self.state.send_modify(|state| *state = State { cuts: state.cuts + 1, is_away });
    }

    /// How many bytes have gone through.
    pub(super) fn passed(&self) -> usize {
        *self.passed.lock().unwrap()
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    watching: watch::Receiver<State>,
    passed: Arc<Mutex<usize>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let mut state = watching.clone();
        let begun = *state.borrow_and_update();
        if begun.is_away {
            continue;
        }
        let (upstream, passed) = (upstream.clone(), Arc::clone(&passed));
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let (client, server) = (client.into_split(), server.into_split());
            tokio::select! {
                () = pass(client.0, server.1, &passed) => {}
                () = pass(server.0, client.1, &passed) => {}
                _ = state.wait_for(|state| state.cuts != begun.cuts) => {}
            }
        });
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passed: &Mutex<usize>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        *passed.lock().unwrap() += count;
    }
}
