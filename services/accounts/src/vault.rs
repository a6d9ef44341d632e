//! Seals stored answers that carry a secret, with the keyring that seals access keys.

use std::sync::Arc;

use stowage_keyring::Keyring;
use stowage_request::{HEADER_BYTES, Vault};
use stowage_runtime::BoxError;
use stowage_types::{ExposeSecret as _, SecretString};

/// The keyring seals text, so answers are sealed as hex digits.
pub(crate) struct AnswerVault(pub(crate) Arc<Keyring>);

impl Vault for AnswerVault {
    fn seal(&self, plain: &[u8], binding: &str) -> Result<Vec<u8>, BoxError> {
        Ok(self.0.seal(&SecretString::from(hex::encode(plain)), binding)?)
    }

    fn open(&self, sealed: &[u8], binding: &str) -> Result<Vec<u8>, BoxError> {
        Ok(hex::decode(self.0.open(sealed, binding)?.expose_secret())?)
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        self.0.header()
    }

    fn rewrap(&self, sealed: &[u8], binding: &str) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.0.rewrap(sealed, binding)?)
    }
}
