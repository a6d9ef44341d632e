//! What adapters of engines that are other servers have in common: connections and TLS, S3 by a
//! hand that is not the customer's, what a refusal means, and order among changes of an account.
//!
//! What differs between such servers, above all their administration, is not here.

mod authorities;
mod content;
mod endpoint;
mod fault;
mod listing;
mod net;
mod race;
mod s3;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use authorities::Authorities;
pub use endpoint::{OpenError, endpoint_of};
pub use fault::Fault;
pub use listing::{ASKED_AT_ONCE, page_of};
pub use net::{Net, check_answers};
pub use race::{BackOff, Locks, until_won};
pub use s3::{Hand, S3, fault_of};
pub use stream::Connector;
