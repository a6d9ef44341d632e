//! Who a call acts as: principals, signed assertions of them, and the context of a request.
//!
//! Tokens are resolved once, at the edge; from there on a short-lived assertion travels, signed
//! with Ed25519, which every role verifies offline. It is a protobuf message and not a JWT: one
//! algorithm, no header to be confused by.

mod assertion;
mod context;
mod page_key;
mod principal;

pub use assertion::{ASSERTION_SECONDS, AuthError, Signer, Verifier};
pub use context::{ActFor, DEADLINE_MARGIN, RequestContext, RequestId};
pub use page_key::PageKey;
pub use principal::{Principal, Scope};
pub use stowage_proto::common::PrincipalRole;

/// Metadata key of the assertion.
pub const ASSERTION_KEY: &str = "stowage-assertion";
/// Metadata key of the request id.
pub const REQUEST_ID_KEY: &str = "x-request-id";
/// Metadata key of the action that the facade was asked for. Part of what a request id is bound
/// to: two actions of the facade may come down to the same call.
pub const ACTION_KEY: &str = "stowage-action";

/// SHA-256 of a token or API key: what is stored and looked up. They are long and random, so a
/// plain hash keeps them; comparing hashes tells nothing by its time.
#[must_use]
pub fn hash_token(token: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(token.as_bytes()).into()
}
