//! The roles' own doors, and whoever knocks at them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stowage::data::read_signing_seed;
use stowage::server::{AUDIENCE, Server};
use stowage_auth::Signer;
use stowage_runtime::{PortSettings, Protocols, RolePort, serve};
use stowage_types::{Clock, FakeClock, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{Door, Headers};

/// Each role of a server behind a port of its own, as it is in a process of its own: the same
/// layers, the same port, a socket. It takes no broker, and what is set up at the gateway is here.
#[derive(Debug)]
pub struct RoleDoors {
    doors: BTreeMap<&'static str, Door>,
    stop: CancellationToken,
}

impl RoleDoors {
    pub(crate) async fn open(server: &Server) -> Self {
        let stop = CancellationToken::new();
        let mut doors = BTreeMap::new();
        for (name, channel) in server.channels() {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let port = port.expect("a port can be opened");
            let address = port.local_addr().expect("it has an address");
            let role = RolePort::new(Some(channel.clone()), Vec::new(), Arc::new(String::new));
            let answer = move |request, peer| role.clone().answer(request, peer);
            tokio::spawn(serve(port, settings(), stop.clone(), answer));
            doors.insert(*name, Door::at(address));
        }
        Self { doors, stop }
    }

    /// Calls the method at `path` at the role that has it.
    ///
    /// # Errors
    /// What the method answers.
    ///
    /// # Panics
    /// When no role has it, and as [`Door::call`] does.
    pub async fn call(
        &self,
        headers: &Headers,
        path: &str,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let role = path.trim_start_matches("/stowage.").split('.').next().unwrap_or_default();
        let door = self.doors.get(role).unwrap_or_else(|| panic!("no role has {path}"));
        door.call(headers, path, message).await
    }
}

impl Drop for RoleDoors {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings() -> PortSettings {
    PortSettings {
        protocols: Protocols::Both,
        connections_max: 64,
        header_max: Duration::from_secs(30),
        stop_max: Duration::from_secs(1),
        tls: None,
    }
}

/// What signs as a server does, and in other ways.
#[derive(Debug, Clone)]
pub struct Signers {
    /// As the server does.
    pub ours: Signer,
    /// With its key, an hour ago.
    pub before: Signer,
    /// With its key, an hour from now.
    pub after: Signer,
    /// With its key, for another installation.
    pub elsewhere: Signer,
    /// For it, with another key.
    pub stranger: Signer,
}

impl Signers {
    pub(crate) fn of(server: &Server) -> Self {
        const HOUR: time::Duration = time::Duration::HOUR;
        let seed = read_signing_seed(server.data_dir()).expect("the server has a key");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let at = |time| -> Arc<dyn Clock> { Arc::new(FakeClock::at(time)) };
        let signer = |seed, audience, clock: &Arc<dyn Clock>| {
            Signer::from_seed(seed, audience, Arc::clone(clock))
        };
        let now = clock.now();
        Self {
            ours: signer(&seed, AUDIENCE, &clock),
            before: signer(&seed, AUDIENCE, &at(now - HOUR)),
            after: signer(&seed, AUDIENCE, &at(now + HOUR)),
            elsewhere: signer(&seed, "another installation", &clock),
            stranger: signer(&[7; 32], AUDIENCE, &clock),
        }
    }
}
