//! The least that a JSON answer over HTTP costs: one axum handler, no token, no rules.
//!
//! In a process of its own, as the server is.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;

/// Serves the bare handler on a free port, which it prints first. The answer comes from stdin.
pub(crate) async fn serve() {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).expect("stdin is text");
    let value: Value = serde_json::from_str(&text).expect("stdin is JSON");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(any_port).await.expect("a port is free");
    println!("{}", listener.local_addr().expect("a listener has an address"));
    let value: &'static Value = Box::leak(Box::new(value));
    let handler = async move || {
        let body = serde_json::to_vec(value).unwrap_or_default();
        ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
    };
    let router = Router::new().route("/s3/list_plans", get(handler));
    axum::serve(listener, router).await.expect("the listener works");
}

/// The bare handler in a child; killed when dropped.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts it with the answer it is to give.
    pub(crate) fn start(answer: &[u8]) -> Result<Self, String> {
        use std::io::{BufRead as _, Write as _};
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg("--bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        // Dropped at once, so that the child sees the end of it.
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        stdin.write_all(answer).map_err(|error| error.to_string())?;
        drop(stdin);
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        std::io::BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let address = line.trim().parse().map_err(|_| format!("{line:?} is no address"))?;
        Ok(Self { child, address })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
