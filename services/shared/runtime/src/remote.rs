//! A role in other processes: several addresses, of which the dead are left out.
//!
//! What a caller may conclude of a failure decides about money, so it is never guessed:
//! - Nothing was executed (no connection, or the server had turned the call away before it began):
//!   another address is tried, then the first again for a moment, and at last the caller is told
//!   `UNAVAILABLE`.
//! - The connection broke with the call on it: a call that is safe to repeat is repeated (module
//!   `repeat`), and where its first attempt is still under way, once that has ended. Of another the
//!   caller is told `UNKNOWN`, with reason `CONNECTION_BROKEN`.
//!
//! Calls are spread by how many each address has in flight. HTTP/2 carries all calls to one
//! address; it is asked now and then whether it is still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use stowage_proto::common::ErrorReason;
use stowage_trace::{Kind, Span, Trace};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::connect::{Connector, is_http2_refusal};
use crate::tls::ClientTls;
use crate::{BoxError, RoleChannel, about_call, end_call, repeat, status};

/// Largest message that is kept for a repeat, in bytes: as large as roles take one.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a call waits for an address that takes it, where none does: long enough for a restart
/// of a role that has one process.
const PATIENCE: Duration = Duration::from_secs(3);
/// When a caller may come back who was told that there is none.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a repeat waits for the end of its first attempt: a process that stops gives it ten
/// seconds.
const UNDER_WAY_MAX: Duration = Duration::from_secs(15);
/// How long an attempt may go without the beginning of an answer: twice what a role gives a call by
/// default. Pings find a connection that is dead; this ends what waits for none.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest pause between two rounds over the addresses.
const PAUSE_BETWEEN_MAX: Duration = Duration::from_millis(400);
/// First pause before an address that failed is tried again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Calls that are repeated since their connection broke, each at most so often.
const REPEATS_MAX: usize = 2;
/// Time between two looks whether an address is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long its answer may take.
const PING_MAX: Duration = Duration::from_secs(5);

/// An address of a role is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of a host and a port.
    #[error("{url:?} is not a URL such as http://10.0.0.5:7101")]
    NotAUrl {
        /// What it is.
        url: String,
    },
    /// It begins with `https`, and no authority is configured.
    #[error("{url:?} needs TLS, and tls.ca is not set")]
    NoTls {
        /// What it is.
        url: String,
    },
}

/// A channel to a role at any of these URLs (`http://host:port` or `https://host:port`).
///
/// # Errors
/// See [`AddressError`].
///
/// # Panics
/// Where there is no URL at all.
pub fn remote(urls: &[String], tls: Option<Arc<ClientTls>>) -> Result<RoleChannel, AddressError> {
    assert!(!urls.is_empty(), "a role has an address");
    let addresses = urls.iter().map(|url| Address::new(url, tls.clone())).collect::<Result<_, _>>();
    let role = Arc::new(Remote { addresses: addresses?, turn: AtomicUsize::new(0) });
    Ok(RoleChannel::new(tower::service_fn(move |request| {
        let role = Arc::clone(&role);
        async move { Ok::<_, BoxError>(role.traced(request).await) }
    })))
}

struct Remote {
    addresses: Vec<Address>,
    turn: AtomicUsize,
}

struct Address {
    scheme: Scheme,
    authority: Authority,
    client: Client<Connector, Full<Bytes>>,
    in_flight: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// Failures in a row.
    failures: u32,
    /// Not to be tried before this.
    until: Option<Instant>,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The address takes no connection.
    Dead,
    /// The call was turned away before it began: the address is closing.
    Refused,
    /// Nobody knows.
    Broken,
}

impl Address {
    fn new(url: &str, tls: Option<Arc<ClientTls>>) -> Result<Self, AddressError> {
        let not_a_url = || AddressError::NotAUrl { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| not_a_url())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(not_a_url());
        };
        let is_plain = uri.path_and_query().is_none_or(|path| path == "/");
        let is_known = *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
        if !is_known || !is_plain || authority.port_u16().is_none() {
            return Err(not_a_url());
        }
        if *scheme == Scheme::HTTPS && tls.is_none() {
            return Err(AddressError::NoTls { url: url.to_owned() });
        }
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_MAX)
            .http2_keep_alive_while_idle(true)
            .build(Connector::new(tls));
        let (scheme, authority) = (scheme.clone(), authority.clone());
        let (in_flight, health) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { scheme, authority, client, in_flight, health })
    }

    fn is_alive(&self, now: Instant) -> bool {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.until.is_none_or(|until| until <= now)
    }

    fn note(&self, result: Result<(), Meaning>) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => *health = Health::default(),
            // Its connection has gone; whether it takes another will show.
            Err(Meaning::Refused | Meaning::Broken) => {}
            Err(Meaning::Dead) => {
                let pause = PAUSE_MIN.saturating_mul(1 << health.failures.min(10));
                health.failures = health.failures.saturating_add(1);
                health.until = Some(Instant::now() + pause.min(PAUSE_MAX));
            }
        }
    }

    async fn send(&self, request: &Call) -> Result<Response<Body>, (Meaning, BoxError)> {
        let _counted = Counted::new(&self.in_flight);
        let sent = tokio::time::timeout(ANSWER_MAX, self.client.request(request.at(self))).await;
        let result = match sent {
            Err(late) => Err((Meaning::Broken, late.into())),
            Ok(sent) => Self::read(sent),
        };
        self.note(result.as_ref().map(|_| ()).map_err(|(meaning, _)| *meaning));
        result
    }

    /// What the client says of an attempt.
    fn read(
        sent: Result<Response<Incoming>, hyper_util::client::legacy::Error>,
    ) -> Result<Response<Body>, (Meaning, BoxError)> {
        match sent {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) if error.is_connect() => Err((Meaning::Dead, error.into())),
            Err(error) if is_http2_refusal(&error) => Err((Meaning::Refused, error.into())),
            Err(error) => Err((Meaning::Broken, error.into())),
        }
    }
}

/// Counts a call while it has no answer.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that can be sent again.
struct Call {
    head: http::request::Parts,
    body: Bytes,
}

impl Call {
    async fn read(request: Request<Body>) -> Result<Self, Status> {
        let (head, body) = request.into_parts();
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => Ok(Self { head, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Status::out_of_range("the message is longer than 4 MiB"))
            }
            Err(_) => Err(Status::cancelled("the request broke off")),
        }
    }

    fn at(&self, address: &Address) -> Request<Full<Bytes>> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(address.scheme.clone());
        parts.authority = Some(address.authority.clone());
        parts.path_and_query = self.head.uri.path_and_query().cloned();
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.head.headers.clone();
        request
    }
}

/// How long a call is tried.
struct Patience {
    /// How often its connection has broken.
    breaks: usize,
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { breaks: 0, until: Instant::now() + PATIENCE, pause: PAUSE_MIN }
    }

    /// From here on an attempt may be under way, whose end is worth waiting for.
    fn note_break(&mut self) {
        self.breaks += 1;
        self.until = Instant::now() + UNDER_WAY_MAX;
    }

    /// Pauses before the next round; `false`: there is none.
    async fn wait(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSE_BETWEEN_MAX);
        true
    }
}

impl Remote {
    /// Makes a call, within a span of its own that the called role's is part of.
    async fn traced(&self, mut request: Request<Body>) -> Response<Body> {
        let span = Span::child(|| about_call(Kind::Client, request.uri().path()));
        span.run(async {
            Trace::current().put(request.headers_mut());
            let response = self.call(request).await.unwrap_or_else(Status::into_http);
            end_call(&span, &Kind::Client, response.headers());
            response
        })
        .await
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let call = Call::read(request).await?;
        let mut patience = Patience::new();
        loop {
            // In a round each address is tried once.
            let mut tried = vec![false; self.addresses.len()];
            while let Some(next) = self.next(&tried) {
                tried[next] = true;
                let address = &self.addresses[next];
                match address.send(&call).await {
                    Ok(response) if patience.breaks > 0 && repeat::is_under_way(&response) => {}
                    Ok(response) => return Ok(response),
                    Err((Meaning::Broken, error)) => {
                        let is_safe = repeat::is_safe(&call.head.uri, &call.body);
                        if !is_safe || patience.breaks >= REPEATS_MAX {
                            return Err(broken(error));
                        }
                        patience.note_break();
                    }
                    Err((Meaning::Dead | Meaning::Refused, error)) => {
                        tracing::debug!(%error, address = %address.authority, "no connection");
                    }
                }
            }
            if !patience.wait().await {
                return Err(match patience.breaks {
                    0 => away(),
                    _ => broken("its first attempt has no end that could be learned".into()),
                });
            }
        }
    }

    /// The least busy address that is alive and not tried yet; where none is alive, any.
    fn next(&self, tried: &[bool]) -> Option<usize> {
        let (turn, count) = (self.turn.fetch_add(1, Ordering::Relaxed), self.addresses.len());
        let now = Instant::now();
        (0..count)
            .map(|n| (turn + n) % count)
            .filter(|n| !tried[*n])
            .map(|n| (n, &self.addresses[n]))
            .min_by_key(|(_, address)| {
                (!address.is_alive(now), address.in_flight.load(Ordering::Relaxed))
            })
            .map(|(n, _)| n)
    }
}

fn away() -> Status {
    status(Code::Unavailable, ErrorReason::Unavailable, "the role is not reachable")
        .retry_after(RETRY_AFTER)
        .build()
}

fn broken(error: BoxError) -> Status {
    let text = "the connection to the role broke; the call may have been executed";
    status(Code::Unknown, ErrorReason::ConnectionBroken, text).source(error).build()
}
