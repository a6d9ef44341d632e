//! Ports, and the TLS on them.

use std::net::SocketAddr;
use std::sync::Arc;

use stowage_runtime::{ClientTls, Identity, Protocols, RoleChannel, ServerTls, remote};
use tokio::net::TcpListener;

use crate::config::{Faults, Tls};
use crate::error::StartError;
use crate::roles::part;

/// What listens, and which setting says where.
pub(crate) struct Listener {
    pub(crate) what: &'static str,
    pub(crate) setting: &'static str,
    pub(crate) variable: &'static str,
}

/// The gateway.
pub(crate) const GATEWAY: Listener =
    Listener { what: "HTTP and gRPC", setting: "gateway.addr", variable: "STOWAGE_GATEWAY_ADDR" };

/// The embedded engine.
pub(crate) const S3_ENDPOINT: Listener =
    Listener { what: "S3", setting: "s3.addr", variable: "STOWAGE_S3_ADDR" };

/// A metering front.
pub(crate) const FRONT: Listener = Listener {
    what: "S3",
    setting: "location.<CODE>.front.addr",
    variable: "the file of STOWAGE_CONFIG",
};

/// Binds a listener.
pub(crate) async fn listen(
    listener: &Listener,
    addr: SocketAddr,
) -> Result<TcpListener, StartError> {
    let Listener { what, setting, variable } = *listener;
    let refused = |source| StartError::Listen { what, addr, setting, variable, source };
    TcpListener::bind(addr).await.map_err(refused)
}

/// Where a listener is bound.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| part("a listener", error))
}

/// TLS for clients of all kinds.
pub(crate) fn public_tls(
    identity: Option<Identity>,
    protocols: Protocols,
) -> Result<Option<Arc<ServerTls>>, StartError> {
    let load = |identity| ServerTls::load(identity, None, protocols).map(Arc::new);
    Ok(identity.map(load).transpose()?)
}

/// TLS for roles alone: callers show a certificate of the same authority.
pub(crate) fn role_tls(tls: &Tls) -> Result<Option<Arc<ServerTls>>, StartError> {
    let load = |identity| ServerTls::load(identity, tls.ca.clone(), Protocols::Both).map(Arc::new);
    Ok(tls.identity().map(load).transpose()?)
}

/// TLS of calls to roles.
pub(crate) fn caller_tls(tls: &Tls) -> Result<Option<Arc<ClientTls>>, StartError> {
    let load = |ca| ClientTls::load(ca, tls.identity()).map(Arc::new);
    Ok(tls.ca.clone().map(load).transpose()?)
}

/// A role in other processes.
pub(crate) fn peer(
    urls: &[String],
    tls: Option<&Arc<ClientTls>>,
) -> Result<RoleChannel, StartError> {
    remote(urls, tls.cloned())
        .map_err(|error| StartError::Config(Faults::from(vec![error.to_string()])))
}
