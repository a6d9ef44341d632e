//! What every role is built of: the channel roles speak through, the layers around each server,
//! the form of errors, logs, metrics and traces.
//!
//! A role is the same whether it runs alone or with the others in one process: its client is a
//! [`RoleChannel`], which wraps either the server itself, layers included, or a connection.

mod calling;
mod channel;
mod connect;
mod error;
mod http_client;
mod layers;
mod linger;
mod port;
mod remote;
mod repeat;
mod role;
mod role_port;
mod rpc;
mod stream;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod unread;

pub use calling::calling_as;
pub use channel::{BoxError, Next, RoleChannel};
pub use error::{
    ERROR_DOMAIN, StatusBuilder, field_violations, invalid, is_transient, metadata_of, reason_of,
    status,
};
pub use http_client::HttpClient;
pub use layers::{StackConfig, role_stack};
pub use port::{PortRequest, PortSettings, Protocols, serve};
pub use remote::{AddressError, remote};
pub use role::{ReadyCheck, Role, Task};
pub use role_port::{RenderMetrics, RolePort, remote_ready};
pub use rpc::{about_call, end_call};
pub use stream::ClientStream;
pub use tls::{ClientTls, Identity, ServerTls, TlsError, read_authorities};
pub use unread::{Kept, read_out};
