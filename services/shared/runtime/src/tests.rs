//! Roles called over sockets: real servers, real connections.

mod authority;
mod remote;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, Uri};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use stowage_proto::common::ErrorReason;

use crate::{BoxError, PortSettings, Protocols, RoleChannel, RolePort, ServerTls, serve, status};

/// A method that changes nothing.
const READS: &str = "/stowage.billing.v1.PlanService/ListPlans";
/// One that changes something, by a request id.
const WRITES: &str = "/stowage.accounts.v1.CustomerService/CreateCustomer";
/// Time for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A role that counts its calls; each waits for the gate where there is one.
#[derive(Clone, Default)]
struct Role {
    calls: Arc<AtomicUsize>,
    began: Arc<Notify>,
    gate: Option<Arc<Semaphore>>,
    /// How often it says that an attempt is under way before it answers.
    under_way: Arc<AtomicUsize>,
}

impl Role {
    fn gated() -> Self {
        Self { gate: Some(Arc::new(Semaphore::new(0))), ..Self::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.began.notify_one();
        // As a server does, it reads what it is asked.
        http_body_util::BodyExt::collect(request.into_body()).await?;
        if let Some(gate) = &self.gate {
            gate.acquire().await?.forget();
        }
        let left = |left: usize| left.checked_sub(1);
        if self.under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            let reason = ErrorReason::RequestInProgress;
            return Ok(status(Code::Aborted, reason, "under way").build().into_http());
        }
        Ok(Status::new(Code::AlreadyExists, "answered").into_http())
    }
}

/// A process of the role, in this one.
struct Process {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Process {
    async fn start(role: &Role) -> Self {
        Self::start_at(role, ([127, 0, 0, 1], 0).into(), None).await
    }

    async fn start_at(role: &Role, at: SocketAddr, tls: Option<Arc<ServerTls>>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = PortSettings {
            protocols: Protocols::Both,
            connections_max: 100,
            header_max: Duration::from_secs(5),
            stop_max: Duration::from_secs(1),
            tls,
        };
        let role = role.clone();
        let channel =
            RoleChannel::new(tower::service_fn(move |request| role.clone().answer(request)));
        let port = RolePort::new(Some(channel), Vec::new(), Arc::new(String::new));
        let stop = CancellationToken::new();
        let answer = move |request, peer| port.clone().answer(request, peer);
        let served = tokio::spawn(serve(listener, settings, stop.clone(), answer));
        Self { address, stop, served }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }
}

/// Calls a method with a message of so many bytes; the status it is answered with.
async fn call(channel: &RoleChannel, method: &'static str, bytes: usize) -> Status {
    send(channel, method, vec![b'x'; bytes]).await
}

/// Calls [`WRITES`] under a request id.
async fn call_named(channel: &RoleChannel) -> Status {
    // Field 2 of the message, a text.
    let message = [0x12, 3, b'o', b'n', b'e'];
    let mut frame = vec![0, 0, 0, 0, 5];
    frame.extend(message);
    send(channel, WRITES, frame).await
}

async fn send(channel: &RoleChannel, method: &'static str, frame: Vec<u8>) -> Status {
    let body = Body::new(http_body_util::Full::from(frame));
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = Uri::from_static(method);
    *request.version_mut() = http::Version::HTTP_2;
    let kind = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    let response = channel.clone().oneshot(request).await.unwrap();
    Status::from_header_map(response.headers()).unwrap()
}
