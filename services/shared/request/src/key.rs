//! What tells one request from another.

use sha2::{Digest as _, Sha256};
use stowage_auth::{ACTION_KEY, RequestContext};
use stowage_proto::Repeatable;
use stowage_types::{Violations, name};
use tonic::metadata::MetadataMap;

use crate::Error;

/// Most characters of a request id.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

/// A request that its caller named.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) scope: String,
    pub(crate) request_id: String,
    pub(crate) method: &'static str,
    pub(crate) digest: [u8; 32],
    pub(crate) has_secret: bool,
}

impl Key {
    /// Takes the id out of a request. `None`: it has none.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the id is too long, or not printable.
    pub(crate) fn take<R: Repeatable>(
        cx: &RequestContext,
        metadata: &MetadataMap,
        request: &mut R,
    ) -> Result<Option<Self>, Error> {
        let request_id = request.take_request_id();
        if request_id.is_empty() {
            return Ok(None);
        }
        let mut violations = Violations::default();
        violations.check_length("request_id", &request_id, REQUEST_ID_CHARS_MAX);
        if request_id.chars().any(char::is_control) {
            violations.push("request_id", "has characters that cannot be printed");
        }
        violations.finish().map_err(Error::Invalid)?;
        // Fields have one encoding each, in the order of their numbers: the same content is the
        // same bytes.
        let action = metadata.get(ACTION_KEY).map_or(&b""[..], |action| action.as_bytes());
        let hash = Sha256::new_with_prefix(R::METHOD).chain_update([0]);
        let hash = hash.chain_update(action).chain_update([0]);
        let digest = hash.chain_update(request.encode_to_vec()).finalize().into();
        let scope = match cx.customer() {
            Some(customer) => name::customer(customer),
            None => cx.principal.subject.clone(),
        };
        Ok(Some(Self { scope, request_id, method: R::METHOD, digest, has_secret: R::READS_SECRET }))
    }

    /// What a sealed answer is bound to.
    pub(crate) fn binding(&self) -> String {
        binding(&self.scope, &self.request_id)
    }
}

/// What the sealed answer of a request is bound to. Neither scopes nor ids have line ends, so no
/// two requests share one.
pub(crate) fn binding(scope: &str, request_id: &str) -> String {
    format!("request\n{scope}\n{request_id}")
}
