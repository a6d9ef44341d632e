//! Who a call acts as: principals, signed assertions of them, and the context of a request.
//!
//! Tokens are resolved once, at the edge; from there on a short-lived assertion travels, signed
//! with Ed25519, which every role verifies offline. It is a protobuf message and not a JWT: one
//! algorithm, no header to be confused by.

mod assertion;
mod context;
mod page_key;
mod principal;
pub mod signed;
mod token_hash;

pub use assertion::{ASSERTION_SECONDS, AuthError, Signer, Verifier};
pub use context::{ActFor, DEADLINE_MARGIN, RequestContext, RequestId};
pub use page_key::PageKey;
pub use principal::{Principal, Scope};
pub use stowage_proto::common::PrincipalRole;
pub use token_hash::{TokenHash, hash_token};

/// Metadata key of the assertion.
pub const ASSERTION_KEY: &str = "stowage-assertion";
/// Metadata key of the request id.
pub const REQUEST_ID_KEY: &str = "x-request-id";
/// Metadata key of the action that the facade was asked for. Part of what a request id is bound
/// to: two actions of the facade may come down to the same call.
pub const ACTION_KEY: &str = "stowage-action";
