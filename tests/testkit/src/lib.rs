//! What tests across roles are written with: a whole server, and clients of every door it has.
//!
//! [`Kit`] runs the server in this process, [`Process`] the real program as a child that can be
//! killed. Both are a [`Site`]: addresses, the administrator's token, and helpers that do what a
//! customer or an administrator does. Everything goes through sockets, as it does in production.
//!
//! Helpers panic where a step that is only the way to the thing tested goes wrong, and say what
//! the server answered. Nothing here waits for a fixed time: [`eventually`] polls with a bound.

mod database;
mod facade;
mod kit;
mod parts;
mod poll;
mod process;
mod raw;
mod roles;
mod s3;
mod site;

pub use database::{Beside, read_texts};
pub use facade::{Answer, Facade};
pub use kit::Kit;
pub use parts::{PARTS, Parts, Server, control};
pub use poll::{eventually, try_eventually};
pub use process::{Process, program};
pub use raw::{Door, Headers, Refusal, call_raw, stream_raw};
pub use roles::{RoleDoors, Signers};
pub use s3::s3_client;
pub use site::{Account, Bearer, Caller, Customer, Site};

pub use tonic;
